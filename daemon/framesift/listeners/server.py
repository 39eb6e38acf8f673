"""Listening: a socket, an event loop in a thread of its own, and the connections that it serves."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable
from errno import ENOBUFS, ENOMEM

from framesift.clock.clock import Clock, HeartbeatClock, MonitoredThread
from framesift.listeners import ListenerUnavailable
from framesift.listeners.connection_slots import IDLE_TIMEOUT_S, MAX_CONNECTIONS, ClientConnection, ConnectionSlots
from framesift.listeners.http1 import BadHttp, HttpReader, build_response, send_last_response
from framesift.telemetry.file_descriptors import SHORTAGE_ERRORS

_MOST_TURNED_AWAY = 32  # who are being told so
_BACKLOG = 1024  # one more than that waits a second for its next try
_BEAT_S = 1.0
_ACCEPTED_AT_ONCE = 8
_ACCEPT_AGAIN_S = 0.5
OUT_OF_RESOURCES = (*SHORTAGE_ERRORS, ENOBUFS, ENOMEM)


class DescriptorsExhausted(OSError):
    """The process, or the machine, has as many files open as it may."""


class ListenerServer:
    """serve: talks with one client until one of them has enough; what it raises beside OSError is told to `puzzled` and
    ends that connection alone. broke: told of what ended the whole loop.
    """

    def __init__(
        self,
        host: str,
        port: int,
        serve: Callable[[ClientConnection], Awaitable[None]],
        *,
        clock: Clock,
        puzzled: Callable[[BaseException], None],
        broke: Callable[[BaseException], None],
        idle_timeout_s: float = IDLE_TIMEOUT_S,
    ) -> None:
        self.host = host
        self.port = port  # 0 until `start` has found a free one
        self._serve = serve
        self._pulse = HeartbeatClock(clock)
        self._puzzled = puzzled
        self._broke = broke
        self._silent_s = idle_timeout_s
        self._places = ConnectionSlots()
        self._turned_away = 0
        self._taken: set[asyncio.Task[None]] = set()
        self._lacks = False  # descriptors: nobody can be taken
        self._again: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun = threading.Event()
        self._end: asyncio.Event | None = None
        self._end_within_s = 0.0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Raises ListenerUnavailable."""
        # Bound before the thread begins, so that a failure is the caller's to see.
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            listening = socket.create_server((self.host, self.port), family=family, backlog=_BACKLOG)
        except OSError as error:
            raise ListenerUnavailable(
                f"doors: {self.host}:{self.port} can't be listened at: {error.strerror}; choose another address"
            ) from None
        self.port = int(listening.getsockname()[1])
        self._thread = threading.Thread(target=self._run, args=(listening,), name=f"door {self.port}", daemon=True)
        self._thread.start()
        self._begun.wait(10.0)

    def stop(self, within_s: float) -> None:
        """Takes no more clients; those that wait for an answer get it, if it comes within the time."""
        thread, loop, end = self._thread, self._loop, self._end
        if thread is None or loop is None or end is None:
            return
        self._end_within_s = max(0.0, within_s)
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(end.set)
        thread.join(within_s + 1.0)

    def loop(self) -> MonitoredThread:
        """For the watchdog. Only after `start`."""
        assert self._thread is not None
        return MonitoredThread(self._thread.name, self._thread, self._pulse)

    def _run(self, listening: socket.socket) -> None:
        try:
            asyncio.run(self._main(listening))
        except BaseException as error:  # noqa: BLE001  # whatever it is: the house must know that nobody listens here
            self._broke(error)
        finally:
            self._begun.set()
            listening.close()

    async def _main(self, listening: socket.socket) -> None:
        loop = self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        # The loop's own complaints go to a logger that nobody has set up, which prints them with all they know.
        loop.set_exception_handler(lambda _loop, told: self._complained(told.get("exception")))
        listening.setblocking(False)
        loop.add_reader(listening, self._accept, loop, listening)
        self._begun.set()
        while not self._end.is_set():
            self._pulse.monotonic()
            self._lose_patience(loop.time())
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._end.wait(), _BEAT_S)
        if self._again is not None:
            self._again.cancel()
        loop.remove_reader(listening)
        listening.close()
        await self._dismiss()

    def _accept(self, loop: asyncio.AbstractEventLoop, listening: socket.socket) -> None:
        """Takes those who wait, some at a time: not so many that those of a flood push each other out unheard."""
        # Not the loop's own server: while no file can be opened, that one complains a hundred times a second.
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, _address = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:  # it has gone already
                continue
            except OSError as error:
                if not self._lacks:
                    self._lacks = True
                    self._puzzled(DescriptorsExhausted(*error.args) if error.errno in OUT_OF_RESOURCES else error)
                loop.remove_reader(listening)
                self._again = loop.call_later(
                    _ACCEPT_AGAIN_S, loop.add_reader, listening, self._accept, loop, listening
                )
                return
            self._lacks = False
            sock.setblocking(False)
            taking = loop.create_task(self._take(loop, sock))
            self._taken.add(taking)
            taking.add_done_callback(self._taken.discard)

    async def _take(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it has gone already
            await loop.connect_accepted_socket(self._protocol, sock)

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(HttpReader(), self._connected)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, HttpReader)
        sock = writer.get_extra_info("socket")
        # asyncio does this only for sockets that name their protocol, which those of `create_server` don't. Without it,
        # an answer's body waits until its client has acknowledged its head, which takes 40 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * self._silent_s))
        connection = ClientConnection(reader, writer, self._places, task=asyncio.current_task())
        now_s = asyncio.get_running_loop().time()
        try:
            if not self._has_room(now_s):
                await self._turn_away(connection)
                return
            self._places.add(connection, now_s)
            await self._serve(connection)
        except (OSError, asyncio.CancelledError):  # it went away, or has to
            pass
        except Exception as error:  # noqa: BLE001  # one client's trouble is nobody else's
            self._puzzled(error)
        finally:
            connection.mark_served()
            try:
                writer.close()
                await writer.wait_closed()  # until its last answer has left, it has its place
            except (OSError, asyncio.CancelledError):
                writer.transport.abort()
            self._places.remove(connection)

    def _has_room(self, now_s: float) -> bool:
        """For one more; somebody may have to go for it."""
        if len(self._places) < MAX_CONNECTIONS:
            return True
        goes = self._places.next_to_close(now_s)
        if goes is None:
            return False
        self._places.remove(goes)
        goes.writer.transport.abort()
        if goes.task is not None:
            goes.task.cancel()
        return True

    async def _turn_away(self, connection: ClientConnection) -> None:
        if self._turned_away == _MOST_TURNED_AWAY:
            connection.writer.transport.abort()
            return
        self._turned_away += 1
        try:
            text = f"there are {MAX_CONNECTIONS} connections already"
            said = build_response(503, {"error": text, "message": text}, extra_headers={"Retry-After": "1"}, close=True)
            await send_last_response(connection.reader, connection.writer, said, _BEAT_S)
        finally:
            self._turned_away -= 1

    def _lose_patience(self, now_s: float) -> None:
        for connection in self._places.busy:
            silent_s = connection.idle_s(now_s)
            if silent_s is not None and silent_s > self._silent_s:
                connection.reader.abort_wait(BadHttp(408, f"nothing more came for {self._silent_s:g} s"))

    async def _dismiss(self) -> None:
        present = self._places.all()
        for connection in present:
            connection.stopping = True
            if not connection.busy and connection.task is not None:
                connection.task.cancel()
        tasks = [connection.task for connection in present if connection.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._end_within_s)
            for task in late:
                task.cancel()
        await asyncio.sleep(0)  # what was written last leaves with the next turn of the loop

    def _complained(self, error: object) -> None:
        if isinstance(error, BaseException) and not isinstance(error, OSError):
            self._puzzled(error)

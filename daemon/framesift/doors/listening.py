"""Listening: a socket, an event loop in a thread of its own, and the connections that it serves."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from framesift.clock import Clock, Loop, Pulse
from framesift.doors import DoorUnavailable
from framesift.doors.http1 import Reader, answer, farewell

MOST_CONNECTIONS = 256
_BACKLOG = 128
_BEAT_S = 1.0


@dataclass(eq=False, slots=True)
class Connection:
    """One client. busy: it has asked for something and is not answered yet. stopping: this answer is the last."""

    reader: Reader
    writer: asyncio.StreamWriter
    busy: bool = False
    stopping: bool = False
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Listening:
    """serve: talks with one client until one of them has enough; what it raises beside OSError is told to `puzzled` and
    ends that connection alone. broke: told of what ended the whole loop."""

    def __init__(
        self,
        host: str,
        port: int,
        serve: Callable[[Connection], Awaitable[None]],
        *,
        clock: Clock,
        puzzled: Callable[[BaseException], None],
        broke: Callable[[BaseException], None],
    ) -> None:
        self.host = host
        self.port = port  # 0 until `start` has found a free one
        self._serve = serve
        self._pulse = Pulse(clock)
        self._puzzled = puzzled
        self._broke = broke
        self._connections: set[Connection] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun = threading.Event()
        self._end: asyncio.Event | None = None
        self._end_within_s = 0.0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Raises DoorUnavailable."""
        # Bound before the thread begins, so that a failure is the caller's to see.
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            listening = socket.create_server((self.host, self.port), family=family, backlog=_BACKLOG)
        except OSError as error:
            raise DoorUnavailable(
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

    def loop(self) -> Loop:
        """For the watchdog. Only after `start`."""
        assert self._thread is not None
        return Loop(self._thread.name, self._thread, self._pulse)

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
        server = await loop.create_server(self._protocol, sock=listening)
        self._begun.set()
        while not self._end.is_set():
            self._pulse.monotonic()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._end.wait(), _BEAT_S)
        server.close()
        await self._dismiss()

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(Reader(), self._connected)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, Reader)
        # asyncio does this only for sockets that name their protocol, which those of `create_server` don't. Without it,
        # an answer's body waits until its client has acknowledged its head, which takes 40 ms.
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(reader, writer, task=asyncio.current_task())
        try:
            if len(self._connections) >= MOST_CONNECTIONS:
                text = f"there are {MOST_CONNECTIONS} connections already"
                said = answer(503, {"error": text, "message": text}, more={"Retry-After": "1"}, ends=True)
                await farewell(reader, writer, said, _BEAT_S)
                return
            self._connections.add(connection)
            await self._serve(connection)
        except (OSError, asyncio.CancelledError):  # it went away, or the house is closing
            pass
        except Exception as error:  # noqa: BLE001  # one client's trouble is nobody else's
            self._puzzled(error)
        finally:
            self._connections.discard(connection)
            with contextlib.suppress(OSError):
                writer.close()

    async def _dismiss(self) -> None:
        for connection in self._connections:
            connection.stopping = True
            if not connection.busy and connection.task is not None:
                connection.task.cancel()
        tasks = [connection.task for connection in self._connections if connection.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._end_within_s)
            for task in late:
                task.cancel()
        await asyncio.sleep(0)  # what was written last leaves with the next turn of the loop

    def _complained(self, error: object) -> None:
        if isinstance(error, BaseException) and not isinstance(error, OSError):
            self._puzzled(error)

"""The server of a listener: a socket, an event loop in its own thread, and the connections that it serves."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from errno import ENOBUFS, ENOMEM
from typing import Protocol

from framesift.clock.clock import Clock, HeartbeatClock, MonitoredThread
from framesift.listeners import ListenerUnavailable
from framesift.listeners.connection_slots import IDLE_TIMEOUT_S, MAX_CONNECTIONS, ClientConnection, ConnectionSlots
from framesift.listeners.http1 import BadHttp, HttpReader, build_response, send_last_response
from framesift.processes import listen_problem
from framesift.telemetry.file_descriptors import SHORTAGE_ERRORS

_MAX_REJECTIONS_AT_ONCE = 32  # clients that are being answered 503
_BACKLOG = 1024  # a client beyond that waits a second until its next try
_HEARTBEAT_S = 1.0
_START_WITHIN_S = 10.0
_LAST_TURN_S = 0.3  # of the time to stop, for the end of the event loop after its last client
_ACCEPTED_AT_ONCE = 8
_ACCEPT_RETRY_S = 0.5
OUT_OF_RESOURCES = (*SHORTAGE_ERRORS, ENOBUFS, ENOMEM)


class DescriptorsExhausted(OSError):
    """The process, or the machine, can open no more files or connections."""


class ConnectionHandler(Protocol):
    """What a server needs from its owner."""

    async def serve(self, connection: ClientConnection) -> None:
        """Serve one client until it or the handler ends the connection. May raise anything; OSError is ignored."""

    def report_error(self, error: BaseException) -> None:
        """Take note of an exception that `serve` raised, or of a failure to accept a client. Called in the loop."""

    def report_failure(self, error: BaseException) -> None:
        """Take note of the exception that ended the event loop: nobody is served any more."""


class ListenerServer:
    """Accepts connections and lets a handler serve each of them in its own task.

    host: an IP address or localhost. port: 0 takes a free one. idle_timeout_s: a client that is in the middle of a
    request, or of reading its response, and makes no progress for so long is disconnected.
    """

    def __init__(
        self, host: str, port: int, handler: ConnectionHandler, *, clock: Clock, idle_timeout_s: float = IDLE_TIMEOUT_S
    ) -> None:
        self.host = host
        self.port = port  # 0 until `start` has found a free one
        self._handler = handler
        self._heartbeat = HeartbeatClock(clock)
        self._idle_timeout_s = idle_timeout_s
        self._slots = ConnectionSlots()
        self._rejections = 0  # under way
        self._accept_tasks: set[asyncio.Task[None]] = set()
        self._out_of_descriptors = False
        self._accept_timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._has_started = threading.Event()
        self._stop: asyncio.Event | None = None
        self._server_socket: socket.socket | None = None
        self._stop_within_s = 0.0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Bind the address and start the thread. Raises ListenerUnavailable."""
        # Bound before the thread starts, so that the caller gets the exception.
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            server_socket = socket.create_server((self.host, self.port), family=family, backlog=_BACKLOG)
        except OSError as error:
            problem, holder = listen_problem(error, self.host, self.port)
            stop = f"stop {holder}, or " if holder else ""
            raise ListenerUnavailable(f"listeners: {problem}; {stop}choose another address") from None
        self.port = int(server_socket.getsockname()[1])
        name = f"listener {self.port}"
        thread = threading.Thread(target=self._run, args=(server_socket,), name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads
            server_socket.close()
            raise
        self._thread = thread
        if not self._has_started.wait(_START_WITHIN_S):  # nobody may be told that it listens
            raise ListenerUnavailable(f"listeners: {self.host}:{self.port} accepts nobody after {_START_WITHIN_S:g} s")

    def stop(self, within_s: float) -> bool:
        """Accept no more clients and finish the requests under way. Return whether the thread has ended in time."""
        thread, loop, stop = self._thread, self._loop, self._stop
        if thread is None or loop is None or stop is None:
            return True
        self._stop_within_s = max(0.0, within_s - _LAST_TURN_S)
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(stop.set)
        thread.join(within_s)
        return not thread.is_alive()

    def monitored_thread(self) -> MonitoredThread:
        """Return the thread for the watchdog. Only after `start`."""
        assert self._thread is not None
        return MonitoredThread(self._thread.name, self._thread, self._heartbeat)

    def _run(self, server_socket: socket.socket) -> None:
        try:
            asyncio.run(self._main(server_socket))
        except BaseException as error:  # noqa: BLE001  # whatever it is: the service must know that the loop has ended
            self._handler.report_failure(error)
        finally:
            self._has_started.set()
            server_socket.close()

    async def _main(self, server_socket: socket.socket) -> None:
        loop = self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        # Without this, asyncio logs unexpected exceptions itself, with all details, past framesift's own log.
        loop.set_exception_handler(lambda _loop, context: self._report_loop_error(context.get("exception")))
        self._server_socket = server_socket
        server_socket.setblocking(False)
        loop.add_reader(server_socket, self._accept, loop, server_socket)
        self._has_started.set()
        while not self._stop.is_set():
            self._heartbeat.monotonic()
            self._abort_idle_requests(loop.time())
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _HEARTBEAT_S)
        self._close_server_socket()
        await self._finish_connections()

    def _close_server_socket(self) -> None:
        if self._accept_timer is not None:
            self._accept_timer.cancel()
        if self._server_socket is not None and self._loop is not None:
            self._loop.remove_reader(self._server_socket)
            self._server_socket.close()
            self._server_socket = None

    def _accept(self, loop: asyncio.AbstractEventLoop, server_socket: socket.socket) -> None:
        """Accept a few waiting clients.

        In a flood, they are so few that each can send its request before the next ones take its slot.
        """
        # Not asyncio's own server: while no file can be opened, it logs an error a hundred times a second.
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, _address = server_socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:  # the client has gone already
                continue
            except OSError as error:
                if not self._out_of_descriptors:
                    self._out_of_descriptors = True
                    is_shortage = error.errno in OUT_OF_RESOURCES
                    self._handler.report_error(DescriptorsExhausted(*error.args) if is_shortage else error)
                loop.remove_reader(server_socket)
                self._accept_timer = loop.call_later(
                    _ACCEPT_RETRY_S, loop.add_reader, server_socket, self._accept, loop, server_socket
                )
                return
            self._out_of_descriptors = False
            sock.setblocking(False)
            task = loop.create_task(self._connect(loop, sock))
            self._accept_tasks.add(task)
            task.add_done_callback(self._accept_tasks.discard)

    async def _connect(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the client has gone already
            await loop.connect_accepted_socket(self._protocol, sock)

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(HttpReader(), self._on_connected)

    async def _on_connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, HttpReader)
        sock = writer.get_extra_info("socket")
        # asyncio sets this only for sockets that name their protocol, which those of `create_server` don't. Without it,
        # a response's body waits until the client has acknowledged the head, which takes 40 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * self._idle_timeout_s))
        connection = ClientConnection(reader, writer, self._slots, task=asyncio.current_task())
        now_s = asyncio.get_running_loop().time()
        try:
            if not self._make_room(now_s):
                await self._reject(connection)
                return
            self._slots.add(connection, now_s)
            await self._handler.serve(connection)
        except (OSError, asyncio.CancelledError):  # the client went away, or the server stops
            pass
        except Exception as error:  # noqa: BLE001  # an error with one client must not end the others
            self._handler.report_error(error)
        finally:
            connection.mark_served()
            try:
                writer.close()
                await writer.wait_closed()  # it keeps its slot until its last response has been sent
            except (OSError, asyncio.CancelledError):
                writer.transport.abort()
            self._slots.remove(connection)

    def _make_room(self, now_s: float) -> bool:
        """Return whether there is a slot for one more connection; closes another connection if necessary."""
        if len(self._slots) < MAX_CONNECTIONS:
            return True
        victim = self._slots.next_to_close(now_s)
        if victim is None:
            return False
        self._slots.remove(victim)
        victim.writer.transport.abort()
        if victim.task is not None:
            victim.task.cancel()
        return True

    async def _reject(self, connection: ClientConnection) -> None:
        if self._rejections == _MAX_REJECTIONS_AT_ONCE:
            connection.writer.transport.abort()
            return
        self._rejections += 1
        try:
            text = f"there are {MAX_CONNECTIONS} connections already"
            content = {"error": text, "message": text}  # ingest clients read "error", those of a proxy "message"
            response = build_response(503, content, extra_headers={"Retry-After": "1"}, close=True)
            await send_last_response(connection.reader, connection.writer, response, _HEARTBEAT_S)
        finally:
            self._rejections -= 1

    def _abort_idle_requests(self, now_s: float) -> None:
        for connection in self._slots.busy:
            idle_s = connection.idle_s(now_s)
            if idle_s is not None and idle_s > self._idle_timeout_s:
                connection.reader.abort_wait(BadHttp(408, f"nothing more came for {self._idle_timeout_s:g} s"))

    async def _finish_connections(self) -> None:
        connections = self._slots.all()
        for connection in connections:
            connection.stopping = True
            if not connection.busy and connection.task is not None:
                connection.task.cancel()
        tasks = [connection.task for connection in connections if connection.task is not None]
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=self._stop_within_s)
            for task in pending:
                task.cancel()
        await asyncio.sleep(0)  # what was written last is sent in the next turn of the loop

    def _report_loop_error(self, error: object) -> None:
        if isinstance(error, BaseException) and not isinstance(error, OSError):
            self._handler.report_error(error)

"""A real RTSP camera for tests: a server in a process of its own, and a connection before it that can be cut.

    with RtspCamera(folder) as camera, CuttableConnection(camera.port) as wire:
        source = wire.url("clip.mp4")       # rtsp://127.0.0.1:PORT/clip.mp4/play_count_0, loops for ever
        camera.stop(); camera.start()       # killed, and back on the same port
        wire.stall(); wire.resume()         # nothing arrives any more, the connection stays; and goes on
        wire.cut(); wire.cut(reset=True)    # FIN; RST
        wire.unplug(); wire.plug()          # new connections are refused; accepted again

The camera serves the H.264 files of a folder (without B-frames) over RTSP, TCP only. Ports stay reserved while their
server is down, so that rigs which run side by side never take each other's.
"""

from __future__ import annotations

import base64
import contextlib
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # this file is also run as a program, which knows no rigs
    from rigs.rtp_faults import RtpFaults

_READY_WITHIN_S = 20.0
_CHUNK_BYTES = 65_536


def reserved_port() -> socket.socket:
    """A port of 127.0.0.1, bound but not listening: connections are refused, and only we can listen there."""
    guard = socket.socket()
    guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    guard.bind(("127.0.0.1", 0))
    return guard


def rtsp_url(port: int, clip: str, *, endless: bool = True) -> str:
    return f"rtsp://127.0.0.1:{port}/{clip}" + ("/play_count_0" if endless else "")


class RtspCamera:
    """Serves a folder's clips; `endless` clips begin again at their end. Starts when it is entered."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guard = reserved_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.port: int = self._guard.getsockname()[1]

    def url(self, clip: str, *, endless: bool = True) -> str:
        return rtsp_url(self.port, clip, endless=endless)

    def start(self) -> None:
        """Returns when it listens."""
        if self._process is not None:
            raise RuntimeError("the camera runs already")
        command = [sys.executable, str(Path(__file__)), str(self._folder), str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        stdout = self._process.stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], _READY_WITHIN_S)
        if not ready or stdout.readline().strip() != b"ready":
            self.stop()
            raise RuntimeError("the RTSP server did not start")

    def stop(self) -> None:
        """Kills it, as a power cut does: connections are reset, new ones refused."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def freeze(self) -> None:
        """It hangs: connections stay, and nothing comes. The kernel still accepts new ones for it."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("the camera does not run")
        self._process.send_signal(number)

    def __enter__(self) -> RtspCamera:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._guard.close()


class _Connection:
    """A client's connection to us, and ours to the server for it."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near = near
        self.far = far
        self.is_ended = False

    def end(self, *, reset: bool) -> None:
        self.is_ended = True
        for side in (self.near, self.far):
            with contextlib.suppress(OSError):
                if reset:
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Wakes the thread that reads; while it does, closing alone would not reach the wire. A reset must not
                # be preceded by an orderly end, so only the reading side is shut for it.
                side.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
            side.close()


class CuttableConnection:
    """A TCP proxy to a server's port on this machine, with a port of its own; it can stall, be cut and be unplugged.

    With `credentials` ("user:password") it asks for them as a camera does (RTSP Basic), before anything gets through.
    """

    def __init__(self, to_port: int, *, credentials: str | None = None, faults: RtpFaults | None = None) -> None:
        """faults: what happens to the camera's packets, see rigs.rtp_faults."""
        self._to_port = to_port
        self._faults = faults
        self._credentials = credentials
        self._guard = reserved_port()
        self.port: int = self._guard.getsockname()[1]
        self._lock = threading.Lock()
        self._listening: socket.socket | None = None
        self._connections: list[_Connection] = []
        self._threads: list[threading.Thread] = []
        self._flowing = threading.Event()
        self._flowing.set()
        self._changed = threading.Condition()
        self.accepted = 0  # connections so far

    def url(self, clip: str, *, endless: bool = True) -> str:
        return rtsp_url(self.port, clip, endless=endless)

    def require(self, credentials: str) -> None:
        """Asks new connections for these credentials instead: somebody has changed the camera's password."""
        self._credentials = credentials

    def plug(self) -> None:
        with self._lock:
            if self._listening is None:
                self._listening = socket.socket()
                self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self._listening.bind(("127.0.0.1", self.port))
                self._listening.listen()
                self._spawn(self._accept, self._listening)

    def unplug(self) -> None:
        """Refuses new connections and resets those that are open: the camera lost its power."""
        with self._lock:
            if self._listening is not None:
                with contextlib.suppress(OSError):
                    self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
                self._listening.close()
                self._listening = None
        self.cut(reset=True)

    def stall(self) -> None:
        """From now on nothing gets through in either direction; connections stay, and new ones are accepted."""
        self._flowing.clear()

    def resume(self) -> None:
        """What has been held back gets through, in order."""
        self._flowing.set()

    def cut(self, *, reset: bool = False) -> None:
        """Ends the open connections on both sides: orderly (FIN), or with a reset (RST)."""
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.end(reset=reset)

    def wait_for_connections(self, count: int, timeout_s: float) -> bool:
        """Waits until that many connections were accepted in all."""
        with self._changed:
            return self._changed.wait_for(lambda: self.accepted >= count, timeout_s)

    def __enter__(self) -> CuttableConnection:
        self.plug()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()
        self.resume()
        self._guard.close()
        for thread in self._threads:
            thread.join(5)

    def _spawn(self, target: object, *arguments: object) -> None:
        assert callable(target)
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._to_port), timeout=5)
                far.settimeout(None)
            except OSError:  # the server is down
                near.close()
                continue
            connection = _Connection(near, far)
            with self._lock:
                self._connections.append(connection)
            with self._changed:
                self.accepted += 1
                self._changed.notify_all()
            self._spawn(self._serve, connection)

    def _serve(self, connection: _Connection) -> None:
        with contextlib.suppress(OSError):
            request = self._admitted(connection.near) if self._credentials is not None else b""
            if request is not None:
                connection.far.sendall(request)
                self._spawn(self._carry, connection, connection.far, connection.near)
                self._carry(connection, connection.near, connection.far)

    def _admitted(self, near: socket.socket) -> bytes | None:
        """The first request that carries the right credentials; the others are answered 401. None: the client left."""
        right = b"authorization: basic " + base64.b64encode((self._credentials or "").encode()).lower()
        buffer = b""
        while chunk := near.recv(_CHUNK_BYTES):
            buffer += chunk
            while b"\r\n\r\n" in buffer:
                request, _, rest = buffer.partition(b"\r\n\r\n")
                lines = [line.strip() for line in request.split(b"\r\n")]
                if any(line.lower() == right for line in lines):
                    return buffer
                sequence = next((line for line in lines if line.lower().startswith(b"cseq:")), b"CSeq: 0")
                answer = b'RTSP/1.0 401 Unauthorized\r\n%s\r\nWWW-Authenticate: Basic realm="camera"\r\n\r\n' % sequence
                near.sendall(answer)
                buffer = rest
        return None

    def _carry(self, connection: _Connection, source: socket.socket, target: socket.socket) -> None:
        is_answer = source is connection.far
        stream = self._faults.open_stream() if is_answer and self._faults is not None else None
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK_BYTES):
                self._flowing.wait()
                target.sendall(chunk if stream is None else stream.feed(chunk))
        with contextlib.suppress(OSError):
            if not connection.is_ended:
                target.shutdown(socket.SHUT_WR)


def _serve(folder: str, port: int) -> None:
    import asyncio

    from aio_rtsp_toolkit.server import RtspServer

    async def serve() -> None:
        server = RtspServer(folder, "127.0.0.1", port)
        await server.start()
        print("ready", file=out, flush=True)
        await server.serve_forever()

    # The server logs to stdout; the pipe is for our one word, and nobody reads it afterwards.
    with open(sys.stdout.fileno(), "w", closefd=False) as out, Path("/dev/null").open("w") as nowhere:
        sys.stdout = nowhere
        asyncio.run(serve())


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))

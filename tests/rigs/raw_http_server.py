"""A server that sends given bytes, for answers that no proper HTTP server gives. Plain or with TLS, on loopback."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@dataclass(frozen=True)
class RawRequest:
    """A request as it came: its first line and headers, and its body."""

    head: str
    body: bytes

    @property
    def target(self) -> str:
        return self.head.split(" ")[1]

    def header(self, name: str) -> str | None:
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None


class Peer:
    """One connection, as the server sees it."""

    def __init__(self, connection: socket.socket, raw: RawServer) -> None:
        self._connection = connection
        self._raw = raw
        self._file = connection.makefile("rb")

    def read(self) -> RawRequest | None:
        """The next request, whole; None where the client has closed."""
        lines: list[bytes] = []
        while (line := self._file.readline()) not in (b"\r\n", b""):
            lines.append(line)
        if not lines:
            return None
        head = b"".join(lines).decode("latin-1").rstrip("\r\n")
        asked = RawRequest(head, b"")
        asked = RawRequest(head, self._file.read(int(asked.header("Content-Length") or 0)))
        self._raw.asked.append(asked)
        return asked

    def rest(self, end: bytes) -> bytes:
        """What comes after a head, until these bytes have come."""
        got = b""
        while not got.endswith(end) and (byte := self._file.read(1)):
            got += byte
        return got

    def some(self, count: int) -> bytes:
        """So many bytes, or what comes before the client ends."""
        return self._file.read(count)

    def send(self, content: bytes) -> None:
        self._connection.sendall(content)

    def trickle(self, content: bytes, every_s: float) -> None:
        """Byte by byte, until the client has gone."""
        for byte in content:
            self.send(bytes([byte]))
            if self._raw.over.wait(every_s):
                return

    def hold(self) -> None:
        """Sends nothing until the client has gone, or the test is over."""
        self._connection.settimeout(0.05)
        while not self._raw.over.is_set():
            with contextlib.suppress(TimeoutError):
                if not self._connection.recv(65536):
                    return

    def join(self, port: int) -> None:
        """Carries bytes to and from another port of this machine, as a proxy does."""
        with socket.create_connection(("127.0.0.1", port)) as other:
            ends = {self._connection: other, other: self._connection}
            while True:
                for end in select.select(list(ends), [], [], 30.0)[0]:
                    if not (content := end.recv(65536)):
                        return
                    ends[end].sendall(content)

    def reset(self) -> None:
        """Closes without an orderly end."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._file.close()
        self._connection.close()


class RawServer:
    """talk: what to do with each connection, in a thread of its own; it is closed when that returns.

    connections: how many there were. asked: the requests that were read. tls: certificate and key.
    """

    def __init__(self, talk: Callable[[Peer], object], certificate: tuple[Path, Path] | None = None) -> None:
        self.connections = 0
        self.asked: list[RawRequest] = []
        self.over = threading.Event()
        self._talk = talk
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'http' if certificate is None else 'https'}://127.0.0.1:{self.port}"

    def __enter__(self) -> RawServer:
        self._begin(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10.0)

    def _begin(self, what: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=what, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._begin(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(30.0)
        with contextlib.suppress(OSError):  # the client has gone, or did not like the certificate
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._open.append(connection)
            self._talk(Peer(connection, self))
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


@contextlib.contextmanager
def answering(*answers: bytes, certificate: tuple[Path, Path] | None = None) -> Iterator[RawServer]:
    """Answers each connection's requests with these bytes, one after the other, and then closes it."""

    def talk(peer: Peer) -> None:
        for answer in answers:
            if peer.read() is None:
                return
            peer.send(answer)

    with RawServer(talk, certificate) as raw:
        yield raw


def reserve_closed_port() -> tuple[socket.socket, int]:
    """A port of this machine that refuses connections for as long as the socket is held."""
    place = socket.socket()
    place.bind(("127.0.0.1", 0))
    return place, place.getsockname()[1]


def make_certificate(folder: Path, names: str = "IP:127.0.0.1,DNS:localhost") -> tuple[Path, Path]:
    """A certificate that is its own authority, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=framesift test", "-addext", f"subjectAltName={names}", "-keyout", str(key), "-out",
         str(certificate)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return certificate, key

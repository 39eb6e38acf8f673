"""Connections and sockets that apply the deadline of the whole exchange, and note how far the exchange has got.

The timeout of an ordinary socket holds for one wait. Here each wait gets the time that is left of the whole exchange,
so that neither a slow trickle of bytes nor many slow steps can take longer.

To make its own sockets, this module overrides one private method of urllib3, `HTTPConnection._new_conn`; there is no
documented way. So pyproject.toml limits urllib3 from above, scripts/test_dependency_ranges.py tests the lowest and the
newest version, and `connect` fails loudly if a urllib3 no longer calls that method.
"""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401  # loaded now: a look-up would load it later, perhaps when no file can be opened
import http.client
import socket
import ssl
import threading
import time
from enum import Enum
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class Phase(Enum):
    """How far an exchange has got."""

    BEFORE = "before"
    CONNECTING = "connecting"
    TLS_HANDSHAKE = "securing"
    SENT = "sent"  # at least in part


AWAITED = {
    Phase.BEFORE: "connection",
    Phase.CONNECTING: "connection",
    Phase.TLS_HANDSHAKE: "secured connection",
    Phase.SENT: "whole answer",
}


class Exchanges:
    """The exchanges under way of one or several clients, so that all of them can be cut. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, socket.socket] = {}  # by thread: where it waits, or has waited last
        self._is_cut = False

    @property
    def is_cut(self) -> bool:
        """Whether `cut` was called."""
        return self._is_cut

    def cut(self) -> None:
        """End every exchange under way, at once; each later one fails before it sends anything.

        Only a look-up of a host name goes on. For the end of the program.
        """
        with self._lock:
            self._is_cut = True
            for waiting in self._waiting.values():
                # Not `close`: the thread that waits would go on waiting. And not TlsSocket's own `shutdown`, which
                # takes the TLS layer from under that thread.
                with contextlib.suppress(OSError):  # it has ended by itself
                    socket.socket.shutdown(waiting, socket.SHUT_RDWR)

    def begin_wait(self, waiting: socket.socket) -> None:
        """The calling thread is about to wait for this socket. Raises OSError after `cut`."""
        with self._lock:
            if self._is_cut:
                raise ConnectionAbortedError
            self._waiting[threading.get_ident()] = waiting

    def end(self) -> None:
        """The calling thread's exchange is over."""
        with self._lock:
            self._waiting.pop(threading.get_ident(), None)


class _Current(threading.local):
    """The exchange of the calling thread (it has one at a time). Sockets and connections read their deadline here."""

    def __init__(self) -> None:
        self.begin(0.0, Exchanges())

    def begin(self, within_s: float, exchanges: Exchanges) -> None:
        """Start an exchange that must end in `within_s` seconds, or when `exchanges` are cut."""
        self._deadline_s = time.monotonic() + within_s
        self._exchanges = exchanges
        self.phase = Phase.BEFORE

    def left_s(self, waiting: socket.socket) -> float:
        """Return the seconds that are left to wait for this socket. Raises TimeoutError if none are.

        Raises OSError if the exchanges are cut, and ends the wait when they are.
        """
        self._exchanges.begin_wait(waiting)
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0.0:
            raise TimeoutError
        return left_s


current_exchange = _Current()


class _PlainSocket(socket.socket):
    """A socket each of whose waits may take only the time that is left of the exchange."""

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        self.settimeout(current_exchange.left_s(self))
        super().sendall(data, flags)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        self.settimeout(current_exchange.left_s(self))
        return super().recv(size, flags)

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0, /) -> int:
        self.settimeout(current_exchange.left_s(self))
        return super().recv_into(buffer, size, flags)


class TlsSocket(ssl.SSLSocket):
    """Like `_PlainSocket`, with TLS. Its sendall calls send."""

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands within the time that is left."""
        self.settimeout(current_exchange.left_s(self))
        super().do_handshake(block)

    def send(self, data: Any, flags: int = 0) -> int:
        """Send within the time that is left."""
        self.settimeout(current_exchange.left_s(self))
        return super().send(data, flags)

    def recv(self, size: int = 1024, flags: int = 0) -> bytes:
        """Receive within the time that is left."""
        self.settimeout(current_exchange.left_s(self))
        return super().recv(size, flags)

    def recv_into(self, buffer: Any, size: int | None = None, flags: int = 0) -> int:
        """Receive into the buffer within the time that is left."""
        self.settimeout(current_exchange.left_s(self))
        return super().recv_into(buffer, size, flags)


class _FinalResponse(http.client.HTTPResponse):
    """Skips every interim response (1xx, except 101).

    http.client skips only 100. It would take "103 Early Hints" for the response, and the real response for that to the
    next request.
    """

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]  # private, the same since Python 3.0
        is_interim = 100 <= status < 200 and status != 101
        return version, 100 if is_interim else status, reason


class _Plain(HTTPConnection):
    response_class = _FinalResponse

    def _new_conn(self) -> socket.socket:
        current_exchange.phase = Phase.CONNECTING
        found = socket.getaddrinfo(self.host, self.port, 0, socket.SOCK_STREAM)
        for left in range(len(found), 0, -1):
            family, kind, protocol, _, address = found[-left]
            connected = _PlainSocket(family, kind, protocol)
            try:
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # A dead first address leaves time for the next.
                connected.settimeout(current_exchange.left_s(connected) / left)
                connected.connect(address)
            except OSError:
                connected.close()
                if left == 1:
                    raise
            else:
                current_exchange.phase = Phase.TLS_HANDSHAKE
                return connected
        raise OSError("no addresses")  # getaddrinfo has raised

    def connect(self) -> None:
        super().connect()
        if current_exchange.phase is not Phase.TLS_HANDSHAKE:
            raise RuntimeError("this version of urllib3 makes sockets without the deadline; see pyproject.toml")

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()  # before the phase SENT: the CONNECT of a tunnel is not the request yet
        current_exchange.phase = Phase.SENT
        super().request(*args, **kwargs)


class _Tls(_Plain, HTTPSConnection):
    pass


class PlainHttpPool(HTTPConnectionPool):
    """Connections without TLS to one host."""

    ConnectionCls = _Plain


class TlsHttpPool(HTTPSConnectionPool):
    """Connections with TLS to one host."""

    ConnectionCls = _Tls

"""Connections and sockets that apply the deadline of the whole exchange, and note how far the exchange has got.

The timeout of an ordinary socket holds for one wait. Here each wait gets the time that is left of the whole exchange,
so that neither a slow trickle of bytes nor many slow steps can take longer.

To make its own sockets, this module overrides one private method of urllib3, `HTTPConnection._new_conn`; there is no
documented way. So pyproject.toml limits urllib3 from above, scripts/test_dependency_ranges.py tests the lowest and the
newest version, and `connect` fails loudly if a urllib3 no longer calls that method.
"""

from __future__ import annotations

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


class _Current(threading.local):
    """The exchange of the calling thread (it has one at a time). Sockets and connections read their deadline here."""

    def __init__(self) -> None:
        self.begin(0.0)

    def begin(self, within_s: float) -> None:
        """Start an exchange that must end in `within_s` seconds."""
        self._deadline_s = time.monotonic() + within_s
        self.phase = Phase.BEFORE

    def left_s(self) -> float:
        """Return the seconds that are left. Raises TimeoutError if none are."""
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0.0:
            raise TimeoutError
        return left_s


current_exchange = _Current()


class _PlainSocket(socket.socket):
    """A socket each of whose waits may take only the time that is left of the exchange."""

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        self.settimeout(current_exchange.left_s())
        super().sendall(data, flags)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        self.settimeout(current_exchange.left_s())
        return super().recv(size, flags)

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0, /) -> int:
        self.settimeout(current_exchange.left_s())
        return super().recv_into(buffer, size, flags)


class TlsSocket(ssl.SSLSocket):
    """Like `_PlainSocket`, with TLS. Its sendall calls send."""

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands within the time that is left."""
        self.settimeout(current_exchange.left_s())
        super().do_handshake(block)

    def send(self, data: Any, flags: int = 0) -> int:
        """Send within the time that is left."""
        self.settimeout(current_exchange.left_s())
        return super().send(data, flags)

    def recv(self, size: int = 1024, flags: int = 0) -> bytes:
        """Receive within the time that is left."""
        self.settimeout(current_exchange.left_s())
        return super().recv(size, flags)

    def recv_into(self, buffer: Any, size: int | None = None, flags: int = 0) -> int:
        """Receive into the buffer within the time that is left."""
        self.settimeout(current_exchange.left_s())
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
                connected.settimeout(current_exchange.left_s() / left)  # a dead first address leaves time for the next
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

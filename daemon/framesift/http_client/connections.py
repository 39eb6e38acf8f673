"""Connections that know the deadline of the exchange which uses them, and how far it has got.

A timeout of a socket is one wait's; here every wait gets what is left of the whole exchange, so that neither a trickle
nor a row of slow steps outlasts it.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401  # which looking up a name would load, perhaps when no file can be opened
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
    BEFORE = "before"
    CONNECTING = "connecting"
    TLS_HANDSHAKE = "securing"
    SENT = "sent"  # perhaps in part


AWAITED = {
    Phase.BEFORE: "connection",
    Phase.CONNECTING: "connection",
    Phase.TLS_HANDSHAKE: "secured connection",
    Phase.SENT: "whole answer",
}


class _Current(threading.local):
    """The exchange of this thread, which has one at a time: sockets and connections look here."""

    def __init__(self) -> None:
        self.begin(0.0)

    def begin(self, within_s: float) -> None:
        self._deadline_s = time.monotonic() + within_s
        self.phase = Phase.BEFORE

    def left_s(self) -> float:
        """Raises TimeoutError when there is nothing left."""
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0.0:
            raise TimeoutError
        return left_s


current_exchange = _Current()


class _PlainSocket(socket.socket):
    """Waits for as long as the exchange may still last, however many waits there are."""

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
    """The same, for a connection with TLS; its sendall goes through send."""

    def do_handshake(self, block: bool = False) -> None:
        self.settimeout(current_exchange.left_s())
        super().do_handshake(block)

    def send(self, data: Any, flags: int = 0) -> int:
        self.settimeout(current_exchange.left_s())
        return super().send(data, flags)

    def recv(self, size: int = 1024, flags: int = 0) -> bytes:
        self.settimeout(current_exchange.left_s())
        return super().recv(size, flags)

    def recv_into(self, buffer: Any, size: int | None = None, flags: int = 0) -> int:
        self.settimeout(current_exchange.left_s())
        return super().recv_into(buffer, size, flags)


class _FinalResponse(http.client.HTTPResponse):
    """Takes every preliminary answer for the one that http.client knows to skip, 100; it would take "103 Early Hints"
    for the answer, and the answer for that to the next request.
    """

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]  # private, the same since Python 3.0
        preliminary = 100 <= status < 200 and status != 101
        return version, 100 if preliminary else status, reason


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
                connected.settimeout(
                    current_exchange.left_s() / left
                )  # so that a first address which is dead leaves time
                connected.connect(address)
            except OSError:
                connected.close()
                if left == 1:
                    raise
            else:
                current_exchange.phase = Phase.TLS_HANDSHAKE
                return connected
        raise OSError("no addresses")  # getaddrinfo has raised

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()  # a tunnel's CONNECT is not the request yet
        current_exchange.phase = Phase.SENT
        super().request(*args, **kwargs)


class _Tls(_Plain, HTTPSConnection):
    pass


class PlainHttpPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class TlsHttpPool(HTTPSConnectionPool):
    ConnectionCls = _Tls

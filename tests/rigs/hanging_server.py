"""A server that hangs at a chosen step of each connection, on loopback: until it is closed, no client gets further.

    with HangingServer("answer") as server:
        ...                                 # something begins a request to server.url
        server.wait_until_it_hangs()

The steps: `connect` (its backlog is full, so that no connection is ever made), `tls` (it says nothing to a handshake),
`answer` (it reads what is sent, and never answers), `body` (it answers a head, and then one byte a second), `deaf` (it
doesn't even read, so that a client which sends much waits as well).
"""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Literal

HangsAt = Literal["connect", "tls", "answer", "body", "deaf"]
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10000\r\n\r\n"
_BYTE_EVERY_S = 1.0


class HangingServer:
    """clients: how many have sent something to it (none where it hangs at `connect`)."""

    def __init__(self, hangs_at: HangsAt) -> None:
        self.clients = 0
        self._hangs_at = hangs_at
        self._over = threading.Event()
        self._came = threading.Condition()
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0 if hangs_at == "connect" else 128)
        self._open: list[socket.socket] = []
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"{'https' if hangs_at == 'tls' else 'http'}://{self.address}"

    def __enter__(self) -> HangingServer:
        if self._hangs_at == "connect":
            self._fill_backlog()
        else:
            threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()

    @property
    def hangs(self) -> bool:
        """Whether a client waits."""
        return self._is_dialled() if self._hangs_at == "connect" else self.clients > 0

    def wait_until_it_hangs(self, within_s: float = 30.0) -> None:
        """Wait until a client waits. AssertionError if none has come."""
        with self._came:
            for _ in range(int(within_s / 0.05)):
                if self.hangs:
                    return
                self._came.wait(0.05)
        raise AssertionError(f"no client has come to {self.address}")

    def _is_dialled(self) -> bool:
        """Whether a client has sent its SYN and has no answer (the state 02), beside those that fill the backlog."""
        host, _, port = self.address.partition(":")
        wanted = f"{int.from_bytes(socket.inet_aton(host), 'little'):08X}:{int(port):04X}"
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        own = {f"{client.getsockname()[1]:04X}" for client in self._open}
        return any(f[2] == wanted and f[3] == "02" and f[1].partition(":")[2] not in own for f in lines)

    def _fill_backlog(self) -> None:
        """The kernel completes a connection or two for a backlog of 0; the next SYN gets no answer."""
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(self._listener.getsockname())
            self._open.append(client)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.recv(1, socket.MSG_PEEK)  # until something has come
            with self._came:
                self.clients += 1
                self._came.notify_all()
            if self._hangs_at == "body":
                connection.sendall(_HEAD)
                threading.Thread(target=self._trickle, args=(connection,), daemon=True).start()
            while self._hangs_at in ("answer", "body") and connection.recv(65536):
                pass

    def _trickle(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not self._over.wait(_BYTE_EVERY_S):
                connection.sendall(b" ")

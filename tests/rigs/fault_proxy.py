"""A TCP proxy between a device and a server, which can delay, drop or cut answers, and speak TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class FaultProxy:
    """mode: `pass`, `swallow` (what the server answers goes nowhere), `cut` (the connection ends where an answer would
    begin), `half` (half of an answer comes)."""

    def __init__(self, port: int, certificate: tuple[Path, Path] | None) -> None:
        self.mode = "pass"
        self.delay_s = 0.0  # of each answer
        self.before_answer: Callable[[], None] = lambda: None
        self.swallowed = 0
        self._server_port = port
        self._place = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._place.getsockname()[1])
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self.use_certificate(certificate)
        self._pause = threading.Event()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def use_certificate(self, certificate: tuple[Path, Path]) -> None:
        """Show this certificate to new connections. certificate: its file, and that of its key."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self._context = context

    def cut(self) -> None:
        """End all connections that are open."""
        for one in self._open:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._place.shutdown(socket.SHUT_RDWR)
        self._place.close()
        self._thread.join(10)
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._place.accept()
            except OSError:
                return
            try:
                if self._context is not None:
                    client = self._context.wrap_socket(client, server_side=True)
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                client.close()
                continue
            self._open += [client, server]
            threading.Thread(target=self._carry, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._carry, args=(server, client, True), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(1 << 16):
                if is_answer:
                    self.before_answer()
                if is_answer and self.delay_s:
                    self._pause.wait(self.delay_s)
                if is_answer and self.mode != "pass":
                    self.swallowed += 1
                    if self.mode == "cut":
                        break
                    content = content[: len(content) // 2] if self.mode == "half" else b""
                target.sendall(content)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@contextmanager
def fault_proxy(port: int, certificate: tuple[Path, Path] | None = None) -> Iterator[FaultProxy]:
    made = FaultProxy(port, certificate)
    try:
        yield made
    finally:
        made.close()

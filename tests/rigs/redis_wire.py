"""A wire between devices and their server, on loopback, that can lose what the server answers: requests always arrive,
so that the script has run when its answer is lost."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum


class Fate(Enum):
    """What becomes of an answer."""

    SWALLOWED = "swallowed"  # it never comes, and nothing after it
    HALVED = "halved"  # half of it comes, and nothing after it
    CUT = "cut"  # the connection ends instead


class RedisWire:
    """lost: how many answers met their fate."""

    def __init__(self, port: int) -> None:
        self.lost = 0
        self._to = port
        self._place = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._place.getsockname()[1])
        self._lock = threading.Lock()
        self._next: list[Fate] = []
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, *fates: Fate) -> None:
        """The next answers, whoever they are for."""
        with self._lock:
            self._next += fates

    def restore(self) -> None:
        """Answers arrive again."""
        with self._lock:
            self._next.clear()

    def close(self) -> None:
        self._place.close()
        with self._lock:
            left, self._open = self._open, []
        for one in left:
            _close(one)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._place.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._to), timeout=5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open += (near, far)
            threading.Thread(target=self._requests, args=(near, far), daemon=True).start()
            threading.Thread(target=self._answers, args=(far, near), daemon=True).start()

    def _requests(self, near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while some := near.recv(65536):
                far.sendall(some)
        _close(near)
        _close(far)

    def _answers(self, far: socket.socket, near: socket.socket) -> None:
        is_silent = False
        with contextlib.suppress(OSError):
            while some := far.recv(65536):
                if is_silent:
                    continue
                with self._lock:
                    fate = self._next.pop(0) if self._next else None
                    self.lost += fate is not None
                if fate is Fate.CUT:
                    break
                is_silent = fate is not None
                if fate is Fate.HALVED:
                    near.sendall(some[: len(some) // 2])
                elif fate is None:
                    near.sendall(some)
        _close(near)
        _close(far)


@contextmanager
def redis_wire(port: int) -> Iterator[RedisWire]:
    made = RedisWire(port)
    try:
        yield made
    finally:
        made.close()


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()

"""Many clients at an HTTP port: silent, slow and hostile connections, which connect again when they are cut.

    python -m rigs.connection_storm PORT SILENT SLOW HOSTILE

A process of its own, with one thread, which ignores the answers. Prints a line when all have connected.
"""

from __future__ import annotations

import heapq
import itertools
import random
import resource
import selectors
import socket
import sys
import time

_AGAIN_AFTER_S = 0.25
_WORDS = (
    b"",
    b"\x16\x03\x01\x02\x00\x01\xfc",
    b"GET /status\r\n\r\n",
    bytes(20_000),
    b"GET /" + b"x" * 20_000,
    b"GET /healthz HTTP/1.1\nHost: x\n\n",
    b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n" * 50,
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 40,
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 40,
    b"POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n" + bytes(3000),
)


class ConnectionStorm:
    """Many clients of one port at once, with a seeded choice of what each does wrong."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._chance = random.Random(1)
        self._selector = selectors.DefaultSelector()
        self._number = itertools.count()
        self._due: list[tuple[float, int, str, socket.socket | None]] = []

    def run(self, kinds: dict[str, int]) -> None:
        """For ever."""
        for kind, count in kinds.items():
            for _ in range(count):
                self._later(0.0, kind, None)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, kind, wire = heapq.heappop(self._due)
                self._begin(kind) if wire is None else self._say(kind, wire)
            for key, _ in self._selector.select(0.01):
                assert isinstance(key.fileobj, socket.socket)
                try:
                    if key.fileobj.recv(65536):
                        continue
                except BlockingIOError:
                    continue
                except OSError:
                    pass
                self._end(key.data, key.fileobj)

    def _later(self, in_s: float, kind: str, wire: socket.socket | None) -> None:
        heapq.heappush(self._due, (time.monotonic() + in_s, next(self._number), kind, wire))

    def _begin(self, kind: str) -> None:
        wire = socket.socket()
        wire.setblocking(False)
        try:
            wire.connect(("127.0.0.1", self._port))
        except BlockingIOError:
            pass
        except OSError:
            wire.close()
            self._later(_AGAIN_AFTER_S, kind, None)
            return
        self._selector.register(wire, selectors.EVENT_READ, kind)
        if kind != "silent":
            self._later(0.01, kind, wire)

    def _say(self, kind: str, wire: socket.socket) -> None:
        if wire.fileno() < 0:
            return
        try:
            wire.send(b"G" if kind == "slow" else self._chance.choice(_WORDS))
        except BlockingIOError:
            pass
        except OSError:
            self._end(kind, wire)
            return
        if kind == "hostile" and self._chance.random() < 0.5:
            self._end(kind, wire)
        else:
            self._later(1.0 if kind == "slow" else 0.05, kind, wire)

    def _end(self, kind: str, wire: socket.socket) -> None:
        self._selector.unregister(wire)
        wire.close()
        self._later(_AGAIN_AFTER_S, kind, None)


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    port, silent, slow, hostile = map(int, sys.argv[1:])
    ConnectionStorm(port).run({"silent": silent, "slow": slow, "hostile": hostile})

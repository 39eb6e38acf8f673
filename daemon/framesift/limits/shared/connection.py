"""Link: one connection to Redis, for requests to the ledger's script, each with a deadline over all of it.

Nothing is retried and nothing connects by itself: whoever must not wait uses a link that somebody else has opened.
After any failure it is closed, since an answer that comes late would be taken for the next one's.
"""

from __future__ import annotations

import hashlib
import socket
import time
from dataclasses import replace
from importlib import resources
from typing import Any

from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection
from redis.exceptions import MovedError, NoScriptError, RedisError
from redis.retry import Retry

from framesift.limits import LimitsUnavailable
from framesift.limits.shared.server import RedisAddress

SCRIPT = (resources.files("framesift.limits.shared") / "ledger.lua").read_text(encoding="utf-8")
_HASH = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()  # as EVALSHA names it
_MOST_MOVES = 3
# Routers forget connections that are silent for minutes; one that collects little must not find that out with a frame.
_ALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


class LedgerConnection:
    """For one thread at a time. within_s: the deadline of opening it."""

    def __init__(self, server: RedisAddress, within_s: float) -> None:
        self._home = self._server = server  # and where a cluster has sent us from there
        self._within_s = within_s
        self._connection: Connection | None = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    def open(self, key: str, request: bytes) -> bytes:
        """Opens it to the server that has the key, and returns the script's first answer. Raises LimitsUnavailable."""
        for _ in range(_MOST_MOVES):
            server = self._server
            try:
                self.connect()
                return self.run_script(key, request, self._within_s)
            except LimitsUnavailable:
                if self._server is server:
                    raise
        raise LimitsUnavailable("the cluster sends us from one server to the next")

    def connect(self) -> None:
        """Without asking anything. Raises LimitsUnavailable."""
        self.close()
        ca_file = self._server.ca_file
        if ca_file is not None and not ca_file.is_file():  # the library says only that some file isn't there
            raise LimitsUnavailable(f"{ca_file} can't be read: there is no such file")
        connection = _connection(self._server, self._within_s)
        try:
            connection.connect()  # type: ignore[no-untyped-call]  # half of the library has no types
        except (RedisError, OSError, ValueError) as error:
            self._server = self._home  # which may know who has taken its place
            raise _unavailable(error) from None
        self._connection = connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.disconnect()  # type: ignore[no-untyped-call]
            self._connection = None

    def run_script(self, key: str, request: bytes, within_s: float) -> bytes:
        """The script's answer. Raises LimitsUnavailable; the request may then have been carried out, or not."""
        deadline_s = time.monotonic() + within_s
        try:
            try:
                answer = self._command(deadline_s, "EVALSHA", _HASH, "1", key, request)
            except NoScriptError:  # the server is new, or its scripts were flushed
                answer = self._command(deadline_s, "EVAL", SCRIPT, "1", key, request)
        except MovedError as error:
            self.close()
            self._server = replace(self._server, host=error.host or self._server.host, port=error.port)
            raise LimitsUnavailable("the key has moved to another server of the cluster") from None
        except (RedisError, OSError, ValueError) as error:
            self.close()
            raise _unavailable(error) from None
        return answer

    def server_info(self, section: str) -> dict[str, str]:
        """What the server says of itself. Raises LimitsUnavailable."""
        try:
            said = self._command(time.monotonic() + self._within_s, "INFO", section)
        except (RedisError, OSError, ValueError) as error:
            self.close()
            raise _unavailable(error) from None
        lines = said.decode(errors="replace").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def _command(self, deadline_s: float, *words: str | bytes) -> bytes:
        connection = self._connection
        if connection is None:
            raise ConnectionError("not connected")
        connection.send_command(*words, check_health=False)  # type: ignore[no-untyped-call]
        if not connection.can_read(timeout=max(0.0, deadline_s - time.monotonic())):
            raise TimeoutError("no answer in time")
        # An answer that has begun may stop in the middle, and the library knows only one time-out for everything.
        wire: socket.socket | None = connection._sock
        if wire is not None:
            wire.settimeout(max(0.001, deadline_s - time.monotonic()))
        answer = connection.read_response(disable_decoding=True)
        if not isinstance(answer, bytes):
            raise ValueError(f"an answer of the wrong kind: {type(answer).__name__}")
        return answer


def _connection(server: RedisAddress, within_s: float) -> Connection:
    how: dict[str, Any] = {
        "host": server.host,
        "port": server.port,
        "db": server.db,
        "username": server.username,
        "password": server.password,
        "socket_timeout": within_s,
        "socket_connect_timeout": within_s,
        "socket_keepalive": True,
        "socket_keepalive_options": {getattr(socket, k): v for k, v in _ALIVE.items() if hasattr(socket, k)},
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    if server.tls:
        return SSLConnection(ssl_ca_certs=None if server.ca_file is None else str(server.ca_file), **how)
    return Connection(**how)  # type: ignore[no-untyped-call]


def _unavailable(error: Exception) -> LimitsUnavailable:
    text = str(error).strip() or type(error).__name__
    return LimitsUnavailable(text[:200])

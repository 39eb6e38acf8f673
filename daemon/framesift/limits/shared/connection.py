"""One connection to Redis, for requests to the ledger's script. Each request has a deadline for the whole answer.

It never retries or connects by itself, so that frames, which must not wait, use a connection that another thread has
opened. It is closed after any failure: a late answer would be read as the answer to the next request.
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
from redis.exceptions import TimeoutError as NoAnswerInTime
from redis.retry import Retry

from framesift.limits import LimitsUnavailable
from framesift.limits.shared.server import RedisAddress

SCRIPT = (resources.files("framesift.limits.shared") / "ledger.lua").read_text(encoding="utf-8")
_SCRIPT_SHA1 = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()  # the name of the script for EVALSHA
_MAX_REDIRECTS = 3
# Routers drop connections that are idle for minutes. Without this, the next frame would be the first to notice.
_KEEPALIVE_OPTIONS = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


class LedgerConnection:
    """A connection to the server that has the ledger. For one thread at a time. timeout_s: for opening it."""

    def __init__(self, address: RedisAddress, timeout_s: float) -> None:
        self._first_address = self._address = address  # the second follows redirects of a cluster
        self._timeout_s = timeout_s
        self._connection: Connection | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is connected, as far as is known."""
        return self._connection is not None

    def open(self, key: str, request: bytes) -> bytes:
        """Connects to the server that has `key`, and returns the script's answer to `request`.

        It follows the redirects of a Redis Cluster. Raises LimitsUnavailable.
        """
        for _ in range(_MAX_REDIRECTS):
            address = self._address
            try:
                self.connect()
                return self.run_script(key, request, self._timeout_s)
            except LimitsUnavailable:
                if self._address is address:
                    raise
        raise LimitsUnavailable("the cluster redirects from one server to the next")

    def connect(self) -> None:
        """Connects and logs in, without a request. Raises LimitsUnavailable."""
        self.close()
        ca_file = self._address.ca_file
        if ca_file is not None and not ca_file.is_file():  # the library's error doesn't name the file
            problem = "is a folder, and no file" if ca_file.is_dir() else "does not exist"
            raise LimitsUnavailable(f"the file {ca_file} {problem}")
        connection = _new_connection(self._address, self._timeout_s)
        try:
            connection.connect()  # type: ignore[no-untyped-call]  # the library is only partly typed
        except (RedisError, OSError, ValueError) as error:
            self._address = self._first_address  # it may know which server has replaced this one
            raise _limits_unavailable(error) from None
        self._connection = connection

    def close(self) -> None:
        """Closes the connection. Does nothing if it is closed."""
        if self._connection is not None:
            self._connection.disconnect()  # type: ignore[no-untyped-call]
            self._connection = None

    def run_script(self, key: str, request: bytes, timeout_s: float) -> bytes:
        """Executes the ledger's script and returns its JSON answer.

        Raises LimitsUnavailable. It is then unknown whether the request was executed.
        """
        deadline_s = time.monotonic() + timeout_s
        try:
            try:
                answer = self._execute(deadline_s, "EVALSHA", _SCRIPT_SHA1, "1", key, request)
            except NoScriptError:  # the server was restarted, or its scripts were flushed
                answer = self._execute(deadline_s, "EVAL", SCRIPT, "1", key, request)
        except MovedError as error:
            self.close()
            self._address = replace(self._address, host=error.host or self._address.host, port=error.port)
            raise LimitsUnavailable("the key has moved to another server of the cluster") from None
        except (RedisError, OSError, ValueError) as error:
            self.close()
            raise _limits_unavailable(error) from None
        return answer

    def server_info(self, section: str) -> dict[str, str]:
        """The fields of one section of the server's INFO command. Raises LimitsUnavailable."""
        try:
            text = self._execute(time.monotonic() + self._timeout_s, "INFO", section)
        except (RedisError, OSError, ValueError) as error:
            self.close()
            raise _limits_unavailable(error) from None
        lines = text.decode(errors="replace").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def _execute(self, deadline_s: float, *command: str | bytes) -> bytes:
        connection = self._connection
        if connection is None:
            raise ConnectionError("not connected")
        connection.send_command(*command, check_health=False)  # type: ignore[no-untyped-call]
        if not connection.can_read(timeout=max(0.0, deadline_s - time.monotonic())):
            raise TimeoutError("the server did not answer in time")
        # An answer may stop in the middle, and the library has only one time-out for all reads of a connection. `_sock`
        # is its only undocumented name that is used here: pyproject.toml caps the version, and
        # scripts/test_dependency_ranges.py tries both ends of the range.
        connected_socket: socket.socket | None = connection._sock
        if connected_socket is not None:
            connected_socket.settimeout(max(0.001, deadline_s - time.monotonic()))
        answer = connection.read_response(disable_decoding=True)
        if not isinstance(answer, bytes):
            raise ValueError(f"the server answered with the wrong type: {type(answer).__name__}")
        return answer


def _new_connection(address: RedisAddress, timeout_s: float) -> Connection:
    options: dict[str, Any] = {
        "host": address.host,
        "port": address.port,
        "db": address.db,
        "username": address.username,
        "password": address.password,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "socket_keepalive": True,
        "socket_keepalive_options": {
            getattr(socket, k): v for k, v in _KEEPALIVE_OPTIONS.items() if hasattr(socket, k)
        },
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    if address.tls:
        return SSLConnection(ssl_ca_certs=None if address.ca_file is None else str(address.ca_file), **options)
    return Connection(**options)  # type: ignore[no-untyped-call]


def _limits_unavailable(error: Exception) -> LimitsUnavailable:
    if isinstance(error, TimeoutError | NoAnswerInTime):
        return LimitsUnavailable("the server did not answer in time: it hangs, is overloaded, or can't be reached")
    text = str(error).strip() or type(error).__name__
    if "unknown command" in text.lower():
        return LimitsUnavailable(
            "the server knows no scripts: if it is a Redis Sentinel, give the primary itself, redis://host:6379/0"
        )
    return LimitsUnavailable(text[:200])

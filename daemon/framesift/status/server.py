"""StatusServer: the pages behind a socket, in a thread of their own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import uvicorn
from pydantic import SecretStr

from framesift.status.pages import application
from framesift.telemetry import Condition, Telemetry

_MOST_CONNECTIONS = 32
_LONGEST_HEADER_BYTES = 16 << 10
_JOIN_S = 3.0


class StatusUnavailable(OSError):
    """The address can't be listened at; the text names it and says why."""


class Window(Protocol):
    """Where to listen, and what to ask for: `status` of the settings."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def token(self) -> SecretStr | None: ...


class StatusServer:
    """silent: the loops that do not move, component -> why. Asked by several threads at once. spool: the path by which
    a reader knows whose daemon this is."""

    def __init__(
        self, window: Window, telemetry: Telemetry, *, silent: Callable[[], Mapping[str, str]], spool: Path
    ) -> None:
        self._window = window
        self._telemetry = telemetry
        self._silent = silent
        self._spool = spool.resolve()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.port = window.port  # 0 until `start` has found a free one

    def start(self) -> None:
        """Listens, and returns. Raises StatusUnavailable."""
        window = self._window
        token = None if window.token is None else window.token.get_secret_value()
        # A socket of our own: it is bound before the thread begins, so that a failure is the caller's to see.
        listening = self._listen()
        self.port = int(listening.getsockname()[1])
        config = uvicorn.Config(
            application(self._telemetry, self._silent, token, window.host, self._spool),
            http="h11",
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,  # or it would configure logging for the whole process
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=_LONGEST_HEADER_BYTES,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, args=(self._server, listening), name="status", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Closes the window; who still reads after a second is cut off. Does nothing the second time."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(_JOIN_S)
            self._server = None

    def _listen(self) -> socket.socket:
        host, port = self._window.host, self._window.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            return socket.create_server((host, port), family=family, backlog=_MOST_CONNECTIONS)
        except OSError as error:
            raise StatusUnavailable(
                f"status.bind: {host}:{port} can't be listened at: {error.strerror}; choose another, or null"
            ) from None

    def _serve(self, server: uvicorn.Server, listening: socket.socket) -> None:
        try:
            server.run(sockets=[listening])
        except BaseException as error:  # noqa: BLE001  # a window that broke must not take the house down
            self._telemetry.error("status_page_failed", cause=error)
            self._telemetry.health.set("status page", Condition.DEGRADED, "it broke, and is back after a restart")
        finally:
            listening.close()

"""StatusServer: the pages behind a socket, in a thread of their own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import SecretStr

from framesift.status.clients import StatusClients
from framesift.status.pages import StatusPages
from framesift.telemetry import Condition, Telemetry

# Whoever comes while others are accepted waits here; where this is full, the kernel lets nobody in for a second.
_BACKLOG = 2048
_JOIN_S = 3.0


class StatusUnavailable(OSError):
    """The address can't be listened at; the text names it and says why."""


class StatusAddress(Protocol):
    """Where to listen, and what to ask for: `status` of the settings."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def token(self) -> SecretStr | None: ...


class StatusServer:
    """silent: the loops that do not move, component -> why. Asked by several threads at once; it must not wait for
    anything. spool: the path by which a reader knows whose daemon this is.
    """

    def __init__(
        self, window: StatusAddress, telemetry: Telemetry, *, silent: Callable[[], Mapping[str, str]], spool: Path
    ) -> None:
        self._window = window
        self._telemetry = telemetry
        token = None if window.token is None else window.token.get_secret_value()
        self._pages = StatusPages(telemetry, silent, token, window.host, spool.resolve())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end = asyncio.Event()
        self._thread: threading.Thread | None = None
        self.port = window.port  # 0 until `start` has found a free one

    def start(self) -> None:
        """Listens, and returns. Raises StatusUnavailable."""
        # Bound before the thread begins, so that a failure is the caller's to see.
        self._loop, listening = self._listen()
        self.port = int(listening.getsockname()[1])
        # Its own complaints would go to a logger that nobody has set up, which prints them with all they know.
        self._loop.set_exception_handler(self._complained)
        self._thread = threading.Thread(target=self._run, args=(self._loop, listening), name="status", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Closes the window; who still reads after a second is cut off. Does nothing the second time."""
        if self._loop is not None and self._thread is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(_JOIN_S)

    def _listen(self) -> tuple[asyncio.AbstractEventLoop, socket.socket]:
        host, port = self._window.host, self._window.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        loop = None
        try:
            loop = asyncio.new_event_loop()
            return loop, socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            if loop is not None:
                loop.close()
            raise StatusUnavailable(
                f"status.bind: {host}:{port} can't be listened at: {error.strerror}; choose another, or null"
            ) from None

    def _run(self, loop: asyncio.AbstractEventLoop, listening: socket.socket) -> None:
        try:
            loop.run_until_complete(StatusClients(listening, self._pages, loop).serve(self._end))
        except BaseException as error:  # noqa: BLE001  # a window that broke must not take the house down
            self._telemetry.error("status_page_failed", cause=error)
            self._telemetry.health.set("status page", Condition.DEGRADED, "it broke, and is back after a restart")
        finally:
            listening.close()
            loop.close()

    def _complained(self, _loop: asyncio.AbstractEventLoop, told: dict[str, Any]) -> None:
        error = told.get("exception")
        if isinstance(error, Exception):
            self._telemetry.error("status_page_failed", cause=error)

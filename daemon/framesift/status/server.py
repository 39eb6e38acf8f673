"""StatusServer: serves the status pages and actions, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pydantic import SecretStr

from framesift.processes import listen_problem
from framesift.status.actions import Hands
from framesift.status.clients import StatusClients
from framesift.status.identity import DaemonIdentity
from framesift.status.page_access import PageAccess, StatusWebPage, key_file, page_key
from framesift.status.pages import StatusPages
from framesift.telemetry import Condition, Telemetry

# New connections wait here while others are accepted; when it is full, the kernel refuses new ones for a second.
_BACKLOG = 2048
_JOIN_S = 3.0


class StatusUnavailable(OSError):
    """The server can't listen at its address; the text names it and says why."""


class StatusEndpoint(Protocol):
    """Where to listen, and what to require: `status` of the settings."""

    @property
    def host(self) -> str:
        """The address to listen at."""

    @property
    def port(self) -> int:
        """The port; 0 for any free one."""

    @property
    def token(self) -> SecretStr | None:
        """What clients must send; None for nothing."""


class StatusServer:
    """The component that serves the status pages. `start` and `stop` belong to one thread."""

    name = "status page"
    threads = ()  # it is no reason to restart the daemon

    def __init__(
        self,
        endpoint: StatusEndpoint,
        telemetry: Telemetry,
        *,
        hung: Callable[[], Mapping[str, str]],
        identity: DaemonIdentity,
        hands: Hands | None = None,
        page: StatusWebPage | None = None,
    ) -> None:
        """hung: returns the threads that hang, name -> why; called by several threads, it must not wait.

        identity: by which a reader tells this daemon from another; its spool must be open already. hands: does what
        operators ask for; None: only GET is answered. page: for browsers, None for none.
        """
        self._endpoint = endpoint
        self._telemetry = telemetry
        token = None if endpoint.token is None else endpoint.token.get_secret_value()
        access = None if page is None else PageAccess(page, page_key(token, key_file(identity.spool)))
        self._pages = StatusPages(telemetry, hung, token, endpoint.host, identity, hands, access)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end = asyncio.Event()
        self._thread: threading.Thread | None = None
        self.port = endpoint.port  # 0 until `start` has found a free one

    def start(self) -> None:
        """Listen, and return. Raises StatusUnavailable."""
        # Before the thread starts, so that the caller gets the error.
        loop, listening = self._listen()
        self.port = int(listening.getsockname()[1])
        # asyncio would log errors through a logger that is not configured, with whatever secrets they contain.
        loop.set_exception_handler(self._log_error)
        thread = threading.Thread(target=self._run, args=(loop, listening), name="status", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads
            listening.close()
            loop.close()
            raise
        self._loop, self._thread = loop, thread

    def stop(self, within_s: float = _JOIN_S) -> bool:
        """Stop listening, and return whether the thread ended in time; 3 s are enough. Harmless the second time.

        Clients that still read an answer after a second are cut off.
        """
        if self._loop is None or self._thread is None:
            return True
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(min(within_s, _JOIN_S))
        return not self._thread.is_alive()

    def idle_s(self) -> float:
        """Return 0: nothing depends on how fast this component works."""
        return 0.0

    def _listen(self) -> tuple[asyncio.AbstractEventLoop, socket.socket]:
        host, port = self._endpoint.host, self._endpoint.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        loop = None
        try:
            loop = asyncio.new_event_loop()
            return loop, socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            if loop is not None:
                loop.close()
            problem, holder = listen_problem(error, host, port)
            stop = f"stop {holder}, or " if holder else ""
            raise StatusUnavailable(f"status.bind: {problem}; {stop}choose another address, or null") from None

    def _run(self, loop: asyncio.AbstractEventLoop, listening: socket.socket) -> None:
        try:
            loop.run_until_complete(StatusClients(listening, self._pages, loop).serve(self._end))
        except BaseException as error:  # noqa: BLE001  # the status page must not end the service
            self._telemetry.error("status_page_failed", cause=error)
            self._telemetry.health.set("status page", Condition.DEGRADED, "it failed, and works again after a restart")
        finally:
            listening.close()
            loop.close()

    def _log_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception):
            self._telemetry.error("status_page_failed", cause=error)

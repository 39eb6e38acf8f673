"""What both kinds of listeners have in common: the server, the name, the token, and how errors are reported."""

from __future__ import annotations

from collections.abc import Callable

from framesift.clock.clock import Clock, MonitoredThread
from framesift.listeners.connection_slots import ClientConnection
from framesift.listeners.listener_settings import ListenerSettings
from framesift.listeners.request_outcomes import RequestOutcome
from framesift.listeners.server import ListenerServer
from framesift.telemetry import Condition, Telemetry


class HttpListener:
    """A listener whose subclass says in `serve` how one client is served.

    on_failure: gets the exception that ended the server's event loop.
    """

    # Whether the log may show the text of an unexpected exception: it may repeat a part of a request.
    logs_error_texts = True

    def __init__(
        self,
        settings: ListenerSettings,
        *,
        clock: Clock,
        telemetry: Telemetry,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.name = f"listener {settings.listen}"
        self._settings = settings
        self._clock = clock
        self._telemetry = telemetry
        self._on_failure = on_failure
        self._token = None if settings.token is None else settings.token.get_secret_value()
        self._server = ListenerServer(settings.host, settings.port, self, clock=clock)

    @property
    def port(self) -> int:
        """Return the TCP port; 0 before `start` if the settings leave the choice to the system."""
        return self._server.port

    @property
    def threads(self) -> tuple[MonitoredThread, ...]:
        """Return the threads that the watchdog monitors. Only after `start`."""
        return (self._server.monitored_thread(),)

    def idle_s(self) -> float:
        """Return for how many seconds the slowest of `threads` has shown no sign of life."""
        return max(thread.idle_s() for thread in self.threads)

    async def serve(self, connection: ClientConnection) -> None:
        """Serve one client until it or the listener ends the connection. Runs in the server's event loop."""
        raise NotImplementedError

    def report_error(self, error: BaseException) -> None:
        """Count, log and show in the health report that serving a client raised an unexpected exception."""
        kind = type(error).__name__
        self._count(RequestOutcome.FAILED)
        self._telemetry.health.set(self.name, Condition.DEGRADED, f"a request failed: {kind}")
        details = {"cause": error} if self.logs_error_texts else {"kind": kind}
        self._telemetry.error("listener_failed", listener=self._settings.listen, **details)

    def report_failure(self, error: BaseException) -> None:
        """Report that the server's event loop has ended: nobody is served any more."""
        self._on_failure(error)

    def _count(self, outcome: RequestOutcome) -> None:
        self._telemetry.count_request(self._settings.stream, outcome)

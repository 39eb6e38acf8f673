"""StatusPage: the component that serves the status pages, and tries again while its address is taken."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo

from framesift.clock.clock import Clock
from framesift.coverage import CoverageCounts
from framesift.decisions import DecisionRecord
from framesift.page import PagePictures, WebPage
from framesift.sampling.thumbnails import Thumbnails
from framesift.settings import Settings
from framesift.status import StatusServer, StatusUnavailable
from framesift.telemetry import Condition, Telemetry

RETRY_S = 10.0


def create_web_page(
    settings: Settings,
    telemetry: Telemetry,
    record: DecisionRecord,
    coverage: CoverageCounts,
    zone: Callable[[], tzinfo],
    thumbnails: Thumbnails,
) -> WebPage:
    """Return the page for browsers. zone: in which the windows of the limits are counted."""
    spool, decisions = settings.spool.path, settings.decisions
    return WebPage(
        telemetry,
        record,
        PagePictures(spool, settings.sink),
        coverage,
        device=settings.device,
        record_folder=None if decisions.max_bytes is None else decisions.folder(spool),
        zone=zone,
        thumbnail=thumbnails.get,
    )


class StatusPage:
    """A run collects without its pages, and says so; what is in the way may end. Belongs to the main thread."""

    name = StatusServer.name
    threads = StatusServer.threads

    def __init__(self, server: StatusServer, telemetry: Telemetry, clock: Clock) -> None:
        self._server = server
        self._telemetry = telemetry
        self._clock = clock
        self._tried_s: float | None = None  # None once it serves

    def start(self) -> None:
        """See Component. An address that can't be had is no error, but this component's failure in the health."""
        try:
            self._server.start()
        except StatusUnavailable as error:
            self._tried_s = self._clock.monotonic()
            self._telemetry.health.set(self.name, Condition.FAILED, str(error))
            return
        if self._tried_s is not None:
            self._telemetry.health.set_ok(self.name)
        self._tried_s = None

    def retry(self) -> None:
        """Try again if it doesn't serve, 10 s after the last try. Returns at once otherwise."""
        if self._tried_s is not None and self._clock.monotonic() - self._tried_s >= RETRY_S:
            self.start()

    def stop(self, within_s: float) -> bool:
        """See Component."""
        return self._server.stop(within_s)

    def idle_s(self) -> float:
        """See Component."""
        return self._server.idle_s()

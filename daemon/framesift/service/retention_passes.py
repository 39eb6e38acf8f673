"""RetentionPasses: keeps what the sink has on this machine within its bounds, and reports what was removed."""

from __future__ import annotations

from collections.abc import Mapping

from framesift.clock.clock import Clock
from framesift.periodic import NextRun
from framesift.sinks import Retention, RetentionFailed
from framesift.telemetry import CollectedNumbers, Condition, Telemetry

PASS_EVERY_S = 60.0
LOG_EVERY_S = 3600.0
_COMPONENT = "retention"


class RetentionPasses:
    """One pass a minute; for a periodic task, whose thread runs them."""

    def __init__(self, retention: Retention, telemetry: Telemetry, clock: Clock) -> None:
        self._retention = retention
        self._telemetry = telemetry
        self._clock = clock
        self._logged: Mapping[str, int] = {}
        self._log_at_s = 0.0
        telemetry.set_collected_source(self.numbers)

    def run(self) -> NextRun:
        """One pass; a sink that is still measuring gets the next one at once."""
        try:
            more = self._retention.apply_retention(now_s=self._clock.now().wall_s, monotonic_s=self._clock.monotonic())
        except RetentionFailed as error:
            self._telemetry.health.set(_COMPONENT, Condition.DEGRADED, f"nothing can be removed: {error}")
            return NextRun(PASS_EVERY_S)
        self._telemetry.health.set_ok(_COMPONENT)
        self._log_removed()
        return NextRun(0.0 if more else PASS_EVERY_S)

    def numbers(self) -> CollectedNumbers:
        """What is kept now."""
        report = self._retention.retention_report()
        return CollectedNumbers(
            report.pictures,
            report.size_bytes,
            report.oldest_s,
            report.max_bytes,
            report.max_age_s,
            report.removed,
        )

    def _log_removed(self) -> None:
        """One line an hour at most: a full folder removes something with every few deliveries."""
        removed = dict(self._retention.retention_report().removed)
        if removed == self._logged or self._clock.monotonic() < self._log_at_s:
            return
        since = {bound: count - self._logged.get(bound, 0) for bound, count in removed.items()}
        if any(since.values()):
            report = self._retention.retention_report()
            self._telemetry.info(
                "collected_removed",
                pictures=sum(since.values()),
                too_old=since.get("age", 0),
                too_much=since.get("size", 0),
                left=report.pictures,
                left_bytes=report.size_bytes,
            )
            self._log_at_s = self._clock.monotonic() + LOG_EVERY_S
        self._logged = removed

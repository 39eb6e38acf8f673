"""CoverageRecorder: keeps what was collected beside what was seen, over restarts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import tzinfo

from framesift.clock.clock import Clock, MonitoredThread
from framesift.coverage import CountedCoverage, CoverageCounts, CoverageUnreadable, read_coverage, write_coverage
from framesift.periodic import NextRun, PeriodicTask
from framesift.settings import Settings
from framesift.telemetry import Telemetry

STORE_EVERY_S = 300.0


class CoverageRecorder:
    """A component. It stores the counts now and then, and when the run ends. counts: what telemetry is given."""

    name = "coverage"

    def __init__(self, settings: Settings, telemetry: Telemetry, clock: Clock, zone: Callable[[], tzinfo]) -> None:
        """Reads what was counted before. zone: in which the windows of the limits are counted."""
        self._path = settings.spool.coverage_file
        self._telemetry = telemetry
        self._clock = clock
        self._zone = zone
        self.counts = CoverageCounts(clock.now().wall_s)
        self._task = PeriodicTask(self.name, self._run, clock, on_failure=self._fail)
        self._restore()
        telemetry.coverage = self.counts

    @property
    def threads(self) -> tuple[MonitoredThread, ...]:
        """None: counts that can't be stored are no reason to restart the daemon."""
        return ()

    def start(self) -> None:
        """See Component."""
        self._task.start()

    def stop(self, within_s: float) -> bool:
        """Store what was counted last."""
        has_ended = self._task.stop(within_s)
        if has_ended:
            self._store()
        return has_ended

    def idle_s(self) -> float:
        """See Component."""
        return self._task.idle_s()

    def coverage(self) -> CountedCoverage:
        """What is counted at this moment."""
        return self.counts.snapshot(self._clock.now().wall_s, str(self._zone()))

    def _run(self) -> NextRun:
        self._store()
        return NextRun(STORE_EVERY_S, STORE_EVERY_S)

    def _store(self) -> None:
        try:
            write_coverage(self._path, self.coverage())
        except OSError as error:
            self._telemetry.warning("coverage_not_saved", path=str(self._path), why=error.strerror or str(error))

    def _restore(self) -> None:
        try:
            found = read_coverage(self._path)
        except CoverageUnreadable as error:
            self._telemetry.warning("coverage_unreadable", path=str(self._path), why=str(error))
            with contextlib.suppress(OSError):
                self._path.replace(self._path.with_name(f"{self._path.name}.unreadable"))
            return
        if found is not None:
            self.counts.restore(found)

    def _fail(self, error: BaseException) -> None:
        self._telemetry.warning("coverage_not_saved", path=str(self._path), why=repr(error))

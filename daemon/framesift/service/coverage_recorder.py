"""CoverageRecorder: keeps what was collected beside what was seen, over restarts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import tzinfo

from framesift.clock.clock import Clock
from framesift.coverage import CountedCoverage, CoverageCounts, CoverageUnreadable, read_coverage, write_coverage
from framesift.periodic import BackgroundWriter, NextRun
from framesift.settings import Settings
from framesift.telemetry import Telemetry

STORE_EVERY_S = 300.0


class CoverageRecorder(BackgroundWriter):
    """A component. It stores the counts now and then, and when the run ends. counts: what telemetry is given."""

    def __init__(self, settings: Settings, telemetry: Telemetry, clock: Clock, zone: Callable[[], tzinfo]) -> None:
        """Reads what was counted before. zone: in which the windows of the limits are counted."""
        super().__init__("coverage", self._store_again, clock, on_failure=self._fail)
        self._path = settings.spool.coverage_file
        self._telemetry = telemetry
        self._clock = clock
        self._zone = zone
        self.counts = CoverageCounts(clock.now().wall_s)
        self._restore()
        telemetry.coverage = self.counts

    def coverage(self) -> CountedCoverage:
        """What is counted at this moment."""
        return self.counts.snapshot(self._clock.now().wall_s, str(self._zone()))

    def _store_again(self) -> NextRun:
        self.write_rest()
        return NextRun(STORE_EVERY_S, STORE_EVERY_S)

    def write_rest(self) -> None:
        """Store what is counted at this moment."""
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

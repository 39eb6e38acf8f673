"""AlikeRecorder: stores now and then for how many refused frames each accepted one stands, and when the run ends."""

from __future__ import annotations

from framesift.clock.clock import Clock, MonitoredThread
from framesift.sampling.alike_counts import AlikeCounts
from framesift.spool import Spool

STORE_EVERY_S = 300.0  # each time writes a page of the disk for each frame whose number has changed


class AlikeRecorder:
    """A component without a thread: the main loop calls `check`."""

    name = "alike counts"
    threads: tuple[MonitoredThread, ...] = ()

    def __init__(self, counts: AlikeCounts, spool: Spool, clock: Clock) -> None:
        """spool: must be open until this has stopped."""
        self._counts = counts
        self._spool = spool
        self._clock = clock
        self._stored_s = clock.monotonic()

    def start(self) -> None:
        """See Component."""

    def stop(self, _within_s: float) -> bool:
        """Store what was counted last."""
        self._store()
        return True

    def idle_s(self) -> float:
        """See Component."""
        return 0.0

    def check(self) -> None:
        """Store what was counted, if that is due. Never waits for the disk."""
        if self._clock.monotonic() - self._stored_s >= STORE_EVERY_S:
            self._store()

    def _store(self) -> None:
        self._stored_s = self._clock.monotonic()
        counts = self._counts.take()
        if counts:
            self._spool.add_alike(counts)

"""Acceptance: whether the spool accepts datapoints at this moment, and why not.

    accepting ──> refusing     a datapoint was refused because of the disk, or because there is no room for it
                               or the disk and the bounds, which are looked at regularly, have no room for the smallest
                               datapoint that was accepted
    refusing ──> accepting     a datapoint was accepted, or a probe has taken as much of the disk as was refused last

Nothing else ends a refusal: that a claim was committed, or the file opened, says nothing about room for a picture.
While it refuses and nothing comes that could show more, the writer probes every PROBE_INTERVAL_S.
"""

from __future__ import annotations

import math
import os
import threading
from dataclasses import replace
from pathlib import Path

from framesift.atomic_files import create_file
from framesift.clock.clock import Clock
from framesift.spool.database import sibling_path
from framesift.spool.records import EventReporter, SpoolFull, SpoolHealth

PROBE_INTERVAL_S = 10.0
_LEAST_PROBE_BYTES = 64 * 2**10
_MOST_PROBE_BYTES = 4 * 2**20
# Where probes succeed and datapoints are refused all the same, a probe is made every PROBE_INTERVAL_S, for ever.
_WRITTEN_PROBE_BYTES = 4096


class Acceptance:
    """Any thread may call any method.

    probe_bytes, probe_rank: the size and the rank of what was refused last; a probe is for the same. least_bytes: the
    size of the smallest datapoint that was accepted: where it finds no room, nothing does.
    """

    def __init__(self, clock: Clock, report: EventReporter, problem: str | None) -> None:
        """problem: why nothing can be accepted from the beginning; it is reported already. None if it can."""
        self._clock = clock
        self._report = report
        self._lock = threading.Lock()
        self._is_full = False  # refusing since there is no room; otherwise since the disk failed
        self._probe_at_s = clock.monotonic()
        self.health = SpoolHealth(problem, refuses_all=problem is not None)
        self.probe_bytes = 0
        self.least_bytes = _LEAST_PROBE_BYTES
        self.probe_rank = math.inf

    def record_accepted(self, size_bytes: int | None = None) -> None:
        """A datapoint of this size was accepted, or (None) a probe has shown that one would be."""
        with self._lock:
            if size_bytes is not None:
                self.least_bytes = min(self.least_bytes, size_bytes)
            if self.health.problem is not None:
                self._report("spool_has_space" if self._is_full else "spool_recovered", {})
                self.health = SpoolHealth(None)

    def record_full(self, error: SpoolFull) -> None:
        """There was no room for a datapoint."""
        with self._lock:
            self.probe_bytes, self.probe_rank = error.size_bytes, error.rank
            problem = SpoolHealth(f"the spool is full: {error}", refuses_all=not error.only_this)
            self._refuse(problem, is_full=True)

    def record_failure(self, problem: str, *, refuses_all: bool, size_bytes: int = 0) -> None:
        """The disk failed. refuses_all: whether it had to do with a datapoint, or concerns whatever comes now.

        size_bytes: of what could not be written.
        """
        with self._lock:
            self.probe_bytes, self.probe_rank = max(self.probe_bytes, size_bytes), math.inf
            refuses_all |= self.health.refuses_all and not self._is_full
            self._refuse(SpoolHealth(problem, self.health.fatal, refuses_all), is_full=False)

    def set_fatal(self) -> None:
        """The present problem won't end by itself."""
        with self._lock:
            self.health = replace(self.health, fatal=True)

    def probe_in_s(self) -> float:
        """Return in how many seconds a probe is due; infinite while the spool accepts."""
        with self._lock:
            if self.health.problem is None:
                return math.inf
            return max(0.0, self._probe_at_s - self._clock.monotonic())

    def begin_probe(self) -> None:
        """A probe begins: the next one is due only after PROBE_INTERVAL_S."""
        with self._lock:
            self._probe_at_s = self._clock.monotonic() + PROBE_INTERVAL_S

    def _refuse(self, health: SpoolHealth, *, is_full: bool) -> None:
        if self.health.problem is None or is_full is not self._is_full:
            self._report("spool_full" if is_full else "spool_failed", {"why": health.problem})
        if self.health.problem is None:
            self._probe_at_s = self._clock.monotonic() + PROBE_INTERVAL_S
        self._is_full = is_full
        self.health = health


def write_probe(spool: Path, size_bytes: int) -> None:
    """Take so many bytes of the disk beside the spool, write a block of them, and make sure that it is there.

    Nothing is left of them. The rest is only allocated, since flash wears out by what is written. Raises OSError.
    """
    path = sibling_path(spool, ".probe")
    size_bytes = min(max(size_bytes, _LEAST_PROBE_BYTES), _MOST_PROBE_BYTES)
    descriptor = create_file(path, os.O_WRONLY | os.O_TRUNC)
    try:
        path.unlink()  # first: a power cut leaves nothing behind
        os.posix_fallocate(descriptor, 0, size_bytes)
        data = memoryview(os.urandom(_WRITTEN_PROBE_BYTES))  # zeros take no space on some file systems
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

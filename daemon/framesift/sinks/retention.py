"""Retention of a collected folder: at most so many bytes, and nothing older than so many days; the oldest goes first.

What counts are the pictures that framesift wrote, with their labels and lines. When a bound is reached, the folder is
brought down to 90 % of it: the listing is rewritten for that, and so each line is rewritten about ten times in its
life, however many there are. Age is counted from the capture, as rules for personal data count it; from the delivery
where the clock was not set at the capture.

The sizes of what earlier processes wrote are measured once, a thousand pictures at a time, by `apply`; the bound in
bytes holds from then on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from framesift.clock.moment import CLOCK_SET_AFTER_S
from framesift.sinks.metadata_file import MetadataFile
from framesift.sinks.own_lines import UNMEASURED
from framesift.sinks.picture_removal import finish_removal, measure_files, remove_pictures
from framesift.sinks.sink import RetentionReport

DAY_S = 86_400.0
_DOWN_TO = 0.9
_MEASURED_AT_ONCE = 1000
# A wall clock that was set forward so far is believed after a day: what a wrong clock removes does not come back.
_STEP_S = 3600.0


@dataclass(frozen=True, slots=True)
class RetentionBounds:
    """The most bytes, and the highest age in seconds; None: no bound."""

    max_bytes: int | None
    max_age_s: float | None


class FolderRetention:
    """Keeps one folder within its bounds. For whoever holds the lock of the folder's sink."""

    def __init__(self, root: Path, metadata: MetadataFile, bounds: RetentionBounds) -> None:
        """metadata: with an index."""
        assert metadata.index is not None
        self._root = root
        self._metadata = metadata
        self._index = metadata.index
        self._bounds = bounds
        self._clock_ahead_s: float | None = None  # of the wall clock, before the monotonic one
        self._believe_after_s = 0.0  # by the monotonic clock
        self._removed = {"age": 0, "size": 0}

    def added(self, size_bytes: int, now_s: float) -> None:
        """Records the size of the picture whose line was added last. now_s: Unix time."""
        if len(self._index):
            self._measured(len(self._index) - 1, size_bytes, now_s)

    def make_room(self, size_bytes: int) -> None:
        """Removes the oldest pictures if one more of `size_bytes` would go beyond `max_bytes`. Raises OSError."""
        most = self._bounds.max_bytes
        if most is None or self._index.unmeasured or self._index.size_bytes + size_bytes <= most:
            return
        left = self._index.size_bytes
        removed: list[int] = []
        for position in self._index.oldest_first():
            if left + size_bytes <= _DOWN_TO * most:
                break
            left -= self._index.sizes[position]
            removed.append(position)
        self._remove("size", removed)

    def measure(self) -> bool:
        """Measures some pictures of earlier processes. Returns whether there are more. Raises OSError."""
        unmeasured = [at for at, size in enumerate(self._index.sizes) if size == UNMEASURED][:_MEASURED_AT_ONCE]
        for position in unmeasured:
            length = self._index.lengths[position]
            own = self._metadata.own_line_at(self._index.offsets[position], length)
            size_bytes, changed_s = (0, 0.0) if own is None else measure_files(self._root, own.name)
            self._measured(position, size_bytes + length, changed_s)
        return self._index.unmeasured > 0

    def apply(self, now_s: float, monotonic_s: float) -> None:
        """Removes what is too old or too much, and finishes what was interrupted. Raises OSError.

        now_s: Unix time. monotonic_s: of a clock that never steps.
        """
        finish_removal(self._root, self._metadata)
        self.make_room(0)
        most_s = self._bounds.max_age_s
        if most_s is None or not self._clock_is_believed(now_s, monotonic_s):
            return
        ages_s = now_s - np.array(self._index.times_s)
        ages_s[np.array(self._index.times_s) < CLOCK_SET_AFTER_S] = 0.0
        if len(ages_s) and ages_s.max() > most_s:
            self._remove("age", np.flatnonzero(ages_s > _DOWN_TO * most_s).tolist())

    def report(self) -> RetentionReport:
        """What the folder has, and its bounds."""
        return RetentionReport(
            pictures=len(self._index),
            size_bytes=None if self._index.unmeasured else self._index.size_bytes,
            oldest_s=min(self._index.times_s, default=None),
            max_bytes=self._bounds.max_bytes,
            max_age_s=self._bounds.max_age_s,
            removed=dict(self._removed),
        )

    def _measured(self, position: int, size_bytes: int, changed_s: float) -> None:
        self._index.set_size(position, size_bytes)
        if self._index.times_s[position] < CLOCK_SET_AFTER_S:
            self._index.times_s[position] = max(self._index.times_s[position], changed_s)

    def _remove(self, why: str, positions: Iterable[int]) -> None:
        names: set[str] = set()
        for position in positions:
            own = self._metadata.own_line_at(self._index.offsets[position], self._index.lengths[position])
            if own is None or not _same_time(own.captured_at_s, self._index.times_s[position]):
                # Changed by hand: the index knows neither what is there nor how old it is. All is measured anew.
                self._metadata.read_anew()
                return
            names.add(own.name)
        remove_pictures(self._root, self._metadata, names)
        self._removed[why] += len(names)

    def _clock_is_believed(self, now_s: float, monotonic_s: float) -> bool:
        ahead_s = now_s - monotonic_s
        if self._clock_ahead_s is not None and ahead_s > self._clock_ahead_s + _STEP_S:
            self._believe_after_s = monotonic_s + DAY_S
        elif self._clock_ahead_s is not None and ahead_s < self._clock_ahead_s - _STEP_S:
            self._believe_after_s = 0.0
        self._clock_ahead_s = ahead_s
        return monotonic_s >= self._believe_after_s


def _same_time(captured_at_s: float, indexed_s: float) -> bool:
    """Whether a line is the indexed one, by its time: where the clock was not set, the index has another one."""
    return captured_at_s == indexed_s or (captured_at_s < CLOCK_SET_AFTER_S and captured_at_s <= indexed_s)

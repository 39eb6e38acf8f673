"""CoverageCounts: counts what the streams show, by a sample, and what is collected of it."""

from __future__ import annotations

import math
import threading

from framesift.coverage.tally import DAY_S, HOUR_S, CountedCoverage, CoveredFrame, DayCoverage

SAMPLE_EVERY_S = 1.0
MAX_DAYS = 31
MAX_CLASSES = 200
MAX_STREAMS = 256
MAX_CELLS = 2048  # days of streams: with more than 66 streams fewer days are kept
MAX_PENDING = 4096
_MAX_SETTLED = 64
OTHER = "other"


class CoverageCounts:
    """Thread-safe. The oldest days are forgotten, and classes and streams beyond the bounds are counted as "other".

    A frame that is not due costs a fraction of a microsecond.
    """

    def __init__(self, since_s: float) -> None:
        """since_s: Unix time of this moment."""
        self._lock = threading.Lock()  # of everything below
        self._since_s = since_s
        self._sampled_s: dict[str, float] = {}  # by stream
        self._others_sampled_s = -math.inf
        self._days: dict[int, dict[str, DayCoverage]] = {}
        self._classes: set[str] = set()
        self._streams: set[str] = set()
        self._pending: dict[str, CoveredFrame] = {}
        self._settled: dict[str, bool] = {}  # whether accepted, of frames that were not pending yet

    def restore(self, coverage: CountedCoverage) -> None:
        """Go on from what was counted before. To be called before anything is counted."""
        with self._lock:
            self._since_s = coverage.since_s
            self._pending = dict(coverage.pending)
            for one in sorted(coverage.days, key=lambda one: one.day):
                cell = self._cell(one.day, one.stream)
                for tally, found in ((cell.seen, one.seen), (cell.collected, one.collected)):
                    self._known(tuple(found.classes))
                    tally.add_all(found)

    def is_due(self, stream: str, time_s: float) -> bool:
        """Whether a frame is one of the sample. time_s: see Frame.time_s; a file may begin again."""
        return abs(time_s - self._sampled_s.get(stream, self._others_sampled_s)) >= SAMPLE_EVERY_S

    def see(self, facts: CoveredFrame, time_s: float) -> None:
        """A frame of the sample. time_s: as for `is_due`."""
        with self._lock:
            if facts.stream in self._sampled_s or len(self._sampled_s) < MAX_STREAMS:
                self._sampled_s[facts.stream] = time_s
            else:
                self._others_sampled_s = time_s
            self._add(facts, is_collected=False)

    def collect(self, facts: CoveredFrame) -> None:
        """A frame was accepted."""
        with self._lock:
            self._add(facts, is_collected=True)

    def remember(self, id: str, facts: CoveredFrame) -> None:
        """A frame is held, or waits; `settle` tells what becomes of it, perhaps before this call.

        Of very many, the oldest are forgotten: then they count as not collected.
        """
        with self._lock:
            is_accepted = self._settled.pop(id, None)
            if is_accepted is None:
                self._pending[id] = facts
                _forget_oldest(self._pending, MAX_PENDING)
            elif is_accepted:
                self._add(facts, is_collected=True)

    def settle(self, id: str, *, is_accepted: bool) -> None:
        """What became of a frame that was held, or has waited."""
        with self._lock:
            facts = self._pending.pop(id, None)
            if facts is None:
                self._settled[id] = is_accepted
                _forget_oldest(self._settled, _MAX_SETTLED)
            elif is_accepted:
                self._add(facts, is_collected=True)

    def snapshot(self, now_s: float, time_zone: str) -> CountedCoverage:
        """What is counted at this moment. now_s: Unix time."""
        with self._lock:
            days = tuple(
                DayCoverage(cell.day, cell.stream, cell.seen.copy(), cell.collected.copy())
                for cells in self._days.values()
                for cell in cells.values()
            )
            since_s = max(min(self._since_s, now_s), min(self._days, default=0) * DAY_S)  # a clock may have been wrong
            return CountedCoverage(since_s, now_s, time_zone, days, self._pending.copy())

    def _add(self, facts: CoveredFrame, *, is_collected: bool) -> None:
        day, second_s = divmod(facts.captured_s, DAY_S)
        cell = self._cell(int(day), facts.stream)
        tally = cell.collected if is_collected else cell.seen
        tally.add(int(second_s // HOUR_S), facts, self._known(facts.classes))

    def _known(self, classes: tuple[str, ...]) -> tuple[str, ...]:
        """Under which names classes are counted."""
        for name in classes:
            if len(self._classes) < MAX_CLASSES:
                self._classes.add(name)
        found = [name for name in classes if name in self._classes]
        return tuple(found) if len(found) == len(classes) else (*found, OTHER)

    def _cell(self, day: int, stream: str) -> DayCoverage:
        if len(self._streams) < MAX_STREAMS:
            self._streams.add(stream)
        elif stream not in self._streams:
            stream = OTHER
        cells = self._days.setdefault(day, {})
        cell = cells.get(stream)
        if cell is not None:
            return cell
        made = cells[stream] = DayCoverage(day, stream)
        while len(self._days) > MAX_DAYS or (len(self._days) > 1 and sum(map(len, self._days.values())) > MAX_CELLS):
            del self._days[min(self._days)]
        return made  # in no day any more, if it is older than all


def _forget_oldest(entries: dict[str, CoveredFrame] | dict[str, bool], most: int) -> None:
    while len(entries) > most:
        del entries[next(iter(entries))]

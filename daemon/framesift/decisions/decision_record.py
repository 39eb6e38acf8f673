"""DecisionRecord: counts what is decided in each second, and writes it down some seconds later.

A frame that was accepted, is held or waits has a line of its own. Of the frames that were nearly taken, the nearest of
each second, stream and reason has one. All others are counted: one line for each stream and second in which something
was decided. What is written, and nothing else, is described in docs/decisions.md.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from framesift.clock.clock import Clock
from framesift.decisions.decision import FrameDecision, RefusedThumbnail
from framesift.decisions.last_hour import DownTime, LastHour, MinuteCounts
from framesift.decisions.measurement import Gauge, Measurement
from framesift.decisions.record_files import RecordFiles, read_lines
from framesift.decisions.record_lines import (
    QuotaByStrategy,
    counts_line,
    decision_line,
    outcome_line,
    span_line,
    stop_line,
)
from framesift.decisions.refused_thumbnails import ThumbnailedLines
from framesift.frame import RefusalReason
from framesift.periodic import BackgroundWriter, NextRun

SECOND_S = 1.0
WRITE_EVERY = 5  # seconds: many lines at once cost less; with thumbnails one, since they hold pixels until then
_LATELY = 10  # writes, to tell how many frames a second there are
MAX_PENDING = 1000  # decisions of a second that get a line of their own
MAX_ENDED = 60  # seconds that wait to be written

_Line = tuple[bytes, RefusedThumbnail | None]  # and the thumbnail that it may get


@dataclass(slots=True)
class _StreamCounts:
    """What was decided on one stream in one second."""

    matched: dict[str, int] = field(default_factory=dict)
    accepted: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    best: dict[str, tuple[float, Measurement]] = field(default_factory=dict)
    nearest: dict[RefusalReason, tuple[float, FrameDecision]] = field(default_factory=dict)

    def decided(self) -> int:
        """How many frames it was decided on, without those that the model did not see: nothing was to be taken."""
        unseen = sum(self.refused.get(reason.value, 0) for reason in (RefusalReason.DISABLED, RefusalReason.PAUSED))
        return sum(self.accepted.values()) + sum(self.refused.values()) - unseen


@dataclass(slots=True)
class _Second:
    """What was decided on all streams in one second: about one, and more where nobody ended it in time."""

    since_s: float
    streams: defaultdict[str, _StreamCounts] = field(default_factory=lambda: defaultdict(_StreamCounts))
    pending: list[FrameDecision] = field(default_factory=list)
    settled: list[tuple[str, str, float, str | RefusalReason]] = field(default_factory=list)
    unrecorded: int = 0

    def decided(self) -> dict[str, int]:
        """How many frames it was decided on, by stream."""
        return {name: counts.decided() for name, counts in self.streams.items()}

    def has_decisions(self) -> bool:
        """Whether a decision has a line of its own."""
        return bool(self.pending) or any(counts.nearest for counts in self.streams.values())

    def lines(self, until_s: float, quota: QuotaByStrategy) -> Iterator[_Line]:
        """What is to be written, the decisions in the order of their frames. quota: what was used at its end."""
        nearest = (one for counts in self.streams.values() for _, one in counts.nearest.values())
        for decision in sorted([*self.pending, *nearest], key=lambda one: one.captured_s):
            yield decision_line(decision, quota), decision.thumbnail
        for settled in self.settled:
            yield outcome_line(*settled), None
        for name, counts in self.streams.items():
            by_key = {"matched": counts.matched, "accepted": counts.accepted, "refused": counts.refused}
            yield counts_line(name, self.since_s, until_s, by_key, counts.best), None
        if self.unrecorded:
            yield span_line("unrecorded", self.since_s, until_s, decisions=self.unrecorded), None


class DecisionRecord(BackgroundWriter):
    """A component, and a DecisionObserver: see there. Thread-safe."""

    def __init__(
        self,
        files: RecordFiles | None,
        clock: Clock,
        thumbnails: ThumbnailedLines | None = None,
        *,
        quota: Callable[[], QuotaByStrategy] = dict,
        on_problem: Callable[[str], None],
    ) -> None:
        """files: where lines go, None for nowhere: then only the last hour is counted.

        thumbnails: of the same record, None for none. quota: returns what is used now; called once a second.
        on_problem: called with the reason when lines or thumbnails can't be written, and with "" when they can again.
        """
        super().__init__("decision record", self._end_second_or_write, clock, on_failure=self._fail)
        self._files = files
        self._clock = clock
        self._thumbnails = thumbnails
        self._quota = quota
        self._on_problem = on_problem
        self._has_problem = False
        self._failed: BaseException | None = None
        self._started_s = clock.now().wall_s
        self._is_restored = files is None
        self._hour = LastHour()
        self._writes_in_s = 0
        self._writing = threading.Lock()
        self._ending = threading.Lock()
        self._lock = threading.Lock()  # of everything below
        self._second = _Second(self._started_s)
        self._ended: list[list[_Line]] = []  # of each second that is not written yet
        self._lately: deque[tuple[float, dict[str, int]]] = deque(maxlen=_LATELY)

    # --- for the threads that decide ------------------------------------------------------------------------------

    @property
    def keeps_thumbnails(self) -> bool:
        """See DecisionObserver. None is taken while the disk hangs: each holds pixels until it is written."""
        return self._thumbnails is not None and len(self._ended) < WRITE_EVERY

    def count_matched(self, stream: str, strategy: str) -> None:
        """See DecisionObserver."""
        with self._lock:
            matched = self._second.streams[stream].matched
            matched[strategy] = matched.get(strategy, 0) + 1

    def count_accepted(self, stream: str, strategy: str) -> None:
        """See DecisionObserver."""
        with self._lock:
            accepted = self._second.streams[stream].accepted
            accepted[strategy] = accepted.get(strategy, 0) + 1

    def count_refused(self, stream: str, reason: RefusalReason) -> None:
        """See DecisionObserver."""
        name = reason.value
        with self._lock:
            refused = self._second.streams[stream].refused
            refused[name] = refused.get(name, 0) + 1

    def observe(self, stream: str, gauges: Mapping[str, Gauge]) -> float:
        """See DecisionObserver."""
        highest = -math.inf
        with self._lock:
            best = self._second.streams[stream].best
            for strategy, gauge in gauges.items():
                nearness = gauge.nearness()
                if nearness > highest:
                    highest = nearness
                known = best.get(strategy)
                if (known is None or nearness > known[0]) and (measured := gauge.measurement()) is not None:
                    best[strategy] = nearness, measured
        return highest

    def add(self, decision: FrameDecision) -> None:
        """See DecisionObserver."""
        with self._lock:
            if len(self._second.pending) < MAX_PENDING:
                self._second.pending.append(decision)
            else:
                self._second.unrecorded += 1

    def add_refused(
        self, stream: str, reason: RefusalReason, nearness: float, make: Callable[[], FrameDecision]
    ) -> None:
        """See DecisionObserver."""
        with self._lock:
            found = self._second.streams[stream].nearest.get(reason)
        if found is not None and nearness <= found[0]:
            return
        decision = make()
        with self._lock:  # perhaps of another second
            nearest = self._second.streams[stream].nearest
            if reason not in nearest or nearness > nearest[reason][0]:
                nearest[reason] = nearness, decision

    def settle(self, stream: str, id: str, outcome: str | RefusalReason) -> None:
        """See DecisionObserver."""
        at_s = self._clock.now().wall_s
        with self._lock:
            if len(self._second.settled) < MAX_PENDING:
                self._second.settled.append((stream, id, at_s, outcome))

    # --- for readers ----------------------------------------------------------------------------------------------

    def last_hour(self, stream: str) -> tuple[MinuteCounts, ...]:
        """What was decided on a stream in the last sixty minutes, the oldest first; minutes without frames are absent.

        What was decided in the last second may be missing, and in the first second of a run what came before it.
        """
        return self._hour.minutes(stream, self._clock.now().wall_s)

    def down(self) -> tuple[DownTime, ...]:
        """When no daemon ran in the last hour, the newest first; less than a minute doesn't count."""
        return self._hour.down(self._clock.now().wall_s)

    def speeds(self) -> dict[str, float]:
        """How many frames a second the model was given lately, by stream; about ten seconds are looked at."""
        with self._lock:
            over_s = sum(span_s for span_s, _ in self._lately)
            total: Counter[str] = Counter()
            for _, counts in self._lately:
                total.update(counts)
        return {name: total[name] / over_s for name in self._hour.streams()} if over_s > 0 else {}

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yields the lines that are kept, those of this moment too, the newest first; see read_lines."""
        self.flush()
        return iter(()) if self._files is None else read_lines(self._files.folder)

    # --- a component ----------------------------------------------------------------------------------------------

    def write_rest(self) -> None:
        """Write what was decided last, and that the run has ended."""
        if self._failed is not None:
            return
        with self._writing:
            self._flush(is_last=True)
        if self._files is not None:
            self._files.close()

    def flush(self) -> None:
        """Write what was decided since the last time. It may wait for the disk."""
        with self._writing:
            self._flush()

    def _flush(self, *, is_last: bool = False) -> None:
        files = self._files
        lines: list[bytes] = []
        if files is not None and not self._is_restored:
            self._is_restored = True
            if (down := self._hour.restore(files.folder, self._started_s)) is not None:
                lines.append(span_line("down", down.from_s, down.to_s))
        self.end_second()
        with self._lock:
            ended, self._ended = self._ended, []
            until_s = self._second.since_s
        if files is not None:
            made = list(chain.from_iterable(ended))
            if self._thumbnails is None:
                lines += [line for line, _ in made]
            else:
                lines += self._thumbnails.complete(made, files.numbers(), is_last=is_last)
            self._write(files, [*lines, stop_line(until_s)] if is_last else lines)

    def end_second(self) -> None:
        """Let `last_hour` and `speeds` know of all that was decided until now. Never waits for the disk.

        The lines are made here, since they are smaller than predictions.
        """
        with self._ending:
            self._end_second(self._clock.now().wall_s)

    def _end_second(self, until_s: float) -> None:
        with self._lock:
            has_decisions = self._files is not None and self._second.has_decisions()
        quota = self._quota() if has_decisions else {}
        with self._lock:
            if len(self._ended) == MAX_ENDED:  # the disk hangs
                return
            ended, self._second = self._second, _Second(until_s)
            self._lately.append((until_s - ended.since_s, ended.decided()))
        if self._files is not None and (ended.streams or ended.pending or ended.settled):
            lines = list(ended.lines(until_s, quota))
            with self._lock:
                self._ended.append(lines)
        for stream, one in ended.streams.items():
            matched, accepted, refused = one.matched, one.accepted, one.refused
            self._hour.add(stream, int(until_s // 60), matched=matched, accepted=accepted, refused=refused)

    def _write(self, files: RecordFiles, lines: Sequence[bytes]) -> None:
        problem = "" if self._thumbnails is None else self._thumbnails.problem
        if not lines:
            return
        try:
            files.append(lines)
        except OSError as error:
            problem = f"{files.folder}: {error.strerror or error}: decisions are not recorded"
        if problem or self._has_problem:
            self._has_problem = bool(problem)
            self._on_problem(problem)

    def _end_second_or_write(self) -> NextRun:
        self._writes_in_s -= 1
        if self._writes_in_s > 0:
            self.end_second()
        else:
            self._writes_in_s = WRITE_EVERY if self._thumbnails is None else 1
            self.flush()
        return NextRun(SECOND_S, SECOND_S)

    def _fail(self, error: BaseException) -> None:
        self._failed = error
        self._on_problem(f"it failed, and works again after a restart: {error!r}")

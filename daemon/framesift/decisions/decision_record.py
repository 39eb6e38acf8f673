"""DecisionRecord: counts what is decided, and writes it down once a second.

A frame that was accepted, is held or waits has a line of its own. Of the frames that were nearly taken, the nearest of
each second, stream and reason has one. All others are counted: one line for each stream and second in which something
was decided. What is written, and nothing else, is described in docs/decisions.md.
"""

from __future__ import annotations

import json
import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from framesift.clock.clock import Clock, MonitoredThread
from framesift.decisions.decision import FrameDecision, Outcome, StrategyResult
from framesift.decisions.last_hour import DownTime, LastHour, MinuteCounts
from framesift.decisions.measurement import Measurement
from framesift.decisions.record_files import RecordFiles, read_lines
from framesift.frame import RefusalReason
from framesift.periodic import NextRun, PeriodicTask
from framesift.prediction.prediction import (
    Classification,
    Detections,
    MultiLabel,
    Prediction,
    count_classes,
)

FLUSH_EVERY_S = 1.0
_LATELY = 10  # writes, to tell how many frames a second there are
_encode = json.JSONEncoder(separators=(",", ":")).encode
MAX_PENDING = 1000  # decisions between two writes that get a line of their own

# Of each strategy, what it has used and its limit, by window: hour -> (3, 20).
QuotaByStrategy = Mapping[str, Mapping[str, tuple[int, int]]]


@dataclass(slots=True)
class _Second:
    """What was decided on one stream since the last write."""

    matched: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    best: dict[str, tuple[float, Measurement]] = field(default_factory=dict)
    nearest: dict[RefusalReason, tuple[float, FrameDecision]] = field(default_factory=dict)


class DecisionRecord:
    """A component, and a DecisionObserver: see there. Thread-safe."""

    name = "decision record"

    def __init__(
        self,
        files: RecordFiles | None,
        clock: Clock,
        *,
        quota: Callable[[], QuotaByStrategy] = dict,
        on_problem: Callable[[str], None],
    ) -> None:
        """files: where lines go, None for nowhere: then only the last hour is counted.

        quota: returns what is used now; called by the record's own thread. on_problem: called with the reason when
        lines can't be written, and with "" when they can again.
        """
        self._files = files
        self._clock = clock
        self._quota = quota
        self._on_problem = on_problem
        self._has_problem = False
        self._failed: BaseException | None = None
        self._flushing = threading.Lock()
        self._started_s = clock.now().wall_s
        self._is_restored = files is None
        self._hour = LastHour()
        self._lock = threading.Lock()  # of everything below
        self._seconds: dict[str, _Second] = {}
        self._pending: list[FrameDecision] = []
        self._settled: list[tuple[str, str, float, str | RefusalReason]] = []
        self._unrecorded = 0
        self._lately: deque[tuple[float, dict[str, int]]] = deque(maxlen=_LATELY)
        self._since_s = self._started_s
        self._task = PeriodicTask(self.name, self._run, clock, on_failure=self._fail)

    # --- for the threads that decide ------------------------------------------------------------------------------

    def count_matched(self, stream: str, strategy: str) -> None:
        """See DecisionObserver."""
        with self._lock:
            self._second(stream).matched[strategy] += 1

    def count_accepted(self, stream: str, strategy: str) -> None:
        """See DecisionObserver."""
        with self._lock:
            self._second(stream).accepted[strategy] += 1

    def count_refused(self, stream: str, reason: RefusalReason) -> None:
        """See DecisionObserver."""
        with self._lock:
            self._second(stream).refused[reason.value] += 1

    def observe(self, stream: str, measured: Mapping[str, Measurement]) -> float:
        """See DecisionObserver."""
        highest = -math.inf
        with self._lock:
            best = self._second(stream).best
            for strategy, one in measured.items():
                nearness = one.nearness
                highest = max(highest, nearness)
                if strategy not in best or nearness > best[strategy][0]:
                    best[strategy] = nearness, one
        return highest

    def add(self, decision: FrameDecision) -> None:
        """See DecisionObserver."""
        with self._lock:
            if len(self._pending) < MAX_PENDING:
                self._pending.append(decision)
            else:
                self._unrecorded += 1

    def add_refused(
        self, stream: str, reason: RefusalReason, nearness: float, make: Callable[[], FrameDecision]
    ) -> None:
        """See DecisionObserver."""
        with self._lock:
            nearest = self._second(stream).nearest
            if reason not in nearest or nearness > nearest[reason][0]:
                nearest[reason] = nearness, make()

    def settle(self, stream: str, id: str, outcome: str | RefusalReason) -> None:
        """See DecisionObserver."""
        at_s = self._clock.now().wall_s
        with self._lock:
            if len(self._settled) < MAX_PENDING:
                self._settled.append((stream, id, at_s, outcome))

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
        """How many frames a second were decided on lately, by stream; about ten seconds are looked at."""
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

    @property
    def threads(self) -> tuple[MonitoredThread, ...]:
        """None: a record that can't be written is no reason to restart the daemon."""
        return ()

    def start(self) -> None:
        """See Component."""
        self._task.start()

    def stop(self, within_s: float) -> bool:
        """Write what was decided last."""
        has_ended = self._task.stop(within_s)
        if has_ended and self._failed is None:
            with self._flushing:
                self._flush(is_last=True)
            if self._files is not None:
                self._files.close()
        return has_ended

    def idle_s(self) -> float:
        """See Component."""
        return self._task.idle_s()

    def flush(self) -> None:
        """Write what was decided since the last time. It may wait for the disk."""
        with self._flushing:
            self._flush()

    def _flush(self, *, is_last: bool = False) -> None:
        down = None if self._is_restored or self._files is None else self._restore(self._files)
        until_s = self._clock.now().wall_s
        with self._lock:
            seconds, self._seconds = self._seconds, {}
            pending, self._pending = self._pending, []
            settled, self._settled = self._settled, []
            unrecorded, self._unrecorded = self._unrecorded, 0
            since_s, self._since_s = self._since_s, until_s
            decided = {name: second.accepted.total() + second.refused.total() for name, second in seconds.items()}
            self._lately.append((until_s - since_s, decided))
        for stream, one in seconds.items():
            matched, accepted, refused = one.matched, one.accepted, one.refused
            self._hour.add(stream, int(until_s // 60), matched=matched, accepted=accepted, refused=refused)
        if self._files is None:
            return
        pending += [one for second in seconds.values() for _, one in second.nearest.values()]
        pending.sort(key=lambda one: one.captured_s)
        quota = self._quota() if pending else {}
        lines = [] if down is None else [{"type": "down", "from": round(down.from_s, 3), "to": round(down.to_s, 3)}]
        lines += [decision_line(one, quota) for one in pending]
        lines += [_outcome_line(*one) for one in settled]
        lines += [_counts_line(stream, second, since_s, until_s) for stream, second in seconds.items()]
        if unrecorded:
            lines.append({"type": "unrecorded", "from": since_s, "to": until_s, "decisions": unrecorded})
        if is_last:
            lines.append({"type": "stop", "at": round(until_s, 3)})
        if not lines:
            return
        try:
            self._files.append(map(_encode, lines))
        except OSError as error:
            self._has_problem = True
            self._on_problem(f"{self._files.folder}: {error.strerror or error}: decisions are not recorded")
        else:
            if self._has_problem:
                self._has_problem = False
                self._on_problem("")

    def _restore(self, files: RecordFiles) -> DownTime | None:
        """Take over the last hour from before this run, once, before anything else is written."""
        self._is_restored = True
        return self._hour.restore(files.folder, self._started_s)

    def _run(self) -> NextRun:
        self.flush()
        return NextRun(FLUSH_EVERY_S, FLUSH_EVERY_S)

    def _fail(self, error: BaseException) -> None:
        self._failed = error
        self._on_problem(f"it failed, and works again after a restart: {error!r}")

    def _second(self, stream: str) -> _Second:
        second = self._seconds.get(stream)
        if second is None:
            second = self._seconds[stream] = _Second()
        return second


def decision_line(decision: FrameDecision, quota: QuotaByStrategy) -> dict[str, Any]:
    """The line of one decision."""
    line: dict[str, Any] = {
        "type": "decision",
        "at": round(decision.captured_s, 3),
        "stream": decision.stream,
        "frame": decision.frame,
        "epoch": decision.epoch,
        "outcome": decision.outcome.value,
    }
    if decision.media_s is not None:
        line["media_s"] = round(decision.media_s, 3)
    if decision.reason is not None:
        line["reason"] = decision.reason.value
    for key in ("id", "strategy", "chosen_id"):
        if value := getattr(decision, key):
            line[key] = value
    line["classes"] = dict(count_classes(decision.prediction))
    if confidences := _confidences(decision.prediction):
        line["confidence"] = [_rounded(min(confidences)), _rounded(max(confidences))]
    line["strategies"] = [_result_fields(result) for result in decision.results]
    line["quota"] = {
        name: {window: list(use) for window, use in quota[name].items()}
        for name in [decision.strategy, *(result.strategy for result in decision.results)]
        if name in quota
    }
    return line


def _result_fields(result: StrategyResult) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": result.strategy, "matched": result.matched}
    if result.score is not None:
        fields["score"] = _rounded(result.score)
    if result.measurement is not None:
        fields.update(_measurement_fields(result.measurement))
    if result.excluded:
        fields["excluded"] = result.excluded
    if result.similar is not None:
        distance, threshold = _rounded(result.similar.distance), _rounded(result.similar.threshold)
        fields["similar"] = {"id": result.similar.id, "distance": distance, "threshold": threshold}
    return fields


def _measurement_fields(measured: Measurement) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "what": measured.what,
        "value": _rounded(measured.value),
        "relation": measured.relation,
        "bound": _rounded(measured.bound),
    }
    if measured.draw is not None:
        fields.update(draw=_rounded(measured.draw), probability=_rounded(measured.probability))
    return fields


def _outcome_line(stream: str, id: str, at_s: float, outcome: str | RefusalReason) -> dict[str, Any]:
    line: dict[str, Any] = {"type": "outcome", "at": round(at_s, 3), "stream": stream, "id": id}
    if isinstance(outcome, RefusalReason):
        return {**line, "outcome": Outcome.REFUSED.value, "reason": outcome.value}
    return {**line, "outcome": Outcome.ACCEPTED.value, "strategy": outcome}


def _counts_line(stream: str, second: _Second, since_s: float, until_s: float) -> dict[str, Any]:
    line: dict[str, Any] = {"type": "counts", "from": round(since_s, 3), "to": round(until_s, 3), "stream": stream}
    for key in ("matched", "accepted", "refused"):
        if counts := getattr(second, key):
            line[key] = dict(counts)
    if second.best:
        line["best"] = {name: _measurement_fields(best) for name, (_, best) in second.best.items()}
    return line


def _confidences(prediction: Prediction) -> Sequence[float]:
    """Those of all objects, or of what a classifier says."""
    if isinstance(prediction, Detections):
        return prediction.columns.confidence
    if isinstance(prediction, Classification):
        return (prediction.confidence,)
    return [score.confidence for score in prediction.scores] if isinstance(prediction, MultiLabel) else ()


def _rounded(value: float) -> float:
    return round(value, 6)

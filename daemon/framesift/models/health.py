"""ModelHealth: what the model's failures say of it, over all the streams that it looks at.

    ok ──> degraded    3 failures in a row, of one stream or of all together; or it is away
    degraded ──> failed    it has failed on everything for 60 s, in at least 3 failures
    failed ──> ModelBroken    it has failed on everything for 300 s: the process ends, and a new one loads it afresh
    any ──> ok    the first answer

A failure of one frame is only counted, elsewhere. A stream whose pictures alone fail is named in the reason for as long
as it does, and ends nothing: the model answers the others. A model that is away (an inference server) recovers by
itself, so it is never more than degraded, and the time that it is away counts for nothing. Nor does a model fail that
is asked nothing: of the time between two frames at most 60 s count.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from framesift.clock.clock import Clock
from framesift.telemetry import Condition, HealthRegistry

FAILURES_IN_A_ROW = 3
FAILED_AFTER_S = 60.0
BROKEN_AFTER_S = 300.0
_LONGEST_GAP_S = 60.0
_LONGEST_REASON = 500
COMPONENT = "model"


class ModelBroken(Exception):
    """The model fails on everything and will not recover by being asked again. The text has its last words."""


@dataclass(slots=True)
class _Run:
    """Failures in a row. lasts_s: from the first to the last of them; at_s: when the last was, by the monotonic clock,
    None where the time since then doesn't count. why: its text.
    """

    failures: int = 0
    lasts_s: float = 0.0
    at_s: float | None = None
    why: str = ""

    def failed(self, at_s: float, why: str) -> None:
        if self.at_s is not None:
            self.lasts_s += min(at_s - self.at_s, _LONGEST_GAP_S)
        self.failures += 1
        self.at_s = at_s
        self.why = why

    def words(self) -> str:
        return f"{self.failures} failure(s) in a row, the last: {self.why}"


class ModelHealth:
    """One for each model, shared by the threads of all streams. Sets the component `model` of `health`."""

    def __init__(self, health: HealthRegistry, clock: Clock) -> None:
        self._health = health
        self._clock = clock
        self._lock = threading.Lock()
        self._all = _Run()
        self._by_stream: dict[str, _Run] = {}
        self._away: str | None = None
        self._ok = False  # as the component was set last
        self._answered = False

    def record_success(self, stream: str) -> None:
        """The model gave a prediction for a frame of the stream."""
        with self._lock:
            self._answered = True
            self._away = None
            self._by_stream.pop(stream, None)
            if self._all.failures:
                self._all = _Run()
            self._judge()

    def record_failure(self, stream: str, why: str) -> None:
        """It failed on a frame of the stream. Raises ModelBroken when that has gone on for too long."""
        why = " ".join(why.split())[:_LONGEST_REASON]
        at_s = self._clock.monotonic()
        with self._lock:
            self._away = None
            self._all.failed(at_s, why)
            self._by_stream.setdefault(stream, _Run()).failed(at_s, why)
            self._judge()
            if self._all.failures >= FAILURES_IN_A_ROW and self._all.lasts_s >= BROKEN_AFTER_S:
                raise ModelBroken(f"the model has failed for {self._all.lasts_s:.0f} s: {self._all.words()}")

    def record_unavailable(self, why: str) -> None:
        """It can't be asked now."""
        with self._lock:
            self._away = why
            self._all.at_s = None
            self._judge()

    def remove_stream(self, stream: str) -> None:
        """The stream has ended: that it failed on this one's pictures says nothing any more."""
        with self._lock:
            self._by_stream.pop(stream, None)
            self._judge()

    def failed_run_reason(self) -> str | None:
        """What to say of a run in which the model failed and gave not one prediction; None of any other."""
        with self._lock:
            return None if self._answered or not self._all.failures else self._all.words()

    def _judge(self) -> None:
        condition, why = self._condition()
        if condition is Condition.OK and self._ok:
            return  # what every frame of a good model comes to
        self._ok = condition is Condition.OK
        self._health.set(COMPONENT, condition, why)

    def _condition(self) -> tuple[Condition, str]:
        if self._away is not None:
            return Condition.DEGRADED, self._away
        if self._all.failures >= FAILURES_IN_A_ROW:
            if self._all.lasts_s >= FAILED_AFTER_S:
                return Condition.FAILED, f"on everything for {self._all.lasts_s:.0f} s: {self._all.words()}"
            return Condition.DEGRADED, self._all.words()
        alone = [(name, run) for name, run in self._by_stream.items() if run.failures >= FAILURES_IN_A_ROW]
        if alone:
            return Condition.DEGRADED, "; ".join(f"stream {name}: {run.words()}" for name, run in alone)[
                :_LONGEST_REASON
            ]
        return Condition.OK, ""

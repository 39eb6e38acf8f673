"""ModelHealth: what a model's failures say about it, over all its streams.

    ok ──> degraded    3 failures in a row, of one stream or of all together; or the model is unavailable
    ok ──> degraded    no answer for 15 s
    degraded ──> failed    it has failed on everything for 60 s, with at least 3 failures
    failed ──> ModelBroken    it has failed on everything for 300 s: the process ends, and a new one loads it again
    any ──> ok    the first success

The failure of one frame alone is only counted. A stream whose pictures alone fail is named in the reason for as long as
they do, but never ends the process: the model works for the others. An unavailable model (an inference server) recovers
by itself, so it is only degraded, and the time in which it is unavailable does not count. Time without requests does
not count either: of the time between two frames at most 60 s count.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from framesift.clock.clock import Clock
from framesift.clock.silence import Silence
from framesift.telemetry import Condition, HealthRegistry

FAILURES_IN_A_ROW = 3
FAILED_AFTER_S = 60.0
BROKEN_AFTER_S = 300.0
SILENT_AFTER_S = 15.0
_MAX_GAP_S = 60.0
_MAX_REASON_CHARACTERS = 500
COMPONENT = "model"


class ModelBroken(Exception):
    """The model fails on everything, and asking again will not help. The text is its last error."""


@dataclass(slots=True)
class _FailureRun:
    """Failures in a row.

    lasts_s: from the first to the last of them. at_s: time of the last, by the monotonic clock; None if the time since
    then does not count. why: its text.
    """

    failures: int = 0
    lasts_s: float = 0.0
    at_s: float | None = None
    why: str = ""

    def add(self, at_s: float, why: str) -> None:
        if self.at_s is not None:
            self.lasts_s += min(at_s - self.at_s, _MAX_GAP_S)
        self.failures += 1
        self.at_s = at_s
        self.why = why

    def summary(self) -> str:
        return f"failures in a row: {self.failures}, the last: {self.why}"


class ModelHealth:
    """The health of one model, shared by the threads of its streams. It sets a component of `health`."""

    def __init__(self, health: HealthRegistry, clock: Clock, component: str = COMPONENT) -> None:
        self._health = health
        self._component = component
        self._clock = clock
        self._lock = threading.Lock()
        self._all_streams = _FailureRun()
        self._by_stream: dict[str, _FailureRun] = {}
        self._unavailable_why: str | None = None
        self._was_ok = False  # the health that was set last
        self._answered = False
        self._silence = Silence(clock)
        self.asking = self._silence.asking  # encloses each call of the model

    def check(self) -> None:
        """Set the health anew while the model gives no answer. To be called about once a second."""
        with self._lock:
            self._update()

    def record_success(self, stream: str) -> None:
        """The model gave a prediction for a frame of the stream."""
        with self._lock:
            self._answered = True
            self._unavailable_why = None
            self._by_stream.pop(stream, None)
            if self._all_streams.failures:
                self._all_streams = _FailureRun()
            self._update()

    def record_failure(self, stream: str, why: str) -> None:
        """The model failed on a frame of the stream. Raises ModelBroken when this has lasted for too long."""
        why = " ".join(why.split())[:_MAX_REASON_CHARACTERS]
        at_s = self._clock.monotonic()
        with self._lock:
            self._unavailable_why = None
            self._all_streams.add(at_s, why)
            self._by_stream.setdefault(stream, _FailureRun()).add(at_s, why)
            self._update()
            if self._all_streams.failures >= FAILURES_IN_A_ROW and self._all_streams.lasts_s >= BROKEN_AFTER_S:
                raise ModelBroken(
                    f"the model has failed for {self._all_streams.lasts_s:.0f} s: {self._all_streams.summary()}"
                )

    def record_unavailable(self, why: str) -> None:
        """The model can't be asked now."""
        with self._lock:
            self._unavailable_why = why
            self._all_streams.at_s = None
            self._update()

    def remove_stream(self, stream: str) -> None:
        """The stream has ended: its failures no longer matter."""
        with self._lock:
            self._by_stream.pop(stream, None)
            self._update()

    def failed_run_reason(self) -> str | None:
        """The reason why a run failed in which the model gave not one prediction; None for any other run."""
        with self._lock:
            return None if self._answered or not self._all_streams.failures else self._all_streams.summary()

    def _update(self) -> None:
        condition, why = self._condition()
        if condition is Condition.OK and self._was_ok:
            return  # the usual case, for every frame
        self._was_ok = condition is Condition.OK
        self._health.set(self._component, condition, why)

    def _condition(self) -> tuple[Condition, str]:
        if self._unavailable_why is not None:
            return Condition.DEGRADED, self._unavailable_why
        silent_s = self._silence.lasts_s()
        if silent_s >= SILENT_AFTER_S:
            return Condition.DEGRADED, f"it has given no answer for {silent_s:.0f} s: it hangs, or is very slow"
        if self._all_streams.failures >= FAILURES_IN_A_ROW:
            if self._all_streams.lasts_s >= FAILED_AFTER_S:
                return (
                    Condition.FAILED,
                    f"on everything for {self._all_streams.lasts_s:.0f} s: {self._all_streams.summary()}",
                )
            return Condition.DEGRADED, self._all_streams.summary()
        failing = [
            (name, failure_run)
            for name, failure_run in self._by_stream.items()
            if failure_run.failures >= FAILURES_IN_A_ROW
        ]
        if failing:
            return Condition.DEGRADED, "; ".join(
                f"stream {name}: {failure_run.summary()}" for name, failure_run in failing
            )[:_MAX_REASON_CHARACTERS]
        return Condition.OK, ""

"""Loop two, a few worker threads: spool -> sink.

Each worker claims one row of the spool, gives it to the sink, and writes the result into the row. It claims one at a
time: attempts are counted when a row is claimed, so a row that crashes the process is charged for it, and no other is.
No worker sleeps for a retry: the retry is a date in the row. The sink's limits are applied when rows are claimed.

While the sink as a whole is unavailable, the circuit breaker is open: rows wait without a date, and it costs them no
attempt. What the sink refuses is tried a few times more, within an hour, before it is buried. Problems with a disk, a
network or a row never end a worker; an unexpected error does, and is reported to `on_failure`.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from framesift.clock.clock import MAX_WAIT_S, Clock, HeartbeatClock, MonitoredThread
from framesift.clock.silence import Silence
from framesift.limits import Limit
from framesift.prediction.prediction import Prediction
from framesift.prediction.wire_format import parse_prediction
from framesift.sinks import Delivery, DeliveryResult, Duplicate, Registered, Rejected, RetryLater, Sink
from framesift.spool import ClaimedDatapoint, FinalOutcome, Spool, SpoolBroken, SpoolFull, SpoolUnavailable
from framesift.upload.circuit_breaker import (
    BY_CHANCE_SCHEDULE,
    PROBE_AT_MOST_S,
    RETRY_SCHEDULE,
    BreakerDecision,
    SinkCircuitBreaker,
    SinkSignal,
)

ATTEMPT_WITHIN_S = 45.0
# When a datapoint that was refused is tried again, in seconds after each refusal; the attempt after these is the last.
REFUSED_RETRY_S = (300.0, 900.0, 2400.0)
_SPREAD = (0.9, 1.1)
# A spool that says "now" and then has nothing must not be asked in a busy loop.
_MIN_WAIT_S = 0.05
_REGISTERED_AGAIN = "the sink has the image, and asks for its prediction again"


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One delivery, its result, and how many seconds it took."""

    item: ClaimedDatapoint
    outcome: DeliveryResult
    took_s: float


@dataclass(frozen=True, slots=True)
class SinkProblem:
    """Why nothing gets through. all_refused: the sink answers, but refuses everything: a person has to look at it."""

    why: str
    all_refused: bool


class UploadObserver(Protocol):
    """Gets the events of an uploader, from its worker threads: thread-safe, quick, and it never raises."""

    def delivery_attempted(self, attempt: DeliveryAttempt, /) -> None:
        """One delivery was attempted."""

    def sink_changed(self, problem: SinkProblem | None, /) -> None:
        """Nothing gets through any more, or for another reason than before; None: deliveries succeed again."""


class Uploader:
    """The component that delivers: runs its worker threads from `start` until `stop`."""

    name = "upload"

    def __init__(
        self,
        spool: Spool,
        sink: Sink,
        *,
        workers: int,
        sink_limits: Sequence[Limit],
        probe_at_most_s: float = PROBE_AT_MOST_S,
        clock: Clock,
        rng: random.Random,
        observer: UploadObserver | None = None,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """workers: the number of threads. rng: spreads retries. observer: gets every delivery and the sink's problems.

        probe_at_most_s: while nothing gets through, the longest pause until the next try that the sink did not ask for.
        on_failure: called with the unexpected error that ended a worker, by that worker's thread.
        """
        self._spool = spool
        self._sink = sink
        self._limits = tuple(sink_limits)
        self._clock = clock
        self._rng = rng
        self._observer = observer
        self._on_failure = on_failure
        self._breaker = SinkCircuitBreaker(rng, probe_at_most_s=probe_at_most_s)
        self._silence = Silence(clock)
        self._stop = threading.Event()
        self._workers = [_Worker(threading.Event(), HeartbeatClock(clock)) for _ in range(workers)]
        self._threads = [
            threading.Thread(target=self._run, args=(worker,), name=f"upload-{number}", daemon=True)
            for number, worker in enumerate(self._workers, 1)
        ]
        self.threads = tuple(
            MonitoredThread(thread.name, thread, worker.clock, max_idle_s=ATTEMPT_WITHIN_S + 1.0)
            for thread, worker in zip(self._threads, self._workers, strict=True)
        )

    def start(self) -> None:
        """Start the workers."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Let idle workers look for rows at once: something was accepted, or released by an operator. Thread-safe."""
        for worker in self._workers:
            worker.wake.set()

    def set_sink_limits(self, limits: Sequence[Limit]) -> None:
        """Replace the sink's limits. Thread-safe."""
        self._limits = tuple(limits)
        self.wake()

    def probe_now(self) -> None:
        """Test at once whether deliveries succeed again; rows that wait for a retry keep their dates. Thread-safe."""
        self._breaker.probe_now(self._clock.monotonic())
        self.wake()

    def stop(self, within_s: float) -> bool:
        """End the workers, and return whether all ended in time.

        Deliveries in progress may finish; rows that were only claimed go back to the spool. Neither that nor being cut
        costs an attempt. The row of a worker that did not end is found, and delivered again, at the next start.
        """
        self._stop.set()
        self._spool.refund_attempts([worker.item for worker in self._workers if worker.item is not None])
        self.wake()
        deadline_s = self._clock.monotonic() + within_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline_s - self._clock.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def idle_s(self) -> float:
        """Return the seconds since the slowest worker last moved."""
        return max((thread.idle_s() for thread in self.threads), default=0.0)

    def sink_silent_s(self) -> float:
        """Return for how many seconds the sink has answered no delivery; 0 while there is none in progress."""
        return self._silence.lasts_s()

    def is_drained(self) -> bool:
        """Return whether everything has left the spool that can leave it; buried datapoints can't.

        False while something waits for a retry or for the sink's limits, and while the spool can't be read.
        """
        try:
            counts = self._spool.counts()
        except SpoolBroken:
            return False
        return counts.ready + counts.sending + counts.registered == 0

    def _run(self, worker: _Worker) -> None:
        try:
            while True:
                worker.wake.clear()  # first: what happens during the next step is looked at again
                if self._stop.is_set():
                    return
                wait_s = self._deliver_next(worker)
                if wait_s > 0:
                    worker.clock.wait(worker.wake, wait_s)
        except BaseException as error:  # noqa: BLE001  # a thread must not end unnoticed: the service ends the process
            self._on_failure(error)

    def _deliver_next(self, worker: _Worker) -> float:
        """Deliver one row if there is one; return the seconds until there may be another."""
        clock = worker.clock
        wait_s = self._breaker.enter(clock.monotonic())
        if wait_s > 0:
            return wait_s
        try:
            claim = self._spool.claim(1, self._limits, claim_last=self._breaker.failed_probes())
            for item in claim.items:
                worker.item = item.id  # before `_deliver` looks at the stop event: `stop` reads it after setting that
                self._deliver(item, worker)
        except (SpoolBroken, SpoolFull):  # reported by the spool's own health; here it is only a reason to wait
            return MAX_WAIT_S
        finally:
            worker.item = None
            self._breaker.leave()
        if claim.items:
            return 0.0
        worker.registered = None  # its second step is another worker's, or waits
        if claim.wait_until_s is None:
            return MAX_WAIT_S
        return max(_MIN_WAIT_S, claim.wait_until_s - clock.now().wall_s)

    def _deliver(self, item: ClaimedDatapoint, worker: _Worker) -> None:
        """Deliver a claimed row, and write the result into it."""
        clock = worker.clock
        before, worker.registered = worker.registered, None
        if self._stop.is_set():
            self._spool.release([item.id])
            return
        delivery = self._delivery_of(item, before)
        if delivery is None:
            return
        began_s = clock.monotonic()
        with self._silence.asking():
            result = self._sink.deliver(delivery, now_s=clock.now().wall_s, within_s=ATTEMPT_WITHIN_S)
        if self._observer is not None:
            self._observer.delivery_attempted(DeliveryAttempt(item, result, clock.monotonic() - began_s))
        worker.registered = delivery if isinstance(result, Registered) else None
        self._write_result(item, result, self._record(item, result, clock), clock)

    def _delivery_of(self, item: ClaimedDatapoint, before: Delivery | None) -> Delivery | None:
        """Return what the sink needs; None if the row is buried, postponed or gone.

        before: what this worker has registered just now, of this row or another; None if it has not.
        """
        if before is not None and (before.id, before.prediction_json) == (item.id, item.prediction):
            return _delivery(item, before.jpeg, before.prediction)
        try:
            jpeg = self._spool.read_jpeg(item.id)
        except SpoolUnavailable:
            self._spool.release([item.id])
            raise
        except SpoolBroken:  # the spool has changed the row already
            return None
        try:
            prediction = parse_prediction(json.loads(item.prediction), width=item.width, height=item.height)
        except ValueError as error:
            self._spool.bury(item.id, f"its prediction can't be read: {error}")
            return None
        return _delivery(item, jpeg, prediction)

    def _record(self, item: ClaimedDatapoint, result: DeliveryResult, clock: Clock) -> BreakerDecision:
        """Record the result with the circuit breaker."""
        why = result.reason if isinstance(result, RetryLater | Rejected) else ""
        retry_after_s = _retry_after_s(result, clock)
        decision = self._breaker.record(item.id, _signal_of(result), why, clock.monotonic(), retry_after_s)
        if decision.changed:
            if self._observer is not None:
                self._observer.sink_changed(SinkProblem(why, decision.all_refused) if decision.is_open else None)
            if not decision.is_open:
                self.wake()
        return decision

    def _write_result(
        self, item: ClaimedDatapoint, result: DeliveryResult, decision: BreakerDecision, clock: Clock
    ) -> None:
        """Write the result into the row. If the disk refuses it now, the spool keeps it until the disk accepts it."""
        if isinstance(result, RetryLater):
            self._spool.retry_later(
                item.id,
                self._retry_at_s(item, result, decision, clock),
                result.reason,
                costs_attempt=decision.item_at_fault,
                arrived=result.may_have_arrived,
            )
        elif isinstance(result, Registered) and item.image_id is None:
            self._spool.mark_registered(item.id, result.image_id)
        elif isinstance(result, Registered):  # once more: a sink that never takes the prediction must not spin
            at_s = clock.now().wall_s + RETRY_SCHEDULE.pause_s(item.attempts, self._rng)
            self._spool.retry_later(item.id, at_s, _REGISTERED_AGAIN, image_id=result.image_id)
        elif isinstance(result, Rejected):
            self._write_refusal(item, result.reason, decision, clock)
        else:  # the spool knows whether an image that was there before may be our own
            is_duplicate = isinstance(result, Duplicate)
            self._spool.complete(item.id, FinalOutcome.DUPLICATE if is_duplicate else FinalOutcome.DELIVERED)

    def _retry_at_s(
        self, item: ClaimedDatapoint, result: RetryLater, decision: BreakerDecision, clock: Clock
    ) -> float | None:
        """Return the Unix time of the next attempt; None for as soon as the breaker closes."""
        if decision.is_open and not decision.item_at_fault:
            return None
        pause_s = _retry_after_s(result, clock)
        if pause_s is None:
            attempts = item.attempts if decision.item_at_fault else item.tried
            # Where calls fail at random, a row that failed before is as likely to be delivered as any other.
            schedule = BY_CHANCE_SCHEDULE if decision.by_chance else RETRY_SCHEDULE
            pause_s = schedule.pause_s(attempts, self._rng)
        return clock.now().wall_s + pause_s

    def _write_refusal(self, item: ClaimedDatapoint, why: str, decision: BreakerDecision, clock: Clock) -> None:
        """Retry, or bury after the last attempt; then refund the quota if the sink surely doesn't have the datapoint.

        A datapoint that is refused only because everything is, goes behind the others and is never buried.
        """
        if not decision.item_at_fault:
            self._spool.retry_later(
                item.id, None, why, costs_attempt=False, arrived=False, refusals=max(1, item.refusals)
            )
        elif item.refusals < len(REFUSED_RETRY_S):
            at_s = clock.now().wall_s + REFUSED_RETRY_S[item.refusals] * self._rng.uniform(*_SPREAD)
            self._spool.retry_later(item.id, at_s, why, costs_attempt=False, arrived=False, refusals=item.refusals + 1)
        else:
            never_arrived = item.image_id is None and item.tried == 1
            self._spool.bury(item.id, f"refused {item.refusals + 1} times, the last: {why}", refund=never_arrived)


@dataclass(slots=True, eq=False)
class _Worker:
    wake: threading.Event
    clock: HeartbeatClock
    item: str | None = None  # the id of what it is delivering
    registered: Delivery | None = None  # the last one, if its second step is next: it need not be read again


def _signal_of(result: DeliveryResult) -> SinkSignal:
    if isinstance(result, RetryLater):
        return SinkSignal(result.scope.value)
    return SinkSignal.REFUSED if isinstance(result, Rejected) else SinkSignal.SUCCEEDED


def _retry_after_s(result: DeliveryResult, clock: Clock) -> float | None:
    """Return the pause that the sink asked for, None if it did not ask, or for a time that is over."""
    if not isinstance(result, RetryLater) or result.retry_at_s is None:
        return None
    pause_s = result.retry_at_s - clock.now().wall_s
    return pause_s if pause_s > 0.0 else None


def _delivery(item: ClaimedDatapoint, jpeg: bytes, prediction: Prediction) -> Delivery:
    """Return what the sink needs."""
    return Delivery(
        id=item.id,
        device=item.device,
        stream=item.stream,
        frame=item.frame,
        captured_at_s=item.captured_at_s,
        strategy=item.strategy,
        score=item.score,
        tags=item.tags,
        project=item.project,
        batch=item.batch,
        annotate=item.annotate,
        width=item.width,
        height=item.height,
        prediction=prediction,
        jpeg=jpeg,
        attempt_number=item.tried,
        image_id=item.image_id,
        prediction_json=item.prediction,
        facts=json.loads(item.extra),
    )

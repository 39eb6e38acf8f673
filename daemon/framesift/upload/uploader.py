"""Loop two, a few worker threads: spool -> sink.

Each worker claims one row, hands it to the sink, and writes the outcome into the row. It claims one at a time: attempts
are counted when a row is claimed, so that a row which ends the process is charged for it, and no neighbour is. Nothing
sleeps on a retry: it is a date in its row. The sink's limits are counted where rows are claimed, and kept by waiting.

While nothing at all gets through, the gate is shut: rows wait at it without a date, and it costs them no attempt. What
the sink refuses is tried a few times more, within an hour, before it is given up. What is wrong with a disk, a network
or a row never ends a worker; a bug does, and is told to `failed`.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from framesift.clock.clock import MAX_WAIT_S, Clock, HeartbeatClock, MonitoredThread
from framesift.limits import Limit
from framesift.prediction.wire_format import parse_prediction
from framesift.sinks import Delivery, DeliveryResult, Duplicate, Registered, Rejected, RetryLater, Sink
from framesift.spool import ClaimedDatapoint, FinalOutcome, Spool, SpoolBroken, SpoolFull, SpoolUnavailable
from framesift.upload.circuit_breaker import BreakerDecision, SinkCircuitBreaker, SinkSignal, backoff_s

ATTEMPT_WITHIN_S = 45.0
# When a datapoint that was refused is tried again, in seconds after each refusal; the next one is the last.
REFUSED_RETRY_S = (300.0, 900.0, 2400.0)
_SPREAD = (0.9, 1.1)
# A spool that says "now" and then has nothing must not be asked in a circle.
_SHORTEST_WAIT_S = 0.05


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """What one delivery came to."""

    item: ClaimedDatapoint
    outcome: DeliveryResult
    took_s: float


@dataclass(frozen=True, slots=True)
class SinkProblem:
    """Nothing gets through, and why. refuses: the sink is there, and refuses everything: a person has to look."""

    why: str
    all_refused: bool


class Uploader:
    """Runs `workers` threads from `start` until `stop`.

    failed: told of a bug, once for each worker that it ended. attempted: told of every delivery. paused: told when
    nothing gets through, again when that has another reason, and with None when it is over. All three are called by
    the workers' threads.
    """

    def __init__(
        self,
        spool: Spool,
        sink: Sink,
        *,
        workers: int,
        sink_limits: Sequence[Limit],
        clock: Clock,
        rng: random.Random,
        failed: Callable[[BaseException], None],
        attempted: Callable[[DeliveryAttempt], None] = lambda _: None,
        paused: Callable[[SinkProblem | None], None] = lambda _: None,
    ) -> None:
        self._spool = spool
        self._sink = sink
        self._limits = tuple(sink_limits)
        self._clock = clock
        self._chance = rng
        self._failed = failed
        self._attempted = attempted
        self._paused = paused
        self._gate = SinkCircuitBreaker(rng)
        self._stop = threading.Event()
        self._workers = [_Worker(threading.Event(), HeartbeatClock(clock)) for _ in range(workers)]
        self._threads = [
            threading.Thread(target=self._run, args=(worker,), name=f"upload-{number}", daemon=True)
            for number, worker in enumerate(self._workers, 1)
        ]
        self.loops = tuple(
            MonitoredThread(thread.name, thread, worker.pulse, max_idle_s=ATTEMPT_WITHIN_S + 1.0)
            for thread, worker in zip(self._threads, self._workers, strict=True)
        )

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Something was accepted, or released by hand: whoever is idle looks at once."""
        for worker in self._workers:
            worker.wake.set()

    def probe_now(self) -> None:
        """Somebody wants to know now whether anything gets through; what waits for its own retry keeps its date."""
        self._gate.probe_now(self._clock.monotonic())
        self.wake()

    def stop(self, within_s: float) -> bool:
        """Ends the workers: what is being delivered may finish, what is not goes back. Neither that nor being cut off
        costs an attempt. Tells whether all ended in time; the row of one that did not is found, and delivered again, at
        the next start.
        """
        self._stop.set()
        self._spool.refund_attempts([worker.item for worker in self._workers if worker.item is not None])
        self.wake()
        deadline_s = self._clock.monotonic() + within_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline_s - self._clock.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def is_drained(self) -> bool:
        """Whether everything that can leave has left: nothing waits but what is buried. What waits for a retry, or for
        the sink's limits, counts as not drained, however far its date is; so does a spool that can't be read now.
        """
        try:
            counts = self._spool.counts()
        except SpoolBroken:
            return False
        return counts.ready + counts.sending + counts.registered == 0

    def _run(self, worker: _Worker) -> None:
        try:
            while True:
                worker.wake.clear()  # before the look: what happens during it is looked at again
                if self._stop.is_set():
                    return
                wait_s = self._look(worker)
                if wait_s > 0:
                    worker.pulse.wait(worker.wake, wait_s)
        except BaseException as error:  # noqa: BLE001  # a thread must not die in silence: the service ends the process
            self._failed(error)

    def _look(self, worker: _Worker) -> float:
        """Delivers one row if there is one; returns the seconds after which the next look is worth while."""
        clock = worker.pulse
        wait_s = self._gate.enter(clock.monotonic())
        if wait_s > 0:
            return wait_s
        try:
            claim = self._spool.claim(1, self._limits, claim_last=self._gate.failed_probes())
            for item in claim.items:
                worker.item = item.id  # before the look at the stop, which looks at this
                self._carry(item, clock)
        except (SpoolBroken, SpoolFull):  # the spool says so itself, in its health; here it is only a reason to wait
            return MAX_WAIT_S
        finally:
            worker.item = None
            self._gate.leave()
        if claim.items:
            return 0.0
        if claim.wait_until_s is None:
            return MAX_WAIT_S
        return max(_SHORTEST_WAIT_S, claim.wait_until_s - clock.now().wall_s)

    def _carry(self, item: ClaimedDatapoint, clock: Clock) -> None:
        """Delivers a claimed row and notes what became of it."""
        if self._stop.is_set():
            self._spool.release([item.id])
            return
        try:
            jpeg = self._spool.read_jpeg(item.id)
        except SpoolUnavailable:
            self._spool.release([item.id])
            raise
        except SpoolBroken:  # the spool has put it where it belongs: buried, off until later, or gone
            return
        try:
            delivery = _delivery(item, jpeg)
        except ValueError as error:
            self._spool.bury(item.id, f"its prediction can't be read: {error}")
            return
        began_s = clock.monotonic()
        outcome = self._sink.deliver(delivery, now_s=clock.now().wall_s, within_s=ATTEMPT_WITHIN_S)
        self._attempted(DeliveryAttempt(item, outcome, clock.monotonic() - began_s))
        self._note(item, outcome, self._rule(item, outcome, clock), clock)

    def _rule(self, item: ClaimedDatapoint, outcome: DeliveryResult, clock: Clock) -> BreakerDecision:
        """What the outcome says of the sink."""
        why = outcome.reason if isinstance(outcome, RetryLater | Rejected) else ""
        ruling = self._gate.record(item.id, _answer(outcome), why, clock.monotonic(), _asked_s(outcome, clock))
        if ruling.changed:
            self._paused(SinkProblem(why, ruling.all_refused) if ruling.is_open else None)
            if not ruling.is_open:
                self.wake()
        return ruling

    def _note(self, item: ClaimedDatapoint, outcome: DeliveryResult, ruling: BreakerDecision, clock: Clock) -> None:
        """Writes the outcome into the row. Where the disk won't take it now, the spool keeps it until the disk does."""
        if isinstance(outcome, RetryLater):
            at_s = self._date_s(item, outcome, ruling, clock)
            self._spool.retry_later(
                item.id, at_s, outcome.reason, costs_attempt=ruling.item_at_fault, arrived=outcome.may_have_arrived
            )
        elif isinstance(outcome, Registered):
            self._spool.mark_registered(item.id, outcome.image_id)
        elif isinstance(outcome, Rejected):
            self._refused(item, outcome.reason, ruling, clock)
        else:  # the spool knows whether an image that was there before may be our own
            self._spool.complete(
                item.id, FinalOutcome.DUPLICATE if isinstance(outcome, Duplicate) else FinalOutcome.DELIVERED
            )

    def _date_s(
        self, item: ClaimedDatapoint, outcome: RetryLater, ruling: BreakerDecision, clock: Clock
    ) -> float | None:
        """Unix time of the next attempt; None for as soon as the gate opens."""
        if ruling.is_open and not ruling.item_at_fault:
            return None
        asked_s = _asked_s(outcome, clock)
        if asked_s is None:
            asked_s = backoff_s(item.attempts if ruling.item_at_fault else item.tried, self._chance)
        return clock.now().wall_s + asked_s

    def _refused(self, item: ClaimedDatapoint, why: str, ruling: BreakerDecision, clock: Clock) -> None:
        """Gives it up after the last time, and the credit back if the sink surely doesn't have it. What is refused only
        as everything is, goes behind the others and is never given up.
        """
        if not ruling.item_at_fault:
            self._spool.retry_later(
                item.id, None, why, costs_attempt=False, arrived=False, refusals=max(1, item.refusals)
            )
        elif item.refusals < len(REFUSED_RETRY_S):
            at_s = clock.now().wall_s + REFUSED_RETRY_S[item.refusals] * self._chance.uniform(*_SPREAD)
            self._spool.retry_later(item.id, at_s, why, costs_attempt=False, arrived=False, refusals=item.refusals + 1)
        else:
            nowhere = item.image_id is None and item.tried == 1
            self._spool.bury(item.id, f"refused {item.refusals + 1} times, the last: {why}", refund=nowhere)


@dataclass(slots=True, eq=False)
class _Worker:
    wake: threading.Event
    pulse: HeartbeatClock
    item: str | None = None  # what it is delivering


def _answer(outcome: DeliveryResult) -> SinkSignal:
    if isinstance(outcome, RetryLater):
        return SinkSignal(outcome.scope.value)
    return SinkSignal.REFUSED if isinstance(outcome, Rejected) else SinkSignal.SUCCEEDED


def _asked_s(outcome: DeliveryResult, clock: Clock) -> float | None:
    """In how many seconds the sink wants to be asked again, if it said so."""
    if not isinstance(outcome, RetryLater) or outcome.retry_at_s is None:
        return None
    return max(0.0, outcome.retry_at_s - clock.now().wall_s)


def _delivery(item: ClaimedDatapoint, jpeg: bytes) -> Delivery:
    """Raises ValueError where the stored prediction is none."""
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
        prediction=parse_prediction(json.loads(item.prediction), width=item.width, height=item.height),
        jpeg=jpeg,
        attempt_number=item.tried,
        image_id=item.image_id,
    )

"""Loop two, a few worker threads: spool -> sink.

Each worker claims one row, hands it to the sink, and writes the outcome into the row. It claims one at a time: attempts
are counted when a row is claimed, so that a row which ends the process is charged for it, and no neighbour is. Nothing
sleeps on a retry: it is a date in its row. The sink's limits are counted where rows are claimed, and kept by waiting.

When the sink says that nothing at all gets through, every worker pauses; then one delivery at a time, at growing
intervals, asks whether it still is so. What is wrong with a disk, a network or a row never ends a worker; a bug does,
and is told to `failed`.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from framesift.clock import LONGEST_WAIT_S, Clock, Pulse
from framesift.limits import Limit
from framesift.sinks import AlreadyThere, Delivery, Later, Never, Outcome, Registered, Scope, Sink
from framesift.spool import Exit, Item, Spool, SpoolBroken
from framesift.wire import parse

ATTEMPT_WITHIN_S = 45.0
_SHORTEST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 300.0
# A spool that says "now" and then has nothing must not be asked in a circle.
_SHORTEST_WAIT_S = 0.05


def backoff_s(failures: int, chance: random.Random) -> float:
    """Seconds to wait after so many failures in a row (at least 1), full jitter: random(0, min(300, 2 x 2^n)) with n
    counted from 0, but at least a second. (Brooker, "Exponential Backoff And Jitter", 2015.)"""
    longest_s = min(_LONGEST_PAUSE_S, 2.0 * 2.0 ** min(failures - 1, 16))
    return max(_SHORTEST_PAUSE_S, chance.uniform(0.0, longest_s))


@dataclass(frozen=True, slots=True)
class Attempted:
    """What one delivery came to."""

    item: Item
    outcome: Outcome
    took_s: float


class Uploader:
    """Runs `workers` threads from `start` until `stop`.

    failed: told of a bug, once for each worker that it ended. attempted: told of every delivery. paused: told why
    nothing gets through when that begins, and None when it is over. All three are called from the workers' threads.
    """

    def __init__(
        self,
        spool: Spool,
        sink: Sink,
        *,
        workers: int,
        sink_limits: Sequence[Limit],
        clock: Clock,
        chance: random.Random,
        failed: Callable[[BaseException], None],
        attempted: Callable[[Attempted], None] = lambda _: None,
        paused: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self._spool = spool
        self._sink = sink
        self._limits = tuple(sink_limits)
        self._clock = clock
        self._chance = chance
        self._failed = failed
        self._attempted = attempted
        self._paused = paused
        self._gate = _Gate(chance)
        self._stop = threading.Event()
        self._workers = [_Worker(threading.Event(), Pulse(clock)) for _ in range(workers)]
        self._threads = [
            threading.Thread(target=self._run, args=(worker,), name=f"upload-{number}", daemon=True)
            for number, worker in enumerate(self._workers, 1)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def nudge(self) -> None:
        """Something was accepted, or released by hand: whoever is idle looks at once."""
        for worker in self._workers:
            worker.wake.set()

    def stop(self, within_s: float) -> bool:
        """Ends the workers: what is being delivered may finish, what is not goes back without costing an attempt. Tells
        whether all ended in time; the row of one that did not is found, and delivered again, at the next start."""
        self._stop.set()
        self.nudge()
        deadline_s = self._clock.monotonic() + within_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline_s - self._clock.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def drained(self) -> bool:
        """Whether everything that can leave has left: nothing waits but what is buried. What waits for a retry, or for
        the sink's limits, counts as not drained, however far its date is; so does a spool that can't be read now."""
        try:
            counts = self._spool.counts()
        except SpoolBroken:
            return False
        return counts.ready + counts.sending + counts.registered == 0

    def silence_s(self) -> float:
        """Seconds since the worker that moved least lately moved, for the watchdog; ended workers are silent."""
        return max(worker.pulse.silence_s() for worker in self._workers)

    def _run(self, worker: _Worker) -> None:
        try:
            while True:
                worker.wake.clear()  # before the look: what happens during it is looked at again
                if self._stop.is_set():
                    return
                wait_s = self._look(worker.pulse)
                if wait_s > 0:
                    worker.pulse.wait(worker.wake, wait_s)
        except BaseException as error:  # noqa: BLE001  # a thread must not die in silence: the service ends the process
            self._failed(error)

    def _look(self, clock: Clock) -> float:
        """Delivers one row if there is one; returns the seconds after which the next look is worth while."""
        wait_s = self._gate.wait_s(clock.monotonic())
        if wait_s > 0:
            return wait_s
        try:
            claim = self._spool.claim(1, self._limits)
            for item in claim.items:
                self._carry(item, clock)
        except SpoolBroken:  # the spool says so itself, in its health; here it is only a reason to wait
            return LONGEST_WAIT_S
        finally:
            self._gate.leave()
        if claim.items:
            return 0.0
        if claim.wait_until_s is None:
            return LONGEST_WAIT_S
        return max(_SHORTEST_WAIT_S, claim.wait_until_s - clock.now().wall_s)

    def _carry(self, item: Item, clock: Clock) -> None:
        """Delivers a claimed row and notes what became of it."""
        if self._stop.is_set():
            self._spool.release([item.id])
            return
        try:
            jpeg = self._spool.jpeg(item.id)
        except SpoolBroken:  # the spool has put it where it belongs: buried, off until later, or gone
            return
        try:
            delivery = _delivery(item, jpeg)
        except ValueError as error:
            self._spool.bury(item.id, f"its prediction can't be read: {error}")
            return
        began_s = clock.monotonic()
        outcome = self._sink.deliver(delivery, now_s=clock.now().wall_s, within_s=ATTEMPT_WITHIN_S)
        self._attempted(Attempted(item, outcome, clock.monotonic() - began_s))
        if not (isinstance(outcome, Later) and outcome.scope is Scope.SINK) and self._gate.open():
            self._paused(None)
            self.nudge()
        self._note(item, outcome, clock)

    def _note(self, item: Item, outcome: Outcome, clock: Clock) -> None:
        """Writes the outcome into the row. Where the disk won't take it now, the spool keeps it until the disk does."""
        if isinstance(outcome, Later):
            self._spool.later(
                item.id,
                self._date_s(item, outcome, clock),
                outcome.why,
                costs_attempt=outcome.scope is not Scope.SINK,
                arrived=outcome.arrived,
            )
        elif isinstance(outcome, Registered):
            self._spool.registered(item.id, outcome.image_id)
        elif isinstance(outcome, Never):
            self._spool.done(item.id, Exit.REJECTED)
        else:  # the spool knows whether an image that was there before may be our own
            self._spool.done(item.id, Exit.DUPLICATE if isinstance(outcome, AlreadyThere) else Exit.DELIVERED)

    def _date_s(self, item: Item, outcome: Later, clock: Clock) -> float:
        """Unix time of the next attempt; shuts the gate until then if nothing gets through."""
        now_s = clock.now().wall_s
        asked_s = None if outcome.at_s is None else max(0.0, outcome.at_s - now_s)
        if outcome.scope is not Scope.SINK:
            return now_s + (backoff_s(item.attempts, self._chance) if asked_s is None else asked_s)
        news, pause_s = self._gate.shut(clock.monotonic(), asked_s)
        if news:
            self._paused(outcome.why)
        return now_s + pause_s


@dataclass(frozen=True, slots=True)
class _Worker:
    wake: threading.Event
    pulse: Pulse


class _Gate:
    """Open while the sink takes things; shut since a delivery found that it takes nothing. Times are monotonic."""

    def __init__(self, chance: random.Random) -> None:
        self._lock = threading.Lock()
        self._chance = chance
        self._failures = 0
        self._until_s = 0.0
        self._probing: int | None = None

    def wait_s(self, now_s: float) -> float:
        """0: go through (where the gate is shut, as the only one, until `leave`); else the seconds to wait."""
        with self._lock:
            if not self._failures:
                return 0.0
            if now_s < self._until_s:
                return self._until_s - now_s
            if self._probing is not None:
                return LONGEST_WAIT_S
            self._probing = threading.get_ident()
            return 0.0

    def leave(self) -> None:
        with self._lock:
            if self._probing == threading.get_ident():
                self._probing = None

    def open(self) -> bool:
        """Tells whether it was shut."""
        with self._lock:
            was_shut = self._failures > 0
            self._failures = 0
            return was_shut

    def shut(self, now_s: float, asked_s: float | None) -> tuple[bool, float]:
        """Whether it was open, and the seconds until somebody may ask again: `asked_s`, where the sink said so."""
        with self._lock:
            news = not self._failures
            if news or now_s >= self._until_s:  # else an answer to what was under way when it was shut
                self._failures += 1
                self._until_s = now_s + (backoff_s(self._failures, self._chance) if asked_s is None else asked_s)
            return news, self._until_s - now_s


def _delivery(item: Item, jpeg: bytes) -> Delivery:
    """Raises ValueError where the stored prediction is none."""
    return Delivery(
        id=item.id,
        device=item.device,
        stream=item.stream,
        frame=item.frame,
        captured_at_s=item.captured_at,
        strategy=item.strategy,
        score=item.score,
        tags=item.tags,
        project=item.project,
        batch=item.batch,
        annotate=item.annotate,
        width=item.width,
        height=item.height,
        prediction=parse(json.loads(item.prediction), width=item.width, height=item.height),
        jpeg=jpeg,
        tried=item.tried,
        image_id=item.image_id,
    )

"""SinkCircuitBreaker: stops deliveries while the whole sink is unavailable, and tests it with one datapoint at a time.

    closed --  more failures in a row than chance explains, a failure of the whole sink while nothing succeeds, a pause
               that the sink asks for, or most of the last items were refused --> open
    open   --  a probe got another answer than these  --> closed

Closed means that deliveries pass; open means that they wait. While it is open one worker at a time may probe, at
growing intervals, each time with a datapoint that has not probed yet, if there is one. After it closes, the datapoints
whose probes failed are delivered after the others, one after every few successes, until one of them succeeds too: so
datapoints that the sink will never accept can't keep the breaker open.

What chance explains: where half of the calls fail at random, a few failures follow one another all the time, and to
pause for each would leave nothing of the other half. So the run of failures that opens the breaker is the longer, the
more of the calls before it failed: 3 where all had succeeded, 17 where half had. A sink that fails for good gets no
more calls than these at once.

An unclear failure may be caused by the item or by the sink. It is the item's if the answer before it was good and
hardly any of the latest other items failed in this way; otherwise it is the sink's. Only a failure that is the item's
own counts as one of its attempts.
"""

from __future__ import annotations

import math
import random
import threading
from collections import deque
from dataclasses import dataclass, replace
from enum import Enum

from framesift.backoff import Backoff, BackoffSchedule
from framesift.clock.clock import MAX_WAIT_S

FAILURES_TO_OPEN = 3  # in a row, of any items, where all calls before them had succeeded
MAX_FAILURES_TO_OPEN = 30  # in a row, however many of the calls before them had failed
RECENT_S = 10.0  # a success within this time makes one failure of the whole sink a matter of chance
OUTAGE_S = 60.0  # without a success: longer than that is no chance
REMEMBERED_CALLS = 40  # before the current run of failures: how many of them succeeded
MIN_SHARE_BY_CHANCE = 0.1  # of the remembered calls failed
_CHANCE = 1e-5  # of a run of failures as long as that which opens the breaker, while nothing has changed
REMEMBERED_ITEMS = 8  # whose last answer is remembered
REFUSALS_TO_OPEN = 5  # among the remembered items
MAX_OTHER_FAILURES = 1  # among the remembered items, for an unclear failure to be the item's own
REFUSED_PAUSE_S = 300.0  # a person has to change something: probing more often won't help
# For one datapoint: at least 1 s, and full jitter above it, up to min(300, 2 * 2^n) with n counted from 0.
# Source: Brooker, "Exponential Backoff And Jitter", 2015.
RETRY_SCHEDULE = BackoffSchedule(first_s=2.0, max_s=300.0, min_fraction=0.0, min_s=1.0)
PROBE_AT_MOST_S = 60.0  # between probes of an open breaker: so long a sink that is back may seem to be away
BY_CHANCE_SCHEDULE = BackoffSchedule(first_s=0.5, max_s=0.5)
_MIN_RETRY_AFTER_S = 1.0
_MAX_FAILED_PROBES = 500


class SinkSignal(Enum):
    """What the result of one delivery says about the sink."""

    SUCCEEDED = "good"
    ITEM_FAILED = "item"  # a problem of this item; others pass
    REFUSED = "refused"  # the sink would refuse the item again
    UNCLEAR = "unsure"  # it failed; the item or the sink may be the cause
    SINK_FAILED = "sink"  # nothing would pass


_FAILURES = (SinkSignal.UNCLEAR, SinkSignal.SINK_FAILED)


@dataclass(frozen=True, slots=True)
class BreakerDecision:
    """What a delivery's result means.

    item_at_fault: the failure counts as one of the item's attempts. is_open: whether the breaker is open now.
    all_refused: it is open since the sink refuses everything. changed: the state, or the reason for it, is new.
    by_chance: it is closed, and calls fail at random: neither the item nor the whole sink is the cause.
    """

    item_at_fault: bool
    is_open: bool
    all_refused: bool
    changed: bool
    by_chance: bool = False


class SinkCircuitBreaker:
    """One for all upload workers; thread-safe. Times are seconds of a monotonic clock."""

    def __init__(self, rng: random.Random, *, probe_at_most_s: float = PROBE_AT_MOST_S) -> None:
        """rng: the source of the jitter. probe_at_most_s: the longest pause between probes that nobody asked for."""
        self._lock = threading.Lock()
        self._rng = rng
        self._reason: str | None = None  # None while closed
        self._all_refused = False
        self._backoff = Backoff(replace(RETRY_SCHEDULE, max_s=probe_at_most_s), rng)
        self._probe_at_s = 0.0
        self._probing_thread: int | None = None
        self._failed_probes: dict[str, None] = {}  # items, in the order of their probes
        self._successes = 0  # of other items, since the last failed probe
        self._retried_probe: str | None = None  # the item of a failed probe that may be delivered again
        self._previous: SinkSignal | None = None
        self._failures = 0  # in a row, while it was closed
        self._calls: deque[bool] = deque(maxlen=REMEMBERED_CALLS)  # before these: whether each succeeded
        self._succeeded_at_s = float("-inf")
        self._latest: dict[str, SinkSignal] = {}  # by item, in the order of their answers

    def enter(self, now_s: float) -> float:
        """Ask for permission to deliver: 0 is permission, otherwise the seconds to wait.

        While the breaker is open, permission is for one probe, by this thread alone, until it calls `leave`.
        """
        with self._lock:
            if self._reason is None:
                return 0.0
            if now_s < self._probe_at_s:
                return self._probe_at_s - now_s
            if self._probing_thread is not None:
                return MAX_WAIT_S
            self._probing_thread = threading.get_ident()
            return 0.0

    def leave(self) -> None:
        """End this thread's permission; to be called after each `enter` that returned 0."""
        with self._lock:
            if self._probing_thread == threading.get_ident():
                self._probing_thread = None

    def failed_probes(self) -> tuple[str, ...]:
        """Return the ids of items whose probes failed: others are to be delivered first."""
        with self._lock:
            return tuple(self._failed_probes)

    def probe_now(self, now_s: float) -> None:
        """Allow the next probe at once, as an operator asked for it."""
        with self._lock:
            self._probe_at_s = min(self._probe_at_s, now_s)

    def record(
        self, id: str, signal: SinkSignal, why: str, now_s: float, retry_after_s: float | None = None
    ) -> BreakerDecision:
        """Record the result of a delivery, and return what it means.

        id: of the item. why: what failed, for people. retry_after_s: how long the sink asked to be left alone.
        """
        with self._lock:
            item_at_fault = self._is_items_fault(id, signal)
            self._remember(id, signal, now_s)
            reason_before = self._reason
            all_refused = signal is SinkSignal.REFUSED and self._most_are_refused()
            if all_refused or self._opens(signal, now_s, retry_after_s):
                self._open(id, why, now_s, REFUSED_PAUSE_S if all_refused else retry_after_s)
                changed = self._reason != reason_before or self._all_refused != all_refused
                self._all_refused = all_refused
                return BreakerDecision(
                    item_at_fault=item_at_fault and not all_refused,
                    is_open=True,
                    all_refused=all_refused,
                    changed=changed,
                )
            # A delivery that began before the breaker opened says nothing about the time since: only a probe closes it.
            if signal not in _FAILURES:
                self._record_success(id)
                if self._probing_thread == threading.get_ident():
                    self._close()
            is_open = self._reason is not None
            return BreakerDecision(
                item_at_fault=item_at_fault,
                is_open=is_open,
                all_refused=is_open and self._all_refused,
                changed=reason_before != self._reason,
                by_chance=not is_open and not item_at_fault and self._failing_share() >= MIN_SHARE_BY_CHANCE,
            )

    def _is_items_fault(self, id: str, signal: SinkSignal) -> bool:
        if signal is SinkSignal.UNCLEAR:
            others = sum(s is SinkSignal.UNCLEAR for other, s in self._latest.items() if other != id)
            previous_was_good = self._previous not in (None, SinkSignal.UNCLEAR, SinkSignal.SINK_FAILED)
            return previous_was_good and others <= MAX_OTHER_FAILURES
        return signal is not SinkSignal.SINK_FAILED

    def _remember(self, id: str, signal: SinkSignal, now_s: float) -> None:
        self._previous = signal
        if signal in _FAILURES:
            self._failures += self._reason is None
        else:
            # The failures of an outage say nothing about how many calls fail at other times.
            if now_s - self._succeeded_at_s <= OUTAGE_S:
                self._calls.extend([False] * min(self._failures, REMEMBERED_CALLS))
            self._calls.append(True)
            self._failures = 0
            self._succeeded_at_s = now_s
        if signal is not SinkSignal.SINK_FAILED:  # which says nothing about the item
            self._latest.pop(id, None)
            self._latest[id] = signal
            if len(self._latest) > REMEMBERED_ITEMS:
                del self._latest[next(iter(self._latest))]

    def _most_are_refused(self) -> bool:
        return sum(signal is SinkSignal.REFUSED for signal in self._latest.values()) >= REFUSALS_TO_OPEN

    def _opens(self, signal: SinkSignal, now_s: float, retry_after_s: float | None) -> bool:
        """Whether this answer opens the breaker, or keeps it open."""
        if signal not in _FAILURES:
            return False
        if self._reason is not None:
            return True
        if signal is SinkSignal.SINK_FAILED and (retry_after_s is not None or now_s - self._succeeded_at_s > RECENT_S):
            return True
        return self._failures >= self._failures_to_open()

    def _failing_share(self) -> float:
        """How many of the calls before the current failures failed, 0 to 1."""
        return 1.0 - sum(self._calls) / len(self._calls) if self._calls else 0.0

    def _failures_to_open(self) -> int:
        failed = self._failing_share()
        if failed <= 0.0:
            return FAILURES_TO_OPEN
        by_chance = math.ceil(math.log(_CHANCE) / math.log(failed)) if failed < 1.0 else MAX_FAILURES_TO_OPEN
        return min(max(FAILURES_TO_OPEN, by_chance), MAX_FAILURES_TO_OPEN)

    def _open(self, id: str, why: str, now_s: float, retry_after_s: float | None) -> None:
        if len(self._failed_probes) >= _MAX_FAILED_PROBES:
            self._failed_probes.clear()
        self._failed_probes.pop(id, None)
        self._failed_probes[id] = None
        self._successes = 0
        backoff_over = self._reason is None or now_s >= self._probe_at_s
        if retry_after_s is not None:
            # Many devices may have got the same answer: they must not come back at the same instant.
            pause_s = max(_MIN_RETRY_AFTER_S, retry_after_s) * self._rng.uniform(1.0, 1.1)
            self._backoff.fail(now_s)
            self._probe_at_s = max(self._probe_at_s, now_s + pause_s)
        elif backoff_over:
            self._probe_at_s = now_s + self._backoff.fail(now_s)
        else:  # the answer to a delivery that began before the breaker opened
            return
        self._reason = why

    def _close(self) -> None:
        if self._all_refused:  # no longer: refusals from now on are the items' own again
            self._latest = {id: signal for id, signal in self._latest.items() if signal is not SinkSignal.REFUSED}
        self._reason = None
        self._all_refused = False
        self._backoff.reset()

    def _record_success(self, id: str) -> None:
        if id in self._failed_probes or id == self._retried_probe:
            self._failed_probes.clear()
        self._successes += 1
        if self._successes >= REMEMBERED_ITEMS and self._failed_probes:
            self._retried_probe = next(iter(self._failed_probes))
            del self._failed_probes[self._retried_probe]
            self._successes = 0

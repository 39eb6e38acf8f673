"""DryRunLimits: the limits and the hold queues of a dry run, by the time of the predictions."""

from __future__ import annotations

import math
import random
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from framesift.clock.moment import Moment
from framesift.frame import RefusalReason
from framesift.limits import Quota, QuotaGranted, QuotaRefused, QuotaUnknown
from framesift.limits.local import TABLES, LocalLimits
from framesift.policy.baseline import NAME as BASELINE
from framesift.prediction.prediction import Prediction
from framesift.sampling.baseline_queue import BaselineQueue
from framesift.sampling.hold_queue import Dropped, HeldCandidate, HoldQueue, QueueTime
from framesift.sampling.likeness import Likeness
from framesift.sampling.pacing import Pacing
from framesift.sampling.pacing_rules import PacingRule
from framesift.sampling.sampler import Sampler
from framesift.spool import refusal_reason
from framesift.strategies.near_duplicate import RememberedFrame

BOOT_ID = "dry run"
_LEAST_STEP_S = 0.001
_SAME_TIME_S = 1e-4  # as of MediaClock: what is due with a prediction is done before it


@dataclass(frozen=True, slots=True, eq=False)
class HeldPrediction:
    """A prediction that waits for a turn.

    sampler: of its stream. found: its signatures, None where it has none. is_drawn: the baseline has drawn it.
    """

    number: int
    quota: Quota
    sampler: Sampler
    prediction: Prediction
    found: RememberedFrame | None
    is_drawn: bool = False


@dataclass(frozen=True, slots=True)
class TurnResult:
    """What became of a prediction that was held.

    number: of the prediction. strategy: that is charged, or None. is_drawn: it was the baseline that held it. weight:
    how many predictions it stands for if the baseline is charged.
    """

    number: int
    strategy: str | None
    refusal: RefusalReason | None
    is_drawn: bool = False
    weight: int | None = None


class DryRunLimits:
    """For one thread. Its time never goes back: predictions that come late meet the turns of a later time."""

    def __init__(self, zone: ZoneInfo, *, seed: int) -> None:
        """seed: of the baseline's draws."""
        self.pacing = Pacing(self._used)
        self._limits = LocalLimits(zone)
        # A database without a name lies in memory until it outgrows SQLite's cache, then in a file without a name.
        self._connection = sqlite3.connect("", isolation_level=None)
        self._connection.executescript(TABLES + "BEGIN;")
        self._cursor = self._connection.cursor()
        self._queues: dict[str, HoldQueue[HeldPrediction]] = {}
        self._rules: dict[str, PacingRule] = {}
        self._now_s: float | None = None
        self._rng = random.Random(repr((seed, BASELINE)))
        self._due_s: dict[str, float] = {}  # of queues that have not changed since

    def close(self) -> None:
        """Closes the temporary database."""
        self._connection.close()

    def charge(
        self, id: str, quotas: Sequence[Quota], rules: Sequence[PacingRule], captured: Moment, now: Moment
    ) -> str | RefusalReason:
        """The strategy that is charged, or why none is. quotas, rules: of the strategies, in order."""
        intervals = [rule.interval for rule in rules if rule.interval is not None]
        opened = iter(self.pacing.intervals.reserve(id, intervals, captured) if intervals else ())
        open_ = [quota for quota, rule in zip(quotas, rules, strict=True) if rule.interval is None or next(opened)]
        answer = self._charge(id, open_, captured, now) if open_ else RefusalReason.MIN_INTERVAL
        charged = next((r for q, r in zip(quotas, rules, strict=True) if q.strategy == answer), None)
        interval = None if charged is None else charged.interval
        self.pacing.intervals.settle(id, None if interval is None else interval.scope)
        if charged is not None:
            self.pacing.record_used(charged.account, captured.wall_s)
        return answer

    def hold(
        self, rule: PacingRule, score: float, likeness: Likeness | None, captured: Moment, held: HeldPrediction
    ) -> tuple[RefusalReason | None, list[TurnResult]]:
        """Holds a prediction, or says why not; and what became of those that it displaces."""
        queue = self._queue(rule)
        refusal = queue.refusal(score, likeness)
        if refusal is not None:
            return refusal, []
        self._due_s.pop(rule.account, None)
        id = f"{held.number} drawn" if held.is_drawn else str(held.number)  # it may be charged for both
        return None, _dropped(queue.offer(HeldCandidate(id, score, captured, likeness, held)))

    def draw(self, rule: PacingRule, captured_at_s: float) -> bool:
        """Whether the baseline takes a prediction: see BaselineQueue. To be called once for each."""
        queue = self._queue(rule)
        return isinstance(queue, BaselineQueue) and queue.draw(captured_at_s)

    def _queue(self, rule: PacingRule) -> HoldQueue[HeldPrediction]:
        queue = self._queues.get(rule.account)
        if queue is None:
            assert rule.pacing is not None
            assert rule.turns is not None
            if rule.is_baseline:
                queue = BaselineQueue(rule.pacing, rule.turns, rule.zone, rng=self._rng)
            else:
                queue = HoldQueue(rule.pacing, rule.turns, rule.zone)
            self._queues[rule.account], self._rules[rule.account] = queue, rule
        return queue

    def drop_alike(self, accepted: Likeness) -> list[TurnResult]:
        """A prediction was charged: those that are held and look like it are near duplicates now."""
        self._due_s.clear()
        return [one for queue in self._queues.values() for one in _dropped(queue.drop_alike(accepted))]

    def advance(self, until_s: float) -> Iterator[TurnResult]:
        """Gives the turns that are due until a time (Unix seconds), in order."""
        if self._now_s is None:
            self._now_s = until_s
        while True:
            due_s = min(map(self._next_s, self._queues), default=math.inf)
            if due_s > until_s + _SAME_TIME_S:
                break
            self._now_s = max(due_s, self._now_s)
            self._due_s.clear()
            for account, queue in self._queues.items():
                yield from self._advance(account, queue)
            self._now_s += _LEAST_STEP_S
        self._now_s = max(until_s, self._now_s)

    def _next_s(self, account: str) -> float:
        if account not in self._due_s:
            time = self._time()
            self._due_s[account] = time.wall_s + self._queues[account].wake_s(time)
        return self._due_s[account]

    def _time(self) -> QueueTime:
        now_s = self._now_s or 0.0
        return QueueTime(Moment(now_s, now_s, BOOT_ID), now_s)

    def _advance(self, account: str, queue: HoldQueue[HeldPrediction]) -> Iterator[TurnResult]:
        time, rule = self._time(), self._rules[account]
        yield from _dropped(queue.expire(time))
        while (best := queue.best_to_ask(time)) is not None:
            queue.remove(best)
            content = best.content
            quota = replace(content.quota, limits=rule.limits, turns=rule.turns, max_batch_images=rule.max_batch_images)
            answer = self.charge(best.id, (quota,), (rule,), best.captured, time.moment)
            if answer is RefusalReason.OUTSCORED:
                yield from _dropped(queue.no_turn(best, time))
            elif isinstance(answer, RefusalReason):
                yield TurnResult(content.number, None, answer, content.is_drawn)
            else:
                queue.record_turn(best, time)
                content.sampler.record_turn(content.prediction, content.found)
                weight = queue.weight(best, time) if isinstance(queue, BaselineQueue) else None
                yield TurnResult(content.number, answer, None, content.is_drawn, weight)
                if best.likeness is not None:
                    yield from self.drop_alike(best.likeness)
        yield from self._write(queue, time)

    def end(self) -> list[TurnResult]:
        """No prediction will follow: what only the memory holds is stored, as a daemon does that stops."""
        return [one for queue in self._queues.values() for one in self._write(queue, self._time(), at_once=True)]

    @staticmethod
    def _write(queue: HoldQueue[HeldPrediction], time: QueueTime, *, at_once: bool = False) -> Iterator[TurnResult]:
        begun = queue.begin_write(time, at_once=at_once)
        if begun is not None:
            stored, displaced = begun
            stored.is_stored = True
            yield from _dropped(displaced)

    def _charge(self, id: str, quotas: Sequence[Quota], captured: Moment, now: Moment) -> str | RefusalReason:
        """One strategy after the other, so that the used quota of each is counted at most once.

        And only where the limits have not cached that there is none left.
        """
        batch_full = no_turn = False
        for quota in quotas:
            grant = self._limits.check(None, [quota], captured, now)
            # Where a batch is known to be full, it is not known whether a limit would have refused as well.
            if isinstance(grant, QuotaUnknown) or (
                isinstance(grant, QuotaRefused) and grant.batch_full and quota.limits
            ):
                if not quota.limits and quota.max_batch_images is None:
                    return quota.strategy  # nothing counts it
                grant = self._limits.charge(self._cursor, id, [quota], captured, now)
                if isinstance(grant, QuotaRefused):
                    self._limits.check(self._cursor, [quota], captured, now)  # which caches the refusal
            if isinstance(grant, QuotaGranted):
                return grant.strategy
            batch_full |= isinstance(grant, QuotaRefused) and grant.batch_full
            no_turn |= isinstance(grant, QuotaRefused) and grant.no_turn
        return refusal_reason(QuotaRefused(batch_full, no_turn))

    def _used(self, account: str) -> Mapping[str, int]:
        now = self._time().moment
        return {one.window.value: one.count for one in self._limits.usage(self._cursor, now) if one.account == account}


def _dropped(dropped: Iterable[Dropped[HeldPrediction]]) -> list[TurnResult]:
    contents = ((one.candidate.content, one.reason) for one in dropped)
    return [TurnResult(content.number, None, reason, content.is_drawn) for content, reason in contents]

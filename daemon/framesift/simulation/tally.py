"""PolicyTally: counts what a dry run decides, frame by frame, without keeping the frames.

A decision may change later: a held frame gets its turn, or not. So the facts of those that may change are kept, and
their first decision is taken back when the new one comes.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from framesift.limits import Window, window_end, window_start
from framesift.policy.baseline import NAME as BASELINE
from framesift.policy.policy import Policy
from framesift.sampling.dry_run import DryRun
from framesift.sampling.dry_run_result import DryRunResult
from framesift.sampling.pacing_rules import PacingRule, rules_of
from framesift.simulation.facts import FrameFacts
from framesift.simulation.outcome import (
    Alikeness,
    ChosenFrame,
    Coverage,
    LimitOutcome,
    PolicyOutcome,
)
from framesift.simulation.time_counts import TimeCounts
from framesift.strategies.near_duplicate import INITIAL_THRESHOLD, Signature, picture_distances

MOST_CHOSEN = 5_000  # that are kept, with a time and a place each
MOST_COMPARED = 1_000  # signatures; each is compared with each
_MOST_FULL = 31  # times at which a limit was full
_MANY_OPEN = 256


class PolicyTally:
    """The counts of one policy. For one thread.

    `add` each frame with its result, then `end`, then ask for the `outcome`.
    """

    def __init__(self, name: str, policy: Policy, dry_run: DryRun, *, seed: int) -> None:
        """dry_run: whose results are counted. seed: of which frames are kept where there are too many."""
        self._name = name
        self._policy = policy
        self._dry_run = dry_run
        self._zone = ZoneInfo(policy.time_zone)
        self._rng = random.Random(repr((seed, name, "tally")))
        self._frames = 0
        self._first_s, self._last_s = math.inf, -math.inf
        self._matched: Counter[str] = Counter()
        self._accepted: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._held = self._boxes = 0
        self._limits = [
            _LimitTally(strategy, limit.window, limit.value, self._zone)
            for strategy, rule in self._rules.items()
            for limit in rule.limits
            if any(strategy == one.name for one in policy.sampling_strategies)
        ]
        self._seen: dict[str, Counter[str]] = {what: Counter() for what in ("classes", "hours", "streams")}
        self._collected: dict[str, Counter[str]] = {what: Counter() for what in self._seen}
        self._over_time = TimeCounts()
        self._chosen: list[tuple[ChosenFrame, Signature | None]] = []
        self._chosen_count = 0
        self._open: dict[int, tuple[DryRunResult, FrameFacts]] = {}
        self._forget_at = _MANY_OPEN
        self._hour: tuple[int, int, str] = (0, 0, "")  # from, until, its name

    @property
    def _accounts(self) -> set[str]:
        """Who may be charged without anybody's hand: the strategies, and the baseline."""
        return {BASELINE, *(strategy.name for strategy in self._policy.sampling_strategies)}

    @property
    def _rules(self) -> dict[str, PacingRule]:
        return rules_of(self._policy, "", "")

    def add(self, facts: FrameFacts, result: DryRunResult) -> None:
        """Counts a frame, and the new results of frames before it."""
        self._frames += 1
        self._first_s, self._last_s = min(self._first_s, facts.at_s), max(self._last_s, facts.at_s)
        self._seen["streams"][facts.stream] += 1
        for name in facts.classes:  # Counter.update takes several times as long for a few
            self._seen["classes"][name] += 1
        if facts.shows_something:
            self._seen["hours"][self._hour_of(facts.at_s)] += 1
        for name in result.matched:
            self._matched[name] += 1
        self._over_time.add(facts.at_s, seen=1, matched=bool(result.matched))
        self._count(facts, result)
        if self._dry_run.may_change(result.number):
            self._open[result.number] = result, facts
        self._replace(result.replaced)
        if len(self._open) >= self._forget_at:
            self._forget_final()

    def end(self) -> None:
        """No frame will follow."""
        self._replace(self._dry_run.end())
        self._held = sum(result.held is not None for result, _ in self._open.values())

    def _forget_final(self) -> None:
        """Of frames that were refused for good nothing is said any more."""
        self._open = {number: one for number, one in self._open.items() if self._dry_run.may_change(number)}
        self._forget_at = max(_MANY_OPEN, 2 * len(self._open))

    def _replace(self, replaced: Iterable[DryRunResult]) -> None:
        for result in replaced:
            before, facts = self._open[result.number]
            if before.refusal is not None:
                self._refused[before.refusal.value] -= 1
            for name in set(result.matched) - set(before.matched):  # of a strategy that has seen the frames after it
                self._matched[name] += 1
            if result.matched and not before.matched:
                self._over_time.add(facts.at_s, matched=1)
            self._count(facts, result, before)
            self._open[result.number] = result, facts
            if not self._dry_run.may_change(result.number):
                del self._open[result.number]

    def _count(self, facts: FrameFacts, result: DryRunResult, before: DryRunResult | None = None) -> None:
        """Counts what is new in a result. before: what was counted of this frame."""
        if result.refusal is not None:
            self._refused[result.refusal.value] += 1
        if result.strategy is not None and (before is None or before.strategy is None):
            self._choose(facts, result.strategy, result.score)
        if result.weight is not None and (before is None or before.weight is None):
            self._choose(facts, BASELINE, None)

    def _choose(self, facts: FrameFacts, strategy: str, score: float | None) -> None:
        self._accepted[strategy] += 1
        self._boxes += facts.boxes
        self._over_time.add(facts.at_s, accepted=1)
        self._collected["classes"].update(facts.classes)
        self._collected["streams"][facts.stream] += 1
        self._collected["hours"][self._hour_of(facts.at_s)] += 1
        for limit in self._limits:
            if limit.strategy == strategy:
                limit.charge(facts.at_s)
        chosen = ChosenFrame(facts.at_s, facts.stream, facts.source, facts.line, facts.number, strategy, score)
        self._chosen_count += 1
        if len(self._chosen) < MOST_CHOSEN:
            self._chosen.append((chosen, facts.signature))
        elif (place := self._rng.randrange(self._chosen_count)) < MOST_CHOSEN:
            self._chosen[place] = chosen, facts.signature

    def _hour_of(self, at_s: float) -> str:
        if not self._hour[0] <= at_s < self._hour[1]:
            begins_s, ends_s = (of(Window.HOURLY, at_s, self._zone) for of in (window_start, window_end))
            begins = datetime.fromtimestamp(begins_s, self._zone)
            zone = f" {begins:%Z}" if begins.fold else ""  # when clocks are set back, an hour comes twice
            self._hour = begins_s, ends_s, f"{begins:%Y-%m-%d %H:%M}{zone}"
        return self._hour[2]

    def outcome(self) -> PolicyOutcome:
        """What was counted."""
        chosen = sorted((chosen for chosen, _ in self._chosen), key=lambda one: (one.at_s, one.stream))
        return PolicyOutcome(
            name=self._name,
            policy=self._policy,
            frames=self._frames,
            first_s=self._first_s,
            last_s=self._last_s,
            matched={one.name: self._matched[one.name] for one in self._policy.sampling_strategies},
            accepted={name: self._accepted[name] for name in self._rules if name in self._accounts},
            refused={reason: count for reason, count in self._refused.most_common() if count},
            held=self._held,
            limits=tuple(limit.outcome() for limit in self._limits),
            boxes=self._boxes,
            alikeness=alikeness([found for _, found in self._chosen if found is not None]),
            classes=self._coverage("classes"),
            hours=self._coverage("hours"),
            streams=self._coverage("streams"),
            chosen=tuple(chosen),
            over_time=self._over_time,
            notes=self._dry_run.notes,
        )

    def _coverage(self, what: str) -> Coverage:
        seen, collected = self._seen[what], self._collected[what]
        names = sorted(seen) if what == "hours" else [name for name, _ in seen.most_common()]
        return Coverage({name: seen[name] for name in names}, {n: collected[n] for n in names if collected[n]})


class _LimitTally:
    """How often a limit was full. The window is that of the frame's capture."""

    def __init__(self, strategy: str, window: Window, value: int, zone: ZoneInfo) -> None:
        self.strategy = strategy
        self._window = window
        self._value = value
        self._zone = zone
        self._open: dict[int, int] = {}  # by when the window opened: what was charged; the newest few
        self._windows = self._full = 0
        self._full_at_s: list[float] = []

    def charge(self, at_s: float) -> None:
        begins_s = window_start(self._window, at_s, self._zone)
        if begins_s not in self._open:
            self._windows += 1
            if len(self._open) >= 64:  # frames are charged a few hours late at most
                del self._open[min(self._open)]
        charged = self._open[begins_s] = self._open.get(begins_s, 0) + 1
        if charged == self._value:
            self._full += 1
            if len(self._full_at_s) < _MOST_FULL:
                self._full_at_s.append(at_s)

    def outcome(self) -> LimitOutcome:
        full_at_s = tuple(sorted(self._full_at_s))
        return LimitOutcome(self.strategy, self._window, self._value, self._windows, self._full, full_at_s)


def alikeness(signatures: list[Signature]) -> Alikeness | None:
    """How alike pictures look; None for less than two. Of more than MOST_COMPARED, evenly spread ones are compared."""
    if len(signatures) < 2:
        return None
    if len(signatures) > MOST_COMPARED:
        signatures = [signatures[round(i)] for i in np.linspace(0, len(signatures) - 1, MOST_COMPARED)]
    stacked = np.stack(signatures)
    nearest = np.empty(len(stacked))
    for place, one in enumerate(stacked):
        distances = picture_distances(stacked, one)
        distances[place] = np.inf
        nearest[place] = distances.min()
    near = float((nearest <= INITIAL_THRESHOLD).mean())
    return Alikeness(len(stacked), near, float(nearest.mean()), float(nearest.min()))

"""PacingRules: what a policy says of each strategy's limits, pacing and interval, as it is applied."""

from __future__ import annotations

from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from framesift.limits import Limit, Quota, Turns, Window
from framesift.policy.baseline import NAME as BASELINE
from framesift.policy.manual import NAME as MANUAL
from framesift.policy.policy import Policy
from framesift.sampling import adaptive_threshold
from framesift.sampling.min_intervals import IntervalRule
from framesift.strategies import CommonStrategyOptions, PacingOptions, tightest_limit


@dataclass(frozen=True, slots=True)
class PacingRule:
    """How one strategy is paced.

    account: under which it is counted. limits: without the baseline's share. turns, pacing: None without pacing.
    interval: of one stream, None without min_interval_s.
    """

    account: str
    limits: tuple[Limit, ...]
    pacing: PacingOptions | None
    turns: Turns | None
    interval: IntervalRule | None
    zone: ZoneInfo
    max_batch_images: int | None
    is_baseline: bool = False

    @property
    def holds(self) -> bool:
        """Whether its frames are held."""
        return self.pacing is not None and self.pacing.mode == "hold_queue"

    @property
    def is_plain(self) -> bool:
        """Whether it is first come, first served, without an interval."""
        return self.pacing is None and self.interval is None


def rules_of(policy: Policy, scope: str, stream: str) -> dict[str, PacingRule]:
    """The rule of each strategy, of the baseline, and of what is taken by hand, by its name.

    scope: see CollectionOrigin. stream: whose intervals are meant.
    """
    zone = ZoneInfo(policy.time_zone)
    rules = {strategy.name: _rule(policy, strategy, scope, stream, zone) for strategy in policy.sampling_strategies}
    if policy.baseline_per_day:
        limit = Limit(Window.DAILY, policy.baseline_per_day)
        account, pacing = _account(BASELINE, scope), PacingOptions(mode="hold_queue")
        most = policy.batching_strategy.max_batch_images
        rules[BASELINE] = PacingRule(account, (limit,), pacing, Turns(limit), None, zone, most, is_baseline=True)
    if MANUAL not in rules:  # a strategy of this name keeps its own rule
        limits = tuple(Limit(Window(limit.type), limit.value) for limit in policy.manual.limits)
        rules[MANUAL] = PacingRule(
            _account(MANUAL, scope), limits, None, None, None, zone, policy.batching_strategy.max_batch_images
        )
    return rules


def _account(strategy: str, scope: str) -> str:
    return Quota(strategy, (), "", scope=scope).account


def without_pacing(rule: PacingRule) -> PacingRule:
    """The rule of a strategy for the neighbours of what it collects: its limits alone hold for them."""
    return replace(rule, turns=None, interval=None)


def _rule(policy: Policy, strategy: CommonStrategyOptions, scope: str, stream: str, zone: ZoneInfo) -> PacingRule:
    account = _account(strategy.name, scope)
    limits = tuple(Limit(Window(limit.type), limit.value) for limit in policy.limits_of(strategy))
    pacing = policy.pacing_of(strategy)
    turns = None
    if pacing is not None:
        tightest = tightest_limit(policy.limits_of(strategy))
        assert tightest is not None  # the policy was checked
        limit = Limit(Window(tightest.type), tightest.value)
        turns = Turns(limit) if pacing.mode == "hold_queue" else adaptive_threshold.turns_of(limit)
    interval = None
    if strategy.min_interval_s is not None:
        of = f"{account} of {stream}" if strategy.min_interval_scope == "stream" else account
        interval = IntervalRule(of, strategy.min_interval_s)
    most = policy.batching_strategy.max_batch_images
    return PacingRule(account, limits, pacing, turns, interval, zone, most)

"""pacing and baseline in a policy: what they need, what they are by default, and what they leave of the limits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from framesift.config.errors import ConfigError
from framesift.policy.policy import Policy, parse
from framesift.strategies import tightest_limit

HELD = {"mode": "hold_queue"}


def limits(**values: int) -> list[dict[str, Any]]:
    return [{"type": kind, "value": value} for kind, value in values.items()]


def rule(name: str = "best", **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": "random", "traffic_percentage": 1, **fields}


def policy(*strategies: dict[str, Any], **fields: Any) -> Policy:
    whole = {
        "enabled": True,
        "persist_predictions": True,
        "sampling_strategies": list(strategies),
        "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "daily"},
        **fields,
    }
    return parse(json.dumps(whole), "policy.json")


def refused(*strategies: dict[str, Any], **fields: Any) -> str:
    with pytest.raises(ConfigError) as refusal:
        policy(*strategies, **fields)
    (line,) = refusal.value.problems
    return line


def test_a_strategys_own_pacing_stands_before_the_policys_and_null_or_none_switches_it_off() -> None:
    strategies = [
        rule("a", limits=limits(daily=9)),
        rule("b", limits=limits(daily=9), pacing={"mode": "adaptive_threshold"}),
        rule("c", pacing=None),
        rule("d", pacing={"mode": "none"}),
    ]
    found = policy(*strategies, pacing=HELD)
    paced = [found.pacing_of(one) for one in found.sampling_strategies]
    assert [None if one is None else one.mode for one in paced] == ["hold_queue", "adaptive_threshold", None, None]
    assert not any(map(policy(*strategies[:2]).pacing_of, policy(strategies[0]).sampling_strategies))


@pytest.mark.parametrize("mode", ["hold_queue", "adaptive_threshold"])
def test_pacing_needs_an_hour_or_a_day_whose_budget_it_spreads(mode: str) -> None:
    paced = {"mode": mode}
    why = f"pacing: {mode} needs an hourly or daily limit, whose budget it spreads, and it has"
    assert refused(rule(pacing=paced)).endswith(f"{why} no limits")
    assert 'sampling_strategies[0] ("best")' in refused(rule(pacing=paced))
    assert refused(rule(pacing=paced, limits=limits(minutely=5))).endswith(f"{why} only a minutely one")
    assert refused(rule(), pacing=paced) == (
        f"policy.json: strategy 'best': {why} no limits; give it one, or pacing: null"
    )
    policy(rule(limits=limits(hourly=1)), pacing=paced)


def test_bounds_of_a_hold_are_an_error_where_nothing_is_held() -> None:
    line = refused(rule(limits=limits(daily=5), pacing={"mode": "adaptive_threshold", "max_held": 5}))
    assert line.endswith("max_held has no effect without mode: hold_queue")


def test_the_scope_of_an_interval_needs_an_interval() -> None:
    line = refused(rule(min_interval_scope="all"))
    assert line.endswith("min_interval_scope: all has no effect without min_interval_s")


@pytest.mark.parametrize(
    ("values", "tightest"),
    [
        ({"hourly": 5, "daily": 100}, "daily"),
        ({"hourly": 4, "daily": 100}, "hourly"),
        ({"daily": 100, "minutely": 1}, "daily"),
        ({"hourly": 5}, "hourly"),
    ],
)
def test_turns_are_those_of_the_limit_that_allows_the_fewest_a_day(values: dict[str, int], tightest: str) -> None:
    found = tightest_limit(policy(rule(limits=limits(**values))).sampling_strategies[0].limits)
    assert found is not None
    assert found.type == tightest


# --- the baseline -----------------------------------------------------------------------------------------------------


def kept(found: Policy) -> list[dict[str, int]]:
    return [{one.type: one.value for one in found.limits_of(rule)} for rule in found.sampling_strategies]


def test_the_baselines_share_is_taken_from_the_daily_limits_so_that_the_sum_stays() -> None:
    found = policy(
        rule("a", limits=limits(daily=100, hourly=20)),
        rule("b", limits=limits(hourly=5)),
        rule("c", limits=limits(minutely=1)),
        rule("d"),
        baseline={"share": 0.1},
    )
    assert kept(found) == [{"hourly": 20, "daily": 90}, {"hourly": 5, "daily": 108}, {"minutely": 1}, {}]
    assert found.baseline_per_day == 10 + 12


def test_without_a_baseline_strategies_keep_their_limits() -> None:
    found = policy(rule("a", limits=limits(hourly=20, daily=100)))
    assert kept(found) == [{"hourly": 20, "daily": 100}]
    assert found.baseline_per_day == 0


def test_a_baseline_that_can_collect_nothing_is_an_error() -> None:
    half = {"share": 0.5}
    assert refused(rule(), baseline=half).endswith(
        "baseline: it is a share of the strategies' hourly and daily limits, and none of them has one"
    )
    assert refused(rule(limits=limits(daily=4)), baseline={"share": 0.1}).endswith(
        "baseline.share: 0.1 of the strategies' limits is less than one image a day"
    )
    assert "is the baseline's own name; rename it" in refused(rule("baseline", limits=limits(daily=4)), baseline=half)

"""before_s, after_s and neighbours_every_s in a policy: what goes together, and how many pictures are kept at most."""

from __future__ import annotations

from typing import Any

import pytest

from policy.test_pacing_and_baseline import HELD, limits, policy, refused, rule


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"neighbours_every_s": 2}, "neighbours_every_s has no effect without before_s or after_s"),
        (
            {"before_s": 0.5},
            "before_s: 0.5 leaves no neighbour: it is less than neighbours_every_s, which is 1",
        ),
        (
            {"before_s": 8, "after_s": 3, "neighbours_every_s": 4},
            "after_s: 3 leaves no neighbour: it is less than neighbours_every_s, which is 4",
        ),
        (
            {"before_s": 10},
            "before_s: 10 with neighbours_every_s: 1 keeps 10 pictures of each stream in memory; at most 8 are allowed,"
            " so neighbours_every_s must be at least 1.25",
        ),
    ],
)
def test_options_that_do_not_go_together_are_an_error(fields: dict[str, Any], expected: str) -> None:
    assert refused(rule(**fields)) == f'policy.json:1: sampling_strategies[0] ("best"): {expected}'


def test_as_many_as_are_allowed_are_read_and_after_s_keeps_none() -> None:
    (strategy,) = policy(rule(before_s=0.8, after_s=60, neighbours_every_s=0.1)).sampling_strategies
    assert strategy.neighbours is not None
    assert strategy.neighbours.most_before == 8
    (after,) = policy(rule(after_s=60)).sampling_strategies
    assert after.neighbours is not None
    assert after.neighbours.most_before == 0
    assert policy(rule()).sampling_strategies[0].neighbours is None


def test_all_strategies_together_keep_no_more_and_those_that_keep_the_same_share_it() -> None:
    policy(rule("a", before_s=5), rule("b", before_s=5, after_s=2), rule("c", before_s=3))
    line = refused(rule("a", before_s=5), rule("b", before_s=4))
    assert line.startswith("policy.json: before_s of all strategies together keeps 9 pictures of each stream in memory")


def test_a_held_frame_has_no_neighbours() -> None:
    daily = limits(daily=5)
    why = "before_s and after_s can't be used with pacing: hold_queue"
    assert why in refused(rule(limits=daily, pacing=HELD, after_s=2))
    assert refused(rule(limits=daily, before_s=2), pacing=HELD).startswith(f"policy.json: strategy 'best': {why}")
    policy(rule(limits=daily, before_s=2, pacing=None), pacing=HELD)
    policy(rule(limits=daily, before_s=2), pacing={"mode": "adaptive_threshold"})

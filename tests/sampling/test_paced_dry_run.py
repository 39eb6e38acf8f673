"""A dry run paces as a device does: the same frames are held, get turns, and are dropped."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from clocks import NOON_S
from exhaustive import some_of
from framesift.frame import RefusalReason
from framesift.policy.policy import Policy
from framesift.prediction.wire_format import to_wire
from framesift.sampling.dry_run import DryRun
from framesift.sampling.dry_run_result import DryRunResult
from rigs.paced_device import ALL, SIX, UNSURE, PacedDevice, policy, unsure

EVERY_S = 31.0  # no multiple of the time between two writes, so that nothing happens at the same moment


def tried(rules: Policy, scores: list[float]) -> dict[int, DryRunResult]:
    """The last result of each prediction, by its number."""
    trying = DryRun(rules, seed=0, stream="gate", started_s=NOON_S)
    found: dict[int, DryRunResult] = {}
    for number, score in enumerate(scores):
        seen = {**to_wire(unsure(score)), "captured_at": NOON_S + EVERY_S * (number + 1)}
        result = trying.evaluate(seen)
        found |= {one.number: one for one in (result, *result.replaced)}
    trying.close()
    return found


def collected(folder: Path, rules: Policy, scores: list[float]) -> set[int]:
    """The numbers of the frames that a device collects, while frames come."""
    device = PacedDevice(folder, rules)
    for score in scores:
        for _ in range(int(EVERY_S)):
            device.clock.advance(1.0)
            device.holds.advance()
        device.offer(unsure(score))
        device.holds.advance()
    taken = {item.frame for item in device.delivered()}
    device.close()
    return taken


@pytest.mark.parametrize(
    "strategy",
    some_of(
        [
            UNSURE,
            {**UNSURE, "pacing": {"mode": "hold_queue", "max_hold_s": 300, "max_held": 2}},
            {**UNSURE, "pacing": {"mode": "adaptive_threshold"}},
            {**UNSURE, "min_interval_s": 500},
            {**ALL, "limits": SIX, "pacing": {"mode": "hold_queue"}},
            {**ALL, "min_interval_s": 100},
        ],
        lambda strategy: "max_hold_s" in strategy.get("pacing", {}) or strategy == {**UNSURE, "min_interval_s": 500},
    ),
)
def test_a_dry_run_collects_what_a_device_does(tmp_path: Path, strategy: dict[str, Any]) -> None:
    rng = random.Random(11)
    scores = [rng.random() for _ in range(300)]
    rules = policy(strategy)
    results = tried(rules, scores)
    taken = {number for number, result in results.items() if result.strategy is not None}
    assert taken == collected(tmp_path, rules, scores)
    assert len(taken) > 5


def test_a_held_prediction_is_changed_once_it_is_known_what_became_of_it() -> None:
    trying = DryRun(policy(UNSURE), seed=0, stream="gate", started_s=NOON_S)
    first = trying.evaluate({**to_wire(unsure(0.5)), "captured_at": NOON_S + 1})
    assert (first.held, first.strategy, first.refusal) == ("unsure", None, None)
    assert trying.first_changeable == 0
    second = trying.evaluate({**to_wire(unsure(0.9)), "captured_at": NOON_S + 100})
    assert second.held == "unsure"
    later = trying.evaluate({**to_wire(unsure(0.1)), "captured_at": NOON_S + 700})
    assert [(one.number, one.strategy, one.score) for one in later.replaced] == [(1, "unsure", 0.9)]
    last = trying.evaluate({**to_wire(unsure(0.1)), "captured_at": NOON_S + 7300})
    assert [(one.number, one.strategy, one.refusal) for one in last.replaced] == [
        (0, "unsure", None),
        (2, "unsure", None),
    ]
    assert trying.first_changeable == 3
    trying.close()


def test_what_is_outscored_is_named() -> None:
    results = tried(policy({**UNSURE, "pacing": {"mode": "hold_queue", "max_held": 1}}), [0.9, 0.5])
    assert results[1].refusal is RefusalReason.OUTSCORED


def test_the_baseline_is_drawn_beside_what_strategies_decide() -> None:
    often = {**ALL, "traffic_percentage": 0.5, "limits": [{"type": "daily", "value": 192}]}  # an interval of 900 s
    results = tried(policy(often, baseline={"share": 0.5}), [0.5] * 300)
    drawn = {number: result.weight for number, result in results.items() if result.weight is not None}
    assert len(drawn) == 10  # of 300 times 31 s
    assert set(drawn.values()) == {29}  # 900 / 31
    assert sum(result.strategy is not None for result in results.values()) == 96
    assert {result.refusal for result in results.values()} == {None, RefusalReason.NO_MATCH, RefusalReason.LIMIT}


def test_a_prediction_that_is_drawn_may_be_held_by_a_strategy_too() -> None:
    rng = random.Random(4)
    held = {**UNSURE, "limits": [{"type": "daily", "value": 192}]}
    results = tried(policy(held, baseline={"share": 0.5}), [rng.random() for _ in range(300)])
    drawn = {number for number, result in results.items() if result.weight is not None}
    both = {number for number in drawn if results[number].strategy is not None}
    assert len(drawn) == 10
    assert all(results[number].refusal is not None or results[number].held for number in drawn - both)
    assert sum(result.strategy is not None for result in results.values()) > 10

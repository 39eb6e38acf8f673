"""class_balance of any strategy: how its score is divided, and that nothing else changes."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from framesift.policy.policy import parse
from framesift.prediction.prediction import Prediction, Task
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.dry_run import DryRun
from framesift.sampling.sampler import Sampler
from framesift.strategies import AcceptedClasses, ClassBalance, Match
from sampling_data import FixedRandom, frame, label, labels, objects, stub

COUNTS = {"car": 8, "bus": 3, "dog": 0}
RANDOM: dict[str, Any] = {"type": "random", "traffic_percentage": 1}
CHANGES: dict[str, Any] = {"type": "detections_number_based", "probability": 1, "more_than": 0}
UNSURE: dict[str, Any] = {"type": "uncertainty"}


def balance(counts: dict[str, int] | None = None, **initial: int) -> ClassBalance:
    return ClassBalance(initial, AcceptedClasses(COUNTS if counts is None else counts), FixedRandom(0.25))


@pytest.mark.parametrize(
    ("prediction", "factor"),
    [
        (objects(("car", 0.9)), 3.0),
        (objects(("car", 0.9), ("car", 0.2), ("bus", 0.1)), 2.0),
        (objects(("car", 0.9), ("dog", 0.1)), 1.0),
        (objects(("owl", 0.9)), 1.0),
        (objects(), 3.0),
        (objects(("bus", 0.5), task=Task.INSTANCE_SEGMENTATION), 2.0),
        (labels(("car", 0.9), ("bus", 0.8), ("dog", 0.1), predicted=("car", "bus")), 2.0),
        (labels(("car", 0.1)), 3.0),
        (label("car", 0.9), math.sqrt(1 + 8 * 3 / 11)),
        (label("dog", 0.9), 1.0),
        (label("owl", 0.9, [("elk", 0.1)]), 1.0),
        (label("bus", 0.9, [("owl", 0.1)]), math.sqrt(1 + 3 * 4 / 11)),
        (label("", 0.0, [("car", 0.4)]), math.sqrt(1 + 8 * 3 / 11)),
        (stub(), 3.0),
    ],
)
def test_the_factor_is_that_of_the_class_that_was_collected_least(prediction: Prediction, factor: float) -> None:
    assert balance().factor(prediction) == pytest.approx(factor)
    more, less = (balance().balance(Match("it", score, 2), prediction) for score in (6.0, -6.0))
    assert more.score == pytest.approx(6.0 / factor)
    assert less.score == pytest.approx(-6.0 * factor)
    assert (more.strategy, more.frames_back) == ("it", 2)


@pytest.mark.parametrize("prediction", [objects(("car", 0.9)), objects(), label("car", 0.9), labels(), stub()])
def test_while_nothing_was_collected_nothing_is_divided(prediction: Prediction) -> None:
    assert balance({}).factor(prediction) == 1.0


def test_initial_counts_are_added() -> None:
    assert balance(car=7).factor(objects(("car", 0.9))) == 4.0
    assert balance({}, car=8).factor(objects(("car", 0.9))) == 3.0


def test_a_match_without_a_score_gets_a_random_one_and_others_keep_theirs() -> None:
    one = balance()
    assert one.score(Match("it")) == Match("it", 0.25)
    assert one.score(Match("it", 0.0)) == Match("it", 0.0)


# At work


def sampler(accepted: AcceptedFrames, *strategies: dict[str, Any], seed: int = 0) -> Sampler:
    return Sampler("gate", parse(json.dumps(policy(*strategies)), "p"), seed=seed, accepted=accepted)


def policy(*strategies: dict[str, Any]) -> dict[str, Any]:
    return {
        "enabled": True,
        "persist_predictions": True,
        "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "never"},
        "sampling_strategies": [{"name": chr(ord("a") + i), **fields} for i, fields in enumerate(strategies)],
    }


def accepted(**counts: int) -> AcceptedFrames:
    return AcceptedFrames(AcceptedClasses(counts))


def scores(one: Sampler, count: int = 30) -> list[dict[str, float | None]]:
    decisions = [one.decide(frame(number=n), objects(("car", 0.5))) for n in range(count)]
    return [{match.strategy: match.score for match in decision.matches} for decision in decisions]


def test_a_strategy_that_only_matches_scores_a_random_number_divided_by_the_factor() -> None:
    plain = scores(sampler(accepted(), {**CHANGES, "class_balance": True}))
    divided = scores(sampler(accepted(car=8), {**CHANGES, "class_balance": True}))
    assert len({one["a"] for one in plain}) == 30
    assert all(0 <= (one["a"] or 0.0) < 1 for one in plain)
    assert [one["a"] for one in divided] == [pytest.approx((one["a"] or 0.0) / 3) for one in plain]


def test_the_draws_of_strategies_do_not_depend_on_it() -> None:
    half = {**RANDOM, "traffic_percentage": 0.5}
    without = [set(one) for one in scores(sampler(accepted(), half, half), 100)]
    assert [set(one) for one in scores(sampler(accepted(car=3), {**half, "class_balance": True}, half), 100)] == without


def test_uncertainty_balances_its_own_score_object_by_object() -> None:
    seen = objects(("car", 0.5), ("bus", 0.5))
    (match,) = sampler(accepted(car=3), {**UNSURE, "class_balance": True}).decide(frame(), seen).matches
    assert match.score == pytest.approx(0.5 + 1.0)
    (plain,) = sampler(accepted(car=3), UNSURE).decide(frame(), seen).matches
    assert plain.score == 2.0


def test_only_what_the_strategy_sees_counts() -> None:
    left = [[[0, 0], [0.2, 0], [0.2, 1], [0, 1]]]  # where no object of `objects` is
    everywhere = [[[0, 0], [1, 0], [1, 1], [0, 1]]]
    one = sampler(
        accepted(car=8, bus=24),
        {"type": "track_end", "minimum_length": 1, "missing": 1, "class_balance": True, "zones": everywhere},
        {**CHANGES, "class_balance": True, "zones": everywhere},
        {**CHANGES, "class_balance": True, "zones": left},
    )
    first = one.decide(frame(), objects(("car", 0.5)))
    assert [match.strategy for match in first.matches] == ["b"]


def test_a_new_policy_goes_on_drawing_where_the_old_one_stopped() -> None:
    balanced = {**CHANGES, "class_balance": True}
    whole = scores(sampler(accepted(), balanced), 20)
    old = sampler(accepted(), balanced)
    first = scores(old, 8)
    new = sampler(accepted(), balanced, RANDOM)
    new.copy_state_from(old)
    assert first + [{"a": one["a"]} for one in scores(new, 12)] == whole


def test_a_dry_run_has_the_same_scores() -> None:
    boxes = [{"x": 5, "y": 5, "width": 4, "height": 4, "confidence": 0.5, "class": "car"}]
    seen = {"image": {"width": 32, "height": 24}, "predictions": boxes}
    what = parse(json.dumps(policy({**CHANGES, "class_balance": True})), "p")
    trying = DryRun(what, seed=0, stream="gate", started_s=1.8e9)
    found = [trying.evaluate(seen).score for _ in range(4)]
    trying.close()
    drawn = [one["a"] or 0.0 for one in scores(sampler(accepted(), {**CHANGES, "class_balance": True}), 4)]
    assert found == [pytest.approx(score / math.sqrt(1 + n)) for n, score in enumerate(drawn)]

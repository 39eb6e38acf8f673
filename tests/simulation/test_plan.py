"""Plans: a policy for a budget, from what footage shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from clocks import NOON_S
from framesift.policy.policy import Policy
from framesift.sampling.recorded_frame import parse_recorded
from framesift.sampling.recorder import format_signature
from framesift.simulation.footage import SimulatedFrame
from framesift.simulation.plan import Plan, make_plan
from framesift.simulation.plan_text import plan_text

DAY_S = 86_400.0
FRAMES = 4800  # of a day
SCENE = 24  # frames that show the same


def detections(score: float, number: int) -> dict[str, Any]:
    name = "bus" if number % 50 == 0 else "car"
    box = {"x": 50, "y": 50, "width": 20, "height": 20, "confidence": score / 2, "class": name}
    return {"task_type": "object-detection", "image": {"width": 100, "height": 100}, "predictions": [box]}


def label(score: float, _number: int) -> dict[str, Any]:
    top = 1 - score / 2
    scores = [{"class": "ok", "class_id": 0, "confidence": top}, {"class": "odd", "class_id": 1, "confidence": 1 - top}]
    return {"image": {"width": 100, "height": 100}, "predictions": scores, "top": "ok", "confidence": top}


def stub(_score: float, _number: int) -> dict[str, Any]:
    return {"is_stub": True, "task_type": "object-detection"}


def frames(says: Callable[[float, int], dict[str, Any]], days: float = 1.0) -> Iterator[SimulatedFrame]:
    """Scenes, as many a day as there is room for; each has an uncertainty."""
    rng = np.random.default_rng(3)
    begin_s = NOON_S - NOON_S % DAY_S
    for number in range(int(FRAMES * days)):
        if number % SCENE == 0:
            picture, score = rng.normal(0, 0.1, 192).astype(np.float32), float(rng.beta(1.5, 3))
        at_s = begin_s + number * DAY_S / FRAMES
        line = {"stream": "gate", "frame": number, "captured_at": at_s, "signature": format_signature(picture)}
        yield SimulatedFrame(parse_recorded({**line, **says(score, number // SCENE)}), at_s, "gate", 0, number)


def planned(says: Callable[[float, int], dict[str, Any]], budget: int = 60, days: float = 1.0) -> Plan:
    made = make_plan(budget, lambda: frames(says, days), name="gate")
    Policy.model_validate_json(json.dumps(made.policy))
    return made


@pytest.fixture(scope="module")
def of_a_day() -> Plan:
    return planned(detections)


def strategies(plan: Plan) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in plan.policy["sampling_strategies"]}


def test_the_parts_of_a_plan_share_the_budget(of_a_day: Plan) -> None:
    daily = [
        limit["value"] for one in strategies(of_a_day).values() for limit in one["limits"] if limit["type"] == "daily"
    ]
    assert sum(daily) == 60
    assert of_a_day.policy["baseline"] == {"share": 0.1}
    assert list(strategies(of_a_day)) == ["rare", "hardest", "every-hour"]
    assert strategies(of_a_day)["rare"]["selected_class_names"] == ["bus"]


def test_the_score_is_that_which_so_many_scenes_of_a_day_have(of_a_day: Plan) -> None:
    hardest = strategies(of_a_day)["hardest"]
    more = sum(scene.score >= hardest["minimum_score"] for scene in of_a_day.seen.scenes)
    daily = hardest["limits"][-1]["value"]
    assert daily <= more <= 1.7 * daily
    assert 0.3 < hardest["minimum_score"] < 1


def test_the_budget_is_spent_over_the_hours(of_a_day: Plan) -> None:
    assert 0.9 * 60 <= of_a_day.outcome.images <= 60
    assert len(of_a_day.outcome.hours.collected) >= 20


@pytest.mark.exhaustive
def test_more_budget_than_there_are_scenes_is_said_and_not_made_up() -> None:
    plan = planned(detections, budget=30_000)
    hardest = strategies(plan)["hardest"]
    text = plan_text(plan, budget=30_000, footage="monday.jsonl", policy_name="policy.json")
    assert hardest["minimum_score"] == 0
    assert f"unsure in about {len(plan.seen.scenes)} scenes a day, fewer than there is budget" in text
    assert hardest["min_interval_s"] * hardest["limits"][-1]["value"] < DAY_S
    assert f"{plan.outcome.images:,} images in 1.0 days; the budget is 30000 a day" in text


def test_without_a_model_nothing_is_said_of_objects() -> None:
    text = plan_text(planned(stub), budget=60, footage="monday.jsonl", policy_name="policy.json")
    assert "- there is no model: nothing says what they show\n" in text
    assert "objects" not in text


def test_less_than_a_day_of_footage_gives_no_score() -> None:
    plan = planned(detections, days=0.3)
    hardest = strategies(plan)["hardest"]
    assert "minimum_score" not in hardest
    assert hardest["pacing"] == {"mode": "adaptive_threshold"}
    assert "shorter than a day" in plan_text(plan, budget=60, footage="a", policy_name="policy.json")


@pytest.mark.exhaustive
def test_labels_are_planned_as_objects_are() -> None:
    plan = planned(label)
    assert 0 < strategies(plan)["hardest"]["minimum_score"] < 1
    assert plan.outcome.images >= 54


def test_without_a_model_new_pictures_are_drawn_over_the_day() -> None:
    plan = planned(stub)
    assert [one["type"] for one in plan.policy["sampling_strategies"]] == ["random"]
    assert 0.9 * 60 <= plan.outcome.images <= 60
    assert len(plan.outcome.hours.collected) >= 20


def test_the_comment_has_every_number_of_the_policy(of_a_day: Plan) -> None:
    text = plan_text(of_a_day, budget=60, footage="monday.jsonl", policy_name="policy.json")
    for one in strategies(of_a_day).values():
        for limit in one["limits"]:
            if one["name"] != "every-hour" or limit["type"] == "daily":
                assert f"{limit['type']} {limit['value']}" in text or one["name"] == "rare"
    assert f"minimum_score {strategies(of_a_day)['hardest']['minimum_score']:g}" in text
    assert "4,800 frames of 1 stream, 24.0 hours" in text


def test_a_budget_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="a plan needs at least 10 images a day, not 9"):
        make_plan(9, lambda: frames(stub), name="gate")

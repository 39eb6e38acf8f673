"""Strategies with zones, hours, days and inhibit at work: in the sampler, and in dry runs of recordings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clocks import NOON_S
from framesift.clock.moment import Moment
from framesift.frame import Frame, RefusalReason
from framesift.policy.policy import Policy, parse
from framesift.prediction.prediction import Detection, Detections, Prediction, Task
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.dry_run import DryRun
from framesift.sampling.recorder import Recorder
from framesift.sampling.sampler import Sampler, SamplingDecision
from framesift.strategies import evaluation_failures
from sampling_data import frame, label, objects

ALL: dict[str, Any] = {"type": "random", "traffic_percentage": 1}
HALF: dict[str, Any] = {"type": "random", "traffic_percentage": 0.5}
UNSURE: dict[str, Any] = {"type": "uncertainty"}
LEFT = {"zones": [[[0, 0], [0.5, 0], [0.5, 1], [0, 1]]]}
RIGHT = {"zones": [[[0.5, 0], [1, 0], [1, 1], [0.5, 1]]]}
NIGHT = {"hours": ["22:00-06:00"]}
PEOPLE = {"inhibit": [{"classes": ["person"]}]}
DAY_S = 86_400
FAULTY = Path(__file__).parents[1] / "rigs" / "faulty"


def policy(*strategies: dict[str, Any], **fields: Any) -> Policy:
    """Strategies a, b, ... in this order."""
    whole = {
        "enabled": True,
        "persist_predictions": True,
        "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "never"},
        "sampling_strategies": [{"name": chr(ord("a") + i), **s} for i, s in enumerate(strategies)],
        **fields,
    }
    return parse(json.dumps(whole), "policy.json")


def sampler(*strategies: dict[str, Any], **fields: Any) -> Sampler:
    return Sampler("gate", policy(*strategies, **fields), seed=0, accepted=AcceptedFrames())


def cars(*found: tuple[float, float]) -> Detections:
    """Cars at these x (in pixels of a picture of 32 x 24) with these confidences."""
    parts = tuple(Detection(x, 10.0, 4.0, 4.0, confidence, "car", 0) for x, confidence in found)
    return Detections(task=Task.OBJECT_DETECTION, objects=parts, width=32, height=24)


def at(wall_s: float) -> Frame:
    return Frame("gate", 0, frame().pixels, Moment(wall_s, 100.0, "boot"))


def names(decision: SamplingDecision) -> str:
    return "".join(match.strategy for match in decision.matches)


def excluded(decision: SamplingDecision) -> dict[str, str]:
    return {one.strategy: one.why for one in decision.excluded}


def test_a_strategy_sees_only_the_objects_in_its_zones() -> None:
    few = {"type": "detections_number_based", "probability": 1, "less_than": 2}
    seen = cars((8, 0.5), (24, 0.5), (28, 0.75))
    decision = sampler({**UNSURE, **LEFT}, {**UNSURE, **RIGHT}, UNSURE, {**few, **LEFT}, {**few, **RIGHT}, few).decide(
        frame(), seen
    )
    assert [(match.strategy, match.score) for match in decision.matches] == [
        ("a", 1.0),
        ("b", 1.5),
        ("c", 2.5),
        ("d", None),
    ]
    assert decision.excluded == ()
    assert len(seen.objects) == 3


def test_random_with_zones_takes_a_share_of_the_frames_that_have_an_object_in_them() -> None:
    one = sampler({**ALL, **LEFT}, ALL)
    assert [names(one.decide(frame(), cars(*found))) for found in ([], [(24, 0.5)], [(24, 0.5), (8, 0.1)])] == [
        "b",
        "b",
        "ab",
    ]


@pytest.mark.parametrize("restriction", [LEFT, NIGHT, PEOPLE, {"days": ["sat"]}], ids=lambda fields: next(iter(fields)))
def test_draws_depend_on_no_restriction(restriction: dict[str, Any]) -> None:
    free, restricted = sampler(HALF), sampler({**HALF, **restriction})
    refusing: tuple[Frame, Prediction] = frame(), objects(("person", 0.5))  # at 08:00 on a Friday
    if restriction is LEFT:
        refusing = frame(), label("person", 0.5)
    allowing = at(NOON_S + 2.5 * DAY_S), cars((8, 0.5))  # midnight between Saturday and Sunday
    if restriction == {"days": ["sat"]}:
        allowing = at(NOON_S + 2 * DAY_S), cars((8, 0.5))
    for i in range(200):
        which = refusing if i % 3 else allowing
        wanted = names(free.decide(*which))
        decision = restricted.decide(*which)
        assert (names(decision), len(decision.excluded)) == (("", len(wanted)) if i % 3 else (wanted, 0))


def test_what_is_excluded_is_named_and_counts_as_no_match() -> None:
    shown: tuple[Frame, Prediction] = frame(), objects(("person", 0.5))
    decision = sampler({**ALL, **NIGHT}, {**ALL, **PEOPLE}, {**UNSURE, **NIGHT, "minimum_score": 2}).decide(*shown)
    assert (decision.matches, decision.refusal) == ((), RefusalReason.NO_MATCH)
    assert excluded(decision) == {"a": "outside its hours", "b": "inhibited by inhibit[0]"}
    assert names(sampler({**ALL, **NIGHT}, ALL).decide(*shown)) == "b"


def test_an_excluded_frame_is_compared_with_none() -> None:
    alike = {"threshold": 0.05, "memory": 8}
    one = sampler({**ALL, **PEOPLE}, near_duplicate=alike)
    first = one.decide(frame(), objects())
    one.record_accepted(frame(), objects(), first)
    assert one.decide(frame(), objects()).refusal is RefusalReason.NEAR_DUPLICATE
    assert one.decide(frame(), objects(("person", 0.5))).refusal is RefusalReason.NO_MATCH


def test_a_strategy_from_outside_has_them_as_well() -> None:
    outside = {"type": "python", "factory": "faulty_rules:FailsOnObjects", "path": str(FAULTY)}
    one = sampler({**outside, **LEFT})
    assert [failure.strategy for failure in one.decide(frame(), cars((8, 0.5))).failures] == ["a"]
    assert names(one.decide(frame(), cars((24, 0.5)))) == "a"  # it sees no object
    strategies = policy({**outside, **LEFT}).sampling_strategies
    assert [len(evaluation_failures(strategies, frame(), cars((x, 0.5)))) for x in (8, 24)] == [1, 0]


# Dry runs


def test_a_dry_run_over_a_recording_goes_by_the_hours_of_its_frames(tmp_path: Path) -> None:
    summer_ends_s = 1_792_792_800.0  # 2026-10-24T00:00:00+02:00, a Saturday; that night has 25 hours in Berlin
    frames = [at(summer_ends_s + 3600 * hour) for hour in range(72)]
    recorder = Recorder(tmp_path / "seen.jsonl", on_error=_raise)
    for shown in frames:
        recorder.record(shown, cars((8, 0.5)))
    recorder.close()
    rules = policy(
        {**ALL, **NIGHT, "days": ["sat"]}, {**HALF, **LEFT, "hours": ["08:00-18:00"]}, time_zone="Europe/Berlin"
    )
    trying = DryRun(rules, seed=None, stream=None, started_s=0.0)
    results = [trying.evaluate(json.loads(line)) for line in (tmp_path / "seen.jsonl").open()]
    assert [hour for hour, result in enumerate(results) if "a" in result.matched] == list(range(22, 31))
    assert results[21].excluded["a"] == results[31].excluded["a"] == "outside its hours and days"
    working = Sampler("gate", rules, seed=0, accepted=AcceptedFrames())
    decisions = [working.decide(shown, cars((8, 0.5))) for shown in frames]
    assert ["".join(result.matched) for result in results] == [names(decision) for decision in decisions]
    assert [result.excluded for result in results] == [excluded(decision) for decision in decisions]
    assert {result.excluded.get("b") for result in results} == {None, "outside its hours"}


def test_what_is_excluded_is_told_beside_what_is_charged() -> None:
    trying = DryRun(policy({**ALL, **NIGHT}, ALL, {**ALL, **PEOPLE}), seed=0, stream=None, started_s=NOON_S)
    seen = {"image": {"width": 32, "height": 24}, "predictions": []}
    result = trying.evaluate(seen)
    assert (result.matched, result.strategy, result.excluded) == (("b", "c"), "b", {"a": "outside its hours"})


def test_predictions_that_do_not_say_the_size_of_their_picture_have_no_object_in_zones() -> None:
    box = {"x": 8, "y": 10, "width": 4, "height": 4, "confidence": 0.5, "class": "car"}
    sized = {"image": {"width": 32, "height": 24}, "predictions": [box]}
    trying = DryRun(policy({**UNSURE, **LEFT}), seed=0, stream=None, started_s=NOON_S)
    found = [(trying.evaluate(one).matched, trying.notes) for one in (sized, {"predictions": [box]})]
    note = "zones need the size of the picture: predictions without `image` have their objects in none"
    assert found == [(("a",), ()), ((), (note,))]
    inhibited = DryRun(policy({**UNSURE, "inhibit": [LEFT]}), seed=0, stream=None, started_s=NOON_S)
    inhibited.evaluate({"predictions": [box]})
    assert inhibited.notes == (note,)


def _raise(error: OSError) -> None:
    raise error

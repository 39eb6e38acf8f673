"""Neighbours of collected frames: what is stored of them, masked, charged and counted, with a real spool."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clocks import NOON_S
from exhaustive import examples
from framesift.frame import Frame
from framesift.policy.policy import NO_POLICY_YET
from framesift.prediction import wire_format as wire
from framesift.prediction.prediction import Prediction
from framesift.privacy.privacy_settings import PrivacySettings
from framesift.privacy.stream_privacy import StreamPrivacy
from framesift.sampling.dry_run import DryRun
from framesift.sampling.dry_run_result import DryRunResult
from framesift.sampling.pacing_rules import rules_of, without_pacing
from sampling.test_earlier_frames import FLICKER, HEIGHT, HOLE, UNSURE, WIDTH, Rig, Snapshots, car, policy

FPS = 25
# Frames 40 ms apart: with 0.2 s, every fifth.
BESIDE: dict[str, Any] = {**UNSURE, "before_s": 0.4, "after_s": 0.4, "neighbours_every_s": 0.2}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.spool.close(5.0)
    rig.telemetry.close()


def said(count: int, *unsure: int) -> list[Prediction]:
    """A car in each frame; in these the model is unsure."""
    return [car(0.5 if number in unsure else 0.9) for number in range(count)]


def numbers(rig: Rig) -> list[int]:
    stored = rig.stored()
    assert [frame for frame, *_ in stored] == [shown for _, _, shown, _ in stored]  # each with its own picture
    return [frame for frame, *_ in stored]


def test_neighbours_are_datapoints_with_their_own_picture_prediction_and_time(rig: Rig) -> None:
    intake = rig.intake(policy(unsure={**BESIDE, "tags": ["hard"]}))
    began_s = rig.clock.now().wall_s
    rig.show(intake, said(40, 20))
    intake.end_stream()
    items = sorted(rig.spool.claim(10).items, key=lambda item: item.frame)
    assert [item.frame for item in items] == [10, 15, 20, 25, 30]
    chosen = items[2]
    for item in items:
        assert item.captured_at_s == pytest.approx(began_s + (item.frame + 1) / FPS)
        assert (item.strategy, item.score, item.tags) == ("unsure", None, chosen.tags)
        (one,) = json.loads(item.prediction)["predictions"]
        assert one["confidence"] == (0.5 if item is chosen else 0.9)
        facts = json.loads(item.extra)
        expected = {"sequence": chosen.id, "sequence_offset_s": pytest.approx((item.frame - 20) / FPS)}
        assert facts == ({} if item is chosen else expected)
    rig.spool.release([item.id for item in items])
    assert numbers(rig) == [10, 15, 20, 25, 30]
    assert rig.counted == {"unsure": 5, "no_match": 35}
    assert rig.telemetry.report().matched == {"unsure": 5}


def test_each_neighbour_is_charged_and_the_sequence_ends_where_the_limit_is_reached(rig: Rig) -> None:
    intake = rig.intake(policy(unsure={**BESIDE, "limits": [{"type": "daily", "value": 3}]}))
    rig.show(intake, said(48, 20, 40))
    intake.end_stream()
    assert numbers(rig) == [10, 15, 20]  # those before are stored when the next frames come
    assert rig.counted == {"unsure": 3, "limit": 2, "no_match": 43}


def test_near_duplicate_and_min_interval_hold_for_the_chosen_frame_alone(rig: Rig) -> None:
    paced = {**BESIDE, "near_duplicate": {"threshold": 0.9}, "min_interval_s": 0.5}
    intake = rig.intake(policy(unsure=paced))
    rig.show(intake, said(48, 20, 26, 40))  # 26 comes too soon, and all look alike
    intake.end_stream()
    assert numbers(rig) == [10, 15, 20, 25, 30]
    assert rig.counted == {"unsure": 5, "near_duplicate": 2, "no_match": 41}


def test_neighbours_take_no_turns_of_a_paced_strategy_but_its_limits() -> None:
    paced = {**BESIDE, "pacing": {"mode": "adaptive_threshold"}, "limits": [{"type": "daily", "value": 24}]}
    rule = rules_of(policy(unsure=paced), "", "gate")["unsure"]
    assert rule.turns is not None
    beside = without_pacing(rule)
    assert (beside.turns, beside.limits, beside.account) == (None, rule.limits, rule.account)


def test_what_neighbours_look_like_is_not_remembered(rig: Rig) -> None:
    intake = rig.intake(policy(unsure={**BESIDE, "near_duplicate": {"threshold": 0.001}}))
    for number, prediction in enumerate(said(40, 20, 35)):
        rig.slot[:] = 0
        rig.slot[:, : 100 if number == 20 else 50] = 255  # frame 35 looks like the neighbours of frame 20
        rig.clock.advance(1 / FPS)
        intake.offer(Frame("gate", number, rig.slot, rig.clock.now()), prediction)
    intake.end_stream()
    assert "near_duplicate" not in rig.counted
    assert {20, 35} <= {frame for frame, *_ in rig.stored()}


def test_restrictions_hold_for_neighbours_too(rig: Rig) -> None:
    intake = rig.intake(policy(unsure={**BESIDE, "inhibit": [{"classes": ["car"], "minimum_confidence": 0.8}]}))
    rig.show(
        intake, [car(0.5 if number == 20 else None if number in (15, 24, 25, 26) else 0.9) for number in range(40)]
    )
    intake.end_stream()
    assert numbers(rig) == [15, 20, 25]
    assert rig.counted == {"unsure": 3, "no_match": 37}


def test_neighbours_of_a_frame_that_is_wanted_later_are_on_both_sides_of_it(rig: Rig) -> None:
    beside = {"before_s": 0.2, "after_s": 0.2, "neighbours_every_s": 0.1}
    intake = rig.intake(policy(flicker={**FLICKER, **beside}))
    rig.show(intake, [*said(10), *HOLE, *said(10)])  # the hole is frame 12
    intake.end_stream()
    found = numbers(rig)
    assert 12 in found
    assert found == sorted(set(found))
    assert [number for number in found if number > 12] == [15]
    assert len([number for number in found if number < 12]) == 2
    assert rig.counted == {"flicker": 4, "no_match": 21}


def test_frames_of_a_folder_or_a_client_have_no_neighbours(rig: Rig) -> None:
    intake = rig.intake(policy(unsure=BESIDE), is_video=False)
    assert [str(one) for one in rig.show(intake, said(40, 20))].count("no_match") == 39  # known at once
    assert numbers(rig) == [20]


def test_a_policy_that_is_replaced_ends_its_sequences(rig: Rig) -> None:
    intake = rig.intake(policy(unsure=BESIDE))
    rig.show(intake, said(20))
    rig.show(intake, [car(0.5)])
    intake.set_policy(NO_POLICY_YET)
    rig.show(intake, said(20))
    intake.end_stream()
    assert rig.counted == {"unsure": 2, "no_match": 19, "disabled": 20}  # one neighbour, the frame itself


# What is to be covered on each frame: where the car is.
PRIVACY: dict[str, Any] = {"classes": ["car"], "margin": 0, "style": "black", "over_time_s": 1}


def black_parts(rig: Rig) -> dict[int, bool]:
    """Of each stored frame whether the middle of its picture, where the car is, is black."""
    found = {}
    for item in rig.spool.claim(100).items:
        picture = cv2.imdecode(np.frombuffer(rig.spool.read_jpeg(item.id), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        middle = np.asarray(picture)[HEIGHT // 2 - 6 : HEIGHT // 2 + 6, WIDTH // 2 - 6 : WIDTH // 2 + 6]
        found[item.frame] = bool(middle.max() < 40)
    return found


@pytest.mark.parametrize("has_detector", [False, True])
def test_a_neighbour_is_masked_like_every_picture(rig: Rig, has_detector: bool) -> None:
    detected: list[int] = []

    def detect(frame: Any) -> Prediction:
        detected.append(frame.number)
        return car(0.9)

    privacy = StreamPrivacy(
        PrivacySettings.model_validate_json(json.dumps(PRIVACY)),
        detect=detect if has_detector else None,
        is_video=True,
    )
    intake = rig.intake(policy(unsure=BESIDE), privacy=privacy)
    # In the frames 15 and 25 the model misses the car: what was found just before and after covers it.
    rig.number = 10  # so that they are bright
    rig.show(intake, [car(None if number in (5, 15) else 0.5 if number == 20 else 0.9) for number in range(28)])
    intake.end_stream()
    black = black_parts(rig)
    assert {20, 25, 30} <= set(black)
    assert all(black.values())
    assert sum(rig.counted.values()) == 28
    assert set(detected) <= {beside for number in black for beside in range(number - 1, number + 2)}
    assert bool(detected) == has_detector


def test_a_neighbour_that_can_not_be_masked_is_not_kept(rig: Rig) -> None:
    def detect(frame: Any) -> Prediction:
        if frame.number in (14, 25):
            raise ValueError("it is away")
        return car(0.9)

    privacy = StreamPrivacy(
        PrivacySettings.model_validate_json(json.dumps({**PRIVACY, "over_time_s": 0.1})), detect=detect, is_video=True
    )
    intake = rig.intake(policy(unsure=BESIDE), privacy=privacy)
    rig.show(intake, said(40, 20))
    intake.end_stream()
    found = set(black_parts(rig))
    assert found.isdisjoint({13, 14, 15, 24, 25, 26})
    assert {10, 20} <= found
    assert rig.counted["unmasked"] >= 2


def test_each_neighbour_has_a_snapshot_of_its_own_time(rig: Rig) -> None:
    snapshots = Snapshots(rig.clock)
    intake = rig.intake(policy(unsure=BESIDE), snapshots=snapshots)
    began_s = rig.clock.now().boottime_s
    rig.show(intake, said(40, 20))
    intake.end_stream()
    asked = dict(snapshots.asked)
    assert set(asked) >= {10, 15, 20}
    for number, at_s in asked.items():
        assert at_s == pytest.approx(began_s + (number + 1) / FPS)
    assert [frame for frame, *_ in rig.stored()] == sorted(asked)


def final_results(trial: DryRun, predictions: Sequence[Prediction]) -> list[DryRunResult]:
    found: list[DryRunResult] = []
    for number, prediction in enumerate(predictions):
        made = trial.evaluate({**wire.to_wire(prediction), "captured_at": NOON_S + number / FPS})
        found.append(made)
        for changed in made.replaced:
            assert changed.number < number
            found[changed.number] = changed
    for changed in trial.end():
        found[changed.number] = changed
    assert trial.first_changeable == len(predictions)
    return found


@settings(examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from([car(0.9), car(0.9), car(0.9), car(0.5), car(None)]), min_size=1, max_size=40),
    st.sampled_from([3, 10**6]),
)
def test_whatever_the_frames_are_none_is_stored_twice_and_a_dry_run_decides_alike(
    rig: Rig, predictions: list[Prediction], limit: int
) -> None:
    beside = {"before_s": 0.16, "after_s": 0.24, "neighbours_every_s": 0.12}
    unsure = {**UNSURE, **beside, "limits": [{"type": "daily", "value": limit}]}
    rules = policy(unsure=unsure, flicker={**FLICKER, "after_s": 0.2, "neighbours_every_s": 0.1})
    rig.number = 0
    rig.clock.advance(86400.0)
    before = rig.counted
    intake = rig.intake(rules)
    rig.show(intake, predictions)
    intake.end_stream()
    stored = rig.stored()
    assert [frame for frame, *_ in stored] == [shown for *_, shown, _ in stored]
    assert len({frame for frame, *_ in stored}) == len(stored)
    counted = {name: count - before.get(name, 0) for name, count in rig.counted.items()}
    assert sum(counted.values()) == len(predictions)
    results = final_results(DryRun(rules, seed=0, stream="gate", started_s=NOON_S), predictions)
    assert {(n, r.strategy) for n, r in enumerate(results) if r.strategy} == {(f, s) for f, s, *_ in stored}
    for reason in ("no_match", "limit"):
        assert [str(r.refusal) for r in results].count(reason) == counted.get(reason, 0)

"""Frames that a strategy wants when it has seen the frames after them: what is stored, counted, and how often."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clocks import NOON_S, ManualClock
from exhaustive import examples
from framesift.frame import Frame, RefusalReason
from framesift.policy.policy import NO_POLICY_YET, Policy, parse
from framesift.prediction import wire_format as wire
from framesift.prediction.prediction import Detection, Detections, Prediction, Task
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.admission import Admission
from framesift.sampling.candidates import CollectionOrigin
from framesift.sampling.dry_run import DryRun
from framesift.sampling.dry_run_result import DryRunResult
from framesift.sampling.intake import Intake
from framesift.streams.snapshots.ticket import SnapshotMissed, SnapshotMissReason, SnapshotTicket
from framesift.telemetry import Telemetry
from rigs.spools import make_spool
from sampling_data import label

WIDTH, HEIGHT = 200, 100
FLICKER: dict[str, Any] = {"type": "temporal_inconsistency"}
UNSURE: dict[str, Any] = {"type": "close_to_threshold", "threshold": 0.5, "epsilon": 0.2, "probability": 1}


@dataclass(frozen=True)
class _Style:
    format: str = "json"
    level: str = "debug"


def policy(**strategies: dict[str, Any]) -> Policy:
    whole = {
        "enabled": True,
        "persist_predictions": True,
        "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "never"},
        "sampling_strategies": [{"name": name, **fields} for name, fields in strategies.items()],
    }
    return parse(json.dumps(whole), "policy.json")


def car(confidence: float | None) -> Detections:
    """A car in the middle of the picture, or (None) nothing."""
    parts = () if confidence is None else (Detection(100.0, 50.0, 20.0, 20.0, confidence, "car", 0),)
    return Detections(task=Task.OBJECT_DETECTION, objects=parts, width=WIDTH, height=HEIGHT)


# What a model says of five frames: the car is missed in the third.
HOLE = [car(0.9), car(0.9), car(None), car(0.9), car(0.9)]


class Rig:
    """Intakes whose frames lie in one slot of memory, as those of a camera: each overwrites the one before."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.spool = make_spool(folder, self.clock)
        self.spool.open()
        self.telemetry = Telemetry(self.clock, _Style(), out=io.StringIO())
        self.slot = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        self.number = 0

    def intake(self, rules: Policy, stream: str = "gate", **more: Any) -> Intake:
        return Intake(
            stream,
            CollectionOrigin("gate-7", (), (), seed=0),
            policy=rules,
            accepted=AcceptedFrames(),
            admission=Admission(self.spool, self.clock),
            telemetry=self.telemetry,
            on_accepted=lambda: None,
            **more,
        )

    def show(
        self, intake: Intake, predictions: Sequence[Prediction], look: Callable[[int], int] = lambda number: number
    ) -> list[RefusalReason | None]:
        """Offers a frame for each prediction, 25 a second; `look` is the shade of a frame with this number."""
        said = []
        for prediction in predictions:
            self.clock.advance(0.04)
            self.slot[:] = 10 + 5 * look(self.number)
            frame = Frame("gate", self.number, self.slot, self.clock.now())
            said.append(intake.offer(frame, prediction).refusal)
            self.number += 1
        return said

    def stored(self) -> list[tuple[int, str, int, list[Any]]]:
        """Of each datapoint: its frame, its strategy, which frame its picture shows, and the objects on it."""
        found = []
        for item in self.spool.claim(1000).items:
            jpeg = np.frombuffer(self.spool.read_jpeg(item.id), np.uint8)
            shade = float(np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)).mean())
            objects = json.loads(item.prediction)["predictions"]
            found.append((item.frame, item.strategy, round((shade - 10) / 5), objects))
        return sorted(found, key=lambda one: one[0])

    @property
    def counted(self) -> dict[str, int]:
        """How many frames were accepted by each strategy, and refused for each reason."""
        report = self.telemetry.report()
        return {**report.accepted, **report.refused}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.spool.close(5.0)
    rig.telemetry.close()


def test_the_middle_frame_is_stored_with_its_own_picture_prediction_and_time(rig: Rig) -> None:
    intake = rig.intake(policy(flicker=FLICKER))
    began_s = rig.clock.now().wall_s
    rig.show(intake, HOLE)
    (item,) = rig.spool.claim(10).items
    assert item.captured_at_s == pytest.approx(began_s + 3 * 0.04)
    assert item.score == 1.0
    rig.spool.release([item.id])
    assert rig.stored() == [(2, "flicker", 2, [])]


def test_a_frame_is_counted_once_when_no_strategy_can_want_it_any_more(rig: Rig) -> None:
    intake = rig.intake(policy(flicker=FLICKER))
    assert rig.show(intake, HOLE[:3]) == [None] * 3  # none of these is decided on for good
    assert rig.counted == {"no_match": 2}
    rig.show(intake, HOLE[3:])
    assert rig.counted == {"flicker": 1, "no_match": 3}
    intake.end_stream()
    assert rig.counted == {"flicker": 1, "no_match": 4}
    assert rig.telemetry.report().matched == {"flicker": 1}


def test_a_frame_that_another_strategy_took_when_it_was_new_is_not_stored_again(rig: Rig) -> None:
    intake = rig.intake(policy(flicker=FLICKER, unsure=UNSURE))
    rig.show(intake, [car(None), car(0.5), car(None), car(None)])
    intake.end_stream()
    assert [(frame, strategy) for frame, strategy, *_ in rig.stored()] == [(1, "unsure")]
    assert rig.counted == {"unsure": 1, "no_match": 3}


def test_a_frame_that_had_no_quota_when_it_was_new_may_be_accepted_for_another_strategy(rig: Rig) -> None:
    intake = rig.intake(policy(flicker=FLICKER, unsure={**UNSURE, "limits": [{"type": "daily", "value": 0}]}))
    rig.show(intake, [car(None), car(0.5), car(None), car(0.5)])
    intake.end_stream()
    assert rig.counted == {"flicker": 2, "limit": 1, "no_match": 1}


def test_an_earlier_frame_without_quota_is_refused_for_that(rig: Rig) -> None:
    intake = rig.intake(policy(flicker={**FLICKER, "limits": [{"type": "daily", "value": 1}]}))
    rig.show(intake, HOLE * 2)
    intake.end_stream()
    assert rig.counted == {"flicker": 1, "limit": 1, "no_match": 8}


def test_an_earlier_frame_that_looks_like_an_accepted_one_is_a_near_duplicate(rig: Rig) -> None:
    def look(number: int) -> int:
        rig.slot[:] = 0
        return number

    intake = rig.intake(policy(flicker={**FLICKER, "near_duplicate": {"threshold": 0.001}}))
    rig.show(intake, HOLE * 2, look)  # a signature leaves out how bright a picture is: all are alike
    intake.end_stream()
    assert rig.counted == {"flicker": 1, "near_duplicate": 1, "no_match": 8}


def test_its_signature_is_of_its_own_pixels(rig: Rig) -> None:
    intake = rig.intake(policy(flicker={**FLICKER, "near_duplicate": {"threshold": 0.001}}))
    for index, prediction in enumerate(HOLE * 2):
        rig.clock.advance(0.04)
        rig.slot[:] = 0
        if index % 5 == 2:  # the two holes look different, the frames after them alike
            rig.slot[:, : 20 * index] = 255
        intake.offer(Frame("gate", index, rig.slot, rig.clock.now()), prediction)
    intake.end_stream()
    assert rig.counted == {"flicker": 2, "no_match": 8}


def test_what_inhibits_and_the_hours_are_those_of_the_earlier_frame_itself(rig: Rig) -> None:
    rules = policy(flicker={**FLICKER, "inhibit": [{}]})  # nothing may be on it
    intake = rig.intake(rules)
    rig.show(intake, [*HOLE, car(None), car(None), car(0.9), car(None), car(None)])
    intake.end_stream()
    assert rig.counted == {"flicker": 1, "no_match": 9}
    assert [frame for frame, *_ in rig.stored()] == [2]
    rig.clock.advance(12 * 3600 - 13 * 0.04 - 0.01)  # the third frame from here is the last one before midnight
    until_midnight = rig.intake(policy(flicker={**FLICKER, "hours": ["12:00-24:00"]}), "yard")
    rig.show(until_midnight, HOLE * 2)
    until_midnight.end_stream()
    assert [frame for frame, *_ in rig.stored()] == [12]


def test_a_new_policy_ends_what_the_old_one_could_want(rig: Rig) -> None:
    intake = rig.intake(policy(flicker=FLICKER))
    rig.show(intake, HOLE[:3])
    intake.set_policy(policy(flicker=FLICKER, unsure=UNSURE))
    rig.show(intake, HOLE[3:])
    assert rig.counted == {"no_match": 4}
    intake.set_policy(NO_POLICY_YET)
    assert rig.show(intake, HOLE[:1]) == [RefusalReason.DISABLED]
    assert rig.counted == {"no_match": 5, "disabled": 1}


def test_pictures_that_need_not_follow_each_other_are_not_compared(rig: Rig) -> None:
    intake = rig.intake(policy(flicker=FLICKER), is_video=False)
    assert rig.show(intake, HOLE) == [RefusalReason.NO_MATCH] * 5
    labels = [label(name, 0.9) for name in "aba"]
    assert rig.show(intake, labels) == [RefusalReason.NO_MATCH] * 3


def test_without_a_strategy_that_looks_back_no_frame_is_kept(rig: Rig) -> None:
    for rules, predictions in (
        (policy(unsure=UNSURE), HOLE),
        (policy(flicker=FLICKER), [label(name, 0.9) for name in "aaa"]),
    ):
        intake = rig.intake(rules)
        assert rig.show(intake, predictions) == [RefusalReason.NO_MATCH] * len(predictions)
        assert len(intake._earlier) == 0


class Snapshots:
    """Remembers for which frames it was asked, and has no pictures."""

    def __init__(self, clock: ManualClock) -> None:
        self.wait_s = 1.0
        self.asked: list[tuple[int, float]] = []
        self._clock = clock

    def request(self, frame: Frame, *, deadline_s: float) -> SnapshotTicket:
        self.asked.append((frame.number, frame.captured.boottime_s))
        ticket = SnapshotTicket(self._clock, deadline_s)
        ticket.answer(SnapshotMissed(SnapshotMissReason.AWAY))
        return ticket

    def close(self) -> None:
        pass


def test_the_snapshot_of_an_earlier_frame_is_asked_for_by_its_own_time(rig: Rig) -> None:
    snapshots = Snapshots(rig.clock)
    intake = rig.intake(policy(flicker=FLICKER), snapshots=snapshots)
    began_s = rig.clock.now().boottime_s
    rig.show(intake, HOLE)
    intake.end_stream()
    ((number, at_s),) = snapshots.asked
    assert number == 2
    assert at_s == pytest.approx(began_s + 3 * 0.04)
    assert rig.stored() == [(2, "flicker", 2, [])]
    assert rig.counted == {"flicker": 1, "no_match": 4}


def final_results(trial: DryRun, predictions: Sequence[Prediction]) -> list[DryRunResult]:
    found: list[DryRunResult] = []
    for number, prediction in enumerate(predictions):
        made = trial.evaluate({**wire.to_wire(prediction), "captured_at": NOON_S + number / 25})
        assert trial.first_changeable >= number - 1  # so many results wait at most
        found.append(made)
        for changed in made.replaced:
            found[changed.number] = changed
    return found


# A model that is sure, unsure, or sees nothing, in any order.
ANSWERS = st.lists(st.sampled_from([car(0.9), car(0.5), car(None)]), min_size=1, max_size=12)


@settings(examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANSWERS)
def test_whatever_the_frames_are_none_is_stored_twice_and_a_dry_run_decides_alike(
    rig: Rig, predictions: list[Prediction]
) -> None:
    rules = policy(
        unsure={**UNSURE, "limits": [{"type": "daily", "value": 10**6}]},
        flicker=FLICKER,
        ended={"type": "track_end", "minimum_length": 2, "missing": 2},
        lost={"type": "track_end", "minimum_length": 1, "missing": 3, "border": 0},
    )
    rig.number = 0
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
    assert [str(r.refusal) for r in results].count("no_match") == counted.get("no_match", 0)

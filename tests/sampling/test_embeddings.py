"""Embeddings of accepted frames: what is a near duplicate by them, what is novel, over restarts and in a dry run."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clocks import ManualClock
from framesift.decisions.decision import SimilarFrame
from framesift.frame import Frame, RefusalReason
from framesift.policy.policy import Policy, digest, parse
from framesift.prediction.embedding import make_embedding
from framesift.prediction.prediction import Detections, with_origin
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.admission import Admission
from framesift.sampling.candidates import CollectionOrigin
from framesift.sampling.dry_run import DryRun
from framesift.sampling.intake import Intake
from framesift.sampling.recorder import Recorder
from framesift.sampling.sampler import Sampler, SamplingDecision
from framesift.strategies.near_duplicate import NoiseEstimate, RememberedFrame, SignatureMemory
from framesift.telemetry import Telemetry
from rigs.spools import make_spool
from sampling_data import frame, objects

ALL: dict[str, Any] = {"type": "random", "traffic_percentage": 1}
ALIKE: dict[str, Any] = {"signature": "embedding", "threshold": 0.1, "memory": 8}
STILL = np.full((24, 32, 3), 100, np.uint8)


@dataclass(frozen=True)
class _Style:
    format: str = "json"
    level: str = "warning"


def policy(*strategies: dict[str, Any], **fields: Any) -> Policy:
    whole = {
        "enabled": True,
        "persist_predictions": True,
        "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "never"},
        "sampling_strategies": [{"name": chr(ord("a") + i), **fields} for i, fields in enumerate(strategies)],
        **fields,
    }
    return parse(json.dumps(whole), "policy.json")


def shown(angle: float | None, length: int = 2) -> Detections:
    """A prediction whose embedding points into this direction, in degrees; None: without one."""
    if angle is None:
        return objects()
    vector = np.zeros(length)
    vector[:2] = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return with_origin(objects(), embedding=make_embedding(vector))


def sampler(what: Policy, accepted: AcceptedFrames | None = None, stream: str = "gate") -> Sampler:
    return Sampler(stream, what, seed=0, accepted=accepted or AcceptedFrames())


def accept(one: Sampler, prediction: Detections, number: int = 0) -> SamplingDecision:
    shot = frame(STILL, number=number)
    decision = one.decide(shot, prediction)
    if decision.matches:
        one.record_accepted(shot, prediction, decision, str(number))
    return decision


# Near duplicates


def test_frames_are_compared_by_embeddings_whatever_the_pictures_look_like() -> None:
    one = sampler(policy({**ALL, "near_duplicate": ALIKE}))
    angles = [0, 10, 40, 45, 0, 90]
    refused = [accept(one, shown(angle)).refusal is RefusalReason.NEAR_DUPLICATE for angle in angles]
    # 1 - cos of 25.8 degrees is 0.1.
    assert refused == [False, True, False, True, True, False]


def test_a_frame_without_an_embedding_is_no_near_duplicate_and_that_is_said() -> None:
    one = sampler(policy({**ALL, "near_duplicate": ALIKE}))
    accept(one, shown(0))
    decision = accept(one, shown(None))
    assert (decision.refusal, decision.lacks_embedding) == (None, True)
    # Nothing is remembered by which others could be compared with it.
    assert accept(one, shown(180)).refusal is None
    assert not accept(one, shown(0)).lacks_embedding
    assert not accept(sampler(policy({**ALL, "near_duplicate": {}})), shown(None)).lacks_embedding


def test_pictures_and_embeddings_are_compared_side_by_side() -> None:
    one = sampler(policy({**ALL, "near_duplicate": ALIKE}, {**ALL, "near_duplicate": {"threshold": 0.01}}))
    accept(one, shown(0))
    decision = one.decide(frame(STILL), shown(90))
    assert [match.strategy for match in decision.matches] == ["a"]
    white = np.full((24, 32, 3), 100, np.uint8)
    white[:, :4] = 255
    decision = one.decide(frame(white), shown(0))
    assert [match.strategy for match in decision.matches] == ["b"]


def test_a_frame_that_waits_is_compared_too() -> None:
    what = policy({**ALL, "near_duplicate": ALIKE}, {"type": "novelty"})
    one = sampler(what)
    decision = one.decide(frame(STILL), shown(0))
    one.record_waiting(one.remembered(frame(STILL), shown(0), decision, "x"))
    again = one.decide(frame(STILL), shown(10))
    assert [match.strategy for match in again.matches] == ["b"]
    assert again.matches[0].score == pytest.approx(0.0152, abs=1e-4)
    one.end_waiting("x", None)
    assert [match.strategy for match in one.decide(frame(STILL), shown(10)).matches] == ["a", "b"]


def test_embeddings_of_another_length_are_not_compared_and_forget_nothing() -> None:
    memory = SignatureMemory(4, "embedding")
    for id, length in (("two", 2), ("five", 5)):
        memory.add(RememberedFrame(id, None, shown(0, length).embedding))
    for id, length in (("two", 2), ("five", 5)):
        found = shown(0, length).embedding
        assert found is not None
        assert memory.find_similar(found, 0.0) == SimilarFrame(id, 0.0, 0.0)
        opposite = shown(180, length).embedding
        assert opposite is not None
        assert memory.nearest_distance(opposite) == 2.0
    other = shown(0, 7).embedding
    assert other is not None
    assert memory.find_similar(other, 2.0) is None
    assert memory.nearest_distance(other) == math.inf
    copy = SignatureMemory(4, "embedding")
    copy.add_all(memory.oldest_first())
    assert len(copy) == 2


def test_equal_embeddings_have_the_distance_0_whatever_their_length() -> None:
    rng = np.random.default_rng(1)
    for length in (1, 3, 256, 1280, 4096):
        memory = SignatureMemory(8, "embedding")
        found = [make_embedding(rng.normal(size=length)) for _ in range(8)]
        for one in found:
            memory.add(RememberedFrame("", None, one))
        assert all(one is not None and memory.nearest_distance(one) == 0.0 for one in found)


def test_auto_is_measured_from_embeddings_of_frames_with_the_same_number_of_objects() -> None:
    noise = NoiseEstimate("embedding")
    assert noise.threshold == 0.002
    for number in range(501):
        found = shown(number % 2 * 20).embedding
        assert found is not None
        noise.observe(found, objects())
    assert noise.threshold == pytest.approx(1.2 * (1 - math.cos(math.radians(20))), rel=1e-2)
    one = sampler(policy({**ALL, "near_duplicate": {**ALIKE, "threshold": "auto"}}))
    for number in range(502):
        one.decide(frame(STILL, number=number), shown(number % 2 * 20))
    assert one.measured_thresholds == {"embedding": noise.threshold}


def test_the_digest_of_a_policy_without_embeddings_stays() -> None:
    said = [
        policy({**ALL, "near_duplicate": more}) for more in ({}, {"signature": "picture"}, {"signature": "embedding"})
    ]
    assert digest(said[0]) == digest(said[1]) != digest(said[2])


# Novelty


def test_the_score_falls_as_frames_are_accepted() -> None:
    one = sampler(policy({"type": "novelty"}))
    scores = [accept(one, shown(angle)).matches[0].score for angle in (0, 90, 60, 60)]
    assert scores == [2.0, pytest.approx(1.0), pytest.approx(1 - math.cos(math.radians(30)), abs=1e-3), 0.0]


def test_a_strategy_with_zones_compares_the_whole_picture() -> None:
    everywhere = [[[0, 0], [1, 0], [1, 1], [0, 1]]]
    one = sampler(policy({"type": "novelty", "zones": everywhere}))
    scores = [accept(one, shown(angle)).matches[0].score for angle in (0, 90)]
    assert scores == [2.0, pytest.approx(1.0)]


@pytest.mark.parametrize(("scope", "score"), [("stream", 2.0), ("all", 0.0)])
def test_the_frames_of_other_streams_count_where_the_scope_is_all(scope: str, score: float) -> None:
    shared, what = AcceptedFrames(), policy({"type": "novelty", "scope": scope})
    gate, yard = (sampler(what, shared, stream) for stream in ("gate", "yard"))
    accept(gate, shown(0))
    assert accept(yard, shown(0)).matches[0].score == score


def test_the_newest_frames_are_remembered_as_many_as_the_memory_holds() -> None:
    one = sampler(policy({"type": "novelty", "memory": 2}))
    for angle in (0, 90, 180):
        accept(one, shown(angle))
    assert [one.decide(frame(STILL), shown(angle)).matches[0].score for angle in (180, 0)] == [0.0, pytest.approx(1.0)]


# Over restarts, in a daemon


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


class Device:
    """A device whose spool lasts while its process does not."""

    def __init__(self, folder: Path, clock: ManualClock, what: Policy) -> None:
        self.spool = make_spool(folder, clock)
        self.spool.open()
        self.log = io.StringIO()
        self.telemetry = Telemetry(clock, _Style(), out=self.log)
        self.clock = clock
        self.intake = Intake(
            "gate",
            CollectionOrigin("gate-7", (), (), seed=0),
            policy=what,
            accepted=AcceptedFrames(),
            admission=Admission(self.spool, clock),
            telemetry=self.telemetry,
            on_accepted=lambda: None,
        )

    def offer(self, prediction: Detections) -> str | None:
        made = self.intake.offer(Frame("gate", 0, STILL, self.clock.now()), prediction)
        return None if made.refusal is None else made.refusal.value

    def close(self) -> str:
        self.spool.close(5.0)
        self.telemetry.close()
        return self.log.getvalue()


@pytest.mark.parametrize("first", [ALIKE, {"threshold": 0.0, "scope": "stream"}])
def test_what_was_accepted_is_known_after_a_restart(tmp_path: Path, clock: ManualClock, first: dict[str, Any]) -> None:
    what = policy({**ALL, "near_duplicate": ALIKE})
    # A policy that compares pictures stores no embeddings: so after it, all that is compared is new.
    before = Device(tmp_path, clock, policy({**ALL, "near_duplicate": first}))
    assert before.offer(shown(0)) is None
    before.close()
    after = Device(tmp_path, clock, what)
    assert after.offer(shown(5)) == ("near_duplicate" if first is ALIKE else None)
    assert after.offer(shown(90)) is None
    after.close()


def test_a_policy_that_compares_pictures_again_knows_what_was_accepted_by_embeddings(
    tmp_path: Path, clock: ManualClock
) -> None:
    device = Device(tmp_path, clock, policy({**ALL, "near_duplicate": ALIKE}))
    assert device.offer(shown(0)) is None
    device.intake.set_policy(policy({**ALL, "near_duplicate": {"threshold": 0.01}}))
    assert device.offer(shown(90)) == "near_duplicate"
    device.close()


def test_novelty_goes_on_after_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    what = policy({"type": "novelty", "minimum_score": 0.5})
    before = Device(tmp_path, clock, what)
    assert [before.offer(shown(angle)) for angle in (0, 10)] == [None, "no_match"]
    before.close()
    after = Device(tmp_path, clock, what)
    assert [after.offer(shown(angle)) for angle in (10, 120)] == ["no_match", None]
    after.close()


def test_the_measured_threshold_is_known_after_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    what = policy({**ALL, "near_duplicate": {**ALIKE, "threshold": "auto"}})
    before = Device(tmp_path, clock, what)
    for number in range(502):
        before.offer(shown(number % 2 * 25))
    assert before.offer(shown(-25)) == "near_duplicate"
    before.close()
    after = Device(tmp_path, clock, what)
    assert after.offer(shown(-25)) == "near_duplicate"
    assert after.spool.signatures("gate", "", 9).embedding_threshold == pytest.approx(
        1.2 * (1 - math.cos(math.radians(25))), rel=1e-2
    )
    after.close()


def test_a_model_without_embeddings_is_said_once_for_each_stream(tmp_path: Path, clock: ManualClock) -> None:
    device = Device(tmp_path, clock, policy({**ALL, "near_duplicate": ALIKE}))
    for _ in range(3):
        assert device.offer(shown(None)) is None
    said = [json.loads(line) for line in device.close().splitlines()]
    (line,) = [line for line in said if line["event"] == "no_embedding"]
    assert (line["stream"], line.get("repeated")) == ("gate", None)


# Dry runs


def test_a_dry_run_of_a_recording_decides_as_the_run_did(tmp_path: Path) -> None:
    what = policy({**ALL, "near_duplicate": ALIKE}, {"type": "novelty", "minimum_score": 0.02, "probability": 0.5})
    errors: list[OSError] = []
    recorder = Recorder(tmp_path / "p.jsonl", on_error=errors.append)
    run = sampler(what)
    decided = []
    for number, angle in enumerate([0, 10, 40, None, 45, 0, 90, 100, 95, None, 33]):
        prediction = shown(angle)
        shot = frame(STILL, number=number)
        recorder.record(shot, prediction)
        decision = run.decide(shot, prediction)
        if decision.matches:
            run.record_accepted(shot, prediction, decision, str(number))
        decided.append([match.strategy for match in decision.matches])
    recorder.close()
    dry_run = DryRun(what, seed=None, stream=None, started_s=0.0)
    results = [dry_run.evaluate(json.loads(line)) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [list(result.matched) for result in results] == decided
    assert any(len(names) == 2 for names in decided)
    assert [note for note in dry_run.notes if "embeddings" in note]
    dry_run.close()


def test_predictions_without_signatures_can_be_tried_and_are_not_compared() -> None:
    line = {"image": {"width": 32, "height": 24}, "predictions": []}
    dry_run = DryRun(policy({"type": "novelty"}, ALL, near_duplicate=ALIKE), seed=0, stream=None, started_s=0.0)
    assert [dry_run.evaluate(line).matched for _ in range(2)] == [("b",), ("b",)]
    assert dry_run.notes == ("the policy compares embeddings: predictions without one are not compared with others",)
    dry_run.close()

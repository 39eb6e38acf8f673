"""A recording of a run, tried with the run's policy: the same frames are accepted, for the same strategies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clocks import NOON_S, ManualClock
from framesift.clock.moment import Moment
from framesift.frame import Frame
from framesift.policy.policy import parse
from framesift.prediction.prediction import Stub, Task
from framesift.sampling.dry_run import DryRun
from framesift.sampling.recorder import Recorder, format_signature, parse_signature
from framesift.strategies.near_duplicate import signature
from rigs.daemon import collected, framesift, write_configuration
from rigs.footage import real_clip

# A confidence that follows the picture, so that it lies at the threshold now and then.
MODEL = """
FRAMESIFT_EXTEND = 1
def make():
    def predict(pixels):
        level = float(pixels[:, :200].mean()) / 255
        box = {"x": 50, "y": 40, "width": 20, "height": 10, "confidence": level, "class": "bike"}
        return {"predictions": [box] * (1 + int(level * 1000) % 2)}
    return predict
"""
POLICY: dict[str, Any] = {
    "enabled": True,
    "persist_predictions": True,
    "sampling_strategies": [
        {
            "name": "unsure",
            "type": "close_to_threshold",
            "threshold": 0.45,
            "epsilon": 0.05,
            "probability": 0.5,
            "near_duplicate": {"threshold": 0.01, "memory": 3},
            "limits": [{"type": "minutely", "value": 6}, {"type": "hourly", "value": 8}],
        },
        {"name": "some", "type": "random", "traffic_percentage": 0.3, "limits": [{"type": "daily", "value": 20}]},
        {"name": "few", "type": "random", "traffic_percentage": 0.1, "near_duplicate": None},
    ],
    "near_duplicate": {"threshold": "auto", "memory": 16},
    "batching_strategy": {
        "batches_name_prefix": "test",
        "recreation_interval": "daily",
        "max_batch_images": 40,
    },
}


def record(folder: Path, *streams: str, policy: dict[str, Any] = POLICY, seed: int = 11) -> list[dict[str, Any]]:
    """Runs a real daemon over a real clip, and returns the lines of its recording."""
    (folder / "level.py").write_text(MODEL)
    shutil.copy(real_clip(), folder / "bikes.mp4")
    write_configuration(
        folder,
        {
            "seed": seed,
            "streams": [{"name": stream, "source": "bikes.mp4"} for stream in streams],
            "model": {"type": "python", "factory": "level:make", "path": "."},
        },
        policy,
    )
    ran = framesift(folder, "run", "--record", "run.jsonl")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return [json.loads(line) for line in (folder / "run.jsonl").read_text().splitlines()]


def tried(folder: Path, *words: str) -> tuple[list[dict[str, Any]], str]:
    ran = framesift(folder, "policy", "try", "policy.json", "run.jsonl", "--json", *words)
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()], ran.stderr


def accepted_by_run(folder: Path) -> list[tuple[str, int, str]]:
    return sorted((line["stream"], line["frame"], line["strategy"]) for line in collected(folder))


def accepted_by_trial(recording: list[dict[str, Any]], results: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    return sorted(
        (line["stream"], line["frame"], result["charged"])
        for line, result in zip(recording, results, strict=True)
        if result["charged"]
    )


def test_a_policy_tried_on_the_recording_of_a_run_gives_what_the_run_gave(tmp_path: Path) -> None:
    recording = record(tmp_path, "gate")
    results, notes = tried(tmp_path)
    run = accepted_by_run(tmp_path)
    assert len(recording) == 250
    assert accepted_by_trial(recording, results) == run
    assert notes == ""
    # All parts have decided something: three strategies, a limit, near duplicates, chance.
    assert {strategy for _, _, strategy in run} == {"unsure", "some", "few"}
    reasons = {result["reason"] for result in results}
    assert reasons >= {"near_duplicate", "no_match", "limit"}
    assert sum(strategy == "unsure" for _, _, strategy in run) <= 8


def test_each_stream_of_a_recording_has_its_own_draws_and_its_own_memory(tmp_path: Path) -> None:
    # Without limits, which the streams would share: in which order two of them come is chance.
    strategies = [{k: v for k, v in one.items() if k != "limits"} for one in POLICY["sampling_strategies"]]
    batches = {"batches_name_prefix": "test", "recreation_interval": "never"}
    recording = record(
        tmp_path, "gate", "yard", policy={**POLICY, "sampling_strategies": strategies, "batching_strategy": batches}
    )
    results, _ = tried(tmp_path)
    run = accepted_by_run(tmp_path)
    assert accepted_by_trial(recording, results) == run
    frames = [{frame for stream, frame, _ in run if stream == name} for name in ("gate", "yard")]
    assert frames[0] != frames[1]
    other, _ = tried(tmp_path, "--seed", "12")
    assert accepted_by_trial(recording, other) != run


def test_a_recording_carries_time_signature_and_brightness_of_each_frame(tmp_path: Path) -> None:
    clock = ManualClock(NOON_S)
    recorder = Recorder(tmp_path / "r.jsonl", on_error=lambda _error: None, seed=7)
    pixels = np.full((48, 64, 3), 51, np.uint8)
    pixels[:, :32] = 255
    recorder.record(
        Frame("gate", 3, pixels, clock.now(), epoch=2, sent_s=NOON_S - 0.25),
        Stub(task=Task.OBJECT_DETECTION, width=64, height=48, model_id="stub/0"),
    )
    recorder.close()
    line = json.loads((tmp_path / "r.jsonl").read_text())
    assert (line["stream"], line["frame"], line["epoch"], line["seed"]) == ("gate", 3, 2, 7)
    assert (line["captured_at"], line["sent_at"]) == (NOON_S, NOON_S - 0.25)
    assert line["brightness"] == pytest.approx(0.6, abs=1e-3)
    assert np.array_equal(parse_signature(line["signature"]), signature(pixels))


def line_of(level: int, **fields: Any) -> dict[str, Any]:
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:, : level % 64] = 255
    recorded = {"stream": "gate", "captured_at": NOON_S, "signature": format_signature(signature(pixels))}
    return {"is_stub": True, **recorded, **fields}


def trial(**fields: Any) -> DryRun:
    strategies = [{"name": "all", "type": "random", "traffic_percentage": 1.0}]
    whole = {**POLICY, "sampling_strategies": strategies, "near_duplicate": {"threshold": 0.001}, **fields}
    return DryRun(parse(json.dumps(whole), "p"), seed=None, stream=None, started_s=NOON_S)


def test_what_looks_like_an_accepted_frame_of_its_stream_is_refused() -> None:
    one = trial()
    lines = [line_of(3), line_of(3), line_of(30), line_of(3, stream="yard"), line_of(30)]
    refusals = [one.evaluate(line).refusal for line in lines]
    assert [None if refusal is None else str(refusal) for refusal in refusals] == [
        None,
        "near_duplicate",
        None,
        None,
        "near_duplicate",
    ]
    assert one.notes == ()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"signature": None}, "signature: is not allowed"),
        ({"signature": "AAAA"}, "signature: is not allowed"),
        ({"signature": "not base64!"}, "signature: is not allowed"),
        ({"signature": format_signature(np.full(192, np.nan, np.float32))}, "signature: is not allowed"),
        ({"stream": 7}, "stream: 7 is not allowed"),
        ({"seed": -1}, "seed: -1 is not allowed"),
        ({"epoch": "x"}, 'epoch: "x" is not allowed'),
        ({"frame": True}, "frame: true is not allowed"),
    ],
)
def test_what_no_run_has_recorded_is_refused_by_name(fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        trial().evaluate(line_of(3, **fields))


def test_lines_with_and_without_signatures_are_not_mixed_in_one_stream() -> None:
    one = trial()
    one.evaluate(line_of(3, stream="try"))
    with pytest.raises(ValueError, match="some predictions of this stream have one, and some have none"):
        one.evaluate({"is_stub": True})


def test_a_moment_is_recorded_as_wall_time(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r.jsonl", on_error=lambda _error: None)
    frame = Frame("gate", 0, np.zeros((48, 64, 3), np.uint8), Moment(NOON_S + 0.123456, 5.0, "boot"))
    recorder.record(frame, Stub(task=Task.OBJECT_DETECTION, width=64, height=48, model_id="stub/0"))
    recorder.close()
    assert json.loads((tmp_path / "r.jsonl").read_text())["captured_at"] == NOON_S + 0.123456

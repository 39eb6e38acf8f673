"""A daemon whose model gives embeddings: over restarts, in a recording, and what is said where the model gives none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rigs.daemon import POLICY, collected, framesift, write_configuration
from rigs.footage import real_clip

# How much of the picture each of 64 hues has, wherever it is in it: a camera that turns changes little of that.
MODEL = """
import cv2

def make():
    def predict(pixels):
        hsv = cv2.cvtColor(pixels, cv2.COLOR_BGR2HSV)
        shares = cv2.calcHist([hsv], [0, 1], None, [16, 4], [0, 180, 0, 256])
        wire = {"image": {"width": pixels.shape[1], "height": pixels.shape[0]}, "predictions": []}
        return wire, shares.reshape(-1) ** 0.5
    return predict
"""
SHOTS = 6  # of bikes.mp4, by its cuts


def configure(folder: Path, policy: dict[str, Any], **settings: Any) -> None:
    (folder / "hues.py").write_text(MODEL)
    shutil.copy(real_clip(), folder / "bikes.mp4")
    model = {"type": "python", "factory": "hues:make", "path": "."}
    stream = {"name": "gate", "source": "bikes.mp4"}
    write_configuration(folder, {"streams": [stream], "model": model, **settings}, policy)


def by_embedding(**more: Any) -> dict[str, Any]:
    return {**POLICY, "near_duplicate": {"signature": "embedding", **more}}


@pytest.mark.exhaustive
def test_a_moving_camera_collects_a_few_frames_of_each_shot_once_over_runs_and_its_recording_shows_the_same(
    tmp_path: Path,
) -> None:
    configure(tmp_path, by_embedding(threshold=0.05))
    ran = framesift(tmp_path, "run", "--record", "run.jsonl")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    first = sorted(one["frame"] for one in collected(tmp_path))
    assert SHOTS <= len(first) <= 3 * SHOTS
    tried = framesift(tmp_path, "policy", "try", "policy.json", "run.jsonl", "--json")
    decided = [json.loads(line)["charged"] for line in tried.stdout.splitlines()]
    assert [number for number, charged in enumerate(decided) if charged] == first
    again = framesift(tmp_path, "run")
    assert again.returncode == 0, again.stdout + again.stderr
    assert sorted(one["frame"] for one in collected(tmp_path)) == first


def test_a_python_model_without_embeddings_is_noticed_by_check_at_its_first_frame(tmp_path: Path) -> None:
    configure(tmp_path, by_embedding())
    assert "gave none" not in framesift(tmp_path, "check").stdout
    (tmp_path / "hues.py").write_text(MODEL.replace("return wire, shares.reshape(-1) ** 0.5", "return wire"))
    checked = framesift(tmp_path, "check").stdout.replace("\n", " ")
    assert "the policy compares embeddings, and the model gave none for the first frame" in checked


def test_a_model_that_surely_gives_no_embeddings_is_a_problem_with_the_strategys_name(tmp_path: Path) -> None:
    novel = {"name": "new", "type": "novelty"}
    policy = by_embedding(threshold=0.1)
    configure(
        tmp_path, {**policy, "sampling_strategies": [*policy["sampling_strategies"], novel]}, model={"type": "stub"}
    )
    checked = framesift(tmp_path, "check")
    ran = framesift(tmp_path, "run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    told = [event["reason"] for event in events if event["event"] == "policy_problem"]
    assert any("strategy 'new' (novelty): can never match" in reason for reason in told)
    uncompared = [
        reason for reason in told if "its near_duplicate compares embeddings, and the model gives none" in reason
    ]
    assert len(uncompared) == 2
    assert all(reason in checked.stdout.replace("\n", " ") for reason in uncompared)
    assert [event["stream"] for event in events if event["event"] == "no_embedding"] == ["gate"]
    assert len(collected(tmp_path)) == 250

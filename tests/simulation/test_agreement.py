"""`simulate` and `run --clock media` agree: the same video, policy and seed give the same frames."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from exhaustive import some_of
from framesift.demo.scene import Street
from rigs.daemon import POLICY, collected, framesift, write_configuration
from rigs.footage import timed_clip

FRAMES = 240
# Bursts of three pictures over nearly seven hours.
TIMES_S = [300.0 * (number // 3) + 20.0 * (number % 3) for number in range(FRAMES)]
DENSE_TIMES_S = [0.5 * number for number in range(FRAMES)]  # as strategies need that compare consecutive pictures
START = "2026-09-10T09:30:00Z"
SEED = 5
# An uncertainty that follows the picture, and a rare second class.
MODEL = """
FRAMESIFT_EXTEND = 1
def make():
    def predict(pixels):
        level = float(pixels[40:, :120].mean())
        box = {"x": 50, "y": 40, "width": 20, "height": 10, "confidence": level * 7 % 1, "class": "car"}
        rare = {"x": 90, "y": 60, "width": 20, "height": 10, "confidence": level * 13 % 1, "class": "bus"}
        return {"predictions": [box] + ([rare] if level * 100 % 7 < 1 else [])}
    return predict
"""
NEAR: dict[str, Any] = {"threshold": 0.02, "memory": 16}
SURE: dict[str, Any] = {"type": "close_to_threshold", "threshold": 0.5, "epsilon": 0.2, "probability": 0.6}
UNSURE: dict[str, Any] = {"type": "uncertainty", "aggregation": "max"}
HOLD: dict[str, Any] = {"mode": "hold_queue"}


def hourly(value: int) -> dict[str, Any]:
    return {"type": "hourly", "value": value}


def daily(value: int) -> dict[str, Any]:
    return {"type": "daily", "value": value}


LOOKS_BACK, HELD_SHORTLY = "looks back", "held for seconds"
POLICIES: dict[str, dict[str, Any]] = {
    "first come": {
        "sampling_strategies": [
            {"name": "near", **SURE, "near_duplicate": NEAR, "limits": [hourly(3), daily(12)]},
            {"name": "some", "type": "random", "traffic_percentage": 0.2, "limits": [daily(9)]},
        ],
        "batching_strategy": {"batches_name_prefix": "t", "recreation_interval": "daily", "max_batch_images": 20},
    },
    "held by the hour": {
        "sampling_strategies": [{"name": "best", **UNSURE, "limits": [hourly(4)], "pacing": HOLD}],
        "near_duplicate": NEAR,
    },
    "held through the day": {
        "sampling_strategies": [
            {
                "name": "best",
                **UNSURE,
                "class_balance": True,
                "limits": [daily(60)],
                "pacing": {**HOLD, "max_hold_s": 5400, "max_held": 4},
            },
            {"name": "few", "type": "random", "traffic_percentage": 0.3, "limits": [hourly(2)]},
        ],
        "near_duplicate": {"threshold": "auto"},
        "baseline": {"share": 0.2},
    },
    "adaptive": {
        "sampling_strategies": [
            {"name": "best", **UNSURE, "limits": [daily(80)], "pacing": {"mode": "adaptive_threshold"}},
            {"name": "rest", **SURE, "limits": [hourly(2)], "pacing": HOLD},
        ],
        "near_duplicate": NEAR,
    },
    "kept apart": {
        "sampling_strategies": [
            {"name": "apart", **SURE, "min_interval_s": 450, "near_duplicate": NEAR, "limits": [daily(30)]},
            {
                "name": "rare",
                "type": "detections_number_based",
                "more_than": 1,
                "probability": 1,
                "limits": [hourly(1)],
            },
        ],
    },
    "neighbours": {
        "sampling_strategies": [
            {"name": "seq", **SURE, "before_s": 60, "after_s": 60, "neighbours_every_s": 15, "limits": [hourly(6)]},
            {"name": "held", **UNSURE, "limits": [daily(48)], "pacing": HOLD},
        ],
        "near_duplicate": NEAR,
        "baseline": {"share": 0.1},
    },
    LOOKS_BACK: {
        "sampling_strategies": [
            {"name": "odd", "type": "temporal_inconsistency", "before_s": 2, "after_s": 2, "limits": [daily(40)]},
            {"name": "some", "type": "random", "traffic_percentage": 0.3, "limits": [daily(10)]},
        ],
        "near_duplicate": {"threshold": 0.002, "memory": 16},
    },
    HELD_SHORTLY: {
        "sampling_strategies": [
            {"name": "best", **UNSURE, "limits": [hourly(360)], "pacing": {**HOLD, "max_hold_s": 15, "max_held": 6}},
        ],
        "near_duplicate": {"threshold": 0.002, "memory": 16},
    },
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """The street, by whether its pictures follow each other closely."""
    street = Street(frames=FRAMES, width=160, height=96)
    folder = tmp_path_factory.mktemp("clips")
    return {
        is_dense: timed_clip(folder / f"{is_dense}.mp4", map(street.render, range(FRAMES)), times_s)
        for is_dense, times_s in ((False, TIMES_S), (True, DENSE_TIMES_S))
    }


@pytest.mark.parametrize("name", some_of(POLICIES, lambda name: name in ("held through the day", LOOKS_BACK)))
def test_a_simulation_chooses_and_counts_as_a_run_does(name: str, clips: dict[bool, Path], tmp_path: Path) -> None:
    shutil.copy2(clips[name in (LOOKS_BACK, HELD_SHORTLY)], tmp_path / "street.mp4")
    (tmp_path / "level.py").write_text(MODEL)
    settings = {
        "seed": SEED,
        "streams": [{"name": "gate", "source": "street.mp4"}],
        "model": {"type": "python", "factory": "level:make", "path": "."},
    }
    write_configuration(tmp_path, settings, {**POLICY, **POLICIES[name]})
    ran = framesift(tmp_path, "run", "--clock", "media", "--start", START)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    simulated = framesift(tmp_path, "simulate", "street.mp4", "--start", START, "--json")
    assert simulated.returncode == 0, simulated.stderr
    (figures,) = json.loads(simulated.stdout)["policies"]
    run = sorted((line["frame"], line["strategy"], line["captured_at"][:19]) for line in collected(tmp_path))
    chosen = sorted((one["frame"], one["strategy"], one["captured_at"][:19]) for one in figures["chosen"])
    assert figures["frames"] == FRAMES
    assert chosen == run
    assert len(run) > 10
    assert {strategy for _, strategy, _ in run} == set(figures["accepted"])
    record = counted(tmp_path)
    assert record == {what: Counter(figures[what]) for what in record}
    by_strategies = record["accepted"].total() - record["accepted"]["baseline"]  # which may take any frame as well
    assert by_strategies + record["refused"].total() + figures["held_at_the_end"] == FRAMES


def counted(folder: Path) -> dict[str, Counter[str]]:
    """What the run's decision record says of all frames: matched and accepted by strategy, refused by reason."""
    found: dict[str, Counter[str]] = {"matched": Counter(), "accepted": Counter(), "refused": Counter()}
    for path in folder.glob("**/decisions.jsonl"):
        for line in map(json.loads, path.read_text().splitlines()):
            if line["type"] == "counts":
                for what, counts in found.items():
                    counts.update(line.get(what, {}))
    return found

"""A real run over a clip whose frames carry their numbers, with a policy that wants a frame after the next one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from framesift.prediction import wire_format as wire
from framesift.prediction.prediction import Detection, Detections, Task
from rigs.daemon import collected, framesift, write_configuration
from rigs.footage import numbered_clip, read_number

MISSED = (4, 9)
POLICY: dict[str, Any] = {
    "enabled": True,
    "persist_predictions": True,
    "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "never"},
    "sampling_strategies": [{"name": "flicker", "type": "temporal_inconsistency"}],
}


def test_the_frame_in_the_middle_is_delivered_with_its_own_picture_and_the_recording_says_the_same(
    tmp_path: Path,
) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=14)
    car = Detection(160.0, 90.0, 40.0, 30.0, 0.9, "car", 0)
    said = [
        Detections(task=Task.OBJECT_DETECTION, objects=() if n in MISSED else (car,), width=320, height=192)
        for n in range(14)
    ]
    (tmp_path / "p.jsonl").write_text(
        "".join(json.dumps(wire.to_wire(one) | {"frame": n}) + "\n" for n, one in enumerate(said))
    )
    write_configuration(
        tmp_path,
        {
            "streams": [{"name": "gate", "source": "clip.mp4"}],
            "model": {"type": "recorded", "path": "p.jsonl"},
        },
        POLICY,
    )
    ran = framesift(tmp_path, "run", "--record", "run.jsonl")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = collected(tmp_path)
    assert sorted(line["frame"] for line in lines) == list(MISSED)
    for line in lines:
        (picture,) = tmp_path.rglob(Path(line["file_name"]).name)
        pixels = cv2.imdecode(np.fromfile(picture, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        assert read_number(np.asarray(pixels)) == line["frame"]
    tried = framesift(tmp_path, "policy", "try", "policy.json", "run.jsonl", "--json")
    assert tried.returncode == 0, tried.stderr
    charged = [json.loads(line)["charged"] for line in tried.stdout.splitlines()]
    assert [n for n, strategy in enumerate(charged) if strategy] == list(MISSED)
    assert len(charged) == 14
    recorded = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert [round(line["media_s"], 2) for line in recorded[:3]] == [0.0, 0.04, 0.08]

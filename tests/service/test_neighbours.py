"""A real run over a clip whose frames carry their numbers, with neighbours of the frames that are collected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from framesift.prediction import wire_format as wire
from framesift.prediction.prediction import Detection, Detections, Task
from framesift.service.neighbour_problems import neighbour_problems
from framesift.settings import StreamEntry
from rigs.daemon import collected, framesift, write_configuration
from rigs.footage import numbered_clip, read_number
from sampling_data import options

UNSURE = 20
POLICY: dict[str, Any] = {
    "enabled": True,
    "persist_predictions": True,
    "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "never"},
    "sampling_strategies": [
        {
            "name": "unsure",
            "type": "close_to_threshold",
            "threshold": 0.5,
            "epsilon": 0.2,
            "probability": 1,
            "before_s": 0.4,
            "after_s": 0.4,
            "neighbours_every_s": 0.2,
        }
    ],
}


def test_neighbours_are_delivered_with_their_own_pictures_and_the_recording_says_the_same(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=34)
    said = [
        Detections(
            task=Task.OBJECT_DETECTION,
            objects=(Detection(160.0, 90.0, 40.0, 30.0, 0.5 if n == UNSURE else 0.9, "car", 0),),
            width=320,
            height=192,
        )
        for n in range(34)
    ]
    (tmp_path / "p.jsonl").write_text(
        "".join(json.dumps(wire.to_wire(one) | {"frame": n}) + "\n" for n, one in enumerate(said))
    )
    settings = {"streams": [{"name": "gate", "source": "clip.mp4"}], "model": {"type": "recorded", "path": "p.jsonl"}}
    write_configuration(tmp_path, settings, POLICY)
    ran = framesift(tmp_path, "run", "--record", "run.jsonl")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = {line["frame"]: line for line in collected(tmp_path)}
    assert sorted(lines) == [10, 15, 20, 25, 30]
    for number, line in lines.items():
        (picture,) = tmp_path.rglob(Path(line["file_name"]).name)
        pixels = cv2.imdecode(np.fromfile(picture, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        assert read_number(np.asarray(pixels)) == number
        expected = {"sequence": lines[UNSURE]["id"], "sequence_offset_s": pytest.approx((number - UNSURE) / 25)}
        assert line.get("picture") == (None if number == UNSURE else expected)
    tried = framesift(tmp_path, "policy", "try", "policy.json", "run.jsonl", "--json")
    assert tried.returncode == 0, tried.stderr
    results = [json.loads(line) for line in tried.stdout.splitlines()]
    assert [n for n, result in enumerate(results) if result["charged"]] == sorted(lines)
    assert [result["sequence_offset_s"] for result in results if "sequence_offset_s" in result] == [
        -0.4,
        -0.2,
        0.2,
        0.4,
    ]
    in_words = framesift(tmp_path, "policy", "try", "policy.json", "run.jsonl").stdout
    assert in_words.count("s in a sequence") == 4
    assert "34 predictions: 5 charged, 29 no_match" in in_words


def stream(**fields: Any) -> StreamEntry:
    return StreamEntry.model_validate_json(json.dumps({"name": "gate", "source": "rtsp://192.0.2.10/sub", **fields}))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"snapshot": {"source": "rtsp://192.0.2.10/main", "pre_s": 4}}, None),
        (
            {"snapshot": {"source": "rtsp://192.0.2.10/main", "pre_s": 3.5}},
            "of frames 4 s before a collected one, stream 'gate' may have no snapshots: its snapshot.pre_s is 3.5;"
            " set it to 4",
        ),
        (
            {"snapshot": {"url": "http://192.0.2.10/snapshot.jpg"}},
            "of frames 4 s before a collected one, stream 'gate' has no snapshots, since snapshot.url gives only new"
            " pictures: their own pictures are kept",
        ),
        (
            {"source": "pictures/*.jpg"},
            "before_s and after_s have no effect on stream 'gate': its pictures need not follow each other",
        ),
    ],
)
def test_what_a_stream_lacks_for_neighbours_is_named(fields: dict[str, Any], expected: str | None) -> None:
    rule = options(type="random", traffic_percentage=1, before_s=4)
    found = list(neighbour_problems((rule, options(type="random", traffic_percentage=1)), (stream(**fields),)))
    assert found == ([] if expected is None else [f"strategy {rule.name!r} (random): {expected}"])


def test_a_folder_with_such_a_policy_is_named_at_the_start_and_by_check(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "a.png"), np.zeros((48, 64, 3), np.uint8))
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "pictures/*.png"}]}, POLICY)
    ran = framesift(tmp_path, "run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = [line["reason"] for line in map(json.loads, ran.stdout.splitlines()) if line["event"] == "policy_problem"]
    assert any("before_s and after_s have no effect on stream 'gate'" in reason for reason in told)
    checked = framesift(tmp_path, "check")
    assert "before_s and after_s have no effect on stream 'gate'" in " ".join(checked.stdout.split())

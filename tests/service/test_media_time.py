"""`framesift run --clock media`: files are collected as if they were filmed now, the same in every run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rigs.daemon import POLICY, collected, framesift, write_configuration
from rigs.footage import sparse_clip

MINUTES = [minute * 60.0 for minute in range(0, 240, 10)]  # a picture every ten minutes for four hours
START = ("--clock", "media", "--start", "2026-09-10T11:30:00Z")


def limited(kind: str, value: int) -> dict[str, Any]:
    strategy = {"name": "all", "type": "random", "traffic_percentage": 1.0, "limits": [{"type": kind, "value": value}]}
    return {**POLICY, "sampling_strategies": [strategy]}


def run(folder: Path, streams: list[dict[str, Any]], policy: dict[str, Any]) -> list[tuple[str, str, int]]:
    """When what is collected was captured, of which stream, and which frame, in order."""
    write_configuration(folder, {"streams": streams}, policy)
    done = framesift(folder, "run", *START)
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted((line["captured_at"], line["stream"], line["frame"]) for line in collected(folder))


def test_an_hourly_limit_counts_the_hours_of_the_file(tmp_path: Path) -> None:
    sparse_clip(tmp_path / "clip.mp4", MINUTES)
    found = run(tmp_path, [{"name": "gate", "source": "clip.mp4"}], limited("hourly", 2))
    hours = Counter(captured_at[:13] for captured_at, _, _ in found)
    assert hours == {f"2026-09-10T{hour}": 2 for hour in (11, 12, 13, 14, 15)}
    assert found[:3] == [
        ("2026-09-10T11:30:00.000Z", "gate", 0),
        ("2026-09-10T11:40:00.000Z", "gate", 1),
        ("2026-09-10T12:00:00.000Z", "gate", 3),
    ]


def test_pictures_of_a_folder_follow_each_other_as_fps_says(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        pixels = np.full((48, 64, 3), 80 * number, np.uint8)
        (tmp_path / "pictures" / f"{number}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    found = run(tmp_path, [{"name": "gate", "source": "pictures/*.png", "fps": 0.05}], limited("hourly", 9))
    assert [(captured_at[11:19], frame) for captured_at, _, frame in found] == [
        ("11:30:00", 0),
        ("11:30:20", 1),
        ("11:30:40", 2),
    ]


def test_streams_that_share_a_limit_share_it_in_the_order_of_their_times_in_every_run(tmp_path: Path) -> None:
    answers = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        sparse_clip(folder / "north.mp4", MINUTES)
        sparse_clip(folder / "south.mp4", [0.0, *(minute + 120.0 for minute in MINUTES[::2])])
        streams = [{"name": side, "source": f"{side}.mp4"} for side in ("north", "south")]
        answers.append(run(folder, streams, limited("hourly", 3)))
    assert answers[0] == answers[1]
    assert [(captured_at[11:16], stream) for captured_at, stream, _ in answers[0][:6]] == [
        ("11:30", "north"),
        ("11:30", "south"),
        ("11:32", "south"),
        ("12:00", "north"),
        ("12:10", "north"),
        ("12:12", "south"),
    ]


@pytest.mark.parametrize(
    ("words", "settings", "message"),
    [
        (("--clock", "media"), {}, "needs --start"),
        (("--start", "2026-09-10"), {}, "for --clock media only"),
        (("--clock", "media", "--start", "noon"), {}, "--start noon: a time such as"),
        (("--clock", "media", "--start", "2019-01-01"), {}, "a time from 2024-01-01 (UTC) until now"),
        (("--clock", "media", "--start", "2999-01-01"), {}, "until now is allowed"),
        (
            START,
            {"streams": [{"name": "gate", "source": "rtsp://127.0.0.1/a"}]},
            "streams[0].source: rtsp://127.0.0.1/a is live",
        ),
        (START, {"streams": [{"name": "gate", "source": "clip.mp4", "pace": "realtime"}]}, "streams[0].pace: realtime"),
        (START, {"streams": [{"name": "gate", "source": "clip.mp4", "follow": True}]}, "streams[0].follow: a file"),
        (START, {"streams": [{"name": "gate", "source": "./"}]}, "streams[0].fps: missing: pictures in a folder"),
        (START, {"streams": [{"name": "gate", "source": "./", "watch": True}]}, "streams[0].watch: pictures that"),
        (START, {"listeners": [{"listen": "127.0.0.1:0"}]}, "listeners: their clients"),
        (START, {"limits": {"redis": {"url": "redis://127.0.0.1:1"}}}, "limits.redis: the other devices"),
        (START, {"spool": {"path": "old.db"}}, "old.db exists already"),
    ],
)
def test_what_has_no_media_time_is_refused_with_the_place(
    words: tuple[str, ...], settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    sparse_clip(tmp_path / "clip.mp4", [0.0, 1.0])
    (tmp_path / "old.db").touch()
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "clip.mp4"}], **settings})
    done = framesift(tmp_path, "run", *words)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())

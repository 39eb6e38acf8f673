"""`framesift run` and `check` with privacy: what lies in the folder afterwards."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import cv2
import requests

from rigs.daemon import Daemon, collected, framesift, write_configuration
from rigs.figures import Box, background, coloured_pixels, draw
from rigs.footage import write_clip
from rigs.listeners import prediction_json

WIDTH, HEIGHT = 320, 240
FIGURE: Box = (120.0, 80.0, 160.0, 140.0)
ORACLE = {
    "type": "python",
    "factory": "oracle:FindsFigures",
    "path": str(Path(__file__).parents[1] / "rigs" / "faulty"),
}
PRIVACY = {"classes": ["person"], "polygons": [[[0, 0], [0.1, 0], [0, 0.1]]]}


def shown(path: Path) -> Any:
    pixels = cv2.imread(str(path))
    assert pixels is not None
    return pixels


def pictures(folder: Path) -> list[Any]:
    return [shown(path) for path in sorted((folder / "collected").rglob("*.jpg"))]


def clip(path: Path, frames: int) -> Path:
    """A figure that walks to the right."""
    places = [
        tuple(value + 4 * number * (index % 2 == 0) for index, value in enumerate(FIGURE)) for number in range(frames)
    ]
    return write_clip(path, (draw(background(WIDTH, HEIGHT), [place]) for place in places), fps=10, gop=10)  # type: ignore[list-item]


def test_nothing_of_a_person_is_kept_whoever_found_it(tmp_path: Path) -> None:
    clip(tmp_path / "clip.mp4", 6)
    streams = [{"name": "gate", "source": "clip.mp4"}]
    for name, model, more in (("model", ORACLE, {}), ("detector", {"type": "stub"}, {"detector": ORACLE})):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "clip.mp4").symlink_to(tmp_path / "clip.mp4")
        write_configuration(folder, {"streams": streams, "model": model, "privacy": {**PRIVACY, **more}})
        done = framesift(folder, "run")
        assert done.returncode == 0, done.stdout + done.stderr
        kept = pictures(folder)
        assert len(kept) == len(collected(folder)) == 6
        assert [coloured_pixels(picture) for picture in kept] == [0] * 6
        assert all(picture[:10, :10].max() < 12 for picture in kept), "the polygon is black"
    write_configuration(folder, {"streams": streams, "model": ORACLE})
    assert framesift(folder, "run").returncode == 0
    assert max(coloured_pixels(picture) for picture in pictures(folder)) > 1000, "without privacy, all is to be seen"


def test_a_client_is_told_that_its_picture_could_not_be_masked(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
    listener = {"listen": f"127.0.0.1:{port}", "stream": "clients"}
    settings: dict[str, Any] = {"model": None, "listeners": [listener], "privacy": PRIVACY}
    write_configuration(tmp_path, settings)
    jpeg = cv2.imencode(".jpg", draw(background(WIDTH, HEIGHT), [FIGURE]))[1].tobytes()
    person = {"x": 140.0, "y": 110.0, "width": 40.0, "height": 60.0, "class": "person"}
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        answers = []
        for prediction in (
            {
                "top": "person",
                "confidence": 0.9,
                "predictions": [{"class": "person", "confidence": 0.9, "class_id": 0}],
            },
            prediction_json(WIDTH, HEIGHT, **person),
        ):
            form: dict[str, Any] = {"image": jpeg, "prediction": (None, json.dumps(prediction))}
            answers.append(requests.post(f"http://127.0.0.1:{port}/datapoints", files=form, timeout=20).json())
        assert [answer["reason"] for answer in answers] == ["unmasked", None]
        assert daemon.wait_for("frame_unmasked", stream="clients")["why"]
        assert daemon.wait_for("health", component="privacy of clients", state="degraded")
        assert daemon.until(lambda: len(collected(tmp_path)) == 1, 20.0)
        assert daemon.stop() == 0
    assert [coloured_pixels(picture) for picture in pictures(tmp_path)] == [0]


def test_a_class_that_the_model_does_not_have_ends_the_start_and_fails_the_check(tmp_path: Path) -> None:
    clip(tmp_path / "clip.mp4", 2)
    privacy = {"classes": ["persons"], "detector": ORACLE}
    write_configuration(
        tmp_path, {"streams": [{"name": "gate", "source": "clip.mp4"}], "model": ORACLE, "privacy": privacy}
    )
    done = framesift(tmp_path, "run")
    assert done.returncode == 2
    assert 'privacy of stream gate: classes: "persons" is no class' in done.stderr
    assert "did you mean person?" in done.stderr
    checked = framesift(tmp_path, "check", COLUMNS="300")
    assert checked.returncode == 1
    lines = checked.stdout.splitlines()
    assert any(
        line.startswith("FAILED") and "privacy of gate" in line and "did you mean person?" in line for line in lines
    )
    assert any(line.startswith("ok") and "privacy detector" in line and "1 object" in line for line in lines), lines


def test_one_pixel_is_enough_to_be_seen() -> None:
    pixels = background(WIDTH, HEIGHT)
    assert coloured_pixels(pixels) == 0
    assert coloured_pixels(draw(pixels, [(5.0, 5.0, 6.0, 6.0)])) == 1

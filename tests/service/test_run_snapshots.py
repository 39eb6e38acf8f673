"""A daemon whose model sees a sub stream, and which keeps the main stream's pictures, or those of an address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest

from rigs.daemon import POLICY, Daemon, collected, framesift, write_configuration
from rigs.footage import read_number
from rigs.two_streams import MAIN_SIZE, PICTURES, SUB_SIZE, TwoStreams
from rigs.web_camera import WebCamera, numbered_jpeg

# The model's answer is what it saw: the number that is drawn in the picture.
MODEL = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from rigs.footage import read_number

def make():
    return lambda pixels: {{"predictions": [
        {{"x": 160, "y": 96, "width": 40, "height": 20, "confidence": 0.9, "class": f"n{{read_number(pixels)}}"}}
    ]}}
"""


def configure(folder: Path, source: str, snapshot: dict[str, Any], **stream: Any) -> None:
    (folder / "reads_numbers.py").write_text(MODEL)
    write_configuration(
        folder,
        {
            "streams": [{"name": "gate", "source": source, "fps": 3, "snapshot": snapshot, **stream}],
            "model": {"type": "python", "factory": "reads_numbers:make", "path": "."},
            "status": {"bind": "127.0.0.1:0"},
        },
        POLICY,
    )


def kept(folder: Path, source: str) -> list[dict[str, Any]]:
    """The collected lines whose picture is of this kind."""
    return [line for line in collected(folder) if line["picture"]["source"] == source]


def shown(folder: Path, line: dict[str, Any]) -> tuple[tuple[int, int], int]:
    """The size (width, height) of a collected picture, and the number in it."""
    pixels = cv2.imread(str(folder / "collected" / line["file_name"]))
    assert pixels is not None
    return (pixels.shape[1], pixels.shape[0]), read_number(pixels)


def seen(line: dict[str, Any]) -> int:
    """The number that the model saw."""
    return int(line["prediction"]["predictions"][0]["class"][1:])


def apart(one: int, other: int) -> int:
    return min((one - other) % PICTURES, (other - one) % PICTURES)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scene")


def test_the_main_streams_picture_is_kept_and_while_it_is_away_the_frames_own(tmp_path: Path, scene: Path) -> None:
    with TwoStreams(scene, late_s=0.4) as camera:
        configure(tmp_path, camera.sub.url, {"source": camera.main.url})
        with Daemon(tmp_path) as daemon:
            daemon.wait_for("snapshots", state="running")
            assert daemon.until(lambda: len(kept(tmp_path, "snapshot")) >= 6, 30.0)
            camera.main.__exit__(None, None, None)
            away = daemon.wait_for("snapshots", state="lost")
            so_far = len(kept(tmp_path, "own-picture"))
            assert daemon.until(lambda: len(kept(tmp_path, "own-picture")) >= so_far + 3, 30.0)
            assert daemon.stop() == 0
    assert away["stream"] == "gate"
    lines = kept(tmp_path, "snapshot")
    for line in lines:
        size, number = shown(tmp_path, line)
        assert (size, (line["width"], line["height"])) == (MAIN_SIZE, MAIN_SIZE)
        assert apart(number, seen(line)) <= 1
        found = line["picture"]
        assert (found["frame_width"], found["frame_height"]) == SUB_SIZE
        assert (found["skew_by"], abs(found["skew_s"]) <= 0.041) == ("sender", True)
        box = line["prediction"]["predictions"][0]
        assert (box["x"], box["width"]) == (320, 80)
    own = kept(tmp_path, "own-picture")[-1]
    assert (own["picture"]["missed"], "own-picture" in own["tags"]) == ("away", True)
    assert shown(tmp_path, own) == (SUB_SIZE, seen(own))


def test_check_and_a_jpeg_from_an_address(tmp_path: Path, scene: Path) -> None:
    with TwoStreams(scene) as camera, WebCamera(credentials="viewer:secretpw", digest=True) as pictures:
        pictures.pages["/now.jpg"] = numbered_jpeg(77)
        snapshot = {"url": f"{pictures.url}/now.jpg", "username": "viewer", "password": "secretpw"}
        configure(tmp_path, camera.sub.url, snapshot)
        checked = framesift(tmp_path, "check")
        assert "a JPEG of 320 x 192 came in" in checked.stdout, checked.stdout
        with Daemon(tmp_path) as daemon:
            assert daemon.until(lambda: len(kept(tmp_path, "snapshot")) >= 2, 30.0)
            pictures.pages.clear()
            daemon.wait_for("snapshots", state="lost", reason="not_found")
            assert daemon.until(lambda: bool(kept(tmp_path, "own-picture")), 30.0)
            assert daemon.stop() == 0
    line = kept(tmp_path, "snapshot")[0]
    assert (tmp_path / "collected" / line["file_name"]).read_bytes() == numbered_jpeg(77)
    assert line["picture"]["skew_by"] == "request"


def test_check_says_what_is_wrong_with_the_main_stream(tmp_path: Path, scene: Path) -> None:
    with TwoStreams(scene) as camera:
        configure(tmp_path, camera.sub.url, {"source": camera.main.url})
        assert "first frame of the main stream 640 x 384" in framesift(tmp_path, "check").stdout
        camera.main.__exit__(None, None, None)
        checked = framesift(tmp_path, "check")
    assert checked.returncode == 1
    assert "snapshots of gate" in checked.stdout
    assert "the frames' own pictures are kept" in " ".join(checked.stdout.split())

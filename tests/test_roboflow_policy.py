"""The policy of a project of the platform, followed by a real process: what it says holds, it is kept for a start
without a network, it is replaced while the daemon runs, and what can't be followed is said."""

from __future__ import annotations

import signal
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rigs.daemon import POLICY, Daemon, collected, framesift, write_configuration
from rigs.drawn import clip, shape
from rigs.platform import KEY, Platform

PROJECT = "parking"
BATCHING = {"batches_name_prefix": "gate", "recreation_interval": "daily"}
MODEL = (
    "def make():\n"
    "    box = {'x': 9, 'y': 9, 'width': 4, 'height': 4, 'class': 'ramp', 'confidence': 0.5}\n"
    "    return lambda p: {'image': {'width': p.shape[1], 'height': p.shape[0]}, 'predictions': [box]}\n"
)


def configure(folder: Path, platform: Platform, begin_at: int = 0, model_id: str | None = None, **stream: Any) -> None:
    """The policy and the sink are the project's; the model knows three frames of a file."""
    clip(folder / "clip.mkv", [shape("box", 320, 240, begin_at + n) for n in range(3)])
    (folder / "mine.py").write_text(MODEL)
    settings = {
        **platform.settings(PROJECT),
        "streams": [{"name": "gate", "source": "clip.mkv", **stream}],
        "model": {"type": "python", "factory": "mine:make", "path": "."},
        "policy": {"from": "roboflow", "project": PROJECT, "model_id": model_id},
        "sink": {"type": "roboflow"},
    }
    write_configuration(folder, settings)


def run(folder: Path) -> str:
    done = framesift(folder, "run", ROBOFLOW_API_KEY=KEY)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def quantisation(jpeg: bytes) -> bytes:
    """The first quantisation table: what a JPEG's quality is."""
    at = jpeg.index(b"\xff\xdb")
    return jpeg[at + 5 : at + 69]


def test_what_the_projects_policy_says_holds_for_what_arrives(tmp_path: Path) -> None:
    policy = {
        "enabled": True,
        "persist_predictions": False,
        "jpeg_compression_level": 40,
        "max_image_size": [120, 1000],
        "sampling_strategies": [
            {"name": "new", "type": "of tomorrow", "threshold": 3},
            {"name": "all", "type": "random", "traffic_percentage": 1.0, "tags": ["every"], "colour": "red"},
        ],
        "batching_strategy": BATCHING,
        "tags": ["north", "not a tag!"],
        "target_project": "archive",
    }
    with Platform() as platform:
        platform.add_project(PROJECT, active_learning=policy)
        platform.add_project("archive")
        configure(tmp_path, platform)
        days = [f"{datetime.now(timezone.utc):%Y_%m_%d}"]
        said = run(tmp_path)
        days.append(f"{datetime.now(timezone.utc):%Y_%m_%d}")
        asked = [received.call for received in platform.requests]
        assert asked[:3] == ["workspace", "project", "active_learning"]
        assert asked[3:].count("upload") == 3
        assert not platform.annotations
        made, plain = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 40])
        assert made
        for image in platform.images:
            assert image.project == "archive"
            assert image.tags[:2] == ("north", "every")
            assert "mine:make" not in image.tags  # the model's name goes with its predictions
            assert image.batch in {f"gate_{day}" for day in days}
            assert quantisation(image.jpeg) == quantisation(plain.tobytes())
            pixels = cv2.imdecode(np.frombuffer(image.jpeg, np.uint8), cv2.IMREAD_COLOR)
            assert pixels is not None
            assert pixels.shape == (120, 160, 3)
        for left_out in ("of tomorrow", "colour", "not a tag!"):
            assert left_out in said


def test_a_platform_that_is_away_at_the_start_left_its_last_policy_on_the_disk(tmp_path: Path) -> None:
    with Platform() as platform:
        platform.add_project(PROJECT, active_learning=POLICY)
        configure(tmp_path, platform)
        run(tmp_path)
        assert len(platform.images) == 3
        platform.go_away()
        configure(tmp_path, platform, begin_at=3)
        with Daemon(tmp_path, ROBOFLOW_API_KEY=KEY) as daemon:
            daemon.wait_for("ready")
            daemon.wait_for("not_delivered")
            platform.come_back()
            assert daemon.wait(60.0) == 0
        assert len(platform.images) == 6


def test_without_any_policy_yet_a_file_waits_for_one(tmp_path: Path) -> None:
    with Platform() as platform:
        platform.add_project(PROJECT, active_learning=POLICY)
        configure(tmp_path, platform)
        platform.go_away()
        with Daemon(tmp_path, ROBOFLOW_API_KEY=KEY) as daemon:
            daemon.wait_for("ready")
            platform.come_back()
            daemon.process.send_signal(signal.SIGHUP)  # asks at once
            daemon.wait_for("policy", enabled=True)
            assert daemon.wait(60.0) == 0
        assert len(platform.images) == 3


def nothing_is_collected(folder: Path, platform: Platform, model_id: str | None = None) -> str:
    configure(folder, platform, model_id=model_id)
    said = run(folder)
    assert not platform.images
    assert not platform.asked("upload")
    return said


def test_a_policy_that_is_switched_off_collects_nothing(tmp_path: Path) -> None:
    with Platform() as platform:
        platform.add_project(PROJECT, active_learning={"enabled": False})
        nothing_is_collected(tmp_path, platform)


def test_a_project_without_a_policy_collects_nothing_and_says_so(tmp_path: Path) -> None:
    with Platform() as platform:
        platform.add_project(PROJECT)
        assert PROJECT in nothing_is_collected(tmp_path, platform)


def test_a_model_of_another_kind_than_the_project_collects_nothing_and_says_so(tmp_path: Path) -> None:
    with Platform() as platform:
        platform.add_project(PROJECT, "classification", active_learning=POLICY)
        platform.add_project("cars", "object-detection")
        said = nothing_is_collected(tmp_path, platform, model_id="cars/3")
        assert "classification" in said
        assert "object-detection" in said
        assert not platform.asked("active_learning")


def test_a_new_policy_holds_while_the_daemon_runs_and_a_bad_one_does_not_replace_it(tmp_path: Path) -> None:
    def limited(value: int) -> dict[str, Any]:
        rule = {
            "name": "all",
            "type": "random",
            "traffic_percentage": 1.0,
            "limits": [{"type": "daily", "value": value}],
        }
        return {**POLICY, "sampling_strategies": [rule]}

    with Platform() as platform:
        platform.add_project(PROJECT, active_learning=limited(1))
        configure(tmp_path, platform, loop=True)
        with Daemon(tmp_path, ROBOFLOW_API_KEY=KEY) as daemon:
            daemon.wait_for("ready")
            assert platform.until(lambda: len(platform.images) == 1)
            platform.add_project(PROJECT, active_learning=limited(2))
            daemon.process.send_signal(signal.SIGHUP)
            assert platform.until(lambda: len(platform.images) == 2)
            platform.add_project(PROJECT, active_learning=limited(-1))
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_for("health", component="policy")
            assert daemon.stop() == 0
        assert len(platform.images) == 2
        assert not collected(tmp_path)

"""Delivery to a platform that fails, in real time: an outage; and a daemon that is killed again and again meanwhile."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from rigs.daemon import NEW_PROCESS, POLICY, Daemon, write_configuration
from rigs.footage import numbered_clip, read_number
from rigs.platform import KEY, Cut, Delay, Fault, Html, Platform, Status
from rigs.rtsp import CuttableConnection, RtspCamera

MODEL = (
    "def make():\n"
    "    box = {'x': 9, 'y': 9, 'width': 4, 'height': 4, 'class': 'ramp', 'confidence': 0.5}\n"
    "    return lambda p: {'image': {'width': p.shape[1], 'height': p.shape[0]}, 'predictions': [box]}\n"
)


def configure(folder: Path, platform: Platform, stream: dict[str, object], **limits: int) -> None:
    platform.add_project("parking")
    (folder / "mine.py").write_text(MODEL)
    quotas = [{"type": kind, "value": value} for kind, value in limits.items()]
    strategy = {"name": "all", "type": "random", "traffic_percentage": 1.0, "limits": quotas}
    settings = {
        "streams": [{"name": "gate", **stream}],
        "model": {"type": "python", "factory": "mine:make", "path": "."},
        **platform.settings("parking"),
    }
    write_configuration(folder, settings, {**POLICY, "sampling_strategies": [strategy]})


def annotated_exactly_once(platform: Platform) -> bool:
    of_images = Counter(annotation.image_id for annotation in platform.annotations)
    return of_images == Counter(image.id for image in platform.images)


def waiting(folder: Path) -> int:
    with closing(sqlite3.connect(f"file:{folder / 'spool.db'}?mode=ro", uri=True)) as spool:
        return int(spool.execute("SELECT count(*) FROM datapoint").fetchone()[0])


@pytest.mark.torture
@pytest.mark.timeout(400)
def test_an_outage_of_30_s_at_5_datapoints_a_second_for_60_s_costs_nothing(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=1800)
    with Platform() as platform, RtspCamera(tmp_path) as camera, CuttableConnection(camera.port) as wire:
        configure(tmp_path, platform, {"source": wire.url("clip.mp4"), "fps": 5}, daily=300)
        with Daemon(tmp_path, command=NEW_PROCESS, ROBOFLOW_API_KEY=KEY) as daemon:
            daemon.wait_for("ready")
            assert platform.until(lambda: len(platform.images) >= 100, 60.0)
            platform.go_away()
            assert not daemon.until(lambda: False, 30.0)
            platform.come_back()
            assert daemon.until(lambda: len(platform.annotations) == 300, 120.0)
            assert daemon.until(lambda: waiting(tmp_path) == 0, 20.0)
            assert daemon.stop() == 0
            last = daemon.events[-1]
            assert (last["accepted"], last["delivered"]) == (300, 300)
        assert len(platform.images) == 300
        assert annotated_exactly_once(platform)
        pictures = [cv2.imdecode(np.frombuffer(image.jpeg, np.uint8), cv2.IMREAD_COLOR) for image in platform.images]
        numbers = [read_number(picture) for picture in pictures if picture is not None]
        assert len(set(numbers)) == 300


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_thirty_kills_while_the_platform_fails_in_every_way_lose_and_double_nothing(tmp_path: Path) -> None:
    chance = random.Random(7)
    with Platform() as platform:
        configure(tmp_path, platform, {"source": "clip.mp4"}, minutely=150, daily=100_000)
        for call in ("upload", "annotate"):
            for action in (Cut(), Cut(stored=True), Status(503, stored=True), Html(), Cut(stored=True, sent=0.5)):
                platform.orders.add(Fault(call, action, times=None, share=0.04))
        for number in range(30):
            numbered_clip(tmp_path / "clip.mp4", frames=60, begin_at=60 * number)
            with Daemon(tmp_path, command=NEW_PROCESS, ROBOFLOW_API_KEY=KEY) as daemon:
                daemon.wait_for("ready")
                before = len(platform.images)

                def more(before: int = before) -> bool:
                    return len(platform.images) > before

                daemon.until(more, 3.0)
                daemon.until(lambda: False, chance.uniform(0.0, 0.6))
                daemon.kill()
        platform.orders.clear()
        with Daemon(tmp_path, command=NEW_PROCESS, ROBOFLOW_API_KEY=KEY, ACTIVE_LEARNING_ENABLED="false") as daemon:
            daemon.wait_for("ready")
            assert daemon.until(lambda: waiting(tmp_path) == 0, 120.0)
            assert daemon.stop() == 0
        assert len(platform.images) > 60
        assert annotated_exactly_once(platform)
        captured = [image.name.split("_")[2] for image in platform.images]
        assert max(Counter(stamp[:13] for stamp in captured).values()) <= 150  # 20260910T1200: a minute
        ids = Counter(image.name.rpartition("_")[2] for image in platform.images)
        assert max(ids.values()) == 1


@pytest.mark.torture
@pytest.mark.timeout(300)
def test_stops_while_the_platform_hangs_end_in_time_and_bury_nothing(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=3)
    with Platform() as platform:
        configure(tmp_path, platform, {"source": "clip.mp4"})
        platform.orders.add(Fault("upload", Delay(3600.0, stored=True), times=None))
        enabled = "true"
        for stops in range(1, 11):
            with Daemon(tmp_path, command=NEW_PROCESS, ROBOFLOW_API_KEY=KEY, ACTIVE_LEARNING_ENABLED=enabled) as daemon:
                daemon.wait_for("ready")
                enabled = "false"

                def asked(times: int = 2 * stops) -> bool:
                    return len(platform.asked("upload")) >= times

                assert platform.until(asked, 20.0)
                assert daemon.stop(timeout_s=15.0) == 0
                assert daemon.events[-1]["waiting"] == 3
        platform.orders.clear()
        with Daemon(tmp_path, command=NEW_PROCESS, ROBOFLOW_API_KEY=KEY, ACTIVE_LEARNING_ENABLED="false") as daemon:
            assert daemon.wait(60.0) == 0
        assert len(platform.images) == 3
        assert annotated_exactly_once(platform)

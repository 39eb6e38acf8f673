"""Crash loops of the whole daemon: killed again and again at random moments, it loses and doubles nothing."""

from __future__ import annotations

import random
import socket
from collections import Counter
from pathlib import Path

import cv2
import pytest

from rigs.daemon import NEW_PROCESS, POLICY, Daemon, collected, framesift, write_configuration
from rigs.footage import numbered_clip
from rigs.rtsp import CuttableConnection, RtspCamera


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_forty_kills_at_random_moments_lose_and_double_nothing(tmp_path: Path) -> None:
    chance = random.Random(11)
    numbered_clip(tmp_path / "clip.mp4", frames=100)
    limits = [{"type": "minutely", "value": 200}, {"type": "daily", "value": 100_000}]
    strategies = [{"name": "all", "type": "random", "traffic_percentage": 1.0, "limits": limits}]
    write_configuration(
        tmp_path,
        {"streams": [{"name": "gate", "source": "clip.mp4", "loop": True, "fps": 60}], "upload": {"workers": 4}},
        {**POLICY, "sampling_strategies": strategies},
    )
    for _ in range(40):
        with Daemon(tmp_path, command=NEW_PROCESS) as daemon:
            daemon.wait_for("ready")
            before = len(collected(tmp_path))

            def more(before: int = before) -> bool:
                return len(collected(tmp_path)) > before

            daemon.until(more, 3.0)
            daemon.until(lambda: False, chance.uniform(0.0, 0.5))
            daemon.kill()
    # The last word: what is accepted but not yet delivered leaves, nothing new comes in.
    with Daemon(tmp_path, command=NEW_PROCESS, ACTIVE_LEARNING_ENABLED="false") as daemon:
        daemon.wait_for("ready")
        assert daemon.until(lambda: framesift(tmp_path, "spool", "list", "--json").stdout == "", 60.0)
        assert daemon.stop() == 0
    lines = collected(tmp_path)
    assert len(lines) > 100
    assert max(Counter(line["id"] for line in lines).values()) == 1
    per_minute = Counter(line["captured_at"][:16] for line in lines)
    assert max(per_minute.values()) <= 200
    images = {path.name for path in (tmp_path / "collected" / "images").iterdir()}
    assert images == {Path(line["file_name"]).name for line in lines}
    for line in lines:
        assert cv2.imread(str(tmp_path / "collected" / line["file_name"])) is not None


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_three_whole_minutes_of_a_camera_hold_exactly_five_each(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=100)
    limits = [{"type": "minutely", "value": 5}]
    strategies = [{"name": "all", "type": "random", "traffic_percentage": 1.0, "limits": limits}]
    with RtspCamera(tmp_path) as camera, CuttableConnection(camera.port) as wire:
        write_configuration(
            tmp_path,
            {"streams": [{"name": "gate", "source": wire.url("clip.mp4"), "fps": 5}]},
            {**POLICY, "sampling_strategies": strategies},
        )
        with Daemon(tmp_path, command=NEW_PROCESS) as daemon:

            def minutes() -> Counter[str]:
                return Counter(line["captured_at"][:16] for line in collected(tmp_path))

            assert daemon.until(lambda: len(minutes()) >= 5, 320.0)
            assert daemon.stop() == 0
        counts = minutes()
        whole = sorted(counts)[1:-1]
        assert [counts[minute] for minute in whole] == [5] * len(whole)


@pytest.mark.torture
@pytest.mark.timeout(300)
def test_a_model_that_hangs_starves_the_watchdog(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=20)
    (tmp_path / "mine.py").write_text(
        "import threading\ndef make():\n    return lambda pixels: threading.Event().wait()\n"
    )
    model = {"type": "python", "factory": "mine:make", "path": "."}
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "clip.mp4"}], "model": model})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(8.0)  # fed about once a second while all is well
        with Daemon(tmp_path, command=NEW_PROCESS, NOTIFY_SOCKET=str(tmp_path / "notify")) as daemon:
            daemon.wait_for("ready")
            fed = 0
            starved = False
            for _ in range(200):
                try:
                    message = manager.recv(4096).decode()
                except TimeoutError:
                    starved = True
                    break
                fed += message == "WATCHDOG=1"
            assert fed > 10
            assert starved
            # Long before the watchdog, which waits for 60 s, ends it.
            hung = daemon.wait_for("thread_hung", 0.0)
            assert hung["threads"] == ["stream gate"]
            assert "mine.py:3 <lambda> < models/python.py" in hung["stacks"][0]

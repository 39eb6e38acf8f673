"""A frame that is taken by hand is charged to the limits that devices share."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from rigs.daemon import POLICY, Daemon, collected, framesift, free_address, unhurried, write_configuration
from rigs.footage import numbered_clip
from rigs.redis_server import redis_server

KEY = "framesift:{-}"  # of what has no project


def configure(folder: Path, device: str, port: int) -> None:
    settings: dict[str, Any] = {
        "device": device,
        "streams": [{"name": "gate", "source": "clip.mp4", "loop": True, "pace": "realtime"}],
        "model": unhurried(folder),
        "limits": {"redis": {"url": f"redis://127.0.0.1:{port}"}},
        "status": {"bind": free_address()},
    }
    nothing = {"name": "none", "type": "random", "traffic_percentage": 0.0}
    manual = {"limits": [{"type": "daily", "value": 1}]}
    write_configuration(folder, settings, {**POLICY, "sampling_strategies": [nothing], "manual": manual})


def test_what_one_device_takes_by_hand_another_one_may_not_take_again(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    numbered_clip(first / "clip.mp4", frames=20)
    shutil.copy(first / "clip.mp4", second)
    with redis_server(tmp_path) as server:
        server.wait_until_stored(KEY)  # or its first minute would grant nothing
        configure(first, "gate-1", server.port)
        configure(second, "gate-2", server.port)
        with Daemon(first) as daemon:
            daemon.wait_for("ready")
            answer = json.loads(framesift(first, "take", "gate", "--json").stdout)
            assert (answer["strategy"], answer["reason"]) == ("manual", None)
            assert daemon.until(lambda: [line["id"] for line in collected(first)] == [answer["id"]], 30.0)
            assert daemon.stop() == 0
        with Daemon(second) as daemon:
            daemon.wait_for("ready")
            ran = framesift(second, "take", "gate")
            assert ran.stderr == "framesift: nothing was taken: the limits of the strategy manual are reached (limit)\n"
            assert daemon.stop() == 0
    assert collected(second) == []

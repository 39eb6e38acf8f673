"""A daemon whose strategies are paced: held frames are accepted at their turns, and held again after a kill."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from rigs.daemon import POLICY, Daemon, collected, write_configuration
from rigs.scenes import scene_clip

SETTINGS = {
    "streams": [{"name": "gate", "source": "clip.mkv", "loop": True, "fps": 20}],
    "status": {"bind": "127.0.0.1:0"},
}


def policy(hourly: int, **more: Any) -> dict[str, Any]:
    strategy = {
        "name": "best",
        "type": "random",
        "traffic_percentage": 1.0,
        "limits": [{"type": "hourly", "value": hourly}],
        "pacing": {"mode": "hold_queue"},
    }
    return {**POLICY, "sampling_strategies": [strategy], **more}


def held(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "spool.db")) as connection:
        return [id for (id,) in connection.execute("SELECT id FROM held")]


def test_turns_come_while_the_daemon_runs_and_what_is_collected_is_not_what_came_first(tmp_path: Path) -> None:
    scene_clip(tmp_path / "clip.mkv", 7)
    write_configuration(tmp_path, SETTINGS, policy(7200))  # two a second
    with Daemon(tmp_path) as daemon:
        assert daemon.until(lambda: len(collected(tmp_path)) >= 4, 40.0)
        assert daemon.stop() == 0
    lines = collected(tmp_path)
    assert {line["strategy"] for line in lines} == {"best"}
    assert [line["frame"] for line in lines] != list(range(len(lines)))


def test_what_is_held_is_there_after_a_kill_and_is_accepted_when_its_turn_comes(tmp_path: Path) -> None:
    scene_clip(tmp_path / "clip.mkv", 7)
    write_configuration(tmp_path, SETTINGS, policy(1))
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        assert daemon.until(lambda: len(held(tmp_path)) == 1, 30.0)
        daemon.process.send_signal(signal.SIGKILL)
        daemon.wait(10.0)
    (id,) = held(tmp_path)
    assert collected(tmp_path) == []
    write_configuration(tmp_path, {**SETTINGS, "streams": [{"name": "yard", "source": "clip.mkv"}]}, policy(10**6))
    with Daemon(tmp_path) as daemon:
        assert daemon.until(lambda: id in {line["id"] for line in collected(tmp_path)}, 30.0)
        daemon.kill()


def test_the_baseline_collects_beside_strategies_that_match_nothing(tmp_path: Path) -> None:
    scene_clip(tmp_path / "clip.mkv", 7)
    nothing = {**policy(7200)["sampling_strategies"][0], "traffic_percentage": 0.0, "pacing": None}
    write_configuration(
        tmp_path, SETTINGS, {**POLICY, "sampling_strategies": [nothing], "baseline": {"share": 0.5}}
    )  # one interval a second
    with Daemon(tmp_path) as daemon:
        assert daemon.until(lambda: len(collected(tmp_path)) >= 3, 40.0)
        assert daemon.stop() == 0
    lines = collected(tmp_path)
    assert {line["strategy"] for line in lines} == {"baseline"}
    assert all(line["weight"] >= 1 for line in lines)
    assert any(line["weight"] > 1 for line in lines)

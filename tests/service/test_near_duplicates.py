"""Each scene is collected once: by a file that is run again, a looped clip, a daemon that is restarted or killed."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import requests

from rigs.daemon import POLICY, Daemon, collected, framesift, write_configuration
from rigs.listeners import prediction_json
from rigs.scenes import jpeg_of, scene, scene_clip

SCENES = 7


def policy(**near_duplicate: Any) -> dict[str, Any]:
    return {**POLICY, "near_duplicate": near_duplicate or {"threshold": "auto"}}


def stream(**more: Any) -> dict[str, Any]:
    return {"streams": [{"name": "gate", "source": "clip.mkv", **more}]}


def run_to_the_end(folder: Path) -> int:
    ended = framesift(folder, "run")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return len(collected(folder))


def test_a_file_that_is_run_again_collects_each_scene_once(tmp_path: Path) -> None:
    scene_clip(tmp_path / "clip.mkv", SCENES)
    write_configuration(tmp_path, stream(), policy())

    assert [run_to_the_end(tmp_path) for _ in range(3)] == [SCENES] * 3
    scene_clip(tmp_path / "clip.mkv", SCENES + 2)
    assert run_to_the_end(tmp_path) == SCENES + 2


@pytest.mark.exhaustive
def test_a_looped_clip_collects_each_scene_once_over_rounds_and_kills(tmp_path: Path) -> None:
    scene_clip(tmp_path / "clip.mkv", SCENES)
    write_configuration(tmp_path, stream(loop=True, fps=30), policy())
    for number in range(3):
        recording = tmp_path / f"{number}.jsonl"
        with Daemon(tmp_path, "--record", str(recording)) as daemon:
            rounds = SCENES * 6 * 5 // 2  # two and a half, however many processes it takes
            assert daemon.until(lambda: recording.exists() and recording.read_bytes().count(b"\n") >= rounds, 40.0)  # noqa: B023
            daemon.process.send_signal(signal.SIGKILL)
            daemon.wait(10.0)
    write_configuration(tmp_path, stream(), policy())
    assert run_to_the_end(tmp_path) == SCENES


def test_a_new_policy_and_a_reload_forget_nothing(tmp_path: Path) -> None:
    scene_clip(tmp_path / "clip.mkv", SCENES)
    write_configuration(tmp_path, stream(), policy())
    assert run_to_the_end(tmp_path) == SCENES
    for changed in (policy(threshold=0.02), policy(memory=SCENES + 1)):
        write_configuration(tmp_path, stream(), {**changed, "tags": ["another"]})
        assert run_to_the_end(tmp_path) == SCENES
    write_configuration(tmp_path, stream(loop=True, fps=30), policy())
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        (tmp_path / "policy.json").write_text(json.dumps({**policy(memory=4096), "tags": ["third"]}))
        seen = len(daemon.events)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("reloaded", after=seen)
        assert daemon.stop() == 0
    assert len(collected(tmp_path)) == SCENES


def test_a_memory_holds_no_more_than_its_policy_says(tmp_path: Path) -> None:
    scene_clip(tmp_path / "clip.mkv", SCENES)
    write_configuration(tmp_path, stream(), policy(memory=SCENES - 1))
    assert run_to_the_end(tmp_path) == SCENES
    # The first scene was forgotten; collected again, it takes the place of the second one, and so on.
    assert run_to_the_end(tmp_path) == 2 * SCENES


def test_pictures_that_clients_send_are_remembered_over_a_kill(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
    write_configuration(tmp_path, {"model": None, "listeners": [{"listen": f"127.0.0.1:{port}"}]}, policy())
    reasons = []
    for _ in range(2):
        with Daemon(tmp_path) as daemon:
            daemon.wait_for("ready")
            for number, name in ((1, "north"), (1, "south"), (2, "north")):
                form: dict[str, Any] = {
                    "image": jpeg_of(scene(number)),
                    "prediction": (None, json.dumps(prediction_json(320, 240))),
                    "stream": (None, name),
                }
                answer = requests.post(f"http://127.0.0.1:{port}/datapoints", files=form, timeout=20).json()
                reasons.append(answer["reason"])
            daemon.kill()
    assert reasons == [None] * 3 + ["near_duplicate"] * 3


def test_a_signature_takes_less_than_five_hundred_bytes(tmp_path: Path) -> None:
    scene_clip(tmp_path / "clip.mkv", 40, frames=2)
    write_configuration(tmp_path, stream(), policy())
    assert run_to_the_end(tmp_path) == 40
    spool = sqlite3.connect(tmp_path / "spool.db")
    rows, payload = spool.execute(
        "SELECT sum(ncell), sum(payload) FROM dbstat WHERE name = 'signature' AND pagetype = 'leaf'"
    ).fetchone()
    assert rows >= 35
    assert payload / rows < 500


def test_a_run_tells_for_how_many_frames_each_accepted_one_stands(tmp_path: Path) -> None:
    scene_clip(tmp_path / "clip.mkv", 2)
    write_configuration(tmp_path, stream(), policy(threshold=0.0125))
    assert framesift(tmp_path, "spool", "alike").returncode == 1, "there is no spool yet"
    assert run_to_the_end(tmp_path) == 2
    listed = framesift(tmp_path, "spool", "alike", "--json", "--limit", "5")
    assert [json.loads(line)["alike"] for line in listed.stdout.splitlines()] == [5, 5]
    assert run_to_the_end(tmp_path) == 2
    shown = framesift(tmp_path, "spool", "alike", "--limit", "1")
    (row,) = [line.split() for line in shown.stdout.splitlines() if "gate" in line]
    assert row[1:3] == ["11", "gate"]
    assert row[0] in {line["id"] for line in collected(tmp_path)}


@pytest.mark.torture
def test_a_daemon_that_is_restarted_twenty_times_collects_each_scene_once(tmp_path: Path) -> None:
    scene_clip(tmp_path / "clip.mkv", SCENES)
    write_configuration(tmp_path, stream(loop=True, fps=30), policy())
    for number in range(20):
        with Daemon(tmp_path) as daemon:
            daemon.wait_for("ready")
            if number == 0:
                assert daemon.until(lambda: len(collected(tmp_path)) >= SCENES, 30.0)
            daemon.until(lambda: False, 0.2 * (number % 5))
            if number % 2:
                daemon.kill()
            else:
                assert daemon.stop() == 0
    write_configuration(tmp_path, stream(), policy())
    assert run_to_the_end(tmp_path) == SCENES

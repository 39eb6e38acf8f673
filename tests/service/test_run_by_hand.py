"""A daemon that does what an operator says with the commands, and that knows a pause after a restart."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import requests

from rigs.daemon import POLICY, Daemon, collected, framesift, unhurried, write_configuration
from rigs.footage import numbered_clip
from rigs.listeners import in_base64, picture, prediction_json


def test_a_stream_is_paused_over_a_restart_and_resumed(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=20)
    with socket.create_server(("127.0.0.1", 0)) as free:
        bind = f"127.0.0.1:{free.getsockname()[1]}"
    streams = [{"name": "gate", "source": "clip.mp4", "loop": True, "pace": "realtime"}]
    write_configuration(
        tmp_path,
        {"streams": streams, "model": unhurried(tmp_path), "status": {"bind": bind, "token": "0123456789abcdef"}},
    )
    with Daemon(tmp_path) as daemon:
        assert daemon.until(lambda: bool(collected(tmp_path)), 30.0)
        unknown = framesift(tmp_path, "pause", "gates")
        assert unknown.returncode == 1
        assert unknown.stderr == "framesift: there is no stream 'gates'; there are: gate\n"
        wrong = framesift(tmp_path, "pause", "gate", "--for", "2 weeks")
        assert wrong.returncode == 2
        assert "'2 weeks' is not a duration" in wrong.stderr
        for length in ("0s", "400d"):
            wrong = framesift(tmp_path, "pause", "gate", "--for", length)
            assert wrong.returncode == 2
            assert f"--for {length}: from 1s to 366d is allowed" in wrong.stderr
        paused = framesift(tmp_path, "pause", "gate", "--for", "1h")
        assert paused.returncode == 0, paused.stderr
        assert paused.stdout.startswith("stream gate is paused until 20")
        daemon.wait_for("stream_paused", stream="gate")
        assert daemon.stop() == 0
    known = len(collected(tmp_path))
    with Daemon(tmp_path) as daemon:
        assert daemon.wait_for("stream_paused")["until"] is not None

        def refused() -> int:
            shown = json.loads(framesift(tmp_path, "status", "--json").stdout)
            assert [pause["stream"] for pause in shown["paused"]] == ["gate"]
            assert all(component["condition"] == "ok" for component in shown["health"])
            return int(shown["refused"].get("paused", 0))

        assert daemon.until(lambda: refused() >= 10, 30.0)
        assert "stream gate is paused until 20" in framesift(tmp_path, "status").stdout
        assert len(collected(tmp_path)) == known
        assert framesift(tmp_path, "resume").stdout == "all streams are resumed\n"
        assert framesift(tmp_path, "resume", "gate").stdout == "stream gate is not paused: nothing has changed\n"
        assert daemon.until(lambda: len(collected(tmp_path)) > known, 30.0)
        assert daemon.stop() == 0


def test_a_frame_is_taken_from_a_stream_and_from_what_a_client_sends(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=20)
    with socket.create_server(("127.0.0.1", 0)) as free, socket.create_server(("127.0.0.1", 0)) as another:
        bind, listen = (f"127.0.0.1:{one.getsockname()[1]}" for one in (free, another))
    settings = {
        "streams": [{"name": "gate", "source": "clip.mp4", "loop": True, "pace": "realtime"}],
        "listeners": [{"listen": listen, "stream": "clients"}],
        "model": unhurried(tmp_path),
        "status": {"bind": bind},
    }
    nothing = {"name": "none", "type": "random", "traffic_percentage": 0.0}
    manual = {"limits": [{"type": "daily", "value": 2}], "tags": ["by-hand"]}
    write_configuration(tmp_path, settings, {**POLICY, "sampling_strategies": [nothing], "manual": manual})
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        answer = json.loads(framesift(tmp_path, "take", "gate", "--json").stdout)
        assert (answer["strategy"], answer["reason"]) == ("manual", None)
        assert daemon.until(lambda: bool(collected(tmp_path)), 30.0)
        (line,) = collected(tmp_path)
        assert (line["id"], line["strategy"]) == (answer["id"], "manual")
        assert "by-hand" in line["tags"]
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(framesift(tmp_path, "take", "clients").stdout))
        asking.start()
        sent = {"image": in_base64(picture()), "prediction": prediction_json(), "stream": "clients"}
        replies: list[Any] = []

        def is_taken() -> bool:
            replies.append(requests.post(f"http://{listen}/datapoints", json=sent, timeout=30.0).json())
            return replies[-1]["id"] is not None

        assert daemon.until(is_taken, 30.0)
        asking.join(30.0)
        assert answers == [f"taken: {replies[-1]['id']} (strategy manual)\n"]
        ran = framesift(tmp_path, "take", "gate")
        assert ran.returncode == 1
        assert ran.stderr == "framesift: nothing was taken: the limits of the strategy manual are reached (limit)\n"
        status = framesift(tmp_path, "status").stdout
        assert "  manual, daily: 2 of 2 used: nothing more is accepted for it until the next day\n" in status
        assert daemon.stop() == 0


def test_without_a_daemon_nothing_is_paused_and_the_command_says_why(tmp_path: Path) -> None:
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "clip.mp4"}]})
    assert framesift(tmp_path, "pause").returncode == 2  # status.bind is null
    with socket.create_server(("127.0.0.1", 0)) as free:
        bind = f"127.0.0.1:{free.getsockname()[1]}"
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "clip.mp4"}], "status": {"bind": bind}})
    ran = framesift(tmp_path, "pause")
    assert ran.returncode == 1
    assert "is it running?" in ran.stderr

"""`framesift run` as a user meets it: a real process, real files, a real camera, real signals."""

from __future__ import annotations

import json
import signal
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from canaries import PASSWORD
from rigs.daemon import POLICY, Daemon, collected, framesift, unhurried, write_configuration
from rigs.footage import numbered_clip, read_number, real_clip
from rigs.rtsp import CuttableConnection, RtspCamera


def _policy(**strategy: Any) -> dict[str, Any]:
    return {**POLICY, "sampling_strategies": [{"name": "all", "type": "random", "traffic_percentage": 1.0, **strategy}]}


def _file_stream(**more: Any) -> dict[str, Any]:
    return {"name": "gate", "source": "clip.mp4", **more}


def test_a_finished_file_ends_the_run_with_0_and_everything_delivered(tmp_path: Path) -> None:
    import cv2

    numbered_clip(tmp_path / "clip.mp4", frames=30)
    write_configuration(tmp_path, {"streams": [_file_stream(tags=["north"])]})
    done = framesift(tmp_path, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = collected(tmp_path)
    assert [line["frame"] for line in sorted(lines, key=lambda line: line["frame"])] == list(range(30))
    first = next(line for line in lines if line["frame"] == 7)
    assert first["device"] == "test"
    assert first["stream"] == "gate"
    assert "north" in first["tags"]
    picture = cv2.imread(str(tmp_path / "collected" / first["file_name"]))
    assert picture is not None
    assert read_number(picture) == 7
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["event"], last["frames"], last["accepted"], last["delivered"]) == ("stopped", 30, 30, 30)


def test_a_second_run_starts_where_the_spool_ended(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=12)
    write_configuration(tmp_path, {"streams": [_file_stream()]}, _policy(limits=[{"type": "daily", "value": 5}]))
    for _ in range(2):
        assert framesift(tmp_path, "run").returncode == 0
    assert len(collected(tmp_path)) == 5


def test_recorded_predictions_come_back_frame_by_frame(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=10)
    write_configuration(tmp_path, {"streams": [_file_stream()]})
    assert framesift(tmp_path, "run", "--record", "said.jsonl").returncode == 0
    recorded = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in recorded] == list(range(10))
    assert all(line["is_stub"] for line in recorded)
    write_configuration(
        tmp_path,
        {
            "streams": [_file_stream()],
            "model": {"type": "recorded", "path": "said.jsonl"},
            "spool": {"path": "again.db", "min_free_bytes": "1MiB"},
            "sink": {"type": "folder", "path": "again"},
        },
    )
    assert framesift(tmp_path, "run").returncode == 0
    assert len(collected(tmp_path, "again")) == 10


def test_sigterm_stops_within_seconds_and_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=50)
    settings = {
        "streams": [_file_stream(loop=True)],
        "model": unhurried(tmp_path),
        "sink": {"type": "folder", "path": "collected", "limits": [{"type": "daily", "value": 3}]},
    }
    write_configuration(tmp_path, settings)
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        assert daemon.until(lambda: len(collected(tmp_path)) == 3, 30.0)
        assert daemon.stop() == 0
        last = daemon.events[-1]
        assert last["event"] == "stopped"
        assert not daemon.stray
    waiting = framesift(tmp_path, "spool", "list", "--json", "--limit", "100000")
    rows = [json.loads(line) for line in waiting.stdout.splitlines()]
    assert len(rows) == last["accepted"] - 3
    assert {row["state"] for row in rows} == {"ready"}


def test_ctrl_c_is_a_clean_stop_too(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=20)
    write_configuration(tmp_path, {"streams": [_file_stream(loop=True)], "model": unhurried(tmp_path)})
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.wait(15.0) == 0
        assert not daemon.stray


def test_a_reload_takes_the_new_policy_and_keeps_the_old_one_where_the_new_is_bad(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=20)
    endless = {"streams": [_file_stream(loop=True)], "model": unhurried(tmp_path)}
    write_configuration(tmp_path, endless, {"enabled": False})
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        (tmp_path / "policy.json").write_text(json.dumps({**POLICY, "enabled": "yes"}))
        daemon.process.send_signal(signal.SIGHUP)
        refused = daemon.wait_for("reload_refused")
        assert "enabled" in refused["reason"]
        assert not collected(tmp_path)
        (tmp_path / "policy.json").write_text(json.dumps(POLICY))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("reloaded")
        assert daemon.until(lambda: len(collected(tmp_path)) >= 3, 30.0)
        assert daemon.stop() == 0


def test_a_camera_that_goes_and_comes_back_costs_one_line_each(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=50)
    with RtspCamera(tmp_path) as camera, CuttableConnection(camera.port) as wire:
        stream = {"name": "gate", "source": wire.url("clip.mp4"), "fps": 5}
        write_configuration(tmp_path, {"streams": [stream]})
        with Daemon(tmp_path) as daemon:
            daemon.wait_for("stream", state="running", timeout_s=30.0)
            wire.unplug()
            wire.cut()
            daemon.wait_for("stream", state="lost")
            before = len(daemon.events)
            daemon.until(lambda: False, 4.0)  # away for long enough that several attempts fail
            seen = len(collected(tmp_path))
            wire.plug()
            daemon.wait_for("stream", after=before, state="running", timeout_s=10.0)
            assert daemon.until(lambda: len(collected(tmp_path)) > seen, 10.0)
            states = [e["state"] for e in daemon.events if e["event"] == "stream"]
            assert states == ["running", "lost", "running"]
            assert daemon.stop() == 0


@pytest.mark.timeout(240)
@pytest.mark.torture
def test_a_limit_of_5_a_minute_holds_over_kill_9_and_restart_on_real_footage(tmp_path: Path) -> None:
    (tmp_path / "bikes.mp4").write_bytes(real_clip().read_bytes())
    with RtspCamera(tmp_path) as camera:
        stream = {"name": "bikes", "source": camera.url("bikes.mp4"), "fps": 4}
        write_configuration(tmp_path, {"streams": [stream]}, _policy(limits=[{"type": "minutely", "value": 5}]))
        with Daemon(tmp_path) as daemon:
            assert daemon.until(lambda: len(collected(tmp_path)) >= 2, 30.0)
            daemon.kill()
        with Daemon(tmp_path) as daemon:
            first_minute = collected(tmp_path)[0]["captured_at"][:16]

            def in_a_later_minute() -> int:
                return sum(line["captured_at"][:16] > first_minute for line in collected(tmp_path))

            assert daemon.until(lambda: in_a_later_minute() >= 5, 90.0)
            daemon.until(lambda: in_a_later_minute() > 5, 3.0)  # a dozen more frames, none of which may pass
            assert daemon.stop() == 0
        lines = collected(tmp_path)
        assert len({line["id"] for line in lines}) == len(lines)
        per_minute = Counter(line["captured_at"][:16] for line in lines)
        minutes = sorted(per_minute)
        assert max(per_minute.values()) <= 5
        assert per_minute[minutes[1]] == 5
        waiting = framesift(tmp_path, "spool", "list", "--json").stdout
        assert waiting == ""


def test_a_cameras_password_is_seen_nowhere(tmp_path: Path) -> None:
    """The rig looks at its lines and arguments, and at the variables of its readers; every test's end at its files."""
    numbered_clip(tmp_path / "clip.mp4", frames=50)
    with RtspCamera(tmp_path) as camera, CuttableConnection(camera.port, credentials=f"viewer:{PASSWORD}") as wire:
        streams = [
            {"name": "gate", "source": wire.url("clip.mp4"), "username": "viewer", "password": PASSWORD, "fps": 5},
            {"name": "yard", "source": wire.url("clip.mp4"), "username": "viewer", "password": f"{PASSWORD}-wrong"},
        ]
        write_configuration(tmp_path, {"streams": streams, "status": {"bind": "127.0.0.1:0"}})
        with Daemon(tmp_path) as daemon:
            daemon.wait_for("stream", stream="gate", state="running")
            daemon.wait_for("stream", stream="yard", state="lost")
            assert daemon.until(lambda: len(collected(tmp_path)) >= 2, 20.0)
            assert daemon.stop() == 0


def test_the_service_manager_is_notified_of_ready_alive_status_and_stopping(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=20)
    write_configuration(tmp_path, {"streams": [_file_stream(loop=True)], "model": unhurried(tmp_path)})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20.0)
        with Daemon(tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify")) as daemon:
            heard: list[str] = []
            while not {"READY=1", "WATCHDOG=1"} <= set(heard) or not any(h.startswith("STATUS=") for h in heard):
                heard.append(manager.recv(4096).decode())
            assert heard.index("READY=1") == 0
            assert daemon.stop() == 0
            while heard[-1] != "STOPPING=1":
                heard.append(manager.recv(4096).decode())


def test_ready_does_not_wait_for_a_camera_that_is_away(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        away = {"name": "gate", "source": f"rtsp://127.0.0.1:{nobody.getsockname()[1]}/x"}
        write_configuration(tmp_path, {"streams": [away]})
        with Daemon(tmp_path) as daemon:
            daemon.wait_for("ready", timeout_s=15.0)
            daemon.wait_for("stream", stream="gate", state="lost")
            assert daemon.stop() == 0


def test_the_running_daemon_answers_for_itself(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=20)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        bind = f"127.0.0.1:{free.getsockname()[1]}"
    endless = {"streams": [_file_stream(loop=True)], "model": unhurried(tmp_path)}
    write_configuration(tmp_path, {**endless, "status": {"bind": bind}})
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        assert daemon.until(lambda: len(collected(tmp_path)) >= 1, 20.0)
        seen = framesift(tmp_path, "status", "--json")
        assert seen.returncode == 0, seen.stderr
        assert json.loads(seen.stdout)["frames_accepted"] >= 1
        shown = framesift(tmp_path, "status").stdout
        assert "all is well" in shown
        assert "delivered" in shown
        assert framesift(tmp_path, "status", "--alive").returncode == 0
        assert daemon.stop() == 0
    gone = framesift(tmp_path, "status")
    assert gone.returncode == 1
    assert bind in gone.stderr


@pytest.mark.torture
def test_a_second_daemon_on_the_same_spool_is_refused(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=20)
    write_configuration(tmp_path, {"streams": [_file_stream(loop=True)], "model": unhurried(tmp_path)})
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        second = framesift(tmp_path, "run")
        assert second.returncode == 2
        assert "spool.db" in second.stderr
        assert "Traceback" not in second.stderr
        assert daemon.stop() == 0


def test_a_stream_that_cannot_go_on_is_logged_and_the_others_finish(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=10)
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    write_configuration(tmp_path, {"streams": [_file_stream(), {"name": "broken", "source": "broken.mp4"}]})
    done = framesift(tmp_path, "run")
    assert done.returncode == 1
    assert len(collected(tmp_path)) == 10
    assert any(json.loads(line)["event"] == "stream_lost" for line in done.stdout.splitlines())


def test_a_user_model_that_always_fails_ends_the_process(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=150)
    (tmp_path / "mine.py").write_text("def make():\n    return lambda pixels: 1 / 0\n")
    model = {"type": "python", "factory": "mine:make", "path": "."}
    write_configuration(tmp_path, {"streams": [_file_stream()], "model": model})
    done = framesift(tmp_path, "run")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stdout


def test_a_recording_that_cannot_be_written_is_logged_and_stops_nothing(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=10)
    write_configuration(tmp_path, {"streams": [_file_stream()]})
    nowhere = framesift(tmp_path, "run", "--record", "gone/said.jsonl")
    assert nowhere.returncode == 2
    assert "gone/said.jsonl" in nowhere.stderr
    full = framesift(tmp_path, "run", "--record", "/dev/full")
    assert full.returncode == 0, full.stdout + full.stderr
    assert len(collected(tmp_path)) == 10
    assert [seen for seen in map(json.loads, full.stdout.splitlines()) if seen["event"] == "record_failed"]


def test_a_recording_never_overwrites_the_one_that_is_replayed(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=10)
    write_configuration(tmp_path, {"streams": [_file_stream()]})
    assert framesift(tmp_path, "run", "--record", "said.jsonl").returncode == 0
    recorded = (tmp_path / "said.jsonl").read_text()
    write_configuration(tmp_path, {"streams": [_file_stream()], "model": {"type": "recorded", "path": "said.jsonl"}})
    assert framesift(tmp_path, "run", "--record", "said.jsonl").returncode == 2
    assert (tmp_path / "said.jsonl").read_text() == recorded


def test_malformed_parts_of_a_prediction_are_counted_and_numpys_numbers_are_none(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=10)
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def make(wrong):\n"
        "    car = dict(x=np.float32(20), y=np.float64(9), width=np.int64(8), height=4, confidence=np.float32(0.5))\n"
        "    car['label' if wrong else 'class'] = 'car'\n"
        "    return lambda p: {'image': {'width': p.shape[1], 'height': p.shape[0]}, 'predictions': [car]}\n"
    )
    for wrong in (True, False):
        model = {"type": "python", "factory": "mine:make", "path": ".", "options": {"wrong": wrong}}
        spool = {"path": f"spool-{wrong}.db", "min_free_bytes": "1MiB"}
        sink = {"type": "folder", "path": f"collected-{wrong}"}
        write_configuration(tmp_path, {"streams": [_file_stream()], "model": model, "spool": spool, "sink": sink})
        checked = framesift(tmp_path, "check")
        ran = framesift(tmp_path, "run")
        assert ran.returncode == 0, ran.stdout
        assert checked.returncode == (1 if wrong else 0), checked.stdout
        assert ("prediction_parts_dropped" in ran.stdout) == wrong
        objects = [len(line["prediction"]["predictions"]) for line in collected(tmp_path, f"collected-{wrong}")]
        assert objects == [0 if wrong else 1] * 10

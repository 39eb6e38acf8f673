"""How `framesift run` stops while something hangs: the time of each component, and who is still served."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest

from canaries import KEY
from exhaustive import some_of
from framesift.clock.clock import SystemClock
from rigs.daemon import POLICY, Daemon, framesift, free_address, write_configuration
from rigs.footage import numbered_clip
from rigs.hanging import KINDS, hanging
from rigs.hanging_server import HangingServer
from rigs.spools import make_spool

CLIP = {"name": "gate", "source": "clip.mp4"}


def accepts_clients(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5.0).close()
    except OSError:
        return False
    return True


def test_listeners_accept_nobody_while_a_stream_hangs_at_the_stop(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    hangs = "import threading\ndef make():\n    def predict(_):\n        print('hangs', flush=True)\n"
    (tmp_path / "hangs.py").write_text(hangs + "        threading.Event().wait()\n    return predict\n")
    model = {"type": "python", "factory": "hangs:make", "path": "."}
    listeners = [{"listen": free_address()}, {"listen": free_address()}]
    write_configuration(tmp_path, {"streams": [CLIP], "model": model, "listeners": listeners})
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        assert daemon.until(lambda: any("hangs" in line for line in daemon.stray), 30.0)
        assert [accepts_clients(listener["listen"]) for listener in listeners] == [True, True]
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.until(lambda: not any(accepts_clients(listener["listen"]) for listener in listeners), 3.0)
        assert daemon.process.poll() is None  # it waits for the stream
        daemon.wait(12.0)
    named = [seen["component"] for seen in daemon.events if seen["event"] == "component_not_stopped"]
    assert named == ["streams"]


def rows(folder: Path) -> tuple[int, int, int]:
    """How many datapoints wait in the spool, how many of them count an attempt, and what left it."""
    spool = make_spool(folder, SystemClock())
    spool.open()
    try:
        waiting = spool.list_rows(limit=100_000)
        return len(waiting), sum(row.attempts > 0 for row in waiting), sum(spool.outcome_counts().values())
    finally:
        spool.close()


@pytest.mark.parametrize("kind", some_of(KINDS, lambda kind: kind in ("model", "client")))
def test_it_ends_within_9_s_whatever_hangs_and_loses_nothing(tmp_path: Path, kind: str) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=100)
    with hanging(kind, tmp_path) as hangs, Daemon(tmp_path) as daemon:
        hangs.wait_until_it_hangs(daemon)
        daemon.process.send_signal(signal.SIGTERM)
        code = daemon.wait(60.0)
    assert code == 0, (daemon.events, daemon.stray)
    (stopped,) = (line for line in daemon.events if line["event"] == "stopped")
    # By the daemon's own account, from the signal until its components have ended; a second is left for the rest.
    assert stopped["stopped_within_s"] < 8.0
    late = [line["component"] for line in daemon.events if line["event"] == "component_not_stopped"]
    assert late == {"model": ["streams"], "sink": ["upload"]}.get(kind, [])
    assert "spool_close_timed_out" not in [line["event"] for line in daemon.events]
    waiting, with_attempts, left = rows(tmp_path)
    assert waiting + left == stopped["accepted"]
    assert with_attempts == 0


def test_no_listener_accepts_anybody_while_another_finishes_its_requests(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # an inference server that doesn't answer
        upstream = f"http://127.0.0.1:{silent.getsockname()[1]}"
        listeners = [{"listen": free_address(), "type": "proxy", "upstream": upstream} for _ in range(2)]
        write_configuration(tmp_path, {"listeners": listeners})
        with Daemon(tmp_path) as daemon:
            daemon.wait_for("ready")
            host, _, port = listeners[1]["listen"].partition(":")  # the first one to be stopped
            with socket.create_connection((host, int(port))) as client:
                client.sendall(b"GET /model/1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                silent.settimeout(10.0)
                with silent.accept()[0]:
                    daemon.process.send_signal(signal.SIGTERM)
                    assert daemon.until(lambda: not accepts_clients(listeners[0]["listen"]), 2.5)
                    assert daemon.process.poll() is None  # it waits for the answer
            daemon.wait(12.0)


def test_a_delivery_that_hangs_leaves_time_to_the_spool(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    (tmp_path / "hangs.py").write_text(
        "import threading\nFRAMESIFT_EXTEND = 1\nclass Sink:\n"
        "    def deliver(self, delivery, *, now_s, within_s):\n"
        "        open('hangs', 'w').close()\n        threading.Event().wait()\n"
        "    def close(self):\n        pass\n"
    )
    sink = {"type": "python", "factory": "hangs:Sink", "path": "."}
    write_configuration(tmp_path, {"streams": [{**CLIP, "loop": True, "fps": 1}], "sink": sink})
    with Daemon(tmp_path) as daemon:
        assert daemon.until((tmp_path / "hangs").exists, 30.0)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait(12.0)
    named = [seen["component"] for seen in daemon.events if seen["event"] == "component_not_stopped"]
    assert named == ["upload"]
    assert [seen["event"] for seen in daemon.events if seen["event"] == "spool_close_timed_out"] == []


def test_an_error_at_the_stop_after_a_failed_start_is_logged_too(tmp_path: Path) -> None:
    (tmp_path / "away.py").write_text(
        "FRAMESIFT_EXTEND = 1\nclass Away(BaseException):\n    pass\nclass Sink:\n"
        "    def deliver(self, delivery, *, now_s, within_s):\n        return None\n"
        "    def close(self):\n        raise Away('the disk went away')\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        sink = {"type": "python", "factory": "away:Sink", "path": "."}
        write_configuration(tmp_path, {"listeners": [{"listen": listen}], "sink": sink})
        with Daemon(tmp_path) as daemon:
            daemon.wait(30.0)
    (line,) = (seen for seen in daemon.events if seen["event"] == "failed" and "disk went away" in json.dumps(seen))
    assert "Away" in json.dumps(line)


def test_a_start_that_fails_ends_although_a_part_of_it_hangs(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text(
        "import threading\nFRAMESIFT_EXTEND = 1\nclass Sink:\n"
        "    def __init__(self):\n"
        "        self.closed = threading.Event()\n"
        "        threading.Thread(target=self.closed.wait).start()\n"
        "    def deliver(self, delivery, *, now_s, within_s):\n        return None\n"
        "    def close(self):\n        threading.Event().wait()\n"
    )
    sink = {"type": "python", "factory": "hangs:Sink", "path": "."}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        write_configuration(tmp_path, {"listeners": [{"listen": listen}], "sink": sink})
        ended = framesift(tmp_path, "run")
    assert ended.returncode == 1
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [line["component"] for line in lines if line["event"] == "component_not_stopped"] == ["sink"]
    [failed] = [line for line in lines if line["event"] == "failed"]
    assert (failed["exit_status"], f"framesift: {failed['why']}\n") == (1, ended.stderr)


def test_a_model_that_hangs_keeps_nothing_from_stopping(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    hangs = "import threading\ndef make():\n    def predict(_):\n        print('hangs', flush=True)\n"
    (tmp_path / "hangs.py").write_text(hangs + "        threading.Event().wait()\n    return predict\n")
    model = {"type": "python", "factory": "hangs:make", "path": "."}
    write_configuration(tmp_path, {"streams": [CLIP], "model": model})
    with Daemon(tmp_path) as daemon:
        # What a model prints and the log share an output, and may share a line.
        assert daemon.until(lambda: any("hangs" in line for line in daemon.stray), 30.0)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait(12.0)
    assert [seen["event"] for seen in daemon.events if seen["event"] == "spool_close_timed_out"] == []


def test_a_signal_is_acted_on_while_the_start_still_waits_for_the_platform(tmp_path: Path) -> None:
    limited = {**POLICY, "batching_strategy": {**POLICY["batching_strategy"], "max_batch_images": 10}}
    with HangingServer("answer") as server:
        settings = {
            "listeners": [{"listen": free_address()}],
            "sink": {"type": "roboflow", "project": "street"},
            "roboflow": {"api_key": KEY, "api_url": server.url},
        }
        write_configuration(tmp_path, settings, limited)
        with Daemon(tmp_path) as daemon:
            server.wait_until_it_hangs()
            daemon.process.send_signal(signal.SIGTERM)
            assert daemon.wait(60.0) == 0, (daemon.events, daemon.stray)
    (stopped,) = (line for line in daemon.events if line["event"] == "stopped")
    assert stopped["stopped_within_s"] < 8.0

"""`framesift run` with its model in an inference server: a real process, a real camera, and a server that comes and
goes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exhaustive import some_of
from rigs.daemon import POLICY, Daemon, collected, framesift, write_configuration
from rigs.drawn_clips import Mask, box_of, clip, filled, shape, white
from rigs.footage import numbered_clip
from rigs.inference import KEY, Delay, Fault, Html, InferenceServer, Status
from rigs.rtsp import RtspCamera

WIDTH, HEIGHT = 641, 359
FRAMES = 4


def model(server: InferenceServer, model_id: str = "boxes/1", **more: Any) -> dict[str, Any]:
    of = {"url": server.url, "model_id": model_id, "task": server.models[model_id], "api_key": "${SERVER_KEY}"}
    return {"type": "inference_server", **of, **more}


def within(polygon: list[dict[str, float]], width: int, height: int) -> Mask:
    return filled([(p["x"], p["y"]) for p in polygon], width, height)


@pytest.mark.parametrize("route", some_of(["v1", "legacy"], lambda route: route == "v1"))
@pytest.mark.parametrize("model_id", ["boxes/1", "shapes/1"])
def test_the_servers_objects_lie_in_the_stored_picture_where_the_annotation_says(
    tmp_path: Path, model_id: str, route: str
) -> None:
    drawn = [shape("box", WIDTH, HEIGHT, n) for n in range(FRAMES)]
    clip(tmp_path / "clip.mkv", drawn)
    with InferenceServer(forbid_active_learning=True) as server:
        # Three sizes, none a multiple of another: of the frame, of what the server sees, of what is stored.
        asked = model(server, model_id, route=route, max_image_size=[240, 500])
        stream = {"name": "gate", "source": "clip.mkv"}
        policy = {**POLICY, "max_image_size": [200, 300], "jpeg_compression_level": 100}
        write_configuration(tmp_path, {"streams": [stream], "model": asked}, policy)
        done = framesift(tmp_path, "run", SERVER_KEY=KEY)
        assert done.returncode == 0, done.stdout + done.stderr
        assert [(r.status, r.key_in) for r in server.asked] == [(200, "header")] * FRAMES
        assert server.connections == 1
    lines = collected(tmp_path)
    assert len(lines) == FRAMES
    for line in lines:
        seen = white((tmp_path / "collected" / line["file_name"]).read_bytes())
        (found,) = line["prediction"]["predictions"]
        assert line["prediction"]["image"] == {"width": 300, "height": 168}
        left, top = found["x"] - found["width"] / 2, found["y"] - found["height"] / 2
        edges = np.array((left, top, left + found["width"], top + found["height"]))
        assert np.abs(edges - box_of(seen)).max() <= 1.0
        assert "-".join(model_id.split("/")) in line["tags"]
        if model_id == "shapes/1":
            covered = within(found["points"], 300, 168)
            assert (covered & seen).sum() / (covered | seen).sum() > 0.95


def test_a_file_loses_no_frame_to_a_server_that_goes_and_comes_back(tmp_path: Path) -> None:
    clip(tmp_path / "clip.mkv", [shape("box", WIDTH, HEIGHT, n % 5) for n in range(30)])
    with InferenceServer(forbid_active_learning=True) as server:
        server.go_away()
        server.orders.add(
            Fault("infer", Status(503, {"Retry-After": "1"}), skip=5),
            Fault("infer", Delay(math.inf), skip=15),  # until it goes
        )
        stream = {"name": "gate", "source": "clip.mkv"}
        write_configuration(tmp_path, {"streams": [stream], "model": model(server, timeout_s=20.0)})
        with Daemon(tmp_path, SERVER_KEY=KEY) as daemon:
            daemon.wait_for("ready")  # which does not wait for the server
            degraded = daemon.wait_for("health", component="model", state="degraded")
            assert "Connection refused" in degraded["why"]
            server.come_back()
            assert server.until(lambda: len(server.asked) == 17)
            server.go_away()
            server.come_back()
            assert daemon.wait(40.0) == 0
            stopped = daemon.wait_for("stopped")
            changes = [(event["state"], event["why"]) for event in daemon.events if event["event"] == "health"]
    # The third recovery within an hour is believed only after it has held for a while.
    assert [state for state, _ in changes] == ["degraded", "ok", "degraded", "ok", "degraded"]
    assert "is busy, or not ready (503)" in changes[2][1]
    assert "closed without an answer" in changes[4][1]
    assert (stopped["frames"], stopped["delivered"], stopped["refused"]) == (30, 30, {})
    assert sorted(line["frame"] for line in collected(tmp_path)) == list(range(30))


def test_a_camera_goes_on_while_a_login_page_answers_for_the_server(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=50)
    with InferenceServer(forbid_active_learning=True) as server, RtspCamera(tmp_path) as camera:
        server.orders.add(Fault("infer", Html(), times=None))
        stream = {"name": "gate", "source": camera.url("clip.mp4")}
        write_configuration(tmp_path, {"streams": [stream], "model": model(server)})
        with Daemon(tmp_path, SERVER_KEY=KEY) as daemon:
            degraded = daemon.wait_for("health", component="model", state="degraded", timeout_s=30.0)
            assert "sent text/html instead of JSON" in degraded["why"]
            assert server.until(lambda: len(server.asked) >= 6)  # three to be sure, then at growing intervals
            server.orders.clear()
            daemon.wait_for("health", component="model", state="ok")
            assert daemon.until(lambda: len(collected(tmp_path)) >= 3, 20.0)
            assert daemon.stop() == 0
            stopped = daemon.wait_for("stopped")
            changes = [event for event in daemon.events if event["event"] == "health"]
    assert set(stopped["refused"]) == {"model_failed"}
    assert stopped["refused"]["model_failed"] > 20
    assert len(changes) == 2  # one line for each change, however many frames


def test_a_server_that_never_answers_keeps_nobody_from_stopping(tmp_path: Path) -> None:
    clip(tmp_path / "clip.mkv", [shape("box", WIDTH, HEIGHT, n) for n in range(3)])
    with InferenceServer(forbid_active_learning=True) as server:
        server.orders.add(Fault("infer", Delay(math.inf), times=None))
        asked = model(server, timeout_s=20.0)
        write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "clip.mkv"}], "model": asked})
        with Daemon(tmp_path, SERVER_KEY=KEY) as daemon:
            assert server.until(lambda: len(server.asked) == 1)
            assert daemon.stop(timeout_s=12.0) == 0


def test_check_shows_the_servers_message(tmp_path: Path) -> None:
    clip(tmp_path / "clip.mkv", [shape("box", WIDTH, HEIGHT, 0)])
    with InferenceServer(forbid_active_learning=True) as server:
        write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "clip.mkv"}], "model": model(server)})
        good = framesift(tmp_path, "check", SERVER_KEY=KEY, COLUMNS="300")
        assert good.returncode == 0, good.stdout
        assert "1 object in the first frame" in good.stdout
        bad = framesift(tmp_path, "check", SERVER_KEY="another", COLUMNS="300")
        assert bad.returncode == 1
        assert "does not accept the key (401)" in bad.stdout
        assert "start it, or correct the block `model`" in bad.stdout

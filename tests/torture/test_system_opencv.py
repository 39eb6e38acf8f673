"""The daemon with the system's own OpenCV, which has GStreamer, and no wheel of OpenCV or PyAV beside it.

That is how framesift runs on a Jetson. Here it is Debian's Python and Debian's packages python3-opencv,
gstreamer1.0-plugins-good and gstreamer1.0-libav; without them these tests fail. Needs the package index.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import canaries
from rigs.daemon import Daemon, collected, write_configuration
from rigs.footage import numbered_clip
from rigs.rtsp import CuttableConnection
from rigs.scripted_camera import ScriptedCamera, rtp_payloads

pytestmark = pytest.mark.torture

ROOT = Path(__file__).parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"
END = "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
PASSWORD = canaries.PASSWORD
Pictures = Sequence[Sequence[bytes]]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Debian's packages, and framesift with what it needs besides OpenCV."""
    folder = tmp_path_factory.mktemp("environment")
    made = folder / "bin" / "python"
    subprocess.run([SYSTEM_PYTHON, "-m", "venv", "--system-site-packages", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", str(made), "install"]
    # Debian's OpenCV is made for NumPy 1.
    subprocess.run([*pip, "numpy>=1.26,<2", "--editable", str(ROOT)], check=True)
    return str(made)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    return rtp_payloads(numbered_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 100))


def pipeline(camera: ScriptedCamera | CuttableConnection, password: str = PASSWORD) -> str:
    credentials = f'user-id=viewer user-pw="{password}"'
    source = f"rtspsrc location=rtsp://127.0.0.1:{camera.port}/live {credentials} protocols=tcp latency=0"
    return f"{source} ! rtph264depay ! avdec_h264 ! {END}"


def write_stream(folder: Path, source: str, **options: Any) -> None:
    write_configuration(folder, {"streams": [{"name": "gate", "source": source, "engine": "gstreamer", **options}]})


@pytest.fixture
def run(python: str, tmp_path: Path) -> Callable[[], Daemon]:
    return lambda: Daemon(tmp_path, command=(python, "-m", "framesift", "run"))


def test_check_names_the_backends_and_reads_a_picture(python: str, tmp_path: Path) -> None:
    write_stream(tmp_path, f"videotestsrc is-live=true ! video/x-raw,width=320,height=192 ! {END}")
    command = [python, "-m", "framesift", "check"]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    printed = " ".join(checked.stdout.split())
    assert "GSTREAMER" in printed
    assert "320 x 192" in printed


def test_a_camera_with_credentials_is_read_and_comes_back(
    run: Callable[[], Daemon], tmp_path: Path, pictures: Pictures
) -> None:
    with (
        ScriptedCamera(pictures=pictures, credentials=f"viewer:{PASSWORD}", digest=True) as camera,
        CuttableConnection(camera.port) as wire,
    ):
        write_stream(tmp_path, pipeline(wire), read_timeout_s=1)
        with run() as daemon:
            shown = daemon.wait_for("stream", stream="gate", state="running")
            assert "pictures of 320 x 192" in shown["why"]
            assert "user-id=****" in shown["why"]
            assert daemon.until(lambda: len(collected(tmp_path)) > 10, 30.0)
            wire.stall()
            lost = daemon.wait_for("stream", stream="gate", state="lost")
            assert lost["reason"] == "silent"
            events = len(daemon.events)
            wire.resume()
            daemon.wait_for("stream", after=events, stream="gate", state="running")
            assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("answers", "password", "reason"),
    [
        ({}, "wrong" + PASSWORD, "unauthorized"),
        ({"DESCRIBE": "404 Not Found"}, PASSWORD, "not_found"),
    ],
)
def test_why_a_camera_is_away_is_named(
    run: Callable[[], Daemon], tmp_path: Path, pictures: Pictures, answers: dict[str, str], password: str, reason: str
) -> None:
    with ScriptedCamera(answers=answers, pictures=pictures, credentials=f"viewer:{PASSWORD}", digest=True) as camera:
        write_stream(tmp_path, pipeline(camera, password))
        with run() as daemon:
            assert daemon.wait_for("stream", stream="gate", state="lost")["reason"] == reason
            assert daemon.stop() == 0


def test_a_camera_that_refuses_the_connection_is_named(
    run: Callable[[], Daemon], tmp_path: Path, pictures: Pictures
) -> None:
    with ScriptedCamera(pictures=pictures) as camera:
        source = pipeline(camera)
    write_stream(tmp_path, source)
    with run() as daemon:
        assert daemon.wait_for("stream", stream="gate", state="lost")["reason"] == "refused"
        assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("nosuchelement", 'no element "nosuchelement"; a pipeline: correct its text, or install the GStreamer plugin'),
        ("videotestsrc patern=ball", 'no property "patern" in element "videotestsrc"'),
        ("videotestsrc !", "syntax error"),
    ],
)
def test_a_pipeline_that_can_not_be_made_is_said_at_once(
    run: Callable[[], Daemon], tmp_path: Path, source: str, problem: str
) -> None:
    write_stream(tmp_path, f"{source} ! {END}", open_timeout_s=60)
    with run() as daemon:
        lost = daemon.wait_for("stream", stream="gate", state="lost")
        assert lost["reason"] == "engine"
        assert f"the pipeline can't be made: {problem}" in lost["why"]
        assert daemon.stop() == 0


def test_files_and_cameras_are_read_without_gstreamer_too(run: Callable[[], Daemon], tmp_path: Path) -> None:
    clip = numbered_clip(tmp_path / "clip.mp4", 20)
    write_configuration(tmp_path, {"streams": [{"name": "file", "source": str(clip)}]})
    with run() as daemon:
        assert daemon.wait(30.0) == 0
    assert sorted(line["frame"] for line in collected(tmp_path)) == list(range(20))

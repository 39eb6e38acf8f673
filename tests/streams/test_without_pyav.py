"""A machine without PyAV: OpenCV reads files and cameras, `check` says so, and what only PyAV can do is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from rigs.daemon import Daemon, collected, write_configuration
from rigs.environments import environment_without
from rigs.footage import numbered_clip
from rigs.rtsp import RtspCamera


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    return environment_without(tmp_path_factory.mktemp("environment"), "av")


def check(python: str, folder: Path, *streams: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    write_configuration(folder, {"streams": list(streams)})
    command = [python, "-m", "framesift", "check"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_a_file_and_a_camera_are_read_with_opencv(python: str, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    clip = numbered_clip(clips / "clip.mp4", 20)
    with RtspCamera(clips) as camera:
        streams = [{"name": "file", "source": str(clip)}, {"name": "camera", "source": camera.url("clip.mp4")}]
        write_configuration(tmp_path, {"streams": streams})
        with Daemon(tmp_path, command=(python, "-m", "framesift", "run")) as daemon:
            assert daemon.until(lambda: seen(tmp_path, "file") >= 20 and seen(tmp_path, "camera") > 0, 30.0)
            assert daemon.stop() == 0
    assert seen(tmp_path, "file") == 20


def seen(folder: Path, stream: str) -> int:
    return sum(line["stream"] == stream for line in collected(folder))


def test_check_says_that_opencv_reads_the_streams_and_how_to_change_that(python: str, tmp_path: Path) -> None:
    clip = str(numbered_clip(tmp_path / "clip.mp4", 3))
    chosen = check(python, tmp_path, {"name": "file", "source": clip})
    assert chosen.returncode == 0
    printed = " ".join(chosen.stdout.split())
    assert "is not installed: OpenCV reads the streams" in printed
    assert "pip install 'framesift[av]'" in printed


def test_what_needs_pyav_is_an_error_that_names_the_stream_and_the_way_out(python: str, tmp_path: Path) -> None:
    refused = check(python, tmp_path, {"name": "gate", "source": "clip.mp4", "engine": "av", "decode": "keyframes"})
    assert refused.returncode == 2
    printed = " ".join((refused.stdout + refused.stderr).split())
    assert (
        "stream 'gate': engine is av, but PyAV is not installed; pip install 'framesift[av]', or engine: auto"
        in printed
    )


def test_a_snapshot_of_a_main_stream_needs_pyav(python: str, tmp_path: Path) -> None:
    stream = {"name": "gate", "source": "rtsp://127.0.0.1:9/sub", "snapshot": {"source": "rtsp://127.0.0.1:9/main"}}
    refused = check(python, tmp_path, stream)
    assert refused.returncode == 2
    printed = " ".join((refused.stdout + refused.stderr).split())
    assert "stream 'gate': snapshot.source needs PyAV, which is not installed; pip install 'framesift[av]'" in printed

"""The reader process: what it must not show, what it must not have, and when it must die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from framesift.config.redact import Redactor
from framesift.streams import StreamSettings
from framesift.streams.reader_launcher import printable_line
from rigs.footage import numbered_clip
from rigs.rtsp import CuttableConnection, RtspCamera
from rigs.stream_reader import RecordedStream, has_exited, reader_pids


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 50)


def test_credentials_are_neither_in_the_arguments_nor_in_the_environment_of_the_reader(clip: Path) -> None:
    with RtspCamera(clip.parent) as camera, CuttableConnection(camera.port, credentials="thisviewer:s3cretpw") as wire:
        watched = RecordedStream(source=wire.url("clip.mp4"), username="thisviewer", password="s3cretpw")
        frames = watched.stream.frames()
        next(frames)
        [pid] = watched.reader_pids()
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        watched.stream.close()
    assert watched.stream.name.encode() in arguments
    assert b"OPENCV_LOG_LEVEL" in environment
    for secret in (b"s3cretpw", b"thisviewer"):
        assert secret not in arguments + environment


def test_the_reader_inherits_no_keys(clip: Path) -> None:
    name = f"keys-{os.getpid()}"
    keys = {"ROBOFLOW_API_KEY": "rf_key", "AWS_SECRET_ACCESS_KEY": "aws_key", "LANG": "C.UTF-8"}
    command = [sys.executable, "-c", DAEMON, name, str(clip)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **keys}) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"running\n"
        [pid] = reader_pids(name)
        template = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        environments = [Path(f"/proc/{place}/environ").read_bytes().split(b"\0") for place in (pid, template)]
        daemon.kill()
    for environment in environments:
        assert b"LANG=C.UTF-8" in environment
        names = {line.partition(b"=")[0] for line in environment}
        assert not names & {b"ROBOFLOW_API_KEY", b"AWS_SECRET_ACCESS_KEY"}


def test_the_reader_loads_nothing_that_lies_in_the_working_directory(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cv2", "numpy", "json", "framesift"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')\n")
    monkeypatch.chdir(tmp_path)
    assert RecordedStream(source=str(clip)).take(1) == [0]


def test_a_relative_path_means_the_file_in_the_working_directory(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clip.parent)
    assert RecordedStream(source=clip.name).take(2) == [0, 1]


def test_the_reader_needs_no_part_of_the_daemon_but_the_channel(clip: Path) -> None:
    watched = RecordedStream(source=str(clip))
    frames = watched.stream.frames()
    next(frames)
    [pid] = watched.reader_pids()
    mapped = Path(f"/proc/{pid}/maps").read_text()
    watched.stream.close()
    assert "cv2" in mapped
    assert "pydantic" not in mapped


DAEMON = """
import random, sys, threading
from framesift.clock.clock import SystemClock
from framesift.streams import Stream, StreamSettings
options = StreamSettings(name=sys.argv[1], source=sys.argv[2], loop=True)
stream = Stream(options, clock=SystemClock(), stop=threading.Event(), rng=random.Random(1))
for frame in stream.frames():
    if frame.number == 3:
        print("running", flush=True)
"""


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "hung"])
def test_the_reader_dies_with_a_daemon_that_is_killed(clip: Path, stopped: bool) -> None:
    name = f"orphan-{os.getpid()}-{stopped}"
    command = [sys.executable, "-c", DAEMON, name, str(clip)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"running\n"
        [pid] = reader_pids(name)
        if stopped:
            os.kill(pid, signal.SIGSTOP)
        daemon.kill()
    assert has_exited(pid)


def test_a_daemon_that_ends_without_closing_its_streams_leaves_no_reader(clip: Path) -> None:
    name = f"left-{os.getpid()}"
    program = DAEMON + "        sys.exit(0)\n"
    subprocess.run([sys.executable, "-c", program, name, str(clip)], check=True, stdout=subprocess.DEVNULL, timeout=30)
    assert all(has_exited(pid) for pid in reader_pids(name))


def test_an_interrupt_at_the_terminal_does_not_reach_the_reader(clip: Path) -> None:
    watched = RecordedStream(source=str(clip))
    frames = watched.stream.frames()
    next(frames)
    [pid] = watched.reader_pids()
    assert os.getpgid(pid) != os.getpgid(os.getpid())
    watched.stream.close()


def test_a_readers_log_lines_are_shown_without_secrets() -> None:
    options = StreamSettings.model_validate_json(
        '{"name": "x", "source": "rtsp://127.0.0.1:1/s?token=tokenword", "username": "me", "password": "pw"}'
    )
    line = printable_line(
        b"[tcp @ 0x5] cannot open rtsp://me:pw@127.0.0.1:1/s?token=tokenword with me:pw\x1b\n",
        Redactor(options.secrets()),
    )
    assert line == "cannot open rtsp://****@127.0.0.1:1/s?token=**** with ****"

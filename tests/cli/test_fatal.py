"""What ends `framesift run` is one line of its log, with the reason and the exit status."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from framesift.cli.main import _exit_status
from framesift.spool import SpoolBroken, SpoolInUse, SpoolTooNew, SpoolUnusable
from rigs.daemon import Daemon, framesift, unhurried, write_configuration
from rigs.footage import numbered_clip
from rigs.terminals import read_terminal

CLIP = {"name": "gate", "source": "clip.mp4", "loop": True}


def failures(output: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, output.splitlines()) if line["event"] == "failed"]


def test_bad_settings_are_a_line_of_the_log_and_a_message(tmp_path: Path) -> None:
    write_configuration(tmp_path, {"nonsense": 1})
    ended = framesift(tmp_path, "run")
    (line,) = failures(ended.stdout)
    assert ended.returncode == line["exit_status"] == 2
    assert "nonsense" in line["why"]
    assert line["level"] == "error"
    assert ended.stderr == "".join(f"framesift: {text}\n" for text in line["why"].splitlines())


def test_settings_that_are_not_there_are_a_line_of_the_log(tmp_path: Path) -> None:
    ended = framesift(tmp_path, "run", "-c", "none.yaml")
    (line,) = failures(ended.stdout)
    assert (ended.returncode, line["exit_status"]) == (2, 2)
    assert "none.yaml" in line["why"]


def test_a_model_that_is_missing_is_a_line_of_the_log(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    write_configuration(tmp_path, {"streams": [CLIP], "model": {"type": "onnx", "path": "none.onnx"}})
    ended = framesift(tmp_path, "run")
    (line,) = failures(ended.stdout)
    assert (ended.returncode, line["exit_status"]) == (2, 2)
    assert "none.onnx" in line["why"]


def test_an_address_that_is_taken_is_a_line_of_the_log(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        write_configuration(tmp_path, {"listeners": [{"listen": f"127.0.0.1:{taken.getsockname()[1]}"}]})
        ended = framesift(tmp_path, "run")
    (line,) = failures(ended.stdout)
    assert (ended.returncode, line["exit_status"]) == (1, 1)
    assert "can't listen" in line["why"]


def test_a_bug_while_it_starts_is_a_line_of_the_log_with_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(
        "FRAMESIFT_EXTEND = 1\nclass Odd(BaseException):\n    pass\nclass Sink:\n"
        "    def deliver(self, delivery, *, now_s, within_s):\n        raise Odd('never seen')\n"
        "    def close(self):\n        pass\n"
    )
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    sink = {"type": "python", "factory": "odd:Sink", "path": "."}
    write_configuration(tmp_path, {"streams": [CLIP], "sink": sink, "model": unhurried(tmp_path)})
    with Daemon(tmp_path) as daemon:
        line = daemon.wait_for("failed")
        assert daemon.wait(30.0) == 1
    assert line["exit_status"] == 1
    assert "Odd: never seen" in line["why"]
    assert "Traceback" in line["exception"]
    assert daemon.events[-1]["exit_status"] == 1  # of the line `stopped`


def test_a_clean_end_is_no_failure(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    write_configuration(tmp_path, {"streams": [{**CLIP, "loop": False}]})
    ended = framesift(tmp_path, "run")
    assert failures(ended.stdout) == []
    assert json.loads(ended.stdout.splitlines()[-1])["exit_status"] == 0


def test_in_a_terminal_the_message_is_said_once(tmp_path: Path) -> None:
    write_configuration(tmp_path, {"nonsense": 1})
    ours, theirs = pty.openpty()
    ended = subprocess.run(
        [sys.executable, "-m", "framesift", "run"],
        cwd=tmp_path,
        stdout=theirs,
        stderr=theirs,
        timeout=60.0,
        check=False,
    )
    os.close(theirs)
    assert ended.returncode == 2
    assert read_terminal(ours).count("nonsense: unknown key") == 1


@pytest.mark.parametrize(
    ("error", "exit_status"), [(SpoolInUse, 2), (SpoolTooNew, 2), (SpoolUnusable, 2), (SpoolBroken, 1)]
)
def test_what_a_spool_refuses_is_one_line_in_each_command(
    error: type[Exception], exit_status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit_status(error("the spool is in use")) == exit_status
    assert capsys.readouterr().err == "framesift: the spool is in use\n"

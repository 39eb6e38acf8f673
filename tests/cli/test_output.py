"""What commands print where no terminal reads it: one thing a line, no colours; and `check --json`."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from exhaustive import some_of
from rigs.daemon import Daemon, framesift, write_configuration
from rigs.footage import numbered_clip
from rigs.terminals import read_terminal

LONG = "a-name-of-sixty-characters-for-a-stream-that-wraps-on-a-screen"


def configure(folder: Path, **settings: Any) -> None:
    if not (folder / "clip.mp4").exists():
        numbered_clip(folder / "clip.mp4", frames=5)
    write_configuration(folder, {"streams": [{"name": LONG, "source": "clip.mp4"}], **settings})


def checks_of(folder: Path) -> tuple[int, list[dict[str, Any]]]:
    ran = framesift(folder, "check", "--json")
    assert ran.stderr == ""
    return ran.returncode, json.loads(ran.stdout)


def test_every_check_is_an_object_of_four_keys(tmp_path: Path) -> None:
    configure(tmp_path)
    code, checks = checks_of(tmp_path)
    assert code == 0
    assert {tuple(check) for check in checks} == {("name", "status", "message", "advice")}
    assert {check["status"] for check in checks} <= {"ok", "note"}
    by_name = {check["name"]: check for check in checks}
    assert by_name[f"stream {LONG}"]["message"].startswith("first frame ")
    assert by_name["configuration"] == {
        "name": "configuration",
        "status": "ok",
        "message": "device test, 1 stream, 0 listeners",
        "advice": None,
    }


def test_a_failed_check_is_exit_1_with_advice_and_the_text_says_the_same(tmp_path: Path) -> None:
    configure(tmp_path)
    (tmp_path / "policy.json").write_text('{"enabled": true, "tagz": [], "sampling_strategies": 7}')
    code, checks = checks_of(tmp_path)
    assert code == 1
    failed = {check["name"]: check for check in checks if check["status"] == "failed"}
    assert "tagz" in failed["policy"]["message"]
    assert failed["policy"]["advice"]
    text = framesift(tmp_path, "check")
    assert text.returncode == 1
    lines = [" ".join(line.split()) for line in text.stdout.splitlines()[1:]]
    signs = {"ok": "ok", "note": "note", "failed": "FAILED"}
    said = [
        f"{signs[c['status']]} {c['name']} {'; '.join(c['message'].splitlines())} {c['advice'] or ''}".strip()
        for c in checks
    ]
    # How much is free on a disk changes between the two.
    assert [line for line in lines if "GiB" not in line] == [" ".join(c.split()) for c in said if "GiB" not in c]


def test_a_secret_in_a_message_is_masked_in_json_too(tmp_path: Path) -> None:
    configure(tmp_path, streams=[{"name": "gate", "source": "rtsp://viewer:geheim@127.0.0.1:1/x"}])
    ran = framesift(tmp_path, "check", "--json")
    assert ran.returncode == 1
    assert "geheim" not in ran.stdout


@pytest.mark.parametrize("columns", some_of([None, "40"], lambda columns: columns == "40"))
def test_no_line_is_wrapped_or_coloured_in_a_pipe(tmp_path: Path, columns: str | None) -> None:
    configure(
        tmp_path, streams=[{"name": LONG, "source": "clip.mp4", "loop": True, "fps": 5}], status={"bind": "127.0.0.1:0"}
    )
    variables: dict[str, Any] = {} if columns is None else {"COLUMNS": columns}
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        checked = framesift(tmp_path, "check", **variables)
        daemon.stop()
    listed = framesift(tmp_path, "spool", "list", **variables)
    for ran in (checked, listed):
        assert "\x1b" not in ran.stdout + ran.stderr
    assert sum(LONG in line for line in checked.stdout.splitlines()) >= 1
    assert not any(line.startswith(" ") for line in checked.stdout.splitlines()[1:]), checked.stdout
    for line in listed.stdout.splitlines()[1:-1]:
        assert LONG in line, listed.stdout


def test_a_terminal_gets_lines_of_its_own_width(tmp_path: Path) -> None:
    configure(tmp_path)
    mine, theirs = pty.openpty()
    command = [sys.executable, "-m", "framesift", "check"]
    variables = {**os.environ, "COLUMNS": "60", "TERM": "xterm"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=variables, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL
    ) as process:
        os.close(theirs)
        shown = read_terminal(mine)
        process.wait(60)
    assert "\x1b[" in shown
    text = shown.replace("\r", "")
    assert LONG not in text  # it is folded

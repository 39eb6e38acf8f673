"""How far a run on files has come: said on a terminal, and nowhere else, and only of what ends."""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

import pytest

from clocks import ManualClock
from framesift.cli.run_progress import EVERY_S, RunProgress
from framesift.settings import load
from framesift.telemetry import Telemetry
from rigs.daemon import write_configuration
from rigs.listeners import Style
from rigs.terminals import read_terminal


def lines(folder: Path, out: TextIO, **stream: Any) -> None:
    """Two frames a second are read for a bit more than twice the time between two lines."""
    (folder / "clip.mp4").touch()
    write_configuration(folder, {"streams": [{"name": "gate", "source": "clip.mp4", **stream}]})
    clock = ManualClock()
    telemetry = Telemetry(clock, Style(), out=StringIO())
    progress = RunProgress(load(folder / "framesift.yaml", {}), telemetry, clock, out)
    for _ in range(int(2 * EVERY_S) + 1):
        telemetry.count_read("gate")
        telemetry.count_read("gate")
        clock.advance(1.0)
        progress()
    telemetry.close()


def lines_on_a_terminal(folder: Path, **stream: Any) -> list[str]:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as out:
        lines(folder, out, **stream)
    return read_terminal(ours).splitlines()


def test_frames_and_their_speed_are_said_every_few_seconds(tmp_path: Path) -> None:
    told = lines_on_a_terminal(tmp_path)
    assert told == [f"framesift: {count} frames read, 2 a second; 0 accepted" for count in (10, 20)]


@pytest.mark.parametrize("stream", [{"loop": True}, {"source": "rtsp://127.0.0.1:9/x"}])
def test_of_what_never_ends_nothing_is_said(tmp_path: Path, stream: dict[str, Any]) -> None:
    assert lines_on_a_terminal(tmp_path, **stream) == []


def test_a_pipe_gets_nothing(tmp_path: Path) -> None:
    out = StringIO()
    lines(tmp_path, out)
    assert out.getvalue() == ""

"""Lines for systemd's journal begin with their priority, and lines for anybody else never do."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from framesift.clock.clock import SystemClock
from framesift.telemetry import LineQueue, Telemetry


class _Style:
    level = "debug"

    def __init__(self, kind: str) -> None:
        self.format = kind


def logged(journal_stream: str | None, kind: str = "json") -> list[str]:
    """What a reader gets of a line of each level, and of one with a traceback; "{}" stands for the real socket."""
    reading, writing = socket.socketpair()
    with reading, writing, os.fdopen(writing.detach(), "w") as out:
        found = os.fstat(out.fileno())
        if journal_stream is not None:
            journal_stream = journal_stream.format(f"{found.st_dev}:{found.st_ino}")
        lines = LineQueue(out, journal_stream=journal_stream)
        telemetry = Telemetry(SystemClock(), _Style(kind), out=lines)
        telemetry.debug("a")
        telemetry.info("b")
        telemetry.warning("c")
        telemetry.error("d", cause=ValueError("two\nlines"))
        assert lines.drain(10.0)
        return reading.recv(65536).decode().splitlines()


def test_in_the_journal_each_level_has_its_priority() -> None:
    lines = logged("{}")
    assert [line[:3] for line in lines] == ["<7>", "<6>", "<4>", "<3>"]
    assert [json.loads(line[3:])["event"] for line in lines] == ["a", "b", "c", "d"]


def test_in_the_journal_each_line_of_a_traceback_has_the_priority_of_its_event() -> None:
    lines = logged("{}", "text")
    assert len(lines) > 4
    assert {line[:3] for line in lines[3:]} == {"<3>"}


@pytest.mark.parametrize("journal_stream", [None, "", "1:1", "x", "{}0"])
def test_elsewhere_no_line_has_a_priority(journal_stream: str | None) -> None:
    assert [json.loads(line)["event"] for line in logged(journal_stream)] == ["a", "b", "c", "d"]


def test_a_file_that_is_not_the_journal_gets_no_priorities_though_the_variable_is_inherited(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as out:
        lines = LineQueue(out, journal_stream="8:12345")
        Telemetry(SystemClock(), _Style("json"), out=lines).info("a")
        assert lines.drain(10.0)
    assert json.loads((tmp_path / "log").read_text())["event"] == "a"

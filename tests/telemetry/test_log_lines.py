"""A reader of the log that stalls holds nobody up: lines wait in a bounded queue, and what is dropped is counted."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clocks import ManualClock
from framesift.telemetry import Condition, LineQueue, Telemetry
from rigs.daemon import collected, unhurried, write_configuration
from rigs.footage import numbered_clip


class Pipe:
    """A pipe that is full: a write into it waits until `read_all`. filler: what lies in it already."""

    def __init__(self) -> None:
        self.reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(writing, False)
        self.filler = 0
        try:
            while True:
                self.filler += os.write(writing, b".")
        except BlockingIOError:
            os.set_blocking(writing, True)
        self.out = os.fdopen(writing, "w", encoding="utf-8")
        self._seen = bytearray()
        self._grown = threading.Condition()

    def read_all(self) -> None:
        """From now on somebody reads."""
        threading.Thread(target=self._read, daemon=True).start()

    def lines(self, count: int) -> list[str]:
        """The first so many lines that were read, waiting for them."""
        with self._grown:
            assert self._grown.wait_for(lambda: self._seen.count(b"\n") >= count, 30.0), bytes(self._seen[-2000:])
            return bytes(self._seen[self.filler :]).decode().splitlines()

    def _read(self) -> None:
        while content := os.read(self.reading, 65536):
            with self._grown:
                self._seen += content
                self._grown.notify_all()

    def close(self) -> None:
        self.read_all()  # lets go of a thread that waits in its write
        self.out.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def waiting(queue: LineQueue, first: str) -> None:
    """Puts a line, and returns when the queue's thread waits in writing it: the pipe is full."""
    queue.put("info", first)
    while queue._lines:  # taken out, to be written
        threading.Event().wait(0.001)


def test_lines_wait_in_their_order_for_a_reader_that_stalls(pipe: Pipe) -> None:
    queue = LineQueue(pipe.out)
    for number in range(1000):
        queue.put(("debug", "info", "warning", "error")[number % 4], str(number))
    assert queue.dropped() == {}
    assert not queue.drain(0.0)
    pipe.read_all()
    assert pipe.lines(1000) == [str(number) for number in range(1000)]
    assert queue.drain(30.0)


def test_where_too_many_wait_the_oldest_of_the_lowest_level_go_first(pipe: Pipe) -> None:
    queue = LineQueue(pipe.out, max_lines=4)
    waiting(queue, "first")
    for level in ("warning", "info", "debug", "error", "info", "debug", "warning"):
        queue.put(level, f"{level} {queue._next}")
    # The second debug was itself the lowest, then the infos went, the older one first.
    assert queue.dropped() == {"debug": 2, "info": 1}
    queue.put("error", "error 8")
    queue.put("error", "error 9")
    assert queue.dropped() == {"debug": 2, "info": 2, "warning": 1}
    pipe.read_all()
    assert pipe.lines(5) == ["first", "error 4", "warning 7", "error 8", "error 9"]


def test_what_waits_is_bounded_in_bytes_too(pipe: Pipe) -> None:
    queue = LineQueue(pipe.out, max_bytes=1000)
    waiting(queue, "first")
    for number in range(5):
        queue.put("info", str(number) * 299)
    assert queue.dropped() == {"info": 2}
    pipe.read_all()
    assert [line[0] for line in pipe.lines(4)] == ["f", "2", "3", "4"]


def test_a_line_longer_than_the_pipe_arrives_whole(pipe: Pipe) -> None:
    queue = LineQueue(pipe.out)
    queue.put("info", "ä" * 20_000)
    queue.put("info", "next")
    pipe.read_all()
    assert pipe.lines(2) == ["ä" * 20_000, "next"]


def test_a_descriptor_that_another_process_made_non_blocking_loses_no_line(pipe: Pipe) -> None:
    os.set_blocking(pipe.out.fileno(), False)
    queue = LineQueue(pipe.out)
    queue.put("info", "x" * 20_000)
    pipe.read_all()
    assert pipe.lines(1) == ["x" * 20_000]


def test_a_reader_that_is_gone_costs_its_lines_and_nothing_else() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        queue = LineQueue(out)
        queue.put("error", "one")
        assert queue.drain(30.0)


def test_the_log_says_that_it_was_not_read_and_what_it_lost(pipe: Pipe) -> None:
    queue = LineQueue(pipe.out, max_lines=20)
    waiting(queue, "first")
    telemetry = Telemetry(ManualClock(), SimpleNamespace(format="json", level="info"), out=queue)
    for number in range(25):
        telemetry.info("busy", stream=str(number))
    telemetry.tick()
    (log,) = (part for part in telemetry.report().health if part.name == "log")
    assert (log.condition, log.why) == (Condition.DEGRADED, "nobody reads the log; its lines wait, and are dropped")
    assert telemetry.report().log_lines_dropped == {"info": 6}  # one more for the line about the health
    assert b'framesift_log_lines_dropped_total{level="info"} 6.0' in telemetry.metrics_text()

    pipe.read_all()
    assert queue.drain(30.0)
    telemetry.tick()
    telemetry.tick()
    assert queue.drain(30.0)
    events: list[dict[str, Any]] = [json.loads(line) for line in pipe.lines(23)[1:]]
    assert [e["stream"] for e in events if e["event"] == "busy"] == [str(number) for number in range(6, 25)]
    last = [{key: value for key, value in e.items() if key != "time"} for e in events[-2:]]
    assert last == [
        {"level": "info", "event": "health", "component": "log", "state": "ok", "why": ""},
        {"level": "warning", "event": "log_lines_dropped", "info": 6},
    ]


def test_a_log_that_nobody_reads_stops_neither_the_pipeline_nor_the_end(tmp_path: Path, pipe: Pipe) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=8)
    stream = {"name": "gate", "source": "clip.mp4", "loop": True}
    write_configuration(tmp_path, {"streams": [stream], "model": unhurried(tmp_path)})
    with subprocess.Popen(
        [sys.executable, "-m", "framesift", "run"], cwd=tmp_path, stdout=pipe.out, stderr=subprocess.STDOUT
    ) as daemon:
        try:
            for _ in range(600):
                if len(collected(tmp_path)) > 8:
                    break
                threading.Event().wait(0.05)
            assert len(collected(tmp_path)) > 8
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(30.0) == 0
        finally:
            daemon.kill()

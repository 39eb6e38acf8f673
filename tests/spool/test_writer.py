"""The writer survives whatever the disk does at the moment of its own work, between the jobs of others."""
# ruff: noqa: ARG002  (the file has the shape of the real one)

from __future__ import annotations

import sqlite3
import threading

from clocks import ManualClock
from framesift.spool.space import SpaceBudget
from framesift.spool.writer import Writer
from rigs.spools import RecordedReports


class FileOnAFullDisk:
    """A file that opens, but whose disk is full again when it is probed, until `room` is set."""

    def __init__(self) -> None:
        self.room = threading.Event()
        self.probes = 0

    def reopen(self, damaged: bool) -> sqlite3.Connection:
        assert not damaged
        return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)

    def verify(self, connection: sqlite3.Connection) -> None:
        pass

    def measure_space(self, connection: sqlite3.Connection, needed_bytes: int) -> SpaceBudget:
        raise AssertionError("no job was given")

    def probe(self, connection: sqlite3.Connection, size_bytes: int, rank: float) -> None:
        self.probes += 1
        if not self.room.is_set():
            raise sqlite3.OperationalError("database or disk is full")

    def measure(self, connection: sqlite3.Connection, size_bytes: int) -> None:
        pass

    def describe(self, error: Exception) -> str:
        return str(error)

    def release_reserve(self) -> bool:
        return False

    def maintain(self, connection: sqlite3.Connection) -> None:
        pass


def test_a_disk_that_is_full_again_when_the_file_was_opened_is_waited_for() -> None:
    clock, file, reports = ManualClock(), FileOnAFullDisk(), RecordedReports()
    writer = Writer(None, file, clock, reports, "the disk is full")
    writer.start()
    pause = threading.Event()
    for _ in range(3000):
        if file.probes >= 2:
            file.room.set()
        if writer.acceptance.health.problem is None or writer.acceptance.health.fatal:
            break
        clock.advance(60.0)
        pause.wait(0.01)
    assert not writer.acceptance.health.fatal
    assert writer.acceptance.health.problem is None
    assert file.probes >= 3
    assert writer.close(10.0)
    assert "spool_writer_failed" not in reports.names()

"""The writer: what fails changes nothing, what has to wait waits, and the disk may do anything in between."""
# ruff: noqa: ARG002  (the file has the shape of the real one)

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from clocks import ManualClock
from framesift.spool.records import SpoolFull
from framesift.spool.space import SpaceBudget, Transaction
from framesift.spool.writer import Writer
from rigs.spools import RecordedReports

FULL = "database or disk is full"


class FileInMemory:
    """A file in memory, on a disk that fails as often as is wanted.

    room: set when probes find some. failing: how many of the next transactions fail at their beginning.
    """

    def __init__(self) -> None:
        self.room = threading.Event()
        self.probes = self.failing = 0

    def reopen(self, damaged: bool) -> sqlite3.Connection:
        assert not damaged
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        connection.execute("CREATE TABLE seen (what TEXT)")
        return connection

    def verify(self, connection: sqlite3.Connection) -> None:
        pass

    def measure_space(self, connection: sqlite3.Connection, needed_bytes: int) -> SpaceBudget:
        if self.failing:
            self.failing -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return SpaceBudget(1 << 30, 0, 1 << 30, 0, 0, 0, 4096)

    def probe(self, connection: sqlite3.Connection, size_bytes: int, rank: float) -> None:
        self.probes += 1
        if not self.room.is_set():
            raise sqlite3.OperationalError(FULL)

    def measure(self, connection: sqlite3.Connection, size_bytes: int) -> None:
        pass

    def describe(self, error: Exception) -> str:
        return str(error)

    def release_reserve(self) -> bool:
        return False

    def maintain(self, connection: sqlite3.Connection) -> None:
        pass


@contextmanager
def running(
    file: FileInMemory, reports: RecordedReports, *, opened: bool = True
) -> Iterator[tuple[Writer, ManualClock]]:
    clock = ManualClock()
    writer = Writer(file.reopen(False) if opened else None, file, clock, reports, None if opened else FULL)
    writer.start()
    yield writer, clock
    assert writer.close(10.0)
    assert "spool_writer_failed" not in reports.names()


def note(cursor: sqlite3.Cursor, what: str) -> None:
    cursor.execute("INSERT INTO seen VALUES (?)", (what,))


def test_a_disk_that_is_full_again_when_the_file_was_opened_is_waited_for() -> None:
    file, reports, pause = FileInMemory(), RecordedReports(), threading.Event()
    with running(file, reports, opened=False) as (writer, clock):
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


def test_a_job_that_is_refused_leaves_nothing_and_its_neighbours_stay() -> None:
    file, reports = FileInMemory(), RecordedReports()

    def refused(cursor: sqlite3.Cursor, _: Transaction) -> None:
        note(cursor, "refused")
        raise SpoolFull("no room", only_this=True, size_bytes=1, rank=0.0)

    with running(file, reports) as (writer, _):
        writer.post(lambda cursor, _: note(cursor, "before"))
        with pytest.raises(SpoolFull):
            writer.call(refused)
        writer.call(lambda cursor, _: note(cursor, "after"))
        seen = writer.call(lambda cursor, _: cursor.execute("SELECT what FROM seen").fetchall())
    assert seen == [("before",), ("after",)]


def test_a_change_of_state_whose_transaction_failed_is_made_when_the_disk_works_again() -> None:
    file, reports, pause = FileInMemory(), RecordedReports(), threading.Event()
    file.room.set()
    file.failing = 2
    done: list[str] = []
    with running(file, reports) as (writer, clock):
        calling = threading.Thread(target=lambda: done.append(writer.call(lambda *_: "delivered")))
        calling.start()
        for _ in range(3000):
            if not calling.is_alive():
                break
            clock.advance(60.0)
            pause.wait(0.01)
        calling.join(10.0)
    assert done == ["delivered"]
    assert file.failing == 0

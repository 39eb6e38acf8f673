"""The locks of SQLite on the spool's file: another program that opens and closes it must not take the log away."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from clocks import ManualClock
from framesift.limits.local import LocalLimits
from framesift.spool import Spool, WhenFull, admin
from framesift.spool.read_connections import ReadConnections
from framesift.spool.spool_file import SpoolBounds, SpoolFile
from rigs.spools import RecordedReports, accepted, make_spool, put

_RETRY = """
import sys
from pathlib import Path
from framesift.clock.clock import SystemClock
from framesift.spool import admin
admin.retry(Path(sys.argv[1]), ["no such id"], SystemClock().now())
"""
_LIST = """
import sys
from pathlib import Path
from framesift.spool import admin
print(admin.list_rows(Path(sys.argv[1])))
"""


def open_and_close_elsewhere(path: Path) -> None:
    subprocess.run([sys.executable, "-c", _RETRY, str(path)], check=True, timeout=60)


@contextmanager
def opened(folder: Path, clock: ManualClock) -> Iterator[Spool]:
    spool = make_spool(folder, clock)
    spool.open()
    with closing(spool):
        yield spool


@pytest.mark.parametrize("is_new", [True, False])
def test_what_is_accepted_beside_a_command_is_in_the_file(tmp_path: Path, is_new: bool) -> None:
    clock = ManualClock()
    if not is_new:
        make_spool_once(tmp_path, clock)
    with opened(tmp_path, clock) as spool:
        spool.counts()
        put(spool, clock)
        log = (tmp_path / "spool.db-wal").stat().st_ino
        open_and_close_elsewhere(spool.path)
        assert (tmp_path / "spool.db-wal").stat().st_ino == log
        id = accepted(put(spool, clock))
        assert id in seen_elsewhere(spool.path)


def test_a_command_in_the_same_process_takes_no_locks_away(tmp_path: Path) -> None:
    clock = ManualClock()
    with opened(tmp_path, clock) as spool:
        put(spool, clock)
        admin.list_rows(spool.path)
        open_and_close_elsewhere(spool.path)
        assert accepted(put(spool, clock)) in seen_elsewhere(spool.path)


def test_a_file_that_is_opened_again_beside_readers_is_still_locked(tmp_path: Path) -> None:
    clock = ManualClock()
    make_spool_once(tmp_path, clock)
    path = tmp_path / "spool.db"
    readers = ReadConnections(path)
    bounds = SpoolBounds(2**28, 0, 8, WhenFull.REFUSE)
    file = SpoolFile(path, bounds, clock, LocalLimits(), readers, RecordedReports())
    file.lock()
    connection, _ = file.first_connection()
    assert connection is not None
    with readers.cursor() as cursor:
        cursor.execute("SELECT 1 FROM datapoint").fetchall()
        connection.close()
        connection = file.reopen(damaged=False)
        log = (tmp_path / "spool.db-wal").stat().st_ino
        open_and_close_elsewhere(path)
        assert (tmp_path / "spool.db-wal").stat().st_ino == log
    readers.reset()
    connection.close()
    file.unlock()


def test_a_closed_spool_leaves_no_descriptor_open(tmp_path: Path) -> None:
    clock = ManualClock()
    make_spool_once(tmp_path, clock)
    targets = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert not [target for target in targets if target.is_relative_to(tmp_path)]


def make_spool_once(folder: Path, clock: ManualClock) -> None:
    with opened(folder, clock) as spool:
        put(spool, clock)
        admin.list_rows(spool.path)


def seen_elsewhere(path: Path) -> str:
    command = [sys.executable, "-c", _LIST, str(path)]
    return subprocess.run(command, check=True, timeout=60, capture_output=True, text=True).stdout

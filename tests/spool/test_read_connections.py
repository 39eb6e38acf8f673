"""Connections that read: one for each thread at the same moment, and few of them when nobody reads."""

from __future__ import annotations

import gc
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier

from clocks import ManualClock
from framesift.spool.read_connections import MOST_IDLE, ReadConnections
from rigs.spools import make_spool, put

_READERS = 3 * MOST_IDLE


def test_many_readers_at_one_moment_leave_few_connections_open(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = make_spool(tmp_path, clock)
    spool.open()
    put(spool, clock)
    readers = ReadConnections(spool.path)
    met = Barrier(_READERS)

    def read(_: int) -> int:
        with readers.cursor() as cursor:
            met.wait(60)
            return int(cursor.execute("SELECT count(*) FROM datapoint").fetchone()[0])

    others = open_connections(spool.path)
    with ThreadPoolExecutor(_READERS) as threads:
        for _ in range(2):
            assert list(threads.map(read, range(_READERS))) == [1] * _READERS
            assert open_connections(spool.path) - others == MOST_IDLE
    readers.reset()
    assert open_connections(spool.path) == others
    spool.close()


def open_connections(path: Path) -> int:
    """How many connections to the file this process has open."""
    count = 0
    for one in gc.get_objects():
        if isinstance(one, sqlite3.Connection):
            with suppress(sqlite3.ProgrammingError):  # it is closed
                count += one.execute("PRAGMA database_list").fetchone()[2] == str(path)
    return count

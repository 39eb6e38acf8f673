"""Read-only connections: they see committed data and never wait for the writer."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from framesift.spool.database import connect_read_only
from framesift.spool.disk_errors import STORAGE_ERRORS, FailureKind, failure_kind
from framesift.spool.records import SpoolUnavailable

# Each keeps up to 2 MiB of pages until it is closed. One that is opened for a single query costs half a millisecond,
# but only where more threads than these read at one moment, as all streams do after a time in which nothing moved.
MOST_IDLE = 4


class ReadConnections:
    """A pool of connections, one for each thread that reads at the same time. Thread-safe.

    At most MOST_IDLE of them stay open when nobody uses them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._free: list[sqlite3.Connection] = []
        self._generation = 0

    @contextlib.contextmanager
    def cursor(self) -> Iterator[sqlite3.Cursor]:
        """A cursor for one query. Raises SpoolUnavailable if the file can't be opened, and the errors of the query."""
        with self._lock:
            generation = self._generation
            connection = self._free.pop() if self._free else None
        try:
            connection = connection or connect_read_only(self._path)
        except STORAGE_ERRORS as error:
            raise SpoolUnavailable(f"{self._path} can't be read: {error}") from None
        reusable = False
        try:
            yield connection.cursor()
            with self._lock:
                reusable = generation == self._generation and len(self._free) < MOST_IDLE
                if reusable:
                    self._free.append(connection)
        except sqlite3.Error as error:  # SQLite opens the log and its index with the first statement
            if failure_kind(error) is FailureKind.READ_ONLY:
                raise SpoolUnavailable(f"{self._path} can't be read: {error}") from None
            raise
        finally:
            if not reusable:  # also after an error: a failed connection is not used again
                connection.close()

    def reset(self) -> None:
        """Closes all connections, those in use after their query: the file was replaced, or the spool closes."""
        with self._lock:
            self._generation += 1
            free, self._free = self._free, []
        for connection in free:
            connection.close()

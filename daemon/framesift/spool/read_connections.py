"""Read-only connections: they see what is committed and never wait for the writer."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from framesift.spool.database import STORAGE_ERRORS, FailureKind, connect_read_only, failure_kind
from framesift.spool.records import SpoolUnavailable


class ReadConnections:
    """As many connections as threads read at the same time; a connection is used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._free: list[sqlite3.Connection] = []
        self._age = 0

    @contextlib.contextmanager
    def cursor(self) -> Iterator[sqlite3.Cursor]:
        """A cursor for one look. Raises SpoolUnavailable where none can be had; errors of statements pass."""
        with self._lock:
            age = self._age
            connection = self._free.pop() if self._free else None
        try:
            connection = connection or connect_read_only(self._path)
        except STORAGE_ERRORS as error:
            raise SpoolUnavailable(f"{self._path} can't be read: {error}") from None
        kept = False
        try:
            yield connection.cursor()
            with self._lock:
                kept = age == self._age
                if kept:
                    self._free.append(connection)
        except sqlite3.Error as error:  # the log and its index are opened with the first statement
            if failure_kind(error) is FailureKind.READ_ONLY:
                raise SpoolUnavailable(f"{self._path} can't be read: {error}") from None
            raise
        finally:
            if not kept:  # after an error, too: a failed connection isn't used again
                connection.close()

    def reset(self) -> None:
        """The file is another one now, or nobody reads any more: what is open is closed, at the latest after use."""
        with self._lock:
            self._age += 1
            free, self._free = self._free, []
        for connection in free:
            connection.close()

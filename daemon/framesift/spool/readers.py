"""Read-only connections, one per thread: they see what is committed and never wait for the writer."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from framesift.spool.file import connect_to_read
from framesift.spool.nouns import SpoolBroken


class Readers:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._age = 0

    @contextlib.contextmanager
    def cursor(self) -> Iterator[sqlite3.Cursor]:
        """A cursor of this thread's connection. Raises SpoolBroken where it can't be had; errors of statements pass."""
        try:
            cursor = self._connection().cursor()
        except sqlite3.Error as error:
            raise SpoolBroken(f"{self._path} can't be read: {error}") from None
        with contextlib.closing(cursor):
            yield cursor

    def renew(self) -> None:
        """The file is another one now, or the last connection to it must go: all threads open it anew."""
        with self._lock:
            self._age += 1
            # A thread may be in the middle of a statement: its connection closes with the thread's next look.
            self._open.clear()

    def close(self) -> None:
        """Closes every connection. Only when no thread reads any more."""
        with self._lock:
            self._age += 1
            for connection in self._open:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
            self._open.clear()

    def _connection(self) -> sqlite3.Connection:
        known: tuple[int, sqlite3.Connection] | None = getattr(self._local, "known", None)
        if known is not None:
            if known[0] == self._age:
                return known[1]
            known[1].close()
        connection = connect_to_read(self._path)
        with self._lock:
            self._open.append(connection)
            self._local.known = (self._age, connection)
        return connection

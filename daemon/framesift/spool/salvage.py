"""A damaged file: what can still be read of it is written to a new one, and the old one is moved aside and kept.

The new file takes the old one's place only when it is complete, so a program that is killed meanwhile begins again:

    spool.db.salvage    being written; worthless after a crash
    spool.db.salvaged   complete; from here on only names change

Rows that lie on damaged pages are lost (counted as buried, and still in the file that was moved aside); a row whose
picture is damaged is buried. If not every charge could be read, the windows that are open count as spent.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from framesift.limits import batch as batches
from framesift.limits.local import LocalLimits
from framesift.moment import Moment
from framesift.spool import file, rows
from framesift.spool.nouns import Report

_BATCH_ROWS = 50
_LIMITS_TABLES = ("charge", "late", "send", "carried", "batch_past", "batch_there", "seen")
_SMALL_TABLES = ("tally", "class_count")
# Each tree that names the rows, with its own order.
_TREES = (
    ("NOT INDEXED", "seq"),
    ("INDEXED BY datapoint_to_evict", "state, rank, seq"),
    ("INDEXED BY sqlite_autoindex_datapoint_1", "id"),
)


@dataclass(frozen=True, slots=True)
class Salvaged:
    """rows: datapoints that were saved, buried: of these, those without their picture. lost: those that can't be read.
    charges_known: whether every charge could be read."""

    rows: int
    buried: int
    lost: int
    charges_known: bool


def finish(path: Path) -> None:
    """If the program was killed just before the last change of names: makes it."""
    complete = file.beside(path, ".salvaged")
    if complete.exists() and not path.exists():
        complete.rename(path)


def salvage(path: Path, max_bytes: int, min_free_bytes: int, limits: LocalLimits, now: Moment, report: Report) -> None:
    """Replaces the damaged file. Raises sqlite3.Error, OSError."""
    draft, complete = file.beside(path, ".salvage"), file.beside(path, ".salvaged")
    for stale in (draft, complete, *(file.beside(draft, end) for end in ("-wal", "-shm"))):
        stale.unlink(missing_ok=True)
    with contextlib.closing(file.connect(draft, max_bytes)) as new, contextlib.closing(_Damaged(path)) as old:
        saved = _copy(old, new, min_free_bytes, draft.parent, limits, now)
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    folder = os.open(path.parent, os.O_RDONLY)  # where none can be had, nothing has changed yet
    try:
        draft.rename(complete)
        aside = file.move_aside(path, now.wall_s)
        complete.rename(path)
        os.fsync(folder)
    finally:
        os.close(folder)
    report(
        "spool_moved_aside",
        {
            "path": str(aside),
            "saved": saved.rows,
            "buried": saved.buried,
            "lost": saved.lost,
            "open_windows": "as charged" if saved.charges_known else "count as spent",
        },
    )


def _copy(
    old: _Damaged, new: sqlite3.Connection, min_free_bytes: int, folder: Path, limits: LocalLimits, now: Moment
) -> Salvaged:
    cursor = new.cursor()
    cursor.execute("BEGIN IMMEDIATE")
    whole = [_copy_table(old, cursor, table) for table in _LIMITS_TABLES]
    if not all(whole):
        limits.spend_open_windows(cursor, now)
    for table in _SMALL_TABLES:
        _copy_table(old, cursor, table)
    saved = buried = lost = 0
    for number, seq in enumerate(sorted(old.seqs())):
        if number % _BATCH_ROWS == 0:
            cursor.execute("COMMIT")
            cursor.execute("BEGIN IMMEDIATE")
        row = old.one("SELECT * FROM datapoint WHERE seq = ?", seq)
        image = old.one("SELECT * FROM image WHERE seq = ?", seq)
        size_bytes = len(image[3]) if image is not None and isinstance(image[3], bytes) else 0
        room = file.free_bytes(folder) > min_free_bytes + 4 * size_bytes
        if row is None or not room or not _insert(cursor, "datapoint", row):
            lost += 1
            continue
        saved += 1
        if image is None or not _insert(cursor, "image", image):
            buried += 1
            rows.bury(cursor, seq, "its picture lay on a damaged page")
    # Every row but a buried one holds a credit or waits for one, whose record may lie on a page that is gone.
    cursor.execute(
        "INSERT INTO charge (id, account, batch, at_s, granted_by, project)"
        " SELECT id, account, batch_key, captured_at_s,"
        " CASE WHEN EXISTS (SELECT 1 FROM late WHERE late.id = datapoint.id) THEN 'nobody' ELSE 'salvage' END,"
        " coalesce(project, '') FROM datapoint"
        " WHERE state <> 'buried' AND NOT EXISTS (SELECT 1 FROM charge WHERE charge.id = datapoint.id)"
    )
    if not all(whole):
        batches.mark_again(cursor)
    lost += old.unseen()
    rows.lost(cursor, lost)
    # Numbers must go on where the old file's ended: a row's place in the queue is its number.
    cursor.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'datapoint'", (old.last_seq(),))
    cursor.execute("COMMIT")
    return Salvaged(saved, buried, lost, all(whole))


def _copy_table(old: _Damaged, cursor: sqlite3.Cursor, table: str) -> bool:
    """True if every row came over."""
    whole = True
    for row in old.table(table):
        whole &= _insert(cursor, table, row)
    return whole and old.was_whole


def _insert(cursor: sqlite3.Cursor, table: str, row: tuple[object, ...]) -> bool:
    try:
        cursor.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, OverflowError):
        return False  # what was read isn't what was ever written
    except sqlite3.OperationalError as error:
        if file.trouble(error) is not file.Trouble.BUG:
            raise
        return False  # a table of another shape
    return True


class _Damaged:
    """Reads a damaged file without writing to it: what can't be read is left out."""

    def __init__(self, path: Path) -> None:
        self._connection = file.connect_to_read(path)
        # Without it SQLite reads nothing at all of a file that is shorter than it ought to be.
        self._connection.execute("PRAGMA writable_schema = ON")
        # All that is to be opened is opened now. Later, what can't be opened would be taken for what can't be read, and
        # every row for lost.
        try:
            self._connection.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.Error as error:
            if file.trouble(error) is file.Trouble.READ_ONLY:
                self._connection.close()
                raise
        self.was_whole = True
        self._seen = 0

    def close(self) -> None:
        self._connection.close()

    def table(self, name: str) -> Iterator[tuple[object, ...]]:
        self.was_whole = True
        try:
            yield from self._connection.execute(f"SELECT * FROM {name}")
        except (sqlite3.Error, UnicodeDecodeError):
            self.was_whole = False

    def one(self, sql: str, seq: int) -> tuple[object, ...] | None:
        try:
            row: tuple[object, ...] | None = self._connection.execute(sql, (seq,)).fetchone()
        except (sqlite3.Error, UnicodeDecodeError):
            return None
        return row

    def seqs(self) -> set[int]:
        """Numbers of all rows that any tree of the file still names, read from both of its ends."""
        found: set[int] = set()
        for tree, order in _TREES:
            # In the tree's own order: sorting would need all of it before the first answer.
            for direction in (order, ", ".join(f"{term} DESC" for term in order.split(", "))):
                try:
                    found.update(
                        int(row[0])
                        for row in self._connection.execute(f"SELECT seq FROM datapoint {tree} ORDER BY {direction}")
                    )
                except (sqlite3.Error, ValueError, TypeError):
                    continue
        self._seen = len(found)
        return found

    def unseen(self) -> int:
        """How many rows there must have been that no tree names any more, as far as the picture table tells."""
        try:
            pictures = int(self._connection.execute("SELECT count(*) FROM image").fetchone()[0])
        except sqlite3.Error:
            return 0
        return max(0, pictures - self._seen)

    def last_seq(self) -> int:
        try:
            row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'datapoint'").fetchone()
            return 0 if row is None else int(row[0])
        except (sqlite3.Error, ValueError, TypeError):
            return 0

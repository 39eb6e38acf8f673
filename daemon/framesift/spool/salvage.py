"""Salvage of a damaged file: everything readable is copied to a new file; the old one is moved aside and kept.

The new file replaces the old one only after it is complete. If the program is killed meanwhile, it starts again:

    spool.db.salvage    being written; worthless after a crash
    spool.db.salvaged   complete; from here on, only names change

Rows on damaged pages are lost (counted as buried, and still in the file that was moved aside). A row whose picture is
damaged is buried. If some charges can't be read, the open windows count as used up.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from framesift.atomic_files import synced_folder
from framesift.clock.moment import Moment
from framesift.limits import batch_size
from framesift.limits.local import LocalLimits
from framesift.spool import database, integrity, row_checks, rows
from framesift.spool.damaged_file import DamagedFile, Row
from framesift.spool.disk_errors import FailureKind, failure_kind
from framesift.spool.disk_reserve import free_bytes
from framesift.spool.records import EventReporter

_BATCH_ROWS = 50
# The small tables, each with the sort order of its B-tree.
_LIMITS_TABLES = {
    "carried": ("rowid",),  # first: it defines which dates of the other tables are quarantined
    "charge": ("id",),
    "late": ("id",),
    "send": ("seq",),
    "batch_past": ("batch",),
    "batch_there": ("batch",),
    "seen": ("one",),
}
_TABLES = {**_LIMITS_TABLES, "tally": ("exit",), "class_count": ("class",)}
_PICTURE = "picture (number, hash, prediction, bytes)"
_WITHOUT_REQUEST = (
    "SELECT seq FROM datapoint JOIN delivery USING (seq) JOIN charge USING (id)"
    " WHERE granted_by = 'nobody' AND state <> 'buried'"
    " AND NOT EXISTS (SELECT 1 FROM late WHERE late.id = datapoint.id)"
)


@dataclass(frozen=True, slots=True)
class SalvageResult:
    """What a salvage has copied.

    rows: datapoints in the new file. buried: those of them that can't be delivered. lost: datapoints that can't be
    read; the smallest possible number unless is_exact. charges_known: whether all charges could be read.
    """

    rows: int
    buried: int
    lost: int
    is_exact: bool
    charges_known: bool


def finish_interrupted(path: Path) -> None:
    """Completes a salvage that was killed just before its last rename. Raises OSError."""
    complete = database.sibling_path(path, ".salvaged")
    if complete.exists() and not path.exists():
        complete.rename(path)


def salvage(
    path: Path, max_bytes: int, min_free_bytes: int, limits: LocalLimits, now: Moment, report: EventReporter
) -> None:
    """Replaces the damaged file by a new one with its readable content. Raises sqlite3.Error, OSError."""
    draft, complete = database.sibling_path(path, ".salvage"), database.sibling_path(path, ".salvaged")
    for stale in (draft, complete):
        database.remove_database(stale)
    with contextlib.closing(database.connect(draft, max_bytes)) as new, contextlib.closing(DamagedFile(path)) as old:
        saved = _copy(old, new, min_free_bytes, draft.parent, limits, now)
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with synced_folder(path.parent):
        draft.rename(complete)
        aside = database.move_aside(path, now.wall_s)
        complete.rename(path)
    report(
        "spool_moved_aside",
        {
            "path": str(aside),
            "saved": saved.rows,
            "buried": saved.buried,
            "lost": saved.lost if saved.is_exact else f"at least {saved.lost}",
            "open_windows": "as charged" if saved.charges_known else "count as used up",
        },
    )


def _copy(
    old: DamagedFile, new: sqlite3.Connection, min_free_bytes: int, folder: Path, limits: LocalLimits, now: Moment
) -> SalvageResult:
    cursor = new.cursor()
    cursor.execute("BEGIN IMMEDIATE")
    for table, order in _TABLES.items():
        for small in old.read_table(table, order):
            _insert(cursor, table, small)
        cursor.execute(f"DELETE FROM {table} WHERE {integrity.INVALID_VALUES[table]}")
    # A table that differs from its indexes may have lost or changed rows without an error.
    charges_known = all(old.is_intact(table) for table in _LIMITS_TABLES)
    if not charges_known:
        limits.exhaust_open_windows(cursor, now)
    saved = _Rows(old, cursor, folder, min_free_bytes)
    saved.copy()
    # A row that waits for quota, but whose request is lost, would wait forever.
    for (seq,) in cursor.execute(_WITHOUT_REQUEST).fetchall():
        saved.bury(seq, "it waits for quota, and its request was on a damaged page")
    # Each row that is not buried has quota or waits for it; the record of this may be on a damaged page.
    cursor.execute(
        "INSERT INTO charge (id, account, batch, at_s, granted_by, project)"
        " SELECT id, account, batch_key, captured_at_s,"
        " CASE WHEN EXISTS (SELECT 1 FROM late WHERE late.id = datapoint.id) THEN 'nobody' ELSE 'salvage' END,"
        " coalesce(project, '') FROM datapoint JOIN delivery USING (seq)"
        " WHERE state <> 'buried' AND NOT EXISTS (SELECT 1 FROM charge WHERE charge.id = datapoint.id)"
    )
    cursor.execute("DELETE FROM late WHERE NOT EXISTS (SELECT 1 FROM datapoint WHERE datapoint.id = late.id)")
    if not charges_known:
        batch_size.refresh_left_spool_counts(cursor)
    rows.count_lost(cursor, saved.lost)
    # Row numbers must continue after those of the old file, because they are the order in the queue.
    cursor.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'datapoint'", (old.last_seq(),))
    cursor.execute("COMMIT")
    return SalvageResult(len(saved.saved), saved.buried, saved.lost, old.all_rows_known, charges_known)


class _Rows:
    """Copies the datapoints in transactions of `cursor`. lost: the number that existed but could not be copied."""

    def __init__(self, old: DamagedFile, cursor: sqlite3.Cursor, folder: Path, min_free_bytes: int) -> None:
        self._old = old
        self._cursor = cursor
        self._folder = folder
        self._min_free_bytes = min_free_bytes
        self._columns = [str(column[1]) for column in cursor.execute("PRAGMA table_info(datapoint)").fetchall()]
        self._no_picture: set[int] = set()
        self.saved: set[int] = set()
        self.buried = self.lost = 0

    def copy(self) -> None:
        old = self._old
        old.read_names()
        self._seq_of = {id: seq for seq, id in old.id_by_seq.items()}
        for row in old.read_table("datapoint NOT INDEXED", ("seq",)):
            self._copy_row(row)
        for seq in sorted(old.name_counts.keys() - self.saved):
            found = old.read_row("datapoint", seq)
            if found is not None:
                self._copy_row(found)
        # A picture that no search finds may exist all the same.
        for picture in old.read_unindexed(self._no_picture):
            if _insert(self._cursor, _PICTURE, picture):
                self._no_picture.discard(picture[0])
        for seq in sorted(self._no_picture):
            self.bury(seq, "its picture was on a damaged page")
        # A row that is in one tree only may never have existed.
        self.lost = sum(number > 1 and seq not in self.saved for seq, number in old.name_counts.items())

    def bury(self, seq: int, why: str) -> None:
        rows.bury(self._cursor, seq, why)
        self.buried += 1

    def _copy_row(self, row: Row) -> None:
        old = self._old
        if len(row) != len(self._columns):
            return  # a row of an older format
        values = dict(zip(self._columns, row, strict=True))
        seq, id = values["seq"], values["id"]
        if seq not in old.name_counts and old.all_names_read:
            seq = values["seq"] = self._seq_of.get(id)  # its number is damaged, or the row never existed
        if not isinstance(seq, int) or seq in self.saved:
            return
        other = old.id_by_seq.get(seq, id)
        if other != id and self._is_charged(other) and not self._is_charged(id):
            values["id"] = other
        picture = old.read_picture(seq)
        size_bytes = len(picture[3]) if picture is not None and isinstance(picture[3], bytes) else 0
        if len(self.saved) % _BATCH_ROWS == 0:
            self._cursor.execute("COMMIT")
            self._cursor.execute("BEGIN IMMEDIATE")
        if free_bytes(self._folder) <= self._min_free_bytes + 4 * size_bytes:
            return
        why = row_checks.damage_of_facts(values)
        tries = (values, row_checks.without_damage(values))
        if not any(_insert(self._cursor, "datapoint", tuple(some.values())) for some in tries):
            return
        self.saved.add(seq)
        state = old.read_row("delivery", seq)
        if state is None or not row_checks.state_is_whole(state) or not _insert(self._cursor, "delivery", state):
            why, state = why or "the record of its delivery was on a damaged page", None
        if why is not None:
            rows.bury(self._cursor, seq, f"it can't be read: {why}")
            self.buried += state is None or "buried" not in state
        if picture is None or not _insert(self._cursor, _PICTURE, picture):
            self._no_picture.add(seq)

    def _is_charged(self, id: object) -> bool:
        return self._cursor.execute("SELECT 1 FROM charge WHERE id = ?", (id,)).fetchone() is not None


def _insert(cursor: sqlite3.Cursor, table: str, row: Row) -> bool:
    try:
        cursor.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, OverflowError):
        return False  # a value that is never written
    except sqlite3.OperationalError as error:
        if failure_kind(error) is not FailureKind.BUG:
            raise
        return False  # a table with other columns
    return True

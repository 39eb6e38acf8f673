"""Room in the spool: what it may take of the disk, and who gives way when it has taken it.

Live pages and the write-ahead log stay under `max_bytes`, and nothing is written that would leave less than
`min_free_bytes` on the disk. Pages of deleted rows are used again, so a spool that evicts doesn't grow.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from framesift.limits.shared import pending as late
from framesift.spool.database import free_bytes, is_damage, sibling_path
from framesift.spool.records import FinalOutcome, SpoolFull, WhenFull

_ROW_PAGES = 12  # what a row costs beside its picture: leaves of the tables and indexes that it touches
_VICTIM_PAGES = 8  # the same, for a row that goes; the pages of its picture are only given back
_VICTIMS = {
    WhenFull.EVICT_LOWEST: "SELECT seq, rank > ? FROM datapoint INDEXED BY datapoint_to_evict"
    " WHERE state = ? ORDER BY rank, seq LIMIT 1",
    WhenFull.EVICT_OLDEST: "SELECT seq, rank > ? FROM datapoint NOT INDEXED WHERE state = ? ORDER BY seq LIMIT 1",
}


@dataclass(frozen=True, slots=True)
class SpaceBudget:
    """What a transaction may use, measured before it begins.

    wal_used_bytes: the part of the log that the next transaction can't write over.
    """

    max_bytes: int
    min_free_bytes: int
    free_bytes: int
    file_bytes: int
    wal_bytes: int
    wal_used_bytes: int
    page_bytes: int


def measure(
    connection: sqlite3.Connection, path: Path, needed_bytes: int, *, max_bytes: int, min_free_bytes: int
) -> SpaceBudget:
    """Looks at the disk; where it is tight the log is emptied first, so that it can be written over."""
    page_bytes = _pragma(connection, "page_size")
    wal = sibling_path(path, "-wal")
    wal_bytes = wal.stat().st_size if wal.exists() else 0
    live_bytes = live_pages(connection) * page_bytes
    used_bytes = wal_bytes
    free = free_bytes(path.parent)
    wanted_bytes = 2 * needed_bytes + 64 * page_bytes
    if live_bytes + wal_bytes + wanted_bytes > max_bytes or free - wanted_bytes < min_free_bytes:
        busy = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0]
        used_bytes = wal_bytes if busy else 0
        free = free_bytes(path.parent)
    return SpaceBudget(max_bytes, min_free_bytes, free, path.stat().st_size, wal_bytes, used_bytes, page_bytes)


def live_pages(connection: sqlite3.Connection | sqlite3.Cursor) -> int:
    return _pragma(connection, "page_count") - _pragma(connection, "freelist_count")


def pages_needed(size_bytes: int, page_bytes: int) -> int:
    """Pages that a row with so many bytes beside it takes, at most."""
    return size_bytes // (page_bytes - 4) + 1 + _ROW_PAGES


class Transaction:
    """Hands out room to the rows of one transaction."""

    def __init__(self, space: SpaceBudget) -> None:
        self._space = space
        self._written_pages = 0
        self._victims = 0
        self._structure_pages: int | None = None
        self.evicted = 0
        # What to tell the log once it is committed.
        self.events: list[tuple[str, dict[str, object]]] = []

    def make_room(self, cursor: sqlite3.Cursor, size_bytes: int, rank: float, when_full: WhenFull) -> None:
        """Room for a row of `size_bytes` and value `rank`. Raises SpoolFull (the caller then rolls back)."""
        need = pages_needed(size_bytes, self._space.page_bytes)
        if not self._could_fit(need):
            raise SpoolFull(f"{size_bytes} bytes don't fit: {self._why(cursor)}")
        gone = 0
        while not self._fits(cursor, need):
            victim = None if when_full is WhenFull.REFUSE else _victim(cursor, when_full, rank)
            if victim is None:
                raise SpoolFull(self._why(cursor))
            remove_row(cursor, victim, FinalOutcome.EVICTED)
            gone += 1
            self._victims += 1
        self._written_pages += need
        self.evicted += gone

    def _could_fit(self, need: int) -> bool:
        """Whether it would fit if everything else were gone: otherwise nobody is evicted for it."""
        space = self._space
        return 2 * need * space.page_bytes <= space.max_bytes and self._disk_allows(
            0, self._space.wal_used_bytes + self._log_bytes(self._written_pages + need)
        )

    def _fits(self, cursor: sqlite3.Cursor, need: int) -> bool:
        space = self._space
        page_count, free_pages = _pragma(cursor, "page_count"), _pragma(cursor, "freelist_count")
        wal_bytes = max(space.wal_bytes, self._wal_after(cursor, need))
        if (page_count - free_pages + need) * space.page_bytes + wal_bytes > space.max_bytes:
            return False
        pages_after = page_count + max(0, need - free_pages)
        growth_bytes = pages_after * space.page_bytes - space.file_bytes
        return self._disk_allows(growth_bytes, self._wal_after(cursor, need))

    def _disk_allows(self, growth_bytes: int, wal_after_bytes: int) -> bool:
        space = self._space
        taken_bytes = max(0, growth_bytes) + max(0, wal_after_bytes - space.wal_bytes)
        return taken_bytes == 0 or space.free_bytes - taken_bytes >= space.min_free_bytes

    def _wal_after(self, cursor: sqlite3.Cursor, need: int) -> int:
        """The log's size once this row and all before it are committed, at most."""
        pages = self._victims * _VICTIM_PAGES
        if self._victims > 8:  # many small ones lie on the same pages: no more are written than there are
            if self._structure_pages is None:
                pictures = cursor.execute("SELECT coalesce(sum(size_bytes), 0) FROM datapoint").fetchone()[0]
                self._structure_pages = live_pages(cursor) - int(pictures) // self._space.page_bytes
            pages = min(pages, self._structure_pages)
        return self._space.wal_used_bytes + self._log_bytes(self._written_pages + pages + need)

    def _log_bytes(self, pages: int) -> int:
        return pages * (self._space.page_bytes + 24)

    def _why(self, cursor: sqlite3.Cursor) -> str:
        space = self._space
        live_bytes = live_pages(cursor) * space.page_bytes
        return (
            f"{live_bytes} bytes are in use, {space.wal_bytes} in the log, of max_bytes = {space.max_bytes};"
            f" {space.free_bytes} are free on the disk, min_free_bytes = {space.min_free_bytes}"
        )


def remove_row(cursor: sqlite3.Cursor, seq: int, exit: FinalOutcome) -> None:
    """Deletes a row and its picture, and counts the exit, in the caller's transaction."""
    try:
        cursor.execute("DELETE FROM image WHERE seq = ?", (seq,))
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise  # a damaged picture stays behind without a row: the space is lost, not the file
    row = cursor.execute("SELECT id FROM datapoint WHERE seq = ?", (seq,)).fetchone()
    if row is not None:
        late.delete_pending(cursor, row[0])
    cursor.execute("DELETE FROM datapoint WHERE seq = ?", (seq,))
    count_outcome(cursor, exit, 1)


def count_outcome(cursor: sqlite3.Cursor, exit: FinalOutcome, number: int) -> None:
    cursor.execute(
        "INSERT INTO tally (exit, number) VALUES (?1, ?2) ON CONFLICT (exit) DO UPDATE SET number = number + ?2",
        (exit.value, number),
    )


def _victim(cursor: sqlite3.Cursor, when_full: WhenFull, rank: float) -> int | None:
    """Buried rows first: nobody delivers them by itself. Then those that wait, and at last those of which only the
    prediction is missing. Never one that is being sent, nor, for the value's sake, one that is worth more.
    """
    for state in ("buried", "ready", "registered"):
        row = cursor.execute(_VICTIMS[when_full], (rank, state)).fetchone()
        if row is None or (when_full is WhenFull.EVICT_LOWEST and state != "buried" and row[1]):
            continue
        return int(row[0])
    return None


def _pragma(connection: sqlite3.Connection | sqlite3.Cursor, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])

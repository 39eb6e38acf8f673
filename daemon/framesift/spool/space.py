"""Space in the spool: how much of the disk it may use, and which rows are evicted when it is full.

Live pages and the write-ahead log stay under `max_bytes`, and no write leaves less than `min_free_bytes` free on the
disk. Pages of deleted rows are used again, so a spool that evicts does not grow.
"""

from __future__ import annotations

import math
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from framesift.limits.shared import pending
from framesift.spool import checksums, signatures
from framesift.spool.database import sibling_path
from framesift.spool.delivery import SINK
from framesift.spool.disk_errors import is_damage
from framesift.spool.disk_reserve import free_bytes
from framesift.spool.records import FinalOutcome, SpoolFull, WhenFull

_ROW_PAGES = 24  # pages for a row beside its picture: leaves of the tables and indexes that it changes
_VICTIM_PAGES = 12  # the same for an evicted row; the pages of its picture are only marked as free
_FEW_ROWS = 200  # whose sizes are added up in no time
# Pages beside those that become free when signatures are deleted, and what each has in their index.
_SIGNATURE_PAGES, _SIGNATURE_INDEX_BYTES = 4, 96
_VICTIMS = {
    WhenFull.EVICT_LOWEST: "SELECT seq, rank > ? FROM delivery INDEXED BY delivery_to_evict"
    f" WHERE sink = '{SINK}' AND state = ? AND state <> 'sending' ORDER BY rank, seq LIMIT 1",
    WhenFull.EVICT_OLDEST: "SELECT seq, rank > ? FROM delivery NOT INDEXED WHERE state = ? ORDER BY seq LIMIT 1",
}


@dataclass(frozen=True, slots=True)
class SpaceBudget:
    """The space that a transaction may use, measured before it begins.

    free_bytes: free on the disk. file_bytes: size of the database file. wal_bytes: size of the write-ahead log.
    wal_used_bytes: the part of it that the next transaction can't overwrite. page_bytes: size of a page.
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
    """Measures the space for a transaction that adds `needed_bytes`. If it is short, empties the log first."""
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


def measure_unopened(connection: sqlite3.Connection, path: Path, *, max_bytes: int, min_free_bytes: int) -> SpaceBudget:
    """Measures the space that the first transaction after a start will have: the log is empty then, and has no file."""
    page_bytes = _pragma(connection, "page_size")
    file_bytes = _pragma(connection, "page_count") * page_bytes
    return SpaceBudget(max_bytes, min_free_bytes, free_bytes(path.parent), file_bytes, 0, 0, page_bytes)


def live_pages(connection: sqlite3.Connection | sqlite3.Cursor) -> int:
    """Pages in use: all pages without the free ones."""
    return _pragma(connection, "page_count") - _pragma(connection, "freelist_count")


def pages_needed(size_bytes: int, page_bytes: int) -> int:
    """The most pages that a row with a picture and prediction of `size_bytes` needs."""
    return size_bytes // (page_bytes - 4) + 1 + _ROW_PAGES


class Transaction:
    """Space and log events of one transaction.

    max_bytes: of the spool. evicted: rows evicted so far. events: log events that are reported after the commit.
    """

    def __init__(self, space: SpaceBudget) -> None:
        self._space = space
        self._written_pages = 0
        self._victims = 0
        self._structure_pages: int | None = None
        self.max_bytes = space.max_bytes
        self.evicted = 0
        self.events: list[tuple[str, dict[str, object]]] = []

    def make_room(self, cursor: sqlite3.Cursor, size_bytes: int, rank: float, when_full: WhenFull) -> None:
        """Makes room for a row of `size_bytes` and `rank`.

        What is held is dropped first, then rows are evicted, or else signatures of near duplicates deleted. Raises
        SpoolFull (the caller then rolls back).
        """
        need = pages_needed(size_bytes, self._space.page_bytes)
        if not self._could_fit(need):
            why = f"{size_bytes} bytes don't fit: {self._why(cursor)}"
            raise SpoolFull(why, only_this=self._is_too_large(need), size_bytes=size_bytes, rank=rank)
        evicted = 0
        while not self._fits(cursor, need):
            if delete_lowest_held(cursor):
                self._written_pages += _VICTIM_PAGES
                continue
            victim = None if when_full is WhenFull.REFUSE else _victim(cursor, when_full, rank)
            if victim is None and (deleted := signatures.delete_older_half(cursor)):
                self._written_pages += _SIGNATURE_PAGES + deleted * _SIGNATURE_INDEX_BYTES // self._space.page_bytes
                continue
            if victim is None:
                # With other scores: what it holds is better than this one, but may be worse than the next.
                by_rank = when_full is WhenFull.EVICT_LOWEST and _victim(cursor, when_full, math.inf) is not None
                raise SpoolFull(self._why(cursor), only_this=by_rank, size_bytes=size_bytes, rank=rank)
            remove_row(cursor, victim, FinalOutcome.EVICTED)
            evicted += 1
            self._victims += 1
        self._written_pages += need
        self.evicted += evicted

    def take_free_room(self, cursor: sqlite3.Cursor, size_bytes: int) -> None:
        """Takes room for a row that is no datapoint: only what is free. Raises SpoolFull."""
        need = pages_needed(size_bytes, self._space.page_bytes)
        if not self._could_fit(need) or not self._fits(cursor, need):
            raise SpoolFull(self._why(cursor), only_this=True, size_bytes=size_bytes)
        self._written_pages += need

    def obstacle(self, cursor: sqlite3.Cursor, size_bytes: int, when_full: WhenFull) -> str | None:
        """Return why a row of this size and the best rank would be refused; None if it would not. Changes nothing."""
        need = pages_needed(size_bytes, self._space.page_bytes)
        if not self._could_fit(need):
            return self._why(cursor)
        may_evict = when_full is not WhenFull.REFUSE and _victim(cursor, when_full, math.inf) is not None
        if may_evict or self._fits(cursor, need) or has_any_held(cursor):
            return None
        of_signatures = signatures.pages_held(cursor, self._space.page_bytes)
        return None if self._fits(cursor, need, of_signatures) else self._why(cursor)

    def _could_fit(self, need: int) -> bool:
        """Whether it would fit into an empty spool: otherwise no row is evicted for it."""
        wal_after_bytes = self._space.wal_used_bytes + self._log_bytes(self._written_pages + need)
        return not self._is_too_large(need) and self._disk_allows(0, wal_after_bytes)

    def _is_too_large(self, need: int) -> bool:
        return 2 * need * self._space.page_bytes > self._space.max_bytes

    def _fits(self, cursor: sqlite3.Cursor, need: int, freed: int = 0) -> bool:
        """freed: pages that would be free then, beside those that are."""
        space = self._space
        page_count, free_pages = _pragma(cursor, "page_count"), _pragma(cursor, "freelist_count") + freed
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
        """The largest size of the log after this row and all before it are committed."""
        pages = self._victims * _VICTIM_PAGES
        if self._victims > 8:  # many small rows share pages: not more pages are written than exist
            if self._structure_pages is None:
                self._structure_pages = live_pages(cursor) - _picture_bytes(cursor) // self._space.page_bytes
            pages = min(pages, self._structure_pages)
        return self._space.wal_used_bytes + self._log_bytes(self._written_pages + pages + need)

    def _log_bytes(self, pages: int) -> int:
        return pages * (self._space.page_bytes + 24)

    def _why(self, cursor: sqlite3.Cursor) -> str:
        space = self._space
        live_bytes = live_pages(cursor) * space.page_bytes
        counting_bytes = 0
        if not cursor.execute(
            "SELECT 1 FROM datapoint LIMIT 1 OFFSET ?", (_FEW_ROWS,)
        ).fetchone():  # else it takes long
            counting_bytes = live_bytes - _picture_bytes(cursor)
        counting = f" ({counting_bytes} to count what was collected in the last three days)"
        return (
            f"{live_bytes} bytes are in use{counting if 4 * counting_bytes > space.max_bytes else ''},"
            f" {space.wal_bytes} in the log, of max_bytes = {space.max_bytes};"
            f" {space.free_bytes} are free on the disk, min_free_bytes = {space.min_free_bytes}"
        )


def _picture_bytes(cursor: sqlite3.Cursor) -> int:
    """The size of all pictures with their predictions."""
    return int(cursor.execute("SELECT coalesce(sum(size_bytes), 0) FROM datapoint").fetchone()[0])


def remove_row(cursor: sqlite3.Cursor, seq: int, outcome: FinalOutcome) -> None:
    """Deletes a row with its picture and pending quota, and counts the outcome, in the caller's transaction."""
    try:
        cursor.execute("DELETE FROM picture WHERE number = ?", (seq,))
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise  # a damaged picture stays without a row: only its space is lost
    row = cursor.execute("SELECT id FROM datapoint WHERE seq = ?", (seq,)).fetchone()
    if row is not None:
        pending.delete_pending(cursor, row[0])
    cursor.execute("DELETE FROM delivery WHERE seq = ?", (seq,))
    cursor.execute("DELETE FROM datapoint WHERE seq = ?", (seq,))
    count_outcome(cursor, outcome, 1)


def count_outcome(cursor: sqlite3.Cursor, outcome: FinalOutcome, number: int) -> None:
    """Adds to the number of rows that left with this outcome. A number that is damaged stays known as damaged."""
    whole = cursor.execute(
        f"SELECT {checksums.IS_WHOLE['tally']} FROM tally WHERE exit = ?", (outcome.value,)
    ).fetchone()
    cursor.execute(
        "INSERT INTO tally (exit, number) VALUES (?, ?)"
        " ON CONFLICT (exit) DO UPDATE SET number = number + excluded.number",
        (outcome.value, number),
    )
    if whole is None or whole[0]:
        checksums.seal(cursor, "tally", "exit = ?", (outcome.value,))


def delete_lowest_held(cursor: sqlite3.Cursor) -> bool:
    """Deletes the held frame with the lowest score. Returns False if none is held."""
    lowest = "SELECT number FROM held ORDER BY score, number LIMIT 1"
    return cursor.execute(f"DELETE FROM held WHERE number = ({lowest})").rowcount > 0


def has_any_held(cursor: sqlite3.Cursor) -> bool:
    """Whether a frame is held."""
    return cursor.execute("SELECT 1 FROM held LIMIT 1").fetchone() is not None


def _victim(cursor: sqlite3.Cursor, when_full: WhenFull, rank: float) -> int | None:
    """The row to evict (seq), None if there is none.

    Buried rows first, because they wait for an operator; then `ready` ones, at last those of which only the prediction
    is missing. Never a row that is being sent, and with EVICT_LOWEST none with a higher rank than the new one.
    """
    for state in ("buried", "ready", "registered"):
        row = cursor.execute(_VICTIMS[when_full], (rank, state)).fetchone()
        if row is None or (when_full is WhenFull.EVICT_LOWEST and state != "buried" and row[1]):
            continue
        return int(row[0])
    return None


def _pragma(connection: sqlite3.Connection | sqlite3.Cursor, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])

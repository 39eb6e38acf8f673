"""Salvage of a damaged file: everything readable is copied to a new file; the old one is moved aside and kept.

The new file replaces the old one only after it is complete. If the program is killed meanwhile, it starts again:

    spool.db.salvage    being written; worthless after a crash
    spool.db.salvaged   complete; from here on, only names change

A datapoint that can't be read is lost: counted as buried, and still in the file that was moved aside. One whose
picture can't be read is buried. If some charges can't be read, the open windows count as used up.
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
from framesift.spool import checksums, database, integrity, taken
from framesift.spool.accounting import Losses, count_losses
from framesift.spool.damaged_file import DamagedFile
from framesift.spool.records import EventReporter
from framesift.spool.salvaged_rows import SalvagedRows, insert

# carried comes first: it defines which dates of the other tables are quarantined.
_LIMITS_TABLES = ("carried", "charge", "late", "send", "batch_past", "batch_there", "seen")
_OTHER_TABLES = ("class_count", "signature", "held")
_GRANTED = {"granted_by": "salvage", "shared_at_s": None, "told": None}
_WITHOUT_REQUEST = (
    "SELECT seq FROM datapoint JOIN delivery USING (seq) JOIN charge USING (id)"
    " WHERE granted_by = 'nobody' AND state <> 'buried'"
    " AND NOT EXISTS (SELECT 1 FROM late WHERE late.id = datapoint.id)"
)


@dataclass(frozen=True, slots=True)
class SalvageResult:
    """What a salvage has copied.

    seqs: numbers of the datapoints in the new file. buried: those of them that can't be delivered, and could be before.
    losses: those that can't be read. charges_known: whether all charges could be read.
    """

    seqs: set[int]
    buried: int
    losses: Losses
    charges_known: bool


def finish_interrupted(path: Path) -> None:
    """Completes a salvage that was killed just before its last rename. Raises OSError."""
    _, complete = _drafts(path)
    if complete.exists() and not path.exists():
        complete.rename(path)


def _drafts(path: Path) -> tuple[Path, Path]:
    return database.sibling_path(path, ".salvage"), database.sibling_path(path, ".salvaged")


def interrupted_drafts(path: Path) -> list[Path]:
    """Copies of rows and pictures that a salvage left when it was killed; the next one begins anew. Raises OSError."""
    return [draft for draft in _drafts(path) if draft.exists()]


def remove_drafts(path: Path) -> None:
    """Removes them, for whoever keeps other processes from a salvage, after `finish_interrupted`. Raises OSError."""
    for stale in _drafts(path):
        database.remove_database(stale)


def salvage(
    path: Path, max_bytes: int, min_free_bytes: int, limits: LocalLimits, now: Moment, report: EventReporter
) -> None:
    """Replaces the damaged file by a new one with its readable content. Raises sqlite3.Error, OSError."""
    draft, complete = _drafts(path)
    remove_drafts(path)
    with contextlib.closing(database.connect(draft, max_bytes)) as new, contextlib.closing(DamagedFile(path)) as old:
        saved = _copy(old, new, min_free_bytes, draft.parent, limits, now)
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with synced_folder(path.parent):
        draft.rename(complete)
        aside = database.move_aside(path, now.wall_s)
        complete.rename(path)
    with contextlib.suppress(OSError):  # then `recover` looks at the spool alone
        taken.write(taken.path_beside(aside), saved.seqs)
    report(
        "spool_moved_aside",
        {
            "path": str(aside),
            "saved": len(saved.seqs),
            "buried": saved.buried,
            "lost": saved.losses.number if saved.losses.is_exact else f"at least {saved.losses.number}",
            "open_windows": "as charged" if saved.charges_known else "count as used up",
        },
    )


def _copy(
    old: DamagedFile, new: sqlite3.Connection, min_free_bytes: int, folder: Path, limits: LocalLimits, now: Moment
) -> SalvageResult:
    cursor = new.cursor()
    cursor.execute("BEGIN IMMEDIATE")
    # A table that differs from its indexes may have lost or changed rows without an error.
    charges_known = all(old.tables[table].is_whole and old.is_as_indexed(table) for table in _LIMITS_TABLES)
    for table in _LIMITS_TABLES:
        charges_known &= _copy_limits(old, cursor, table)
    for table in _OTHER_TABLES:
        for values, is_whole in old.rows(table):
            if is_whole:
                insert(cursor, table, values)
    cursor.execute(f"DELETE FROM class_count WHERE {integrity.INVALID_VALUES['class_count']}")
    saved = SalvagedRows(old, cursor, folder, min_free_bytes)
    saved.copy()
    if not charges_known:
        limits.exhaust_open_windows(cursor, now)
    _mend_charges(cursor)
    # A row that waits for quota, but whose request is lost, would wait forever.
    for (seq,) in cursor.execute(_WITHOUT_REQUEST).fetchall():
        saved.bury(seq, "it waits for quota, and its request was on a damaged page")
    if not charges_known:
        batch_size.refresh_left_spool_counts(cursor)
    losses = count_losses(cursor, old, len(saved.saved))
    cursor.execute("COMMIT")
    return SalvageResult(saved.saved, saved.buried, losses, charges_known)


def _copy_limits(old: DamagedFile, cursor: sqlite3.Cursor, table: str) -> bool:
    """Copies a table of the limits. Returns whether all rows could be copied. A damaged charge counts all the same."""
    columns, are_copied = old.columns(table), True
    for values, _ in old.rows(table):
        if insert(cursor, table, values):
            continue
        if table == "charge":  # that it was granted matters, not by whom
            values = tuple(_GRANTED.get(name, value) for name, value in zip(columns, values, strict=True))
        are_copied &= table == "charge" and insert(cursor, table, values)
    if table in checksums.SUMS:
        checksums.seal(cursor, table, "true", ())
    return are_copied and not cursor.execute(f"DELETE FROM {table} WHERE {integrity.INVALID_VALUES[table]}").rowcount


def _mend_charges(cursor: sqlite3.Cursor) -> None:
    """What a charge says is what its datapoint says: its facts have a checksum of their own, and are never changed."""
    facts = "datapoint JOIN delivery USING (seq) WHERE datapoint.id = {0}.id AND state <> 'buried'"
    cursor.execute(
        "UPDATE charge SET (account, batch, project) = (SELECT account, batch_key, coalesce(project, '') FROM datapoint"
        " WHERE datapoint.id = charge.id)"
        f" WHERE EXISTS (SELECT 1 FROM {facts.format('charge')})"
    )
    # Each row that is not buried has quota or waits for it; the record of this may be on a damaged page.
    cursor.execute(
        "INSERT INTO charge (id, account, batch, at_s, granted_by, project)"
        " SELECT id, account, batch_key, captured_at_s,"
        " CASE WHEN EXISTS (SELECT 1 FROM late WHERE late.id = datapoint.id) THEN 'nobody' ELSE 'salvage' END,"
        " coalesce(project, '') FROM datapoint JOIN delivery USING (seq)"
        " WHERE state <> 'buried' AND NOT EXISTS (SELECT 1 FROM charge WHERE charge.id = datapoint.id)"
    )
    checksums.seal(cursor, "charge", "true", ())
    cursor.execute("DELETE FROM late WHERE NOT EXISTS (SELECT 1 FROM datapoint WHERE datapoint.id = late.id)")
    cursor.execute(
        "DELETE FROM late WHERE EXISTS (SELECT 1 FROM charge WHERE charge.id = late.id AND granted_by <> 'nobody')"
    )

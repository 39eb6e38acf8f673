"""How many datapoints a labelling batch holds: those of our own, and, where the platform was asked, all the others.

The platform counts what is there: others' images, and ours as far as they have arrived. So its number takes the place
of our own for everything that has left the spool or is registered there (`mark`), and what still waits here is added:

    use = charges now + (images there - mark)        mark: taken before the platform is asked, never after

What is delivered while the platform is asked may be counted twice, until it is asked again; nothing is left out. What
was evicted or dropped counts only until then.
"""

from __future__ import annotations

import sqlite3

TABLES = """
-- Charges of a batch whose rows were pruned.
CREATE TABLE batch_past (batch TEXT PRIMARY KEY, images INTEGER NOT NULL) WITHOUT ROWID;

-- What the platform last said of a batch: the images there, and our own charges that were then no longer on their way.
CREATE TABLE batch_there (
    batch TEXT PRIMARY KEY, images INTEGER NOT NULL, mark INTEGER NOT NULL, asked_at_s REAL NOT NULL
) WITHOUT ROWID;
"""

RETENTION_S = 90 * 86400.0  # how long an answer is kept: a device may be without a network for long

_MARK = (
    "(SELECT count(*) FROM charge WHERE charge.batch = {batch} AND NOT EXISTS"
    " (SELECT 1 FROM datapoint WHERE datapoint.id = charge.id AND datapoint.image_id IS NULL))"
    " + coalesce((SELECT images FROM batch_past WHERE batch = {batch}), 0)"
)


def batch_size(cursor: sqlite3.Cursor, batch: str) -> int:
    """How many datapoints the batch holds, or will hold once all that were accepted have arrived."""
    row = cursor.execute(
        "SELECT (SELECT count(*) FROM charge WHERE batch = ?1)"
        " + coalesce((SELECT images FROM batch_past WHERE batch = ?1), 0)"
        " + coalesce((SELECT images - mark FROM batch_there WHERE batch = ?1), 0)",
        (batch,),
    ).fetchone()
    return int(row[0])


def charged_count(cursor: sqlite3.Cursor, batch: str) -> int:
    """How many credits of this device were ever charged to the batch."""
    row = cursor.execute(
        "SELECT (SELECT count(*) FROM charge WHERE batch = ?1 AND granted_by <> 'nobody')"
        " + coalesce((SELECT images FROM batch_past WHERE batch = ?1), 0)",
        (batch,),
    ).fetchone()
    return int(row[0])


def left_spool_count(cursor: sqlite3.Cursor, batch: str) -> int:
    """How many datapoints that were charged to the batch are no longer on their way."""
    return int(cursor.execute(f"SELECT {_MARK.format(batch='?1')}", (batch,)).fetchone()[0])


def record_platform_size(cursor: sqlite3.Cursor, batch: str, images: int, mark: int, now_s: float) -> None:
    """The platform has `images` in the batch. mark: what `mark` said before the platform was asked."""
    cursor.execute(
        "INSERT OR REPLACE INTO batch_there (batch, images, mark, asked_at_s) VALUES (?, ?, ?, ?)",
        (batch, images, mark, now_s),
    )


def refresh_left_spool_counts(cursor: sqlite3.Cursor) -> None:
    """For after charges were lost, on which the marks rely: what the platform said last is taken as if said now."""
    cursor.execute(f"UPDATE batch_there SET mark = {_MARK.format(batch='batch_there.batch')}")


def record_pruned_charge(cursor: sqlite3.Cursor, batch: str) -> None:
    """One of its charges is deleted, and still counts."""
    cursor.execute(
        "INSERT INTO batch_past (batch, images) VALUES (?, 1) ON CONFLICT (batch) DO UPDATE SET images = images + 1",
        (batch,),
    )


def prune(cursor: sqlite3.Cursor, now_s: float) -> None:
    cursor.execute("DELETE FROM batch_there WHERE asked_at_s < ?", (now_s - RETENTION_S,))

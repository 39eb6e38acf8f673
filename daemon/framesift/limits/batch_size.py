"""Batch size: how many datapoints a labelling batch holds: ours, and those of others where the platform was asked.

The platform counts all images in a batch: those of others, and ours that have arrived. So the platform's number
replaces our own count for every charge whose datapoint has left the spool or is registered at the platform
(`left_spool_count`). Charges that are still in the spool are added:

    size = charges now + (images on the platform - left_spool_count)

`left_spool_count` is read before the platform is asked, never after. So a datapoint that is delivered during the
request may be counted twice until the next request, but none is missed. A datapoint that was evicted or dropped stops
counting at the next request.
"""

from __future__ import annotations

import sqlite3

TABLES = """
-- Charges of a batch whose rows were pruned.
CREATE TABLE batch_past (batch TEXT PRIMARY KEY, images INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX batch_past_copy ON batch_past (images);

-- The platform's last answer for a batch: the images there; mark: our left_spool_count just before the request.
CREATE TABLE batch_there (
    batch TEXT PRIMARY KEY, images INTEGER NOT NULL, mark INTEGER NOT NULL, asked_at_s REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX batch_there_copy ON batch_there (images, mark, asked_at_s);
"""

RETENTION_S = 90 * 86400.0  # how long an answer of the platform is kept: a device may be offline for weeks

_LEFT_SPOOL = (
    "(SELECT count(*) FROM charge WHERE charge.batch = {batch} AND NOT EXISTS"
    " (SELECT 1 FROM datapoint JOIN delivery USING (seq) WHERE datapoint.id = charge.id AND image_id IS NULL))"
    " + coalesce((SELECT images FROM batch_past WHERE batch = {batch}), 0)"
)


def batch_size(cursor: sqlite3.Cursor, batch: str) -> int:
    """How many datapoints the batch will hold once all accepted ones have arrived."""
    row = cursor.execute(
        "SELECT (SELECT count(*) FROM charge WHERE batch = :batch)"
        " + coalesce((SELECT images FROM batch_past WHERE batch = :batch), 0)"
        " + coalesce((SELECT images - mark FROM batch_there WHERE batch = :batch), 0)",
        {"batch": batch},
    ).fetchone()
    return int(row[0])


def charged_count(cursor: sqlite3.Cursor, batch: str) -> int:
    """How many datapoints of this device were ever charged to the batch, without those whose quota is pending."""
    row = cursor.execute(
        "SELECT (SELECT count(*) FROM charge WHERE batch = :batch AND granted_by <> 'nobody')"
        " + coalesce((SELECT images FROM batch_past WHERE batch = :batch), 0)",
        {"batch": batch},
    ).fetchone()
    return int(row[0])


def left_spool_count(cursor: sqlite3.Cursor, batch: str) -> int:
    """How many charges of the batch belong to datapoints that have left the spool or are registered at the platform."""
    return int(cursor.execute(f"SELECT {_LEFT_SPOOL.format(batch=':batch')}", {"batch": batch}).fetchone()[0])


def record_platform_size(cursor: sqlite3.Cursor, batch: str, images: int, left_spool: int, now_s: float) -> None:
    """Records that the platform has `images` in the batch.

    left_spool: what `left_spool_count` returned before the platform was asked. now_s: Unix time.
    """
    cursor.execute(
        "INSERT OR REPLACE INTO batch_there (batch, images, mark, asked_at_s) VALUES (?, ?, ?, ?)",
        (batch, images, left_spool, now_s),
    )


def refresh_left_spool_counts(cursor: sqlite3.Cursor) -> None:
    """Recomputes the stored left-spool counts after charges were lost, as if the platform had answered just now."""
    cursor.execute(f"UPDATE batch_there SET mark = {_LEFT_SPOOL.format(batch='batch_there.batch')}")


def record_pruned_charge(cursor: sqlite3.Cursor, batch: str) -> None:
    """Keeps counting a charge of the batch whose row is being deleted."""
    cursor.execute(
        "INSERT INTO batch_past (batch, images) VALUES (?, 1) ON CONFLICT (batch) DO UPDATE SET images = images + 1",
        (batch,),
    )


def prune(cursor: sqlite3.Cursor, now_s: float) -> None:
    """Deletes answers of the platform that are older than RETENTION_S. now_s: Unix time."""
    cursor.execute("DELETE FROM batch_there WHERE asked_at_s < ?", (now_s - RETENTION_S,))

"""Tables of the spool's database in which the limits keep charges, sends and batch sizes."""

from __future__ import annotations

from framesift.limits import batch_size
from framesift.limits.shared import pending

TABLES = f"""{batch_size.TABLES}{pending.TABLES}
-- One row per datapoint that has quota, had it, or waits for it. at_s: wall time of the capture, which decides the
-- windows in which it counts; it is corrected when the clock is set, see clock_steps.py. account: the key of the
-- strategy (with its policy); batch: the key of the batch. granted_by 'nobody': the quota is pending, and the row
-- counts against what this device may accept meanwhile. project, shared_at_s, told: see shared/pending.py.
CREATE TABLE charge (
    id          TEXT PRIMARY KEY,
    account     TEXT NOT NULL,
    batch       TEXT NOT NULL,
    at_s        REAL NOT NULL,
    granted_by  TEXT NOT NULL CHECK (granted_by IN ('local', 'shared', 'hand', 'salvage', 'nobody')),
    project     TEXT NOT NULL,
    shared_at_s REAL,
    told        TEXT,
    checksum    BLOB
) WITHOUT ROWID;
CREATE INDEX charge_by_account ON charge (account, at_s);
CREATE INDEX charge_by_batch ON charge (batch);
CREATE INDEX charge_by_time ON charge (at_s);
CREATE INDEX charge_by_shared_time ON charge (shared_at_s) WHERE shared_at_s IS NOT NULL;

-- One row per delivery attempt that may reach the sink, at some time from at_s to until_s (NULL: still running). Those
-- that run are few, and found by send_by_end.
CREATE TABLE send (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL, at_s REAL NOT NULL, until_s REAL, sink TEXT NOT NULL DEFAULT ''
);
CREATE INDEX send_by_time ON send (at_s);
CREATE INDEX send_by_end ON send (until_s);

-- Amounts that count in a window beside its own rows, because the rows were lost. Also steps of the clock, see
-- clock_steps.py.
CREATE TABLE carried (account TEXT NOT NULL, window TEXT NOT NULL, at_s REAL NOT NULL, amount INTEGER NOT NULL);
CREATE INDEX carried_copy ON carried (account, window, at_s, amount);

-- The moment of the last charge or send: steps of the clock are measured against it.
CREATE TABLE seen (
    one INTEGER PRIMARY KEY CHECK (one = 1), wall_s REAL NOT NULL, boottime_s REAL NOT NULL, boot_id TEXT NOT NULL,
    checksum BLOB
);
"""

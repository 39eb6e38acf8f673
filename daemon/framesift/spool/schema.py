"""The tables of a spool file, and the migration of older files."""

from __future__ import annotations

import re
import sqlite3

VERSION = 2
# Marks the file as a spool. Another program's database at the same path is recognized before it is changed.
APPLICATION_ID = 0x46534654

_TABLES = """
-- Small rows, rewritten with each change of state. seq: the order of acceptance. rank: the score, 0 if there is none.
-- attempts: those that count towards burial. tried: all attempts that may have reached the sink. refusals: how often
-- the sink refused it. project: one of the sink's projects, NULL for the sink's own. account, batch_key: what its quota
-- is charged to.
CREATE TABLE datapoint (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL UNIQUE,
    state         TEXT NOT NULL CHECK (state IN ('ready', 'sending', 'registered', 'buried')),
    device        TEXT NOT NULL,
    stream        TEXT NOT NULL,
    frame         INTEGER NOT NULL,
    captured_at_s REAL NOT NULL,
    accepted_at_s REAL NOT NULL,
    strategy      TEXT NOT NULL,
    score         REAL,
    rank          REAL NOT NULL,
    tags          TEXT NOT NULL,
    project       TEXT,
    batch         TEXT NOT NULL,
    account       TEXT NOT NULL,
    batch_key     TEXT NOT NULL,
    annotate      INTEGER NOT NULL CHECK (annotate IN (0, 1)),
    width         INTEGER NOT NULL,
    height        INTEGER NOT NULL,
    size_bytes    INTEGER NOT NULL,
    attempts      INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    tried         INTEGER NOT NULL DEFAULT 0 CHECK (tried >= 0),
    refusals      INTEGER NOT NULL DEFAULT 0 CHECK (refusals >= 0),
    next_at_s     REAL,
    image_id      TEXT,
    why           TEXT,
    CHECK (state <> 'registered' OR image_id IS NOT NULL),
    CHECK (state <> 'ready' OR image_id IS NULL)
);
CREATE INDEX datapoint_to_claim ON datapoint (state, rank DESC, seq) WHERE next_at_s IS NULL;
CREATE INDEX datapoint_to_evict ON datapoint (state, rank, seq);
CREATE INDEX datapoint_by_date ON datapoint (next_at_s) WHERE next_at_s IS NOT NULL;

-- Data that are written once and read once, in a separate table, so that a change of state does not rewrite them.
-- hash: BLAKE2b (16 bytes) of the prediction's UTF-8 and the JPEG.
CREATE TABLE image (
    seq        INTEGER PRIMARY KEY,
    hash       BLOB NOT NULL,
    prediction TEXT NOT NULL,
    jpeg       BLOB NOT NULL
);

-- How many rows left with each outcome (column exit); updated in the transaction that deletes the row.
CREATE TABLE tally (exit TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;

-- Predicted objects (or labels) of each class in all datapoints that were ever accepted.
CREATE TABLE class_count (class TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;

-- The unique id of this file. A new file that replaces it gets another id.
CREATE TABLE identity (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL);
INSERT INTO identity (one, id) VALUES (1, lower(hex(randomblob(16))));
"""

# Format 1 charged quota to the names of strategies, and had no projects, refusals and shared limits.
_FROM_1 = """
INSERT INTO datapoint (seq, id, state, device, stream, frame, captured_at_s, accepted_at_s, strategy, score, rank, tags,
    batch, account, batch_key, annotate, width, height, size_bytes, attempts, tried, next_at_s, image_id, why)
    SELECT seq, id, state, device, stream, frame, captured_at_s, accepted_at_s, strategy, score, rank, tags,
        batch, strategy, batch, annotate, width, height, size_bytes, attempts, tried, next_at_s, image_id, why
    FROM old_datapoint;
INSERT INTO charge (id, account, batch, at_s, granted_by, project)
    SELECT id, strategy, batch, at_s, granted_by, '' FROM old_charge;
UPDATE sqlite_sequence SET seq = max(seq, (SELECT seq FROM old_sequence)) WHERE name = 'datapoint';
DROP TABLE old_datapoint;
DROP TABLE old_charge;
DROP TABLE old_sequence;
"""
_CHANGED_SINCE_1 = ("datapoint", "charge")


def create(connection: sqlite3.Connection, limits_tables: str) -> None:
    """Creates the tables in an empty file, in one transaction. limits_tables: SQL of the tables of the limits."""
    connection.executescript(
        f"BEGIN IMMEDIATE; {_TABLES} {limits_tables} PRAGMA application_id = {APPLICATION_ID};"
        f" PRAGMA user_version = {VERSION}; COMMIT;"
    )


def migrate(connection: sqlite3.Connection, limits_tables: str) -> None:
    """Migrates a file of format 1 to this format in one transaction. Pictures are not copied. Raises sqlite3.Error."""
    names = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name = ?"
    indexes = [name for table in _CHANGED_SINCE_1 for (name,) in connection.execute(names, (table,))]
    aside = [
        "CREATE TABLE old_sequence AS SELECT coalesce(max(seq), 0) AS seq FROM sqlite_sequence;",
        *(f"DROP INDEX {name};" for name in indexes),
        *(f"ALTER TABLE {table} RENAME TO old_{table};" for table in _CHANGED_SINCE_1),
    ]
    made = re.sub(r"CREATE (TABLE|INDEX) ", r"CREATE \1 IF NOT EXISTS ", _TABLES + limits_tables)
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE; {' '.join(aside)} {made} {_FROM_1} PRAGMA user_version = {VERSION}; COMMIT;"
        )
    except BaseException:
        connection.execute("ROLLBACK")
        raise

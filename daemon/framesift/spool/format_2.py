"""The tables of a spool file of format 2, which the versions 0.2 of the program wrote."""

from __future__ import annotations

VERSION = 2

TABLES = """
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
CREATE TABLE image (
    seq        INTEGER PRIMARY KEY,
    hash       BLOB NOT NULL,
    prediction TEXT NOT NULL,
    jpeg       BLOB NOT NULL
);
CREATE TABLE tally (exit TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE class_count (class TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE identity (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL);
CREATE TABLE batch_past (batch TEXT PRIMARY KEY, images INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE batch_there (
    batch TEXT PRIMARY KEY, images INTEGER NOT NULL, mark INTEGER NOT NULL, asked_at_s REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE late (
    id         TEXT PRIMARY KEY,
    wall_s     REAL NOT NULL,
    boottime_s REAL NOT NULL,
    boot_id    TEXT NOT NULL,
    quotas     TEXT NOT NULL,
    candidates TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE charge (
    id          TEXT PRIMARY KEY,
    account     TEXT NOT NULL,
    batch       TEXT NOT NULL,
    at_s        REAL NOT NULL,
    granted_by  TEXT NOT NULL CHECK (granted_by IN ('local', 'shared', 'hand', 'salvage', 'nobody')),
    project     TEXT NOT NULL,
    shared_at_s REAL,
    told        TEXT
) WITHOUT ROWID;
CREATE INDEX charge_by_account ON charge (account, at_s);
CREATE INDEX charge_by_batch ON charge (batch);
CREATE INDEX charge_by_time ON charge (at_s);
CREATE INDEX charge_by_shared_time ON charge (shared_at_s);
CREATE TABLE send (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, at_s REAL NOT NULL, until_s REAL);
CREATE INDEX send_by_time ON send (at_s);
CREATE INDEX send_by_end ON send (until_s);
CREATE INDEX send_by_id ON send (id);
CREATE TABLE carried (account TEXT NOT NULL, window TEXT NOT NULL, at_s REAL NOT NULL, amount INTEGER NOT NULL);
CREATE TABLE seen (
    one INTEGER PRIMARY KEY CHECK (one = 1), wall_s REAL NOT NULL, boottime_s REAL NOT NULL, boot_id TEXT NOT NULL
);
"""

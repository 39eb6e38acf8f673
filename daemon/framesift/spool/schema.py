"""The tables of a spool file of this format. `migration` makes them of older files, `downgrade` makes older ones."""

from __future__ import annotations

import sqlite3

from framesift.limits.row_checksums import register
from framesift.spool import identity

VERSION = 3
# Marks the file as a spool. Another program's database at the same path is recognized before it is changed.
APPLICATION_ID = identity.APPLICATION_ID

TABLES = """
-- What is known of a datapoint when it is accepted. It is never changed later, only when pending quota is granted for
-- another of its strategies. seq: the order of acceptance. project: one of the sink's projects, NULL for the sink's
-- own. account, batch_key: what its quota is charged to. picture_hash: the hash of the frame's picture, NULL in rows of
-- older formats. extra: JSON, of PictureFacts. checksum: see checksums.py.
CREATE TABLE datapoint (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL UNIQUE,
    device        TEXT NOT NULL,
    stream        TEXT NOT NULL,
    frame         INTEGER NOT NULL,
    captured_at_s REAL NOT NULL,
    accepted_at_s REAL NOT NULL,
    strategy      TEXT NOT NULL,
    score         REAL,
    tags          TEXT NOT NULL,
    project       TEXT,
    batch         TEXT NOT NULL,
    account       TEXT NOT NULL,
    batch_key     TEXT NOT NULL,
    annotate      INTEGER NOT NULL,
    width         INTEGER NOT NULL,
    height        INTEGER NOT NULL,
    size_bytes    INTEGER NOT NULL,
    picture_hash  BLOB,
    extra         TEXT NOT NULL DEFAULT '{}',
    checksum      BLOB NOT NULL
);

-- Pictures: written once and read once, in a table of their own, so that a change of state does not rewrite them.
-- number: seq + 2^48 * role. role: 0 the datapoint's frame, 1 a snapshot, 2 and more its neighbours. hash: BLAKE2b (16
-- bytes) of the prediction's UTF-8 and the bytes, which are a JPEG.
CREATE TABLE picture (
    number     INTEGER PRIMARY KEY,
    hash       BLOB NOT NULL,
    prediction TEXT NOT NULL,
    bytes      BLOB NOT NULL,
    seq        INTEGER AS (number & 281474976710655) VIRTUAL,
    role       INTEGER AS (number >> 48) VIRTUAL
);

-- How far the delivery of a datapoint to a sink is; all that changes. sink: '' for the only one. rank: the score, 0 if
-- there is none. attempts: those that count towards burial. tried: all attempts that may have reached the sink.
-- refusals: how often the sink refused it. state: ready, sending, registered or buried.
CREATE TABLE delivery (
    seq       INTEGER NOT NULL,
    sink      TEXT NOT NULL,
    state     TEXT NOT NULL,
    rank      REAL NOT NULL,
    attempts  INTEGER NOT NULL,
    tried     INTEGER NOT NULL,
    refusals  INTEGER NOT NULL,
    next_at_s REAL,
    image_id  TEXT,
    why       TEXT,
    extra     TEXT NOT NULL DEFAULT '{}',
    checksum  BLOB NOT NULL,
    PRIMARY KEY (seq, sink)
) WITHOUT ROWID;
CREATE INDEX delivery_to_claim ON delivery (sink, state, rank DESC, seq)
    WHERE next_at_s IS NULL AND state <> 'sending';
CREATE INDEX delivery_to_evict ON delivery (sink, state, rank, seq) WHERE state <> 'sending';
CREATE INDEX delivery_by_date ON delivery (next_at_s) WHERE next_at_s IS NOT NULL;

-- How many rows left with each outcome (column exit); updated in the transaction that deletes the row.
CREATE TABLE tally (exit TEXT PRIMARY KEY, number INTEGER NOT NULL, checksum BLOB) WITHOUT ROWID;

-- Predicted objects (or labels) of each class in all datapoints that were ever accepted.
CREATE TABLE class_count (class TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;

-- What this file is: see identity.py. Two equal rows, and an index on another page that has both once more. roots: the
-- first page of each table and index, JSON.
CREATE TABLE identity (
    number      INTEGER PRIMARY KEY CHECK (number IN (1, 2)),
    id          TEXT NOT NULL,
    format      INTEGER NOT NULL,
    application INTEGER NOT NULL,
    roots       TEXT NOT NULL,
    checksum    BLOB NOT NULL
);
CREATE INDEX identity_copy ON identity (number, id, format, application, roots, checksum);

-- Signatures of accepted frames, so that near duplicates are known after a restart: see signatures.py. stream, options:
-- the memory that a row belongs to. bytes: 192 numbers of 16 bits. extra: JSON. (Rows are only appended: in a tree
-- that is sorted by memory, each would rewrite four pages.)
CREATE TABLE signature (
    number        INTEGER PRIMARY KEY,
    stream        TEXT NOT NULL,
    options       TEXT NOT NULL,
    id            TEXT NOT NULL,
    captured_at_s REAL NOT NULL,
    bytes         BLOB NOT NULL,
    extra         TEXT NOT NULL DEFAULT '{}',
    checksum      BLOB NOT NULL
);
CREATE INDEX signature_by_memory ON signature (stream, options, number);

-- Frames that wait to be accepted: the best of a strategy until its turn comes. wall_s, boottime_s, boot_id: the moment
-- of the capture. facts: JSON of what `datapoint` needs. hash: as in `picture`.
CREATE TABLE held (
    number     INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    stream     TEXT NOT NULL,
    strategy   TEXT NOT NULL,
    score      REAL NOT NULL,
    wall_s     REAL NOT NULL,
    boottime_s REAL NOT NULL,
    boot_id    TEXT NOT NULL,
    facts      TEXT NOT NULL,
    prediction TEXT NOT NULL,
    signature  BLOB,
    bytes      BLOB NOT NULL,
    hash       BLOB NOT NULL,
    extra      TEXT NOT NULL DEFAULT '{}',
    checksum   BLOB NOT NULL
);
CREATE INDEX held_by_score ON held (stream, strategy, score);
"""


def create(connection: sqlite3.Connection, limits_tables: str) -> None:
    """Creates the tables in an empty file, in one transaction. limits_tables: SQL of the tables of the limits."""
    register(connection)
    connection.executescript(f"BEGIN IMMEDIATE; {TABLES} {limits_tables} PRAGMA application_id = {APPLICATION_ID};")
    identity.write(connection, identity.new(VERSION))
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")

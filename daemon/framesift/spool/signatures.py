"""Signatures of accepted frames, so that a stream's near duplicates are known after a restart.

A row is written in the transaction that accepts its datapoint. Kept are the last 4,096 of each memory (a stream, or a
stream under the policy of a pair of projects), and no more in all than a sixteenth of the spool holds: memories to
which nothing was added for the longest time are forgotten first. Older ones are deleted a group at a time, when others
are added. A datapoint that finds no room otherwise takes the place of the oldest. The newest row of a memory also has
the threshold that `auto` was measured to be, and any row may have for how many refused frames it stands (alike.py).
"""

from __future__ import annotations

import json
import math
import sqlite3
from dataclasses import dataclass

from framesift.spool.alike import read_extra
from framesift.spool.checksums import IS_WHOLE, seal

MAX_SIGNATURES = 4096  # of one memory
MAX_SIGNATURES_IN_ALL = 65_536
_DELETE_EVERY = 61  # numbers; no likely number of streams, which take turns, divides it
_ROW_BYTES = 512  # at most, with a stream's name of ordinary length and no embedding
_PICTURE_BYTES = 384
_LEAST_ROW_BYTES = 400
_SHARE_OF_SPOOL = 16

_OF = "stream = ? AND options = ?"
_THRESHOLDS = ("threshold", "embedding_threshold")


@dataclass(frozen=True, slots=True)
class AcceptedSignature:
    """The signature of a frame that is to be accepted.

    stream, options: which memory it belongs to. content: the signature. threshold, embedding_threshold: that `auto` was
    measured to be, for pictures and for embeddings; None where it was not.
    """

    stream: str
    options: str
    content: bytes
    threshold: float | None
    embedding_threshold: float | None = None


@dataclass(frozen=True, slots=True)
class StoredSignature:
    """The signature of an accepted frame. id: of its datapoint."""

    id: str
    content: bytes


@dataclass(frozen=True, slots=True)
class StoredSignatures:
    """Signatures, the oldest first. threshold, embedding_threshold: measured last for their stream; None if not."""

    frames: tuple[StoredSignature, ...] = ()
    threshold: float | None = None
    embedding_threshold: float | None = None


def insert(cursor: sqlite3.Cursor, id: str, captured_at_s: float, new: AcceptedSignature, spool_max_bytes: int) -> None:
    """Adds the signature of an accepted frame; now and then old ones are deleted. id: of the frame."""
    values = (
        new.stream,
        new.options,
        id,
        captured_at_s,
        new.content,
        _extra(new.threshold, new.embedding_threshold),
        b"",
    )
    cursor.execute(
        "INSERT INTO signature (stream, options, id, captured_at_s, bytes, extra, checksum)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        values,
    )
    number = int(cursor.lastrowid or 0)
    seal(cursor, "signature", "number = ?", (number,))
    if number % _DELETE_EVERY == 0:
        _keep_newest(cursor, new.stream, new.options, MAX_SIGNATURES)
        prune(cursor, spool_max_bytes)


def read(cursor: sqlite3.Cursor, stream: str | None, options: str, limit: int) -> StoredSignatures:
    """The newest signatures of a memory, at most `limit`; damaged ones are left out.

    stream: None for those of all streams, whose thresholds are not read.
    """
    of, memory = ("options = ?", (options,)) if stream is None else (_OF, (stream, options))
    rows = cursor.execute(
        f"SELECT id, bytes, extra FROM signature WHERE {of} AND {IS_WHOLE['signature']} ORDER BY number DESC LIMIT ?",
        (*memory, limit),
    ).fetchall()
    frames = tuple(StoredSignature(id, bytes(content)) for id, content, _ in reversed(rows))
    return StoredSignatures(frames, *(_thresholds(rows[0][2]) if rows and stream is not None else ()))


def record_thresholds(
    cursor: sqlite3.Cursor, stream: str, options: str, threshold: float | None, embedding_threshold: float | None
) -> None:
    """Records what `auto` was measured to be; a memory without signatures has no use for it."""
    newest = f"{_OF} AND number = (SELECT max(number) FROM signature WHERE {_OF})"
    memory = (stream, options, stream, options)
    row = cursor.execute(f"SELECT extra FROM signature WHERE {newest}", memory).fetchone()
    if row is not None:
        kept = {key: value for key, value in read_extra(row[0]).items() if key not in _THRESHOLDS}
        extra = _extra(threshold, embedding_threshold, **kept)
        cursor.execute(f"UPDATE signature SET extra = ? WHERE {newest}", (extra, *memory))
        seal(cursor, "signature", newest, memory)


def prune(cursor: sqlite3.Cursor, max_bytes: int) -> None:
    """Forgets the signatures of the longest unused memories while there are too many. max_bytes: of the spool."""
    count, mean_bytes = cursor.execute("SELECT count(*), avg(length(bytes)) FROM signature").fetchone()
    row_bytes = _ROW_BYTES + max(0, int(mean_bytes or 0) - _PICTURE_BYTES)
    most = min(MAX_SIGNATURES_IN_ALL, max_bytes // (_SHARE_OF_SPOOL * row_bytes))
    if count <= most:
        return
    memories = cursor.execute(
        "SELECT stream, options, count(*) FROM signature GROUP BY stream, options ORDER BY max(captured_at_s)"
    ).fetchall()
    total = sum(count for *_, count in memories)
    for stream, options, count in memories:
        if total <= most:
            return
        _keep_newest(cursor, stream, options, max(0, count - (total - most)))
        total -= min(count, total - most)


def count_all(cursor: sqlite3.Cursor) -> int:
    """How many there are, of all memories."""
    return int(cursor.execute("SELECT count(*) FROM signature").fetchone()[0])


def pages_held(cursor: sqlite3.Cursor, page_bytes: int) -> int:
    """How many pages become free, at least, when all are deleted."""
    return max(0, count_all(cursor) * _LEAST_ROW_BYTES // page_bytes - 1)


def delete_older_half(cursor: sqlite3.Cursor) -> int:
    """Deletes the older half of all, to make room for a datapoint. Returns how many there were, 0 if there are none."""
    half = -(-count_all(cursor) // 2)
    cursor.execute(
        "DELETE FROM signature WHERE number <= (SELECT number FROM signature ORDER BY number LIMIT 1 OFFSET ?)",
        (half - 1,),
    )
    return half


def _keep_newest(cursor: sqlite3.Cursor, stream: str, options: str, count: int) -> None:
    """Deletes the signatures of a memory but for the newest `count`."""
    cursor.execute(
        f"DELETE FROM signature WHERE {_OF} AND number <="
        f" (SELECT number FROM signature WHERE {_OF} ORDER BY number DESC LIMIT 1 OFFSET ?)",
        (stream, options, stream, options, count),
    )


def _extra(*thresholds: float | None, **more: object) -> str:
    measured = {key: value for key, value in zip(_THRESHOLDS, thresholds, strict=True) if value is not None}
    return json.dumps({**measured, **more})


def _thresholds(extra: str) -> tuple[float | None, ...]:
    found = read_extra(extra)
    return tuple(_threshold(found.get(key)) for key in _THRESHOLDS)


def _threshold(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and value >= 0 else None

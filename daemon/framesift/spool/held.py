"""Held frames: those that pacing holds until a turn is due, in a table of the spool.

A held frame is not accepted yet: it has no quota, is in no state and takes no outcome, and an accepted datapoint that
needs its room gets it. It leaves by being accepted, in the transaction that writes its datapoint, or by being dropped.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from framesift.clock.moment import Moment
from framesift.spool import rows
from framesift.spool.checksums import IS_WHOLE, seal
from framesift.spool.space import Transaction

_ROW = "id, stream, strategy, score, wall_s, boottime_s, boot_id, facts, signature"


@dataclass(frozen=True, slots=True)
class HeldRow:
    """A held frame without its picture and prediction.

    strategy: the account of the strategy that holds it. score: higher is more worth a label. facts: JSON of what its
    datapoint needs. signature: for near duplicates, None where it has none.
    """

    id: str
    stream: str
    strategy: str
    score: float
    captured: Moment
    facts: str
    signature: bytes | None


@dataclass(frozen=True, slots=True)
class HeldContent:
    """The picture of a held frame, and its prediction: JSON in the wire format."""

    prediction: str
    jpeg: bytes


class HeldFrames:
    """The held frames of a spool. Any thread may call all methods while the spool is open.

    read, write: run a query, or work in one transaction. All methods raise SpoolBroken; `add` also SpoolFull.
    """

    def __init__(self, read: Callable[[Callable[[sqlite3.Cursor], Any]], Any], write: Callable[..., Any]) -> None:
        self._read = read
        self._write = partial(write, can_fail=True)

    def add(self, row: HeldRow, content: HeldContent, drop: Iterable[str] = ()) -> None:
        """Stores a frame, and in the same transaction drops others. When this returns, it survives a power cut.

        Raises SpoolFull where there is no room that no datapoint has: none is evicted for it.
        """
        size_bytes = len(content.jpeg) + len(content.prediction)

        def work(cursor: sqlite3.Cursor, transaction: Transaction) -> None:
            delete(cursor, drop)
            transaction.take_free_room(cursor, size_bytes)
            _insert(cursor, row, content)

        self._write(work, size_bytes=size_bytes)

    def drop(self, ids: Iterable[str]) -> None:
        """Drops frames; those that are gone already are no error."""
        self._write(lambda cursor, _: delete(cursor, ids))

    def rows(self) -> list[HeldRow]:
        """All of them, in the order in which they were stored. Damaged ones are left out."""
        query = f"SELECT {_ROW} FROM held WHERE {IS_WHOLE['held']} ORDER BY number"
        found = self._read(lambda cursor: cursor.execute(query).fetchall())
        return [HeldRow(row[0], row[1], row[2], row[3], Moment(*row[4:7]), row[7], row[8]) for row in found]

    def drop_damaged(self) -> int:
        """Drops rows that are not what was written. Returns how many there were."""
        damaged = f"NOT ({IS_WHOLE['held']})"
        if not self._read(lambda cursor: cursor.execute(f"SELECT 1 FROM held WHERE {damaged} LIMIT 1").fetchone()):
            return 0
        return int(self._write(lambda cursor, _: cursor.execute(f"DELETE FROM held WHERE {damaged}").rowcount))

    def content(self, id: str) -> HeldContent | None:
        """What was stored of a frame; None if it is gone, or is not what was stored."""
        found = self._read(
            lambda cursor: cursor.execute("SELECT prediction, bytes, hash FROM held WHERE id = ?", (id,)).fetchone()
        )
        if found is None:
            return None
        prediction, jpeg, hash = found
        if not isinstance(jpeg, bytes) or hash != rows.content_hash(str(prediction), jpeg):
            return None
        return HeldContent(prediction, jpeg)


def delete(cursor: sqlite3.Cursor, ids: Iterable[str]) -> None:
    """Deletes frames, in the caller's transaction."""
    cursor.executemany("DELETE FROM held WHERE id = ?", [(id,) for id in ids])


def _insert(cursor: sqlite3.Cursor, row: HeldRow, content: HeldContent) -> None:
    captured = row.captured
    cursor.execute(
        f"INSERT INTO held ({_ROW}, prediction, bytes, hash, checksum)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, x'')",
        (
            row.id,
            row.stream,
            row.strategy,
            row.score,
            float(captured.wall_s),
            float(captured.boottime_s),
            captured.boot_id,
            row.facts,
            row.signature,
            content.prediction,
            content.jpeg,
            rows.content_hash(content.prediction, content.jpeg),
        ),
    )
    seal(cursor, "held", "number = ?", (int(cursor.lastrowid or 0),))

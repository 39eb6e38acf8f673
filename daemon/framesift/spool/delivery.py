"""The rows of the table `delivery`: all that changes of a datapoint. Only these functions write them."""

from __future__ import annotations

import sqlite3

from framesift.spool import checksums
from framesift.spool.disk_errors import Malformed

SINK = ""  # the only sink; with several, each has a row of its own
_ROW = f"seq = ? AND sink = '{SINK}'"


class DeliveryDamaged(Malformed):
    """The row isn't what was written, or it is missing."""


def insert(cursor: sqlite3.Cursor, seq: int, rank: float) -> None:
    """Adds the row of a new datapoint, in state `ready`."""
    _write(cursor, seq, "ready", rank, tried=0, why=None)


def change(cursor: sqlite3.Cursor, seq: int, assignments: str, *values: object) -> None:
    """Changes columns of a row, and renews its checksum. assignments: the part of an UPDATE after SET.

    Raises DeliveryDamaged, and then changes nothing.
    """
    whole = checksums.IS_WHOLE["delivery"]
    changed = cursor.execute(f"UPDATE delivery SET {assignments} WHERE {_ROW} AND {whole}", (*values, seq))
    if changed.rowcount != 1:
        raise DeliveryDamaged(f"the state of row {seq}")
    checksums.seal(cursor, "delivery", _ROW, (seq,))


def bury(cursor: sqlite3.Cursor, seq: int, why: str) -> None:
    """Buries a row: it stays in the spool and is not tried again. The row may be damaged or missing."""
    try:
        change(cursor, seq, "state = 'buried', why = ?, next_at_s = NULL", why)
    except DeliveryDamaged:
        cursor.execute(f"DELETE FROM delivery WHERE {_ROW}", (seq,))
        # Nobody knows whether the sink has it: it counts as tried, so that no quota is refunded for a duplicate.
        _write(cursor, seq, "buried", 0.0, tried=1, why=why)


def _write(cursor: sqlite3.Cursor, seq: int, state: str, rank: float, *, tried: int, why: str | None) -> None:
    cursor.execute(
        "INSERT INTO delivery (seq, sink, state, rank, attempts, tried, refusals, next_at_s, image_id, why, checksum)"
        " VALUES (?, ?, ?, ?, 0, ?, 0, NULL, NULL, ?, x'')",
        (seq, SINK, state, rank, tried, why),
    )
    checksums.seal(cursor, "delivery", _ROW, (seq,))

"""What an operator does to rows of the spool by hand, in one transaction: from the command line, or in the daemon."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from framesift.clock.clock import Clock
from framesift.clock.moment import Moment
from framesift.limits import by_hand
from framesift.spool import delivery, rows
from framesift.spool.records import FinalOutcome
from framesift.spool.space import remove_row


def retry_rows(cursor: sqlite3.Cursor, ids: Sequence[str] | None, now: Moment) -> tuple[str, ...]:
    """Tries these ids again, or all that are buried (None). Returns the ids that were buried or waiting.

    A datapoint whose quota was refunded gets quota again, even beyond the limits.
    """
    changed: list[str] = []
    for seq, id in _named(cursor, ids):
        row = cursor.execute(
            f"SELECT account, batch_key, project FROM datapoint JOIN delivery USING (seq) WHERE seq = ?"
            f" AND sink = '{delivery.SINK}' AND (state = 'buried' OR state <> 'sending' AND next_at_s IS NOT NULL)",
            (seq,),
        ).fetchone()
        if row is None:
            continue
        account, batch, project = row
        by_hand.grant_manually(cursor, id, account, batch, project, now)
        rows.retry_by_hand(cursor, seq)
        changed.append(id)
    return tuple(changed)


def drop_rows(cursor: sqlite3.Cursor, ids: Sequence[str] | None) -> tuple[str, ...]:
    """Deletes these ids, or all that are buried (None). Returns the deleted ids."""
    changed: list[str] = []
    for seq, id in _named(cursor, ids):
        if cursor.execute("SELECT 1 FROM delivery WHERE seq = ? AND state <> 'sending'", (seq,)).fetchone():
            remove_row(cursor, seq, FinalOutcome.DROPPED)
            changed.append(id)
    return tuple(changed)


def _named(cursor: sqlite3.Cursor, ids: Sequence[str] | None) -> list[tuple[int, str]]:
    """(seq, id) of these ids, or of all buried rows, also of those with a damaged id."""
    if ids is None:
        return cursor.execute(
            "SELECT seq, id FROM datapoint JOIN delivery USING (seq) WHERE state = 'buried' ORDER BY seq"
        ).fetchall()
    found = [
        (cursor.execute("SELECT seq FROM datapoint WHERE id = ?", (id,)).fetchone(), id) for id in dict.fromkeys(ids)
    ]
    return [(row[0], id) for row, id in found if row is not None]


class RowsByHand:
    """The same in the process that has the spool open, through its writer. Any thread may call both methods.

    A datapoint that is being sent at this moment is not changed. Both raise SpoolBroken and SpoolFull.
    """

    def __init__(self, write: Callable[..., Any], clock: Clock) -> None:
        """write: does work in one transaction."""
        self._write = write
        self._clock = clock

    def retry(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Tries datapoints again at once, with all their attempts. Returns the ids that were buried or waiting."""
        now = self._clock.now()
        changed: tuple[str, ...] = self._write(lambda cursor, _: retry_rows(cursor, ids, now), can_fail=True)
        return changed

    def drop(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Deletes datapoints, with the outcome `dropped`. Returns the deleted ids."""
        changed: tuple[str, ...] = self._write(lambda cursor, _: drop_rows(cursor, ids), can_fail=True)
        return changed

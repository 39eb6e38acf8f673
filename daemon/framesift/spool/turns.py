"""Whose turn it is: which rows are handed out, and in which order.

What was refused before comes after what was not, and last of all those that the caller would rather not have. In each
of these groups comes first what only lacks its prediction, then the highest score, then the oldest.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from framesift.limits import Limit
from framesift.limits.local import LocalLimits
from framesift.moment import Moment
from framesift.spool.nouns import State

# ?3: the ids that come last, a list in JSON.
_GROUPS = (
    "refusals = 0 AND id NOT IN (SELECT value FROM json_each(?3))",
    "refusals > 0 AND id NOT IN (SELECT value FROM json_each(?3))",
    "id IN (SELECT value FROM json_each(?3))",
)


def pick(
    cursor: sqlite3.Cursor,
    count: int,
    last: Sequence[str],
    limits: LocalLimits,
    sink_limits: Sequence[Limit],
    now: Moment,
) -> tuple[list[tuple[int, str]], float | None]:
    """(seq, id) of up to `count` rows that may be claimed now, and the Unix time at which the sink's limits may leave
    room for more (None: they aren't what's in the way). Sends are recorded, as `LocalLimits.send` does."""
    picked: list[tuple[int, str]] = []
    until_s: float | None = None
    for group in _GROUPS if last else _GROUPS[:2]:
        picked += _due(cursor, State.REGISTERED, group, count - len(picked), last)
        ready = _due(cursor, State.READY, group, count - len(picked), last)
        if ready and sink_limits:
            room = limits.room(cursor, sink_limits, now, len(ready))
            ready = ready[: room.count]
            until_s = room.until_s if until_s is None else until_s
        for _, id in ready:
            limits.send(cursor, id, now)
        picked += ready
    return picked, until_s


def _due(cursor: sqlite3.Cursor, state: State, group: str, most: int, last: Sequence[str]) -> list[tuple[int, str]]:
    """Those that wait for no date and hold a credit."""
    if most <= 0:
        return []
    return cursor.execute(
        f"SELECT seq, id FROM datapoint WHERE state = ?1 AND next_at_s IS NULL AND {group}"
        " AND EXISTS (SELECT 1 FROM charge WHERE charge.id = datapoint.id AND granted_by <> 'nobody')"
        " ORDER BY rank DESC, seq LIMIT ?2",
        (state.value, most, json.dumps(last)),
    ).fetchall()

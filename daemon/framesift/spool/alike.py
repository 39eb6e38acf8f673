"""For how many other frames an accepted one stands: those that were refused as near duplicates because of it.

The number is kept beside its signature, in `extra`, and goes with it, long after the datapoint itself has left.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from framesift.spool.checksums import IS_WHOLE, seal

ALIKE = "alike"
_AT_ONCE = 500  # parameters of one statement


@dataclass(frozen=True, slots=True)
class AlikeFrames:
    """An accepted frame, and for how many others it stands. id: of its datapoint. captured_at_s: Unix time."""

    id: str
    stream: str
    captured_at_s: float
    alike: int


def read_extra(text: str) -> dict[str, Any]:
    """The `extra` of a signature; empty if it is damaged."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def add(cursor: sqlite3.Cursor, counts: Mapping[str, int]) -> None:
    """Adds to the numbers of accepted frames. counts: by id; what has no signature any more is left out."""
    ids = iter(counts)
    while some := tuple(islice(ids, _AT_ONCE)):
        marks = ", ".join("?" * len(some))
        rows = cursor.execute(
            f"SELECT number, id, extra FROM signature WHERE id IN ({marks}) AND {IS_WHOLE['signature']}", some
        ).fetchall()
        for number, id, text in rows:
            extra = read_extra(text)
            extra[ALIKE] = _number(extra) + counts[id]
            cursor.execute("UPDATE signature SET extra = ? WHERE number = ?", (json.dumps(extra), number))
            seal(cursor, "signature", "number = ?", (number,))


def most(cursor: sqlite3.Cursor, limit: int) -> list[AlikeFrames]:
    """The accepted frames that stand for the most others, at most `limit`, the first for the most."""
    rows = cursor.execute(
        f"SELECT id, stream, captured_at_s, extra FROM signature WHERE extra LIKE ? AND {IS_WHOLE['signature']}",
        (f'%"{ALIKE}"%',),
    )
    found = [AlikeFrames(id, stream, at_s, _number(read_extra(extra))) for id, stream, at_s, extra in rows]
    return sorted(found, key=lambda one: -one.alike)[:limit]


def _number(extra: dict[str, Any]) -> int:
    value = extra.get(ALIKE)
    return value if type(value) is int and value > 0 else 0

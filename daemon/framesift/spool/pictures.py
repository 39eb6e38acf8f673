"""The pictures in a spool, for a process of its own that shows them, whether a daemon runs or not. Nothing is changed.

All functions raise SpoolUnusable, SpoolTooNew and SpoolBroken.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from framesift.spool import admin, inspect_rows, rows
from framesift.spool.records import RowInfo


def newest_rows(path: Path, most: int, *, stream: str | None, strategy: str | None) -> list[RowInfo]:
    """The newest `most` rows, the newest first, of one stream and one strategy where these are given."""
    with admin.connected(path) as connection:
        return inspect_rows.newest_rows(connection.cursor(), most, stream, strategy)


def rows_before(
    path: Path, seq: int | None, most: int, *, stream: str | None, strategy: str | None, state: str | None
) -> list[tuple[int, RowInfo]]:
    """The last `most` rows that were accepted before the row `seq`, the newest first, each with its seq.

    stream, strategy, state: only such rows, where they are given.
    """
    with admin.connected(path) as connection:
        return inspect_rows.rows_before(connection.cursor(), seq, most, stream, strategy, state)


def class_names(path: Path) -> list[str]:
    """The classes of all datapoints that were ever accepted."""
    with admin.connected(path) as connection:
        return sorted(inspect_rows.class_counts(connection.cursor()))


def count_by_strategy(path: Path) -> dict[tuple[str, str], int]:
    """How many rows there are of each stream and strategy."""
    with admin.connected(path) as connection:
        return inspect_rows.count_by_strategy(connection.cursor())


def read_jpeg(path: Path, id: str) -> bytes | None:
    """The JPEG of a datapoint; None where it is damaged, or has left the spool."""
    with admin.connected(path) as connection:
        try:
            return rows.read_jpeg(connection.cursor(), id)
        except ValueError:
            return None


def read_predictions(path: Path, ids: Sequence[str]) -> dict[str, str]:
    """The predictions of datapoints, JSON in the wire format, by id; without those that can't be read."""
    found: dict[str, str] = {}
    with admin.connected(path) as connection:
        cursor = connection.cursor()
        for id in ids:
            with contextlib.suppress(sqlite3.DatabaseError):  # damaged: the others are still useful
                prediction = inspect_rows.prediction_of(cursor, id)
                if prediction is not None:
                    found[id] = prediction
    return found

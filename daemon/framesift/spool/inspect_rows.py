"""Queries that only read the spool: counts, and rows for an operator. Each runs in the caller's cursor."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import get_args, get_type_hints

from framesift.spool import row_checks
from framesift.spool.database import decode_lossy, sibling_path
from framesift.spool.delivery import SINK
from framesift.spool.records import FinalOutcome, RowInfo, SpoolCounts, State
from framesift.spool.space import live_pages

_COLUMNS = (
    "id, state, device, stream, frame, captured_at_s, accepted_at_s, strategy, score, tags, project, batch, width,"
    " height, size_bytes, attempts, next_at_s, image_id,"
    " CASE WHEN EXISTS (SELECT 1 FROM late WHERE late.id = datapoint.id) THEN 'it waits for quota' ELSE why END"
)
_ROWS = f"SELECT {_COLUMNS} FROM datapoint LEFT JOIN delivery ON delivery.seq = datapoint.seq AND sink = '{SINK}'"
_TYPES = tuple(get_type_hints(RowInfo).values())


def count_rows(cursor: sqlite3.Cursor, path: Path, max_bytes: int) -> SpoolCounts:
    """How many rows are in each state, and the space that they use. path: of the database. Raises sqlite3.Error."""
    # From the index: it has all rows but those that are being sent.
    found = dict(
        cursor.execute(
            f"SELECT state, count(*) FROM delivery WHERE sink = '{SINK}' AND state <> 'sending' GROUP BY state"
        ).fetchall()
    )
    (rows_of_all,) = cursor.execute("SELECT count(*) FROM delivery").fetchone()
    found[State.SENDING.value] = rows_of_all - sum(found.values())
    number = {state: int(found.get(state.value, 0)) for state in State}
    waiting = cursor.execute("SELECT count(*) FROM delivery WHERE next_at_s IS NOT NULL").fetchone()[0]
    page_bytes = int(cursor.execute("PRAGMA page_size").fetchone()[0])
    wal = sibling_path(path, "-wal")
    return SpoolCounts(
        ready=number[State.READY],
        sending=number[State.SENDING],
        registered=number[State.REGISTERED],
        buried=number[State.BURIED],
        waiting_for_retry=int(waiting),
        pending_quota=int(cursor.execute("SELECT count(*) FROM late").fetchone()[0]),
        live_bytes=live_pages(cursor) * page_bytes,
        wal_bytes=wal.stat().st_size if wal.exists() else 0,
        max_bytes=max_bytes,
        oldest_at_s=_oldest_at_s(cursor),
    )


def _oldest_at_s(cursor: sqlite3.Cursor) -> float | None:
    found = cursor.execute(
        "SELECT accepted_at_s FROM datapoint WHERE seq ="
        " (SELECT seq FROM delivery WHERE state <> 'buried' ORDER BY seq LIMIT 1)"
    ).fetchone()
    return float(found[0]) if found is not None and isinstance(found[0], int | float) else None


def outcome_counts(cursor: sqlite3.Cursor) -> dict[FinalOutcome, int]:
    """How many rows have left with each outcome since the file was created."""
    found = cursor.execute("SELECT exit, number FROM tally").fetchall()
    known = {outcome.value: outcome for outcome in FinalOutcome}
    return dict.fromkeys(FinalOutcome, 0) | {known[name]: int(number) for name, number in found if name in known}


def class_counts(cursor: sqlite3.Cursor) -> dict[str, int]:
    """Predicted objects (or labels) of each class in all datapoints ever accepted."""
    return {str(name): int(number) for name, number in cursor.execute("SELECT class, number FROM class_count")}


def list_rows(cursor: sqlite3.Cursor, state: State | None, most: int, id: str | None = None) -> list[RowInfo]:
    """The oldest `most` rows, of one state and one id where these are given."""
    found: Sequence[tuple[object, ...]] = cursor.execute(
        f"{_ROWS} WHERE (:state IS NULL OR state = :state) AND (:id IS NULL OR id = :id)"
        " ORDER BY datapoint.seq LIMIT :most",
        {"state": None if state is None else state.value, "id": id, "most": most},
    ).fetchall()
    return [_row_info(list(row)) for row in found]


def newest_rows(cursor: sqlite3.Cursor, most: int, stream: str | None, strategy: str | None) -> list[RowInfo]:
    """The newest `most` rows, the newest first, of one stream and one strategy where these are given."""
    found: Sequence[tuple[object, ...]] = cursor.execute(
        f"{_ROWS} WHERE (:stream IS NULL OR stream = :stream) AND (:strategy IS NULL OR strategy = :strategy)"
        " ORDER BY captured_at_s DESC, datapoint.seq DESC LIMIT :most",
        {"stream": stream, "strategy": strategy, "most": most},
    ).fetchall()
    return [_row_info(list(row)) for row in found]


def rows_before(
    cursor: sqlite3.Cursor, seq: int | None, most: int, stream: str | None, strategy: str | None, state: str | None
) -> list[tuple[int, RowInfo]]:
    """The last `most` rows that were accepted before the row `seq`, the newest first, each with its seq.

    stream, strategy, state: only such rows, where they are given.
    """
    found: Sequence[tuple[object, ...]] = cursor.execute(
        f"{_ROWS.replace('SELECT ', 'SELECT datapoint.seq, ', 1)} WHERE (:seq IS NULL OR datapoint.seq < :seq)"
        " AND (:stream IS NULL OR stream = :stream) AND (:strategy IS NULL OR strategy = :strategy)"
        " AND (:state IS NULL OR state = :state) ORDER BY datapoint.seq DESC LIMIT :most",
        {"seq": seq, "stream": stream, "strategy": strategy, "state": state, "most": most},
    ).fetchall()
    return [(int(str(row[0])), _row_info(list(row[1:]))) for row in found]


def prediction_of(cursor: sqlite3.Cursor, id: str) -> str | None:
    """The prediction of a datapoint, JSON in the wire format; None if there is no such row. Raises sqlite3.Error."""
    row = cursor.execute(
        "SELECT prediction FROM picture JOIN datapoint ON number = datapoint.seq WHERE id = ?", (id,)
    ).fetchone()
    return None if row is None else str(row[0])


def count_by_strategy(cursor: sqlite3.Cursor) -> dict[tuple[str, str], int]:
    """How many rows there are of each stream and strategy."""
    found = cursor.execute("SELECT stream, strategy, count(*) FROM datapoint GROUP BY stream, strategy").fetchall()
    return {(str(stream), str(strategy)): int(number) for stream, strategy, number in found}


def _row_info(values: list[object]) -> RowInfo:
    """A row that may be damaged: a value that can't be shown becomes empty or 0."""
    values_shown = [_readable(value, type_) for value, type_ in zip(values, _TYPES, strict=True)]
    return RowInfo(*values_shown)  # type: ignore[arg-type]  # the columns of _COLUMNS are the fields, in order


def _readable(value: object, type_: object) -> object:
    if type_ == State:
        return State(value) if value in set(State) else State.BURIED
    if type_ == tuple[str, ...]:
        return tuple(json.loads(str(value))) if row_checks.is_text_list(value) else ()
    (is_a, *or_none) = get_args(type_) or (type_,)
    if value is None and or_none:
        return None
    if is_a is str:
        return decode_lossy(value) if isinstance(value, bytes) else str(value)
    return is_a(value if isinstance(value, int | float) and abs(value) <= row_checks.LAST_DAY_S else 0)

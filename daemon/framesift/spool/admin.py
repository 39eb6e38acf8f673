"""What people do with the spool from a command line, in a process of their own, whether a daemon runs or not.

    list_rows, show     look, without changing anything
    retry               buried or waiting datapoints are tried again at once, with all their attempts before them
    drop                datapoints leave by the exit `dropped`

A datapoint that is being sent at this moment is left alone. All raise SpoolUnusable, SpoolTooNew and SpoolBroken.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from framesift.clock.moment import Moment
from framesift.limits import local
from framesift.spool import database as file
from framesift.spool import inspect_rows as looking
from framesift.spool import schema
from framesift.spool.records import FinalOutcome, RowInfo, SpoolBroken, SpoolCounts, SpoolUnusable, State
from framesift.spool.space import remove_row


@dataclass(frozen=True, slots=True)
class DatapointDetails:
    """One datapoint. prediction: JSON in the wire format, None where it can't be read."""

    row: RowInfo
    prediction: str | None


def list_rows(path: Path, state: State | None = None, limit: int = 100) -> list[RowInfo]:
    """The oldest `limit` rows, of one state or of all."""
    with _reading(path) as cursor:
        return looking.list_rows(cursor, state, limit)


def counts(path: Path, max_bytes: int) -> SpoolCounts:
    with _reading(path) as cursor:
        return looking.count_rows(cursor, path, max_bytes)


def outcome_counts(path: Path) -> dict[FinalOutcome, int]:
    with _reading(path) as cursor:
        return looking.outcome_counts(cursor)


def show(path: Path, id: str) -> DatapointDetails | None:
    """None if the spool has no such datapoint."""
    with _reading(path) as cursor:
        found = looking.list_rows(cursor, None, 1, id)
        if not found:
            return None
        prediction: str | None = None
        with contextlib.suppress(sqlite3.DatabaseError):  # damaged: what the row says is still worth showing
            row = cursor.execute(
                "SELECT prediction FROM image JOIN datapoint USING (seq) WHERE id = ?", (id,)
            ).fetchone()
            prediction = None if row is None else str(row[0])
        return DatapointDetails(found[0], prediction)


def retry(path: Path, ids: Sequence[str] | None, now: Moment) -> tuple[str, ...]:
    """Tries these again, or all that are buried (None); returns the ids of those that were buried or waiting.

    One that gave its credit back gets one by hand, whatever the limits say.
    """
    with _writing(path) as cursor:
        changed: list[str] = []
        for seq, id in _named(cursor, ids):
            row = cursor.execute(
                "SELECT account, batch_key, project FROM datapoint"
                " WHERE seq = ? AND (state = 'buried' OR (state <> 'sending' AND next_at_s IS NOT NULL))",
                (seq,),
            ).fetchone()
            if row is None:
                continue
            account, batch, project = row
            local.grant_manually(cursor, id, account, batch, project, now)
            cursor.execute(
                "UPDATE datapoint SET state = CASE WHEN image_id IS NULL THEN 'ready' ELSE 'registered' END,"
                " attempts = 0, refusals = 0, next_at_s = NULL, why = NULL WHERE seq = ?",
                (seq,),
            )
            changed.append(id)
        return tuple(changed)


def drop(path: Path, ids: Sequence[str] | None) -> tuple[str, ...]:
    """Deletes these, or all that are buried (None); returns the ids of those that are gone."""
    with _writing(path) as cursor:
        changed: list[str] = []
        for seq, id in _named(cursor, ids):
            if cursor.execute("SELECT 1 FROM datapoint WHERE seq = ? AND state <> 'sending'", (seq,)).fetchone():
                remove_row(cursor, seq, FinalOutcome.DROPPED)
                changed.append(id)
        return tuple(changed)


def _named(cursor: sqlite3.Cursor, ids: Sequence[str] | None) -> list[tuple[int, str]]:
    """(seq, id) of these, or of all that are buried: also of those of which the id can't be read any more."""
    if ids is None:
        return cursor.execute("SELECT seq, id FROM datapoint WHERE state = 'buried' ORDER BY seq").fetchall()
    found = [(cursor.execute("SELECT seq FROM datapoint WHERE id = ?", (id,)).fetchone(), id) for id in ids]
    return [(row[0], id) for row, id in found if row is not None]


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Cursor]:
    with _connected(path) as connection:
        yield connection.cursor()


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[sqlite3.Cursor]:
    """One transaction. On a full disk the reserve makes room for it."""
    with _connected(path, write=True) as connection:
        if file.free_bytes(path.absolute().parent) < file.RESERVE_BYTES:
            file.DiskReserve(path).release()
        cursor = connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        yield cursor
        cursor.execute("COMMIT")


@contextlib.contextmanager
def _connected(path: Path, write: bool = False) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        raise SpoolUnusable(f"{path}: there is no spool")
    try:
        version = file.check_format(path)
        if 0 < version < schema.VERSION:  # the daemon that wrote it may still run
            raise SpoolUnusable(f"{path} was written by an older framesift (format {version}): start this one's first")
        # The daemon's own limits of the log are of no matter for so short a visit.
        opened = file.connect(path, 8 * file.WAL_BYTES) if write else file.connect_read_only(path)
        opened.text_factory = file.decode_lossy
        with contextlib.closing(opened) as connection:
            yield connection
    except file.STORAGE_ERRORS as error:
        raise SpoolBroken(f"{path}: {file.failure_kind(error).value} ({error})") from None

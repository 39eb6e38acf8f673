"""Operations of the command line on a spool, in a process of its own, whether a daemon runs or not.

    list_rows, show, list_alike     read only
    retry               tries buried or waiting datapoints again at once, with all their attempts
    drop                removes datapoints, with the outcome `dropped`

A datapoint that is being sent at this moment is not changed. All functions raise SpoolUnusable, SpoolTooNew and
SpoolBroken.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from framesift.clock.moment import Moment
from framesift.spool import alike, database, file_format, inspect_rows, kept_descriptors, schema
from framesift.spool.alike import AlikeFrames
from framesift.spool.disk_errors import STORAGE_ERRORS, failure_kind
from framesift.spool.disk_reserve import RESERVE_BYTES, DiskReserve, free_bytes
from framesift.spool.records import FinalOutcome, RowInfo, SpoolBroken, SpoolCounts, SpoolUnusable, State
from framesift.spool.rows_by_hand import drop_rows, retry_rows


@dataclass(frozen=True, slots=True)
class DatapointDetails:
    """Everything about one datapoint. prediction: JSON in the wire format, None if it can't be read."""

    row: RowInfo
    prediction: str | None


def list_rows(path: Path, state: State | None = None, limit: int = 100) -> list[RowInfo]:
    """The oldest `limit` rows of one state, or of all states (None)."""
    with _reading(path) as cursor:
        return inspect_rows.list_rows(cursor, state, limit)


def counts(path: Path, max_bytes: int) -> SpoolCounts:
    """How many rows are in each state, and the space that they use."""
    with _reading(path) as cursor:
        return inspect_rows.count_rows(cursor, path, max_bytes)


def outcome_counts(path: Path) -> dict[FinalOutcome, int]:
    """How many rows have left with each outcome."""
    with _reading(path) as cursor:
        return inspect_rows.outcome_counts(cursor)


def list_alike(path: Path, limit: int = 20) -> list[AlikeFrames]:
    """The accepted frames that stand for the most refused ones."""
    with _reading(path) as cursor:
        return alike.most(cursor, limit)


def show(path: Path, id: str) -> DatapointDetails | None:
    """Everything about one datapoint; None if the spool doesn't have it."""
    with _reading(path) as cursor:
        found = inspect_rows.list_rows(cursor, None, 1, id)
        if not found:
            return None
        prediction: str | None = None
        with contextlib.suppress(sqlite3.DatabaseError):  # damaged: the row itself is still useful
            prediction = inspect_rows.prediction_of(cursor, id)
        return DatapointDetails(found[0], prediction)


def retry(path: Path, ids: Sequence[str] | None, now: Moment) -> tuple[str, ...]:
    """Tries these ids again, or all that are buried (None). Returns the ids that were buried or waiting.

    A datapoint whose quota was refunded gets quota again, even beyond the limits.
    """
    with _writing(path) as cursor:
        return retry_rows(cursor, ids, now)


def drop(path: Path, ids: Sequence[str] | None) -> tuple[str, ...]:
    """Deletes these ids, or all that are buried (None). Returns the deleted ids."""
    with _writing(path) as cursor:
        return drop_rows(cursor, ids)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Cursor]:
    with connected(path) as connection:
        yield connection.cursor()


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[sqlite3.Cursor]:
    """One transaction. On a full disk, the reserve is released for it."""
    with connected(path, write=True) as connection:
        if free_bytes(path.absolute().parent) < RESERVE_BYTES:
            DiskReserve(path).release()
        cursor = connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        yield cursor
        cursor.execute("COMMIT")


@contextlib.contextmanager
def connected(path: Path, write: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection of a second process to a spool of this format. Raises SpoolUnusable, SpoolTooNew, SpoolBroken."""
    if not path.is_file():
        raise SpoolUnusable(f"{path}: there is no spool")
    file_format.refuse_foreign(path)
    kept_descriptors.hold(path)
    try:
        version = file_format.check_format(path)
        if 0 < version < schema.VERSION:  # the older daemon may still run
            raise SpoolUnusable(f"{path} has format {version} of an older framesift: start this daemon first")
        # The daemon's limit of the log does not matter for one short transaction.
        opened = database.connect(path, 8 * database.WAL_BYTES) if write else database.connect_read_only(path)
        opened.text_factory = database.decode_lossy
        with contextlib.closing(opened) as connection:
            yield connection
    except STORAGE_ERRORS as error:
        raise SpoolBroken(f"{path}: {failure_kind(error).value} ({error})") from None
    finally:
        kept_descriptors.release(path)

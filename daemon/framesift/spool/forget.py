"""Forgets datapoints: removes their rows from the spool, and overwrites the bytes that these leave in its files."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from framesift.clock.clock import Clock
from framesift.datapoint import Selection
from framesift.spool.admin import connected
from framesift.spool.database import sibling_path
from framesift.spool.records import FinalOutcome
from framesift.spool.scrub import Scrubbed, scrub
from framesift.spool.space import remove_row

_ROWS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class ForgottenRows:
    """What was removed, or would be.

    ids: of datapoints. sending: of those that are being sent at this moment, and stay. image_ids: the sink's ids of
    images that it has already, by datapoint. signatures, held: how many signatures and waiting frames there were.
    """

    ids: tuple[str, ...]
    sending: tuple[str, ...]
    image_ids: Mapping[str, str]
    signatures: int
    held: int

    def with_later(self, later: ForgottenRows) -> ForgottenRows:
        """The sum of this and of a later pass over what was still being sent."""
        return ForgottenRows(
            (*self.ids, *later.ids),
            later.sending,
            {**self.image_ids, **later.image_ids},
            self.signatures + later.signatures,
            self.held + later.held,
        )


def find_rows(path: Path, selection: Selection, *, daemon_runs: bool) -> ForgottenRows:
    """What `forget_rows` would remove. Raises SpoolUnusable, SpoolTooNew, SpoolBroken."""
    with connected(path) as connection:
        return _find(connection, selection, daemon_runs)


def forget_rows(path: Path, selection: Selection, *, daemon_runs: bool) -> ForgottenRows:
    """Removes all rows of a selection, with the outcome `dropped`. Their quota stays charged.

    daemon_runs: rows that are being sent stay, as a daemon sends them. Without one they are left from a crash. Raises
    SpoolUnusable, SpoolTooNew, SpoolBroken.
    """
    with connected(path, write=True) as connection:
        found = _find(connection, selection, daemon_runs)
        for begin in range(0, len(found.ids), _ROWS_AT_ONCE):
            with _transaction(connection) as cursor:
                for id in found.ids[begin : begin + _ROWS_AT_ONCE]:
                    _remove(cursor, id, daemon_runs)
        with _transaction(connection) as cursor:
            for table, time in _OTHER_TABLES:
                cursor.executemany(
                    f"DELETE FROM {table} WHERE id = ?",
                    [(id,) for id in _ids(cursor, table, time, selection)],
                )
        return found


def scrub_spool(path: Path, clock: Clock) -> Scrubbed:
    """Overwrites what removed rows have left in the spool's files: also those that were delivered long ago.

    Raises SpoolUnusable, SpoolTooNew, SpoolBroken.
    """
    with connected(path, write=True) as connection:
        return scrub(connection, path, clock)


def are_charged(path: Path, ids: frozenset[str]) -> bool:
    """Whether quota is still charged for one of these ids. Raises SpoolUnusable, SpoolTooNew, SpoolBroken."""
    with connected(path) as connection:
        return any(connection.execute("SELECT 1 FROM charge WHERE id = ?", (id,)).fetchone() for id in ids)


def set_aside_files(path: Path) -> list[Path]:
    """Files of this spool that were damaged and moved aside, with their logs. They may hold any picture."""
    return sorted(path.parent.glob(f"{path.name}.corrupt-*"))


@contextlib.contextmanager
def daemon_kept_out(path: Path) -> Iterator[bool]:
    """Keeps a daemon from starting meanwhile. Yields False if one runs already."""
    try:
        lock = os.open(sibling_path(path, ".lock"), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)


# Tables beside `datapoint` that say something of one frame, with their column of the time of capture.
_OTHER_TABLES = (("signature", "captured_at_s"), ("held", "wall_s"))


def _find(connection: sqlite3.Connection, selection: Selection, daemon_runs: bool) -> ForgottenRows:
    cursor = connection.cursor()
    ids: list[str] = []
    sending: list[str] = []
    image_ids: dict[str, str] = {}
    rows = cursor.execute(
        "SELECT id, stream, captured_at_s, state, image_id FROM datapoint LEFT JOIN delivery USING (seq) ORDER BY seq"
    )
    for id, stream, captured_at_s, state, image_id in rows:
        if not selection.includes(str(id), str(stream), captured_at_s):
            continue
        if image_id is not None:
            image_ids[id] = str(image_id)
        (sending if state == "sending" and daemon_runs else ids).append(id)
    counts = [len(_ids(cursor, table, time, selection)) for table, time in _OTHER_TABLES]
    return ForgottenRows(tuple(ids), tuple(sending), image_ids, *counts)


def _ids(cursor: sqlite3.Cursor, table: str, time: str, selection: Selection) -> list[str]:
    rows = cursor.execute(f"SELECT id, stream, {time} FROM {table}")
    return [id for id, stream, captured_at_s in rows if selection.includes(str(id), str(stream), captured_at_s)]


def _remove(cursor: sqlite3.Cursor, id: str, daemon_runs: bool) -> None:
    row = cursor.execute(
        "SELECT seq, state FROM datapoint LEFT JOIN delivery USING (seq) WHERE id = ?", (id,)
    ).fetchone()
    if row is not None and not (row[1] == "sending" and daemon_runs):
        remove_row(cursor, row[0], FinalOutcome.DROPPED)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Cursor]:
    cursor = connection.cursor()
    cursor.execute("BEGIN IMMEDIATE")
    yield cursor
    cursor.execute("COMMIT")

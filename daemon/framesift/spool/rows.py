"""What happens to the rows: each function is one step of a datapoint's life, inside the caller's transaction."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable

from framesift.datapoint import Candidate, Datapoint
from framesift.limits import Quota
from framesift.spool.file import Trouble, trouble
from framesift.spool.nouns import Exit, Item
from framesift.spool.space import Transaction, count_exit, remove

# What happens to a row that is being sent: told its (seq, attempts, tried), says whether its credit was given back.
Step = Callable[[sqlite3.Cursor, tuple[int, int, int], Transaction], bool | None]

# A date further away than any sink may ask for was written by a clock that was wrong.
LONGEST_DELAY_S = 24 * 3600.0

_ITEM = (
    "d.id, device, stream, frame, captured_at_s, strategy, score, tags, project, batch, annotate, width, height,"
    " size_bytes, prediction, attempts, tried, refusals, image_id"
)


def digest(prediction: str, jpeg: bytes) -> bytes:
    return hashlib.blake2b(jpeg, digest_size=16, key=hashlib.sha256(prediction.encode()).digest()).digest()


def insert(
    cursor: sqlite3.Cursor,
    datapoint: Datapoint,
    candidate: Candidate,
    quota: Quota,
    prediction: str,
    hash: bytes,
    *,
    captured_at_s: float,
    accepted_at_s: float,
) -> None:
    cursor.execute(
        "INSERT INTO datapoint (id, state, device, stream, frame, captured_at_s, accepted_at_s, strategy, score, rank,"
        " tags, project, batch, account, batch_key, annotate, width, height, size_bytes)"
        " VALUES (?, 'ready', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            datapoint.id,
            datapoint.device,
            datapoint.stream,
            datapoint.frame,
            captured_at_s,
            accepted_at_s,
            candidate.strategy,
            candidate.score,
            rank(candidate.score),
            json.dumps(candidate.tags),
            candidate.project,
            candidate.batch,
            quota.account,
            quota.batch,
            int(candidate.annotate),
            datapoint.width,
            datapoint.height,
            len(datapoint.jpeg),
        ),
    )
    cursor.execute(
        "INSERT INTO image (seq, hash, prediction, jpeg) VALUES (?, ?, ?, ?)",
        (cursor.lastrowid, hash, prediction, datapoint.jpeg),
    )


def strategy_of(cursor: sqlite3.Cursor, id: str) -> str | None:
    """Whose credit a datapoint holds that was accepted before; None for a new one."""
    row = cursor.execute("SELECT strategy FROM datapoint WHERE id = ?", (id,)).fetchone()
    return None if row is None else str(row[0])


def rank(score: float | None) -> float:
    return 0.0 if score is None else score


def count_classes(cursor: sqlite3.Cursor, classes: Counter[str]) -> None:
    cursor.executemany(
        "INSERT INTO class_count (class, number) VALUES (?1, ?2)"
        " ON CONFLICT (class) DO UPDATE SET number = number + ?2",
        sorted(classes.items()),
    )


def recover(cursor: sqlite3.Cursor, max_attempts: int, besides: Iterable[str] = ()) -> int:
    """Gives back what was being sent when the program ended (all but `besides`), and buries what was being sent each
    of `max_attempts` times. Says how many were buried."""
    out = set(besides)
    left = cursor.execute("SELECT seq, id, attempts FROM datapoint WHERE state = 'sending'").fetchall()
    buried = 0
    for seq, id, attempts in left:
        if id in out:
            continue
        if attempts >= max_attempts:
            _bury(cursor, seq, f"the program ended during each of {attempts} attempts to send it")
            buried += 1
        else:
            _unclaim(cursor, seq)
    return buried


def make_due(cursor: sqlite3.Cursor, now_s: float) -> None:
    """Rows whose date has come wait no longer."""
    cursor.execute(
        "UPDATE datapoint SET next_at_s = NULL WHERE seq IN"
        " (SELECT seq FROM datapoint WHERE next_at_s <= ? UNION ALL SELECT seq FROM datapoint WHERE next_at_s > ?)",
        (now_s, now_s + LONGEST_DELAY_S),
    )


def claim(cursor: sqlite3.Cursor, seq: int) -> Item | None:
    """The item, claimed; None if it lies on a damaged page and was buried instead."""
    cursor.execute(
        "UPDATE datapoint SET state = 'sending', attempts = attempts + 1, tried = tried + 1 WHERE seq = ?", (seq,)
    )
    try:
        row = cursor.execute(
            f"SELECT {_ITEM} FROM datapoint AS d JOIN image USING (seq) WHERE d.seq = ?", (seq,)
        ).fetchone()
    except sqlite3.DatabaseError as error:
        if trouble(error) is not Trouble.CORRUPT:
            raise
        row = None
    if row is None:
        _bury(cursor, seq, "its picture lies on a damaged page")
        return None
    values = list(row)
    values[7] = tuple(json.loads(values[7]))
    values[10] = bool(values[10])
    return Item(*values)


def next_date_s(cursor: sqlite3.Cursor) -> float | None:
    row = cursor.execute("SELECT min(next_at_s) FROM datapoint WHERE next_at_s IS NOT NULL").fetchone()
    return None if row[0] is None else float(row[0])


def sending(cursor: sqlite3.Cursor, id: str) -> tuple[int, int, int] | None:
    """(seq, attempts, tried) of a row that is being sent; None if somebody removed it meanwhile."""
    row = cursor.execute(
        "SELECT seq, attempts, tried FROM datapoint WHERE id = ? AND state = 'sending'", (id,)
    ).fetchone()
    return None if row is None else (int(row[0]), int(row[1]), int(row[2]))


def leave(cursor: sqlite3.Cursor, seq: int, exit: Exit) -> None:
    remove(cursor, seq, exit)


def registered(cursor: sqlite3.Cursor, seq: int, image_id: str) -> None:
    # The second step has attempts of its own: they begin anew.
    cursor.execute(
        "UPDATE datapoint SET state = 'registered', image_id = ?, attempts = 0, refusals = 0, next_at_s = NULL,"
        " why = NULL"
        " WHERE seq = ?",
        (image_id, seq),
    )


def later(
    cursor: sqlite3.Cursor,
    seq: int,
    at_s: float | None,
    why: str,
    *,
    costs_attempt: bool,
    arrived: bool,
    refusals: int | None,
) -> None:
    _unclaim(cursor, seq)
    cursor.execute(
        "UPDATE datapoint SET next_at_s = ?, why = ?, attempts = max(0, attempts - ?), tried = tried - ?,"
        " refusals = coalesce(?, refusals) WHERE seq = ?",
        (at_s, why, int(not costs_attempt), int(not arrived), refusals, seq),
    )


def is_registered(cursor: sqlite3.Cursor, seq: int) -> bool:
    """Whether the sink has its image."""
    row = cursor.execute("SELECT image_id IS NOT NULL FROM datapoint WHERE seq = ?", (seq,)).fetchone()
    return bool(row[0])


def release(cursor: sqlite3.Cursor, seq: int) -> None:
    _unclaim(cursor, seq)
    excuse(cursor, seq)
    cursor.execute("UPDATE datapoint SET tried = tried - 1 WHERE seq = ?", (seq,))


def excuse(cursor: sqlite3.Cursor, seq: int) -> None:
    # One that ends meanwhile may be excused twice.
    cursor.execute("UPDATE datapoint SET attempts = max(0, attempts - 1) WHERE seq = ?", (seq,))


def bury(cursor: sqlite3.Cursor, seq: int, why: str) -> None:
    _bury(cursor, seq, why)


def _bury(cursor: sqlite3.Cursor, seq: int, why: str) -> None:
    cursor.execute("UPDATE datapoint SET state = 'buried', why = ?, next_at_s = NULL WHERE seq = ?", (why, seq))


def _unclaim(cursor: sqlite3.Cursor, seq: int) -> None:
    cursor.execute(
        "UPDATE datapoint SET state = CASE WHEN image_id IS NULL THEN 'ready' ELSE 'registered' END WHERE seq = ?",
        (seq,),
    )


def lost(cursor: sqlite3.Cursor, number: int) -> None:
    """Counts rows that lay on damaged pages."""
    if number:
        count_exit(cursor, Exit.BURIED, number)

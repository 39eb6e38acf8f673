"""Operations on rows: each function is one step of a datapoint's life, inside the caller's transaction."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from framesift.datapoint import Candidate, Datapoint
from framesift.limits import Quota
from framesift.spool.disk_errors import Malformed, is_damage
from framesift.spool.records import ClaimedDatapoint, FinalOutcome
from framesift.spool.space import Transaction, count_outcome

# One step of a row that is being sent. Gets its (seq, attempts, tried); returns whether its quota was refunded.
RowStep = Callable[[sqlite3.Cursor, tuple[int, int, int], Transaction], bool | None]


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row that was buried because it is damaged. id: as far as it can be read."""

    id: str
    why: str


# A later retry than any sink may ask for was written while the clock was wrong.
MAX_DELAY_S = 24 * 3600.0
_LONGEST_SIDE = 65535  # of a JPEG, in pixels
LAST_DAY_S = 253402214400.0  # 9999-12-31


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


def is_text_list(value: object) -> bool:
    """Whether the value is a JSON list of strings."""
    try:
        found = json.loads(value) if isinstance(value, str) else None
    except ValueError:
        return False
    return isinstance(found, list) and all(isinstance(text, str) for text in found)


def _is_any(value: object) -> bool:
    return value is not None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0


def _is_side(value: object) -> bool:
    return isinstance(value, int) and 1 <= value <= _LONGEST_SIDE


# The columns that a worker reads, in the order of ClaimedDatapoint's fields, and a check of each value.
_CHECKS: dict[str, Callable[[object], bool]] = {
    "id": _is_text,
    "device": _is_text,
    "stream": _is_text,
    "frame": _is_count,
    "captured_at_s": lambda value: isinstance(value, float) and abs(value) <= LAST_DAY_S,
    "strategy": _is_text,
    "score": lambda value: value is None or (isinstance(value, float) and math.isfinite(value)),
    "tags": is_text_list,
    "project": _is_text_or_none,
    "batch": _is_text,
    "annotate": lambda value: value in (0, 1),
    "width": _is_side,
    "height": _is_side,
    "size_bytes": _is_count,
    "prediction": _is_text,
    "attempts": _is_count,
    "tried": _is_count,
    "refusals": _is_count,
    "image_id": _is_text_or_none,
}
_PREDICTION = list(_CHECKS).index("prediction")
_ITEM = ", ".join(f"d.{name}" if name == "id" else name for name in _CHECKS)


def content_hash(prediction: str, jpeg: bytes) -> bytes:
    """BLAKE2b (16 bytes) of the JPEG and the prediction."""
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
    """Adds a row in state `ready`, and its JPEG and prediction."""
    cursor.execute(
        "INSERT INTO datapoint (id, state, device, stream, frame, captured_at_s, accepted_at_s, strategy, score, rank,"
        " tags, project, batch, account, batch_key, annotate, width, height, size_bytes)"
        " VALUES (?, 'ready', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            datapoint.id,
            datapoint.device,
            datapoint.stream,
            datapoint.frame_number,
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
            int(candidate.with_prediction),
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
    """The strategy of a datapoint that was accepted before; None for a new one."""
    row = cursor.execute("SELECT strategy FROM datapoint WHERE id = ?", (id,)).fetchone()
    return None if row is None else str(row[0])


def rank(score: float | None) -> float:
    """The score for sorting: no score counts as 0."""
    return 0.0 if score is None else score


def count_classes(cursor: sqlite3.Cursor, classes: Counter[str]) -> None:
    """Adds to the numbers of predicted objects per class."""
    cursor.executemany(
        "INSERT INTO class_count (class, number) VALUES (?, ?)"
        " ON CONFLICT (class) DO UPDATE SET number = number + excluded.number",
        sorted(classes.items()),
    )


def release_interrupted(cursor: sqlite3.Cursor, max_attempts: int, besides: Iterable[str] = ()) -> int:
    """Releases the rows that were being sent when the program ended, except the ids of `besides`.

    Rows that were being sent during each of `max_attempts` attempts are buried. Returns how many were buried.
    """
    excluded = set(besides)
    left = cursor.execute("SELECT seq, id, attempts FROM datapoint WHERE state = 'sending'").fetchall()
    buried = 0
    for seq, id, attempts in left:
        if id in excluded:
            continue
        if not _is_count(attempts):
            bury(cursor, seq, "it can't be read: its attempts are damaged")
            buried += 1
        elif attempts >= max_attempts:
            bury(cursor, seq, f"the program ended during each of {attempts} attempts to send it")
            buried += 1
        else:
            _unclaim(cursor, seq)
    return buried


def clear_due_dates(cursor: sqlite3.Cursor, now_s: float) -> None:
    """Removes the retry time of rows whose time has come."""
    cursor.execute(
        "UPDATE datapoint SET next_at_s = NULL WHERE seq IN"
        " (SELECT seq FROM datapoint WHERE next_at_s <= ? UNION ALL SELECT seq FROM datapoint WHERE next_at_s > ?)",
        (now_s, now_s + MAX_DELAY_S),
    )


def claim(cursor: sqlite3.Cursor, seq: int) -> ClaimedDatapoint | UnreadableRow:
    """Claims a row. A damaged row is buried and returned as UnreadableRow."""
    id = f"row {seq}"
    try:
        row = cursor.execute(
            f"SELECT {_ITEM} FROM datapoint AS d LEFT JOIN image USING (seq) WHERE d.seq = ?", (seq,)
        ).fetchone()
        if row is None:
            raise Malformed(f"an index refers to row {seq}, which does not exist")
        id = str(row[0])
        if row[_PREDICTION] is None and _is_misplaced(cursor, seq):
            raise Malformed(f"the picture of row {seq} exists, but no search finds it")
        item = _item(dict(zip(_CHECKS, row, strict=True)))
    except (ValueError, sqlite3.DatabaseError) as error:
        if isinstance(error, Malformed) or (isinstance(error, sqlite3.Error) and not is_damage(error)):
            raise
        why = f"it can't be read: {error}"
        bury(cursor, seq, why)
        return UnreadableRow(id, why)
    cursor.execute(
        "UPDATE datapoint SET state = 'sending', attempts = attempts + 1, tried = tried + 1 WHERE seq = ?", (seq,)
    )
    return replace(item, attempts=item.attempts + 1, tried=item.tried + 1)


def _is_misplaced(cursor: sqlite3.Cursor, seq: int) -> bool:
    """Whether the table contains the picture, although a search by its number doesn't find it."""
    try:
        return cursor.execute("SELECT 1 FROM image WHERE +seq = ?", (seq,)).fetchone() is not None
    except sqlite3.DatabaseError:
        return False  # it can't be reached in any way


def _item(values: dict[str, object]) -> ClaimedDatapoint:
    """Converts the columns of `_ITEM`. Raises ValueError if one contains a value that is never written."""
    column = damaged_column(values)
    if column is not None:
        raise ValueError(f"its {column} is damaged")
    values["tags"], values["annotate"] = tuple(json.loads(str(values["tags"]))), bool(values["annotate"])
    return ClaimedDatapoint(*values.values())  # type: ignore[arg-type]  # just checked


def damaged_column(values: Mapping[str, object]) -> str | None:
    """The first of these columns whose value is never written; None if all are valid."""
    return next((name for name, value in values.items() if name in _CHECKS and not _CHECKS[name](value)), None)


def as_buried(values: Mapping[str, object]) -> dict[str, object]:
    """The values of a damaged row for burial.

    A damaged column becomes empty, so that the row isn't delivered even if an operator retries it.
    """
    safe = {name: value if _CHECKS.get(name, _is_any)(value) else b"" for name, value in values.items()}
    safe |= dict.fromkeys(("attempts", "tried", "refusals"), 0)
    return safe | {
        "state": "buried",
        "next_at_s": None,
        "why": f"it can't be read: its {damaged_column(values) or 'state'} is damaged",
    }


def read_jpeg(cursor: sqlite3.Cursor, id: str) -> bytes | None:
    """The JPEG, None if the row no longer exists. Raises ValueError if it is not what was stored."""
    row = cursor.execute(
        "SELECT hash, prediction, jpeg FROM datapoint LEFT JOIN image USING (seq) WHERE id = ?", (id,)
    ).fetchone()
    if row is None:
        return None
    hash, prediction, jpeg = row
    if not isinstance(jpeg, bytes) or hash != content_hash(str(prediction), jpeg):
        raise ValueError("it is not what was stored")
    return jpeg


def next_retry_s(cursor: sqlite3.Cursor) -> float | None:
    """Unix time of the next retry; None if no row waits for one."""
    row = cursor.execute("SELECT min(next_at_s) FROM datapoint WHERE next_at_s IS NOT NULL").fetchone()
    return None if row[0] is None else float(row[0])


def find_sending(cursor: sqlite3.Cursor, id: str) -> tuple[int, int, int] | None:
    """(seq, attempts, tried) of a row that is being sent; None if an operator removed it meanwhile."""
    row = cursor.execute(
        "SELECT seq, attempts, tried FROM datapoint WHERE id = ? AND state = 'sending'", (id,)
    ).fetchone()
    if row is not None and not (_is_count(row[1]) and _is_count(row[2])):
        raise Malformed(f"the attempts of {id}")
    return row  # type: ignore[no-any-return]


def mark_registered(cursor: sqlite3.Cursor, seq: int, image_id: str) -> None:
    """Records that the sink has the image. Sending the prediction then has its own attempts, counted from 0."""
    cursor.execute(
        "UPDATE datapoint SET state = 'registered', image_id = ?, attempts = 0, refusals = 0, next_at_s = NULL,"
        " why = NULL"
        " WHERE seq = ?",
        (image_id, seq),
    )


def retry_later(
    cursor: sqlite3.Cursor,
    seq: int,
    at_s: float | None,
    why: str,
    *,
    costs_attempt: bool,
    arrived: bool,
    refusals: int | None,
) -> None:
    """Schedules the next attempt of a row that is being sent: see `Spool.retry_later`."""
    _unclaim(cursor, seq)
    cursor.execute(
        "UPDATE datapoint SET next_at_s = ?, why = ?, attempts = max(0, attempts - ?), tried = tried - ?,"
        " refusals = coalesce(?, refusals) WHERE seq = ?",
        (at_s, why, int(not costs_attempt), int(not arrived), refusals, seq),
    )


def set_image_id(cursor: sqlite3.Cursor, seq: int, image_id: str) -> None:
    """Replaces the sink's id of the image of this row."""
    cursor.execute("UPDATE datapoint SET image_id = ? WHERE seq = ?", (image_id, seq))


def is_registered(cursor: sqlite3.Cursor, seq: int) -> bool:
    """Whether the sink has the image of this row."""
    row = cursor.execute("SELECT image_id IS NOT NULL FROM datapoint WHERE seq = ?", (seq,)).fetchone()
    return bool(row[0])


def release(cursor: sqlite3.Cursor, seq: int) -> None:
    """Undoes a claim."""
    _unclaim(cursor, seq)
    refund_attempt(cursor, seq)
    cursor.execute("UPDATE datapoint SET tried = tried - 1 WHERE seq = ?", (seq,))


def refund_attempt(cursor: sqlite3.Cursor, seq: int) -> None:
    """Takes one attempt off. A row may get this twice, if its delivery ends at the same time."""
    cursor.execute("UPDATE datapoint SET attempts = max(0, attempts - 1) WHERE seq = ?", (seq,))


def bury(cursor: sqlite3.Cursor, seq: int, why: str) -> None:
    """Buries a row: it stays in the spool and is not tried again."""
    cursor.execute("UPDATE datapoint SET state = 'buried', why = ?, next_at_s = NULL WHERE seq = ?", (why, seq))


def _unclaim(cursor: sqlite3.Cursor, seq: int) -> None:
    cursor.execute(
        "UPDATE datapoint SET state = CASE WHEN image_id IS NULL THEN 'ready' ELSE 'registered' END WHERE seq = ?",
        (seq,),
    )


def count_lost(cursor: sqlite3.Cursor, number: int) -> None:
    """Counts rows that were lost on damaged pages, with the outcome `buried`."""
    if number:
        count_outcome(cursor, FinalOutcome.BURIED, number)

"""Operations on rows: each function is one step of a datapoint's life, inside the caller's transaction."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from framesift.datapoint import Candidate, Datapoint
from framesift.limits import Quota
from framesift.spool import checksums, delivery
from framesift.spool.database import decode_lossy
from framesift.spool.disk_errors import Malformed, is_damage
from framesift.spool.records import ClaimedDatapoint, FinalOutcome
from framesift.spool.row_checks import CHECKS, damaged_column
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
_PREDICTION = list(CHECKS).index("prediction")
_COLUMNS = ", ".join("datapoint.extra" if column == "extra" else column for column in CHECKS)
_ITEM_OF_ROW = (
    f"SELECT {_COLUMNS}, {checksums.IS_WHOLE['datapoint']}, {checksums.IS_WHOLE['delivery']} FROM datapoint"
    f" JOIN delivery ON delivery.seq = datapoint.seq AND sink = '{delivery.SINK}'"
    " LEFT JOIN picture ON number = datapoint.seq WHERE datapoint.seq = ?"
)
_UNCLAIMED = "state = CASE WHEN image_id IS NULL THEN 'ready' ELSE 'registered' END"


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
        "INSERT INTO datapoint (id, device, stream, frame, captured_at_s, accepted_at_s, strategy, score, tags,"
        " project, batch, account, batch_key, annotate, width, height, size_bytes, picture_hash, extra, checksum)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, x'')",
        (
            datapoint.id,
            datapoint.device,
            datapoint.stream,
            datapoint.frame_number,
            captured_at_s,
            accepted_at_s,
            candidate.strategy,
            candidate.score,
            json.dumps(candidate.tags),
            candidate.project,
            candidate.batch,
            quota.account,
            quota.batch,
            int(candidate.with_prediction),
            datapoint.width,
            datapoint.height,
            len(datapoint.jpeg),
            hash,
            datapoint.facts.to_json(),
        ),
    )
    seq = int(cursor.lastrowid or 0)
    checksums.seal(cursor, "datapoint", "seq = ?", (seq,))
    delivery.insert(cursor, seq, rank_of(candidate))
    cursor.execute(
        "INSERT INTO picture (number, hash, prediction, bytes) VALUES (?, ?, ?, ?)",
        (seq, hash, prediction, datapoint.jpeg),
    )


def strategy_of(cursor: sqlite3.Cursor, id: str) -> str | None:
    """The strategy of a datapoint that was accepted before; None for a new one."""
    row = cursor.execute("SELECT strategy FROM datapoint WHERE id = ?", (id,)).fetchone()
    return None if row is None else str(row[0])


def rank_of(candidate: Candidate) -> float:
    """The rank of a datapoint of this candidate: its score; above all scores if that must not decide on eviction."""
    return rank(candidate.score) if candidate.is_evictable else math.inf


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


def settle_strategy(
    cursor: sqlite3.Cursor, seq: int, strategy: str, score: float | None, tags: Sequence[str], account: str
) -> None:
    """Records the strategy for which pending quota was granted: the only change of facts. Raises Malformed."""
    changed = cursor.execute(
        "UPDATE datapoint SET strategy = ?, score = ?, tags = ?, account = ?"
        f" WHERE seq = ? AND {checksums.IS_WHOLE['datapoint']}",
        (strategy, score, json.dumps(tags), account, seq),
    )
    if changed.rowcount != 1:
        raise Malformed(f"the facts of row {seq}")
    checksums.seal(cursor, "datapoint", "seq = ?", (seq,))
    delivery.change(cursor, seq, "rank = ?", rank(score))


def bury_damaged(cursor: sqlite3.Cursor) -> list[UnreadableRow]:
    """Buries all rows that are not what was written. Reads no pictures."""
    facts, state = checksums.IS_WHOLE["datapoint"], checksums.IS_WHOLE["delivery"]
    found = cursor.execute(
        f"SELECT datapoint.seq, CAST(id AS BLOB), {state} FROM datapoint"
        f" LEFT JOIN delivery ON delivery.seq = datapoint.seq AND sink = '{delivery.SINK}'"
        f" WHERE NOT {state} OR state <> 'buried' AND NOT {facts}"
    ).fetchall()
    rows = [(seq, UnreadableRow(decode_lossy(id), _why_damaged(state_is_whole))) for seq, id, state_is_whole in found]
    for seq, row in rows:
        bury(cursor, seq, row.why)
    return [row for _, row in rows]


def _why_damaged(state_is_whole: object) -> str:
    return f"it can't be read: its {'facts are' if state_is_whole else 'state is'} not what was written"


def release_interrupted(cursor: sqlite3.Cursor, max_attempts: int, besides: Iterable[str] = ()) -> int:
    """Releases the rows that were being sent when the program ended, except the ids of `besides`.

    Rows that were being sent during each of `max_attempts` attempts are buried. Returns how many were buried.
    """
    excluded = {id.encode() for id in besides}
    left = cursor.execute(
        "SELECT seq, CAST(id AS BLOB), attempts FROM delivery JOIN datapoint USING (seq) WHERE state = 'sending'"
    ).fetchall()
    buried = 0
    for seq, id, attempts in left:
        if id in excluded:
            continue
        if attempts >= max_attempts:
            bury(cursor, seq, f"the program ended during each of {attempts} attempts to send it")
            buried += 1
        else:
            delivery.change(cursor, seq, _UNCLAIMED)
    return buried


def clear_due_dates(cursor: sqlite3.Cursor, now_s: float) -> None:
    """Removes the retry time of rows whose time has come. A row that is damaged is buried."""
    due = cursor.execute(
        "SELECT seq FROM delivery WHERE next_at_s <= ? UNION ALL SELECT seq FROM delivery WHERE next_at_s > ?",
        (now_s, now_s + MAX_DELAY_S),
    ).fetchall()
    for (seq,) in due:
        try:
            delivery.change(cursor, seq, "next_at_s = NULL")
        except delivery.DeliveryDamaged:
            bury(cursor, seq, _why_damaged(None))


def claim(cursor: sqlite3.Cursor, seq: int) -> ClaimedDatapoint | UnreadableRow:
    """Claims a row. A damaged row is buried and returned as UnreadableRow."""
    id = "(unknown)"
    try:
        row = cursor.execute(_ITEM_OF_ROW, (seq,)).fetchone()
        if row is None:
            raise Malformed(f"an index refers to row {seq}, which does not exist")
        *values, facts_are_whole, state_is_whole = row
        id = str(values[0])
        if values[_PREDICTION] is None and _is_misplaced(cursor, seq):
            raise Malformed(f"the picture of row {seq} exists, but no search finds it")
        item = _item(dict(zip(CHECKS, values, strict=True)))
        if not (facts_are_whole and state_is_whole):
            raise ValueError(f"its {'facts are' if state_is_whole else 'state is'} not what was written")
    except (ValueError, sqlite3.DatabaseError) as error:
        if isinstance(error, Malformed) or (isinstance(error, sqlite3.Error) and not is_damage(error)):
            raise
        why = f"it can't be read: {error}"
        bury(cursor, seq, why)
        return UnreadableRow(id, why)
    delivery.change(cursor, seq, "state = 'sending', attempts = attempts + 1, tried = tried + 1")
    return replace(item, attempts=item.attempts + 1, tried=item.tried + 1)


def _is_misplaced(cursor: sqlite3.Cursor, seq: int) -> bool:
    """Whether the table contains the picture, although a search by its number doesn't find it."""
    try:
        return cursor.execute("SELECT 1 FROM picture WHERE +number = ?", (seq,)).fetchone() is not None
    except sqlite3.DatabaseError:
        return False  # it can't be reached in any way


def _item(values: dict[str, object]) -> ClaimedDatapoint:
    """Converts the columns of `_ITEM`. Raises ValueError if one contains a value that is never written."""
    column = damaged_column(values)
    if column is not None:
        raise ValueError(f"its {column} is damaged")
    values["tags"], values["annotate"] = tuple(json.loads(str(values["tags"]))), bool(values["annotate"])
    return ClaimedDatapoint(*values.values())  # type: ignore[arg-type]  # just checked


def read_jpeg(cursor: sqlite3.Cursor, id: str) -> bytes | None:
    """The JPEG, None if the row no longer exists. Raises ValueError if it is not what was stored."""
    row = cursor.execute(
        "SELECT hash, prediction, bytes, size_bytes, coalesce(picture_hash, hash) FROM datapoint"
        " LEFT JOIN picture ON number = datapoint.seq WHERE id = ?",
        (id,),
    ).fetchone()
    if row is None:
        return None
    hash, prediction, jpeg, size_bytes, said_hash = row
    if not isinstance(jpeg, bytes) or not hash == said_hash == content_hash(str(prediction), jpeg):
        raise ValueError("it is not what was stored")
    if len(jpeg) != size_bytes:  # all that the facts of an older format say of the picture
        raise ValueError(f"it has {len(jpeg)} bytes instead of {size_bytes}")
    return jpeg


def next_retry_s(cursor: sqlite3.Cursor) -> float | None:
    """Unix time of the next retry; None if no row waits for one."""
    row = cursor.execute("SELECT min(next_at_s) FROM delivery WHERE next_at_s IS NOT NULL").fetchone()
    return None if row[0] is None else float(row[0])


def find_sending(cursor: sqlite3.Cursor, id: str) -> tuple[int, int, int] | None:
    """(seq, attempts, tried) of a row that is being sent; None if an operator removed it. Raises Malformed."""
    row = cursor.execute(
        f"SELECT datapoint.seq, attempts, tried, CAST(state AS BLOB), {checksums.IS_WHOLE['delivery']} FROM datapoint"
        f" LEFT JOIN delivery ON delivery.seq = datapoint.seq AND sink = '{delivery.SINK}' WHERE id = ?",
        (id,),
    ).fetchone()
    if row is None:
        return None
    seq, attempts, tried, state, is_whole = row
    if not is_whole:
        raise Malformed(f"the state of {id}")
    return (seq, attempts, tried) if state == b"sending" else None


def mark_registered(cursor: sqlite3.Cursor, seq: int, image_id: str) -> None:
    """Records that the sink has the image. Sending the prediction then has its own attempts, counted from 0."""
    fresh = "state = 'registered', image_id = ?, attempts = 0, refusals = 0, next_at_s = NULL, why = NULL"
    delivery.change(cursor, seq, fresh, image_id)


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
    delivery.change(
        cursor,
        seq,
        f"{_UNCLAIMED}, next_at_s = ?, why = ?, attempts = max(0, attempts - ?), tried = tried - ?,"
        " refusals = coalesce(?, refusals)",
        *(at_s, why, int(not costs_attempt), int(not arrived), refusals),
    )


def set_image_id(cursor: sqlite3.Cursor, seq: int, image_id: str) -> None:
    """Replaces the sink's id of the image of this row."""
    delivery.change(cursor, seq, "image_id = ?", image_id)


def is_registered(cursor: sqlite3.Cursor, seq: int) -> bool:
    """Whether the sink has the image of this row."""
    row = cursor.execute(
        f"SELECT image_id IS NOT NULL FROM delivery WHERE seq = ? AND sink = '{delivery.SINK}'", (seq,)
    ).fetchone()
    return bool(row[0])


def release(cursor: sqlite3.Cursor, seq: int) -> None:
    """Undoes a claim."""
    delivery.change(cursor, seq, f"{_UNCLAIMED}, attempts = max(0, attempts - 1), tried = tried - 1")


def refund_attempt(cursor: sqlite3.Cursor, seq: int) -> None:
    """Takes one attempt off. A row may get this twice, if its delivery ends at the same time."""
    delivery.change(cursor, seq, "attempts = max(0, attempts - 1)")


def retry_by_hand(cursor: sqlite3.Cursor, seq: int) -> None:
    """Makes a row ready to be claimed at once, with all its attempts."""
    fresh = f"{_UNCLAIMED}, attempts = 0, refusals = 0, next_at_s = NULL, why = NULL"
    try:
        delivery.change(cursor, seq, fresh)
    except delivery.DeliveryDamaged:
        bury(cursor, seq, _why_damaged(None))  # which writes it anew
        delivery.change(cursor, seq, fresh)


def bury(cursor: sqlite3.Cursor, seq: int, why: str) -> None:
    """Buries a row: it stays in the spool and is not tried again."""
    delivery.bury(cursor, seq, why)


def count_lost(cursor: sqlite3.Cursor, number: int) -> None:
    """Counts rows that were lost on damaged pages, with the outcome `buried`."""
    if number:
        count_outcome(cursor, FinalOutcome.BURIED, number)

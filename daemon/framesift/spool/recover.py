"""`framesift spool recover FILE`: takes datapoints of a file that was set aside as damaged back into the spool.

Each is taken once: not if the spool has its id, if the salvage that set the file aside has saved it, if it was taken
before, or if the spool has sent it. Which those are is kept beside the file, in `spool.db.taken-<time>`. A datapoint
is not taken if the hash of its picture is wrong. Its charge comes along, unless the spool has it: no quota is created.

The daemon may run meanwhile: each datapoint is written in a short transaction of this process.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from framesift.clock.moment import Moment
from framesift.limits.by_hand import bring_charge
from framesift.limits.shared.pending import GRANTED_BY_NOBODY
from framesift.spool import admin, checksums, delivery, rows, space, taken
from framesift.spool.btree import Row, Value
from framesift.spool.damaged_file import DamagedFile
from framesift.spool.records import SpoolBroken, SpoolFull, SpoolUnusable, WhenFull
from framesift.spool.salvaged_rows import insert

_BATCH_ROWS = 20


@dataclass(frozen=True, slots=True)
class Recovery:
    """What became of the datapoints of a file.

    taken: they are in the spool now. known: the spool has them, or had them. unreadable: they can't be read, or their
    picture can't. no_room: the spool was full, or the disk: run it again when there is room.
    """

    taken: int = 0
    known: int = 0
    unreadable: int = 0
    no_room: int = 0


@dataclass(frozen=True, slots=True)
class SpoolPlace:
    """The spool that takes them. max_bytes, min_free_bytes: as in SpoolBounds."""

    path: Path
    max_bytes: int
    min_free_bytes: int


def recover(spool: SpoolPlace, file: Path, now: Moment) -> Recovery:
    """Takes the datapoints of `file` that the spool doesn't know. Raises SpoolUnusable, SpoolTooNew, SpoolBroken."""
    if not file.is_file():
        raise SpoolUnusable(f"{file}: {'is a folder, not a file' if file.is_dir() else 'there is no such file'}")
    if spool.path.exists() and spool.path.samefile(file):
        raise SpoolUnusable(f"{file} is the spool itself: name a file that was set aside, {spool.path}.corrupt-...")
    try:
        with contextlib.closing(DamagedFile(file)) as old:
            if not old.tables["datapoint"].cells and not old.tables["identity"].whole:
                raise SpoolUnusable(f"{file} has no datapoints of framesift that can be read")
            return _recover(spool, old, taken.path_beside(file), now)
    except OSError as error:
        raise SpoolBroken(f"{file}: {error.strerror or error}") from None


def _recover(spool: SpoolPlace, old: DamagedFile, kept: Path, now: Moment) -> Recovery:
    seqs = taken.read(kept)
    taken.write(kept, seqs)  # first: where this fails, nothing is taken
    columns = old.columns("datapoint")
    found = ((dict(zip(columns, row, strict=True)), is_whole) for row, is_whole in old.rows("datapoint"))
    number = {"taken": 0, "known": 0, "unreadable": 0, "no_room": 0}
    with admin.connected(spool.path, write=True) as connection:
        one = _Recoverer(spool, connection, old, seqs, now)
        for values, is_whole in found:
            number[one.take(values) if is_whole else "unreadable"] += 1
            if number["taken"] % _BATCH_ROWS == 1:
                taken.write(kept, seqs)
        taken.write(kept, seqs)
    return Recovery(**number)


class _Recoverer:
    """Takes one datapoint after the other. taken: the numbers that are in the spool, or were; extended by each."""

    def __init__(
        self, spool: SpoolPlace, connection: sqlite3.Connection, old: DamagedFile, taken: set[int], now: Moment
    ) -> None:
        self._spool = spool
        self._connection = connection
        self._old = old
        self._taken = taken
        self._now = now
        self._is_full = False

    def take(self, values: dict[str, Value]) -> str:
        """Takes a datapoint with these facts. Returns the field of Recovery that counts it."""
        seq, id, hash = values["seq"], str(values["id"]), values["picture_hash"]
        if not isinstance(seq, int):
            return "unreadable"
        if seq in self._taken or self._is_known(id):
            self._taken.add(seq)
            return "known"
        picture = self._old.picture(seq, hash if isinstance(hash, bytes) else None)
        if picture is None:
            return "unreadable"
        if self._is_full or not self._insert(values, seq, id, picture):
            self._is_full = True
            return "no_room"
        self._taken.add(seq)
        return "taken"

    def _is_known(self, id: str) -> bool:
        known = "SELECT 1 FROM datapoint WHERE id = :id UNION ALL SELECT 1 FROM send WHERE id = :id LIMIT 1"
        return self._connection.execute(known, {"id": id}).fetchone() is not None

    def _insert(self, values: dict[str, Value], seq: int, id: str, picture: Row) -> bool:
        """Returns False if there is no room."""
        size_bytes = sum(len(part) for part in picture[1:] if isinstance(part, str | bytes))
        bounds = self._spool
        budget = space.measure(
            self._connection,
            bounds.path,
            size_bytes,
            max_bytes=bounds.max_bytes,
            min_free_bytes=bounds.min_free_bytes,
        )
        cursor = self._connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        try:
            space.Transaction(budget).make_room(cursor, size_bytes, 0.0, WhenFull.REFUSE)
            new_seq = _insert_row(cursor, values, picture)
            self._copy_state(cursor, seq, new_seq, values)
            self._bring_charge(cursor, seq, id, values)
            cursor.execute("COMMIT")
        except SpoolFull:
            cursor.execute("ROLLBACK")
            return False
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        return True

    def _copy_state(self, cursor: sqlite3.Cursor, seq: int, new_seq: int, values: dict[str, Value]) -> None:
        score = values["score"]
        delivery.insert(cursor, new_seq, rows.rank(score if isinstance(score, float) else None))
        state = self._state(seq)
        image_id, why, is_buried = state.get("image_id"), state.get("why"), state.get("state") == "buried"
        after = "buried" if is_buried else "ready" if image_id is None else "registered"
        # Nobody knows whether the sink has it: it counts as tried, so that no quota is refunded for a duplicate.
        delivery.change(cursor, new_seq, "tried = 1, state = ?, image_id = ?, why = ?", after, image_id, why)

    def _state(self, seq: int) -> dict[str, Value]:
        found = self._old.tables["delivery"]
        row = self._old.row("delivery", (seq, delivery.SINK)) if (seq, delivery.SINK) in found.whole else None
        return {} if row is None else dict(zip(self._old.columns("delivery"), row, strict=True))

    def _bring_charge(self, cursor: sqlite3.Cursor, seq: int, id: str, values: dict[str, Value]) -> None:
        """Writes the charge of the datapoint, as the file has it, unless the spool has one."""
        charges, requests = self._old.tables["charge"], self._old.tables["late"]
        row = self._old.row("charge", (id,)) if (id,) in charges.whole else None
        charge = {} if row is None else dict(zip(self._old.columns("charge"), row, strict=True))
        if row is None and charges.is_whole and self._state(seq).get("state") == "buried":
            return  # its quota was refunded
        request = self._old.row("late", (id,)) if (id,) in requests.whole else None
        is_pending = charge.get("granted_by") == GRANTED_BY_NOBODY and request is not None
        at_s = charge.get("at_s")
        is_new = bring_charge(
            cursor,
            id,
            str(values["account"]),
            str(values["batch_key"]),
            str(values["project"] or ""),
            captured_at_s=float(str(values["captured_at_s"])) if not isinstance(at_s, float) else at_s,
            is_pending=is_pending,
            now=self._now,
        )
        if is_new and is_pending and request is not None:
            insert(cursor, "late", request)


def _insert_row(cursor: sqlite3.Cursor, values: dict[str, Value], picture: Row) -> int:
    """Inserts facts and picture under a new number, which is returned: the old one was counted as lost."""
    facts = {name: value for name, value in values.items() if name not in ("seq", "checksum", "picture_hash")}
    cursor.execute(
        f"INSERT INTO datapoint ({', '.join(facts)}, picture_hash, checksum)"
        f" VALUES ({', '.join('?' * len(facts))}, ?, x'')",
        (*facts.values(), picture[0]),
    )
    seq = int(cursor.lastrowid or 0)
    checksums.seal(cursor, "datapoint", "seq = ?", (seq,))
    cursor.execute("INSERT INTO picture (number, hash, prediction, bytes) VALUES (?, ?, ?, ?)", (seq, *picture))
    return seq

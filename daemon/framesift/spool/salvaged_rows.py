"""The datapoints that a salvage copies from a damaged file, each with its state and its picture."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from framesift.spool import delivery, row_checks, rows
from framesift.spool.btree import Row, Value
from framesift.spool.damaged_file import DamagedFile
from framesift.spool.disk_errors import FailureKind, failure_kind
from framesift.spool.disk_reserve import free_bytes

_BATCH_ROWS = 50


class SalvagedRows:
    """Copies the datapoints in transactions of `cursor`.

    saved: the numbers (seq) of those that are in the new file. buried: how many can't be delivered, but could before.
    """

    def __init__(self, old: DamagedFile, cursor: sqlite3.Cursor, folder: Path, min_free_bytes: int) -> None:
        self._old = old
        self._cursor = cursor
        self._folder = folder
        self._min_free_bytes = min_free_bytes
        self._columns = old.columns("datapoint")
        self.saved: set[int] = set()
        self.buried = 0

    def copy(self) -> None:
        """Copies all datapoints that there is room for on the disk. Raises sqlite3.Error, OSError."""
        damaged: list[dict[str, Value]] = []
        for values, is_whole in self._old.rows("datapoint"):
            named = dict(zip(self._columns, values, strict=True))
            if is_whole:
                self._copy_row(named)
            else:
                damaged.append(named)
        numbers = self._old.numbers_of_ids() if damaged else {}
        for named in damaged:
            self._copy_row(_mended(named, numbers))

    def bury(self, seq: int, why: str) -> None:
        """Buries a row that was copied."""
        rows.bury(self._cursor, seq, why)
        self.buried += 1

    def _copy_row(self, values: dict[str, Value]) -> None:
        seq = values["seq"]
        if not isinstance(seq, int) or seq in self.saved or not 0 < seq < 1 << 48:
            return
        hash = values["picture_hash"]
        picture = self._old.picture(seq, hash if isinstance(hash, bytes) else None)
        size_bytes = len(picture[2]) if picture is not None and isinstance(picture[2], bytes) else 0
        if len(self.saved) % _BATCH_ROWS == 0:
            self._cursor.execute("COMMIT")
            self._cursor.execute("BEGIN IMMEDIATE")
        if free_bytes(self._folder) <= self._min_free_bytes + 4 * size_bytes:
            return
        damage = row_checks.damage_of_facts(values)
        if damage is not None:
            values = row_checks.without_damage(values)
        if not insert(self._cursor, "datapoint", tuple(values.values())):
            return
        self.saved.add(seq)
        was_buried = self._copy_state(seq, values)
        if picture is None or not insert(self._cursor, "picture", (seq, *picture)):
            damage = damage or "its picture was on a damaged page"
        if damage is not None:
            rows.bury(self._cursor, seq, f"it can't be read: {damage}")
            self.buried += not was_buried

    def _copy_state(self, seq: int, values: dict[str, Value]) -> bool:
        """Copies how far the delivery is. Returns whether the datapoint is buried."""
        key = (seq, delivery.SINK)
        row = self._old.row("delivery", key) if key in self._old.tables["delivery"].whole else None
        if row is not None and insert(self._cursor, "delivery", row):
            return row[2] == "buried"
        score = values["score"]
        delivery.insert(self._cursor, seq, rows.rank(score if isinstance(score, float) else None))
        # Nobody knows whether the sink has it: it counts as tried, so that no quota is refunded for a duplicate.
        delivery.change(self._cursor, seq, "tried = 1")
        return False


def _mended(values: dict[str, Value], numbers: dict[str, int]) -> dict[str, Value]:
    """A damaged row with its id or its number from the index of ids, if it is then what was written."""
    id, seq = values["id"], values["seq"]
    tries = [values | {"id": other} for other, number in numbers.items() if number == seq]
    if isinstance(id, str) and id in numbers:
        tries.append(values | {"seq": numbers[id]})
    return next((one for one in tries if row_checks.damage_of_facts(one) is None), values)


def insert(cursor: sqlite3.Cursor, table: str, row: Row | tuple[object, ...]) -> bool:
    """Inserts a row as it was read. Returns False if it has a value that is never written. Raises sqlite3.Error."""
    columns = " (number, hash, prediction, bytes)" if table == "picture" else ""
    try:
        cursor.execute(f"INSERT INTO {table}{columns} VALUES ({', '.join('?' * len(row))})", row)
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, OverflowError):
        return False
    except sqlite3.OperationalError as error:
        if failure_kind(error) is not FailureKind.BUG:
            raise
        return False
    return True

"""Reads a damaged database without writing to it. What can't be read is left out.

All functions raise sqlite3.Error if the file can't be opened at this moment but may be later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from framesift.spool import database, integrity
from framesift.spool.disk_errors import STORAGE_ERRORS, FailureKind, failure_kind

Row = tuple[object, ...]

# The B-trees besides the table itself that contain the number of each row (seq), with their own sort order: any other
# order would need the whole tree before the first row.
_TREES = {
    "delivery": ("seq", "sink"),
    "datapoint INDEXED BY sqlite_autoindex_datapoint_1": ("id",),
    "picture": ("number",),
}
_PICTURE = "number, hash, prediction, bytes"


class DamagedFile:
    """A read-only view of a damaged file. Text that is not valid UTF-8 is returned as bytes.

    After `read_names`: name_counts: in how many trees besides the table each row (seq) was found. id_by_seq: the id of
    each row in the index of ids.
    """

    def __init__(self, path: Path) -> None:
        self._connection = database.connect_read_only(path)
        self._connection.text_factory = _text
        # Otherwise SQLite reads nothing of a file that is shorter than its header says.
        self._connection.execute("PRAGMA writable_schema = ON")
        self.name_counts: Counter[int] = Counter()
        self.id_by_seq: dict[int, object] = {}
        self._unread: set[str] = set()

    @property
    def all_names_read(self) -> bool:
        """Whether each of the trees could be read completely."""
        return not self._unread & _TREES.keys()

    @property
    def all_rows_known(self) -> bool:
        """Whether `name_counts` has all rows of the file: two trees don't lose the same row."""
        return len(self._unread & _TREES.keys()) < 2

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def is_intact(self, table: str) -> bool:
        """Whether a table and its indexes could be read and are consistent."""
        try:
            return integrity.find_problem(self._connection, table) is None
        except STORAGE_ERRORS as error:
            _raise_if_temporary(error)
            return False

    def read_table(self, name: str, order: tuple[str, ...], where: str = "true") -> Iterator[Row]:
        """The rows of a table. If it can't be read to its end, it is also read backwards: rows may come twice."""
        return self._both_ways("*", f"{name} WHERE {where}", order)

    def read_unindexed(self, seqs: Collection[int]) -> Iterator[Row]:
        """The pictures with these numbers that exist, although a search by number doesn't find them."""
        self._connection.create_function("is_requested", 1, lambda seq: seq in seqs)
        return self._both_ways(_PICTURE, "picture WHERE is_requested(number)", ("number",))

    def read_picture(self, seq: int) -> Row | None:
        """The number, hash, prediction and bytes of a frame; None if it does not exist or can't be read."""
        return self._read(f"SELECT {_PICTURE} FROM picture WHERE number = ?", seq)

    def read_row(self, table: str, seq: int) -> Row | None:
        """One row; None if it does not exist or can't be read."""
        return self._read(f"SELECT * FROM {table} WHERE seq = ?", seq)

    def _read(self, query: str, seq: int) -> Row | None:
        try:
            row: Row | None = self._connection.execute(query, (seq,)).fetchone()
        except STORAGE_ERRORS as error:
            _raise_if_temporary(error)
            return None
        return row

    def read_names(self) -> None:
        """Fills `name_counts` and `id_by_seq`."""
        for tree, order in _TREES.items():
            found: dict[int, object] = {}
            id = "id" if "id" in order else "NULL"
            for seq, name in self._both_ways(f"seq, {id}", tree, order):
                if isinstance(seq, int):
                    found[seq] = name
            self.name_counts.update(found.keys())
            if id == "id":
                self.id_by_seq = found

    def last_seq(self) -> int:
        """The highest row number that was ever given; 0 if it can't be read."""
        try:
            row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'datapoint'").fetchone()
            return 0 if row is None else int(row[0])
        except (*STORAGE_ERRORS, ValueError, TypeError) as error:
            _raise_if_temporary(error)
            return 0

    def _both_ways(self, what: str, tree: str, order: tuple[str, ...]) -> Iterator[Row]:
        for direction in ("", " DESC"):
            terms = ", ".join(term + direction for term in order)
            try:
                yield from self._connection.execute(f"SELECT {what} FROM {tree} ORDER BY {terms}")
                return
            except (*STORAGE_ERRORS, OverflowError) as error:
                _raise_if_temporary(error)
                self._unread.add(tree)


def _raise_if_temporary(error: Exception) -> None:
    """Raises the error if the file itself may be intact and can be read later."""
    if failure_kind(error) in (FailureKind.READ_ONLY, FailureKind.BUSY, FailureKind.NO_DESCRIPTORS):
        raise error


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value

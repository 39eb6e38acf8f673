"""Reading a damaged file, without writing to it: what can't be read is left out. All raise sqlite3.Error where it can't
be reached at this moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from framesift.spool import database as file
from framesift.spool import integrity as soundness

Row = tuple[object, ...]

# Each tree beside the table itself that names the rows, with its own order: sorting would need all of it first.
_NAMED = {
    "datapoint INDEXED BY datapoint_to_evict": ("state", "rank", "seq"),
    "datapoint INDEXED BY sqlite_autoindex_datapoint_1": ("id",),
    "image": ("seq",),
}


class DamagedFile:
    """A text that is no UTF-8 is read as bytes."""

    def __init__(self, path: Path) -> None:
        self._connection = file.connect_read_only(path)
        self._connection.text_factory = _text
        # Without it SQLite reads nothing at all of a file that is shorter than it ought to be.
        self._connection.execute("PRAGMA writable_schema = ON")
        # In how many trees each row is named, beside the table itself; and by which id.
        self.name_counts: Counter[int] = Counter()
        self.id_by_seq: dict[int, object] = {}
        self._unread: set[str] = set()

    @property
    def all_names_read(self) -> bool:
        """Whether each of these trees could be read to its end."""
        return not self._unread & _NAMED.keys()

    @property
    def all_rows_known(self) -> bool:
        """Whether all rows that there were are known by name: two trees can't have lost the same ones."""
        return len(self._unread & _NAMED.keys()) < 2

    def close(self) -> None:
        self._connection.close()

    def is_intact(self, table: str) -> bool:
        try:
            return soundness.find_problem(self._connection, table) is None
        except file.STORAGE_ERRORS as error:
            _leave_out(error)
            return False

    def read_table(self, name: str, order: tuple[str, ...], where: str = "true") -> Iterator[Row]:
        """Its rows; from its end, too, where they can't all be read from its beginning: then some come twice."""
        return self._both_ways("*", f"{name} WHERE {where}", order)

    def read_unindexed(self, table: str, seqs: Collection[int]) -> Iterator[Row]:
        """Those of the rows that are there, although a search doesn't find them."""
        self._connection.create_function("is_wanted", 1, lambda seq: seq in seqs)
        return self.read_table(table, ("seq",), "is_wanted(seq)")

    def read_row(self, table: str, seq: int) -> Row | None:
        try:
            row: Row | None = self._connection.execute(f"SELECT * FROM {table} WHERE seq = ?", (seq,)).fetchone()
        except file.STORAGE_ERRORS as error:
            _leave_out(error)
            return None
        return row

    def read_names(self) -> None:
        """Fills `named` and `id_of`."""
        for tree, order in _NAMED.items():
            found: dict[int, object] = {}
            id = "id" if "id" in order else "NULL"
            for seq, name in self._both_ways(f"seq, {id}", tree, order):
                if isinstance(seq, int):
                    found[seq] = name
            self.name_counts.update(found.keys())
            if id == "id":
                self.id_by_seq = found

    def last_seq(self) -> int:
        try:
            row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'datapoint'").fetchone()
            return 0 if row is None else int(row[0])
        except (*file.STORAGE_ERRORS, ValueError, TypeError) as error:
            _leave_out(error)
            return 0

    def _both_ways(self, what: str, tree: str, order: tuple[str, ...]) -> Iterator[Row]:
        for direction in ("", " DESC"):
            terms = ", ".join(term + direction for term in order)
            try:
                yield from self._connection.execute(f"SELECT {what} FROM {tree} ORDER BY {terms}")
                return
            except (*file.STORAGE_ERRORS, OverflowError) as error:
                _leave_out(error)
                self._unread.add(tree)


def _leave_out(error: Exception) -> None:
    """Raises it where the file is only out of reach, and may be read in a while."""
    if file.failure_kind(error) in (file.FailureKind.READ_ONLY, file.FailureKind.BUSY, file.FailureKind.NO_DESCRIPTORS):
        raise error


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value

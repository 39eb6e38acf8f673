"""Reading a damaged file, without writing to it: what can't be read is left out. All raise sqlite3.Error where it can't
be reached at this moment."""

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


class Damaged:
    """A text that is no UTF-8 is read as bytes."""

    def __init__(self, path: Path) -> None:
        self._connection = file.connect_to_read(path)
        self._connection.text_factory = _text
        # Without it SQLite reads nothing at all of a file that is shorter than it ought to be.
        self._connection.execute("PRAGMA writable_schema = ON")
        # In how many trees each row is named, beside the table itself; and by which id.
        self.named: Counter[int] = Counter()
        self.id_of: dict[int, object] = {}
        self._unread: set[str] = set()

    @property
    def names_are_whole(self) -> bool:
        """Whether each of these trees could be read to its end."""
        return not self._unread & _NAMED.keys()

    @property
    def names_are_enough(self) -> bool:
        """Whether all rows that there were are known by name: two trees can't have lost the same ones."""
        return len(self._unread & _NAMED.keys()) < 2

    def close(self) -> None:
        self._connection.close()

    def is_sound(self, table: str) -> bool:
        try:
            return soundness.told(self._connection, table) is None
        except file.FAILURES as error:
            _leave_out(error)
            return False

    def table(self, name: str, order: tuple[str, ...], where: str = "true") -> Iterator[Row]:
        """Its rows; from its end, too, where they can't all be read from its beginning: then some come twice."""
        return self._both_ways("*", f"{name} WHERE {where}", order)

    def wanted(self, table: str, seqs: Collection[int]) -> Iterator[Row]:
        """Those of the rows that are there, although a search doesn't find them."""
        self._connection.create_function("is_wanted", 1, lambda seq: seq in seqs)
        return self.table(table, ("seq",), "is_wanted(seq)")

    def one(self, table: str, seq: int) -> Row | None:
        try:
            row: Row | None = self._connection.execute(f"SELECT * FROM {table} WHERE seq = ?", (seq,)).fetchone()
        except file.FAILURES as error:
            _leave_out(error)
            return None
        return row

    def look_for_names(self) -> None:
        """Fills `named` and `id_of`."""
        for tree, order in _NAMED.items():
            found: dict[int, object] = {}
            id = "id" if "id" in order else "NULL"
            for seq, name in self._both_ways(f"seq, {id}", tree, order):
                if isinstance(seq, int):
                    found[seq] = name
            self.named.update(found.keys())
            if id == "id":
                self.id_of = found

    def last_seq(self) -> int:
        try:
            row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'datapoint'").fetchone()
            return 0 if row is None else int(row[0])
        except (*file.FAILURES, ValueError, TypeError) as error:
            _leave_out(error)
            return 0

    def _both_ways(self, what: str, tree: str, order: tuple[str, ...]) -> Iterator[Row]:
        for direction in ("", " DESC"):
            terms = ", ".join(term + direction for term in order)
            try:
                yield from self._connection.execute(f"SELECT {what} FROM {tree} ORDER BY {terms}")
                return
            except (*file.FAILURES, OverflowError) as error:
                _leave_out(error)
                self._unread.add(tree)


def _leave_out(error: Exception) -> None:
    """Raises it where the file is only out of reach, and may be read in a while."""
    if file.trouble(error) in (file.Trouble.READ_ONLY, file.Trouble.BUSY, file.Trouble.STARVED):
        raise error


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value

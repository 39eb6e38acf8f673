"""Reads the rows of a damaged file from its pages, without SQLite. What can't be read is left out; nothing is written.

A table's rows are on the pages that its tree leads to. If a page of any tree is damaged, all pages that no tree leads
to are searched as well. Each row is taken for what its checksum says, wherever it lies: pages may have changed places.
A page that is free still has the rows that were on it; such a row counts only if another tree has its number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from framesift.limits import local
from framesift.spool import btree, header, rows, table_shapes
from framesift.spool.btree import Cell, Row, UnreadableCell, Value
from framesift.spool.page_file import PageFile
from framesift.spool.table_shapes import Key, TableShape

_HASH_BYTES = 16
_ROLE_SHIFT = 48
_SEQ_MASK = (1 << _ROLE_SHIFT) - 1
# Indexes that hold columns of their tables once more.
_COPIES: dict[str, dict[str, tuple[str, ...]]] = {
    "charge": {"charge_by_account": ("account", "at_s", "id"), "charge_by_batch": ("batch", "id")},
    "send": {"send_by_time": ("at_s", "seq"), "send_by_end": ("until_s", "seq")},
    "carried": {"carried_copy": ("account", "window", "at_s", "amount")},
    "batch_past": {"batch_past_copy": ("images", "batch")},
    "batch_there": {"batch_there_copy": ("images", "mark", "asked_at_s", "batch")},
}
_WRITTEN_ONCE = ("datapoint", "picture")
_ROWS_OF_A_DATAPOINT = ("delivery", "datapoint", "picture")


@dataclass
class FoundTable:
    """The rows of one table that were found. is_whole: whether these are all that it had, and all are what was written.

    cells: where each row is, by its key. whole: the keys of the rows that show that they are what was written.
    """

    shape: TableShape
    cells: dict[Key, Cell] = field(default_factory=dict)
    whole: set[Key] = field(default_factory=set)
    is_whole: bool = True


class DamagedFile:
    """The readable rows of a damaged file. One thread uses it. Raises OSError.

    tables: what was found, by the table's name.
    """

    def __init__(self, path: Path) -> None:
        self._shape = table_shapes.new_file(local.TABLES)
        self._file = PageFile(path)
        try:
            self._numbers: dict[bytes, int] | None = None
            self.tables = {name: FoundTable(shape) for name, shape in self._shape.tables.items()}
            self._read()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def rows(self, table: str) -> Iterator[tuple[Row, bool]]:
        """The rows of a table by their keys, and whether each is what was written."""
        found = self.tables[table]
        for key in sorted(found.cells, key=_sort_key):
            values = self.row(table, key)
            if values is not None:
                yield values, key in found.whole

    def row(self, table: str, key: Key) -> Row | None:
        """One row; None if there is none, or if it can't be read."""
        found = self.tables[table]
        cell = found.cells.get(key)
        if cell is None:
            return None
        try:
            return found.shape.complete(btree.read_row(self._file, cell), cell.rowid)
        except UnreadableCell:
            return None

    def seqs_seen(self) -> set[int]:
        """The numbers of all datapoints of which a row was found that is what was written."""
        return {_seq_of(key) for table in ("datapoint", "delivery") for key in self.tables[table].whole}

    @property
    def has_all_rows(self) -> bool:
        """Whether two trees agree on which datapoints there are, so that surely none is missing."""
        seqs = {_seq_of(key) for key in self.tables["delivery"].cells}
        return self.tables["delivery"].is_whole and seqs == self.tables["datapoint"].cells.keys()

    def numbers_of_ids(self) -> dict[str, int]:
        """The number of each datapoint by its id, as the index of ids says. Ids that can't be read are left out."""
        found = self._index("sqlite_autoindex_datapoint_1")
        return {
            row[0]: row[1] for row in found if len(row) == 2 and isinstance(row[0], str) and isinstance(row[1], int)
        }

    def is_as_indexed(self, table: str) -> bool:
        """Whether the rows of a table of the limits are those of its indexes."""
        shape = self.tables[table].shape
        found = [values for values, _ in self.rows(table)]
        for index, columns in _COPIES.get(table, {}).items():
            at = [shape.positions[name] for name in columns]
            of_table = Counter(tuple(values[n] for n in at) for values in found)
            reals = [shape.types[n] == "REAL" for n in at]
            if of_table != Counter(_as_stored(row[: len(at)], reals) for row in self._index(index)):
                return False
        return True

    def picture(self, seq: int, hash: Value) -> Row | None:
        """(prediction, bytes) of a datapoint's picture; None if it can't be read, or isn't what was stored.

        hash: what the datapoint's facts say of it, None if they don't.
        """
        for number in (seq, self._number_of_hash().get(hash) if isinstance(hash, bytes) else None):
            row = None if number is None else self.row("picture", number)
            if row is None or not isinstance(row[2], str) or not isinstance(row[3], bytes):
                continue
            if row[1] == rows.content_hash(row[2], row[3]) and hash in (None, row[1]):
                return row[1:]
        return None

    # --- reading all tables ---------------------------------------------------------------------------------------

    def _read(self) -> None:
        found_identity = header.identity_of(self._file)
        known = {} if found_identity is None else found_identity.roots
        self._roots = [header.master_roots(self._file), known, self._shape.roots]
        reached = set(btree.walk(self._file, 1, is_index=False).pages)
        for name, found in self.tables.items():
            reached |= self._read_tree(name, found)
        for name in self._shape.roots.keys() - self.tables.keys():
            reached.update(btree.walk(self._file, self._root(name), is_index=True).pages)
        if not self._is_consistent():
            self._search(reached)

    def _is_consistent(self) -> bool:
        """Whether no table seems to miss rows."""
        datapoints = self.tables["datapoint"].cells.keys()
        return (
            all(found.is_whole for found in self.tables.values())
            and self.has_all_rows
            and datapoints <= self.tables["picture"].cells.keys()
            and all(map(self.is_as_indexed, _COPIES))
        )

    def _root(self, name: str) -> int:
        return self._roots[0].get(name, self._roots[1].get(name, self._shape.roots[name]))

    def _read_tree(self, name: str, found: FoundTable) -> set[int]:
        """Reads the rows from the tree's root on. Returns the pages that were reached."""
        reached: set[int] = set()
        for root in dict.fromkeys(roots[name] for roots in self._roots if name in roots):
            tree = btree.walk(self._file, root, is_index=found.shape.is_index)
            tried = FoundTable(found.shape, is_whole=tree.is_whole)
            for page in tree.pages:
                for cell in btree.cells(self._file, page):
                    self._take(tried, cell)
            if tried.is_whole or not reached:
                found.cells, found.whole, found.is_whole = tried.cells, tried.whole, tried.is_whole
                reached = set(tree.pages)
            if tried.is_whole:
                break
        return reached

    def _take(self, found: FoundTable, cell: Cell | None) -> None:
        """Takes a row that lies on a page of the table's tree."""
        shape = found.shape
        values: Row | None
        if shape.name == "picture":
            hash = None if cell is None else btree.leading_blob(self._file, cell, _HASH_BYTES)
            values, is_whole = None if hash is None else (hash,), hash is not None
        else:
            row = self._row(cell)
            values = None if row is None or cell is None else shape.complete(row, cell.rowid)
            is_whole = values is not None and shape.is_whole(values)
        if cell is None or values is None:
            found.is_whole = False
            self._take_elsewhere(cell)
            return
        if not is_whole:
            found.is_whole = False
            if self._take_elsewhere(cell):
                return
        key = cell.rowid if shape.name == "picture" else shape.key_of(values, cell.rowid)
        if key in found.cells:
            found.is_whole = False  # a page is there twice, instead of another one
            if not is_whole or key in found.whole:
                return
        found.cells[key] = cell
        if is_whole:
            found.whole.add(key)

    def _take_elsewhere(
        self, cell: Cell | None, allowed: set[int] | None = None, names: Collection[str] | None = None
    ) -> bool:
        """Takes a row for that of the table whose checksum it has. Returns whether it is of any table.

        allowed: only datapoints of these numbers. names: only tables of these names.
        """
        if cell is None:
            return False
        row = self._row(cell)
        for found in (self.tables[name] for name in names or self.tables):
            shape = found.shape
            if shape.name == "picture":
                is_number = cell.rowid is not None and cell.rowid > 0
                if not is_number or btree.leading_blob(self._file, cell, _HASH_BYTES) is None:
                    continue
                key: Key = cell.rowid
            else:
                if row is None or not shape.has_checksum or shape.is_index != (cell.rowid is None):
                    continue
                values = shape.complete(row, cell.rowid)
                if values is None or not shape.is_whole(values):
                    continue
                key = shape.key_of(values, cell.rowid)
            if allowed is not None and shape.name in _ROWS_OF_A_DATAPOINT and _seq_of(key) not in allowed:
                return True
            if key not in found.whole:
                found.cells[key] = cell
                found.whole.add(key)
            return True
        return False

    def _row(self, cell: Cell | None) -> Row | None:
        try:
            return None if cell is None else btree.read_row(self._file, cell)
        except UnreadableCell:
            return None

    def _index(self, name: str) -> Iterator[Row]:
        tree = btree.walk(self._file, self._root(name), is_index=True)
        for page in tree.pages:
            for cell in btree.cells(self._file, page):
                row = self._row(cell)
                if row is not None:
                    yield row

    def _number_of_hash(self) -> dict[bytes, int]:
        """The number of each picture by its hash: a damaged number is found under the hash."""
        if self._numbers is None:
            cells = self.tables["picture"].cells
            hashes = ((btree.leading_blob(self._file, cell, _HASH_BYTES), key) for key, cell in cells.items())
            self._numbers = {hash: key for hash, key in hashes if hash is not None and isinstance(key, int)}
        return self._numbers

    # --- searching pages that nothing leads to --------------------------------------------------------------------

    def _search(self, reached: set[int]) -> None:
        """Takes the rows of all pages that nothing leads to, and of those that say fewer rows than they have."""
        allowed = self._living_seqs()
        free, _ = self._file.free_pages()
        for number in range(1, self._file.page_count + 1):
            if number in free or not btree.has_rows(self._file, number):
                continue
            if number not in reached:
                for cell in btree.cells(self._file, number):
                    self._take_elsewhere(cell, allowed)
            for cell in btree.cells(self._file, number, beyond=True):  # may be older than what the page says
                if allowed is None or not self._take_elsewhere(cell, allowed, _WRITTEN_ONCE):
                    break

    def _living_seqs(self) -> set[int] | None:
        """The numbers of the datapoints that have not left, from the trees that are whole; None if none is."""
        trees = [self.tables[name] for name in _ROWS_OF_A_DATAPOINT if self.tables[name].is_whole]
        return {_seq_of(key) for tree in trees for key in tree.cells} if trees else None


def _seq_of(key: Key) -> int:
    number = key[0] if isinstance(key, tuple) else key
    return number & _SEQ_MASK if isinstance(number, int) else -1


def _as_stored(values: Row, reals: list[bool]) -> Row:
    """The values of an index's entry as the table returns them: SQLite stores whole numbers shorter."""
    pairs = zip(values, reals, strict=False)  # an entry of another index may be shorter
    return tuple(float(value) if is_real and isinstance(value, int) else value for value, is_real in pairs)


def _sort_key(key: Key) -> tuple[str, object]:
    values = key if isinstance(key, tuple) else (key,)
    return repr([type(value).__name__ for value in values]), values

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
from framesift.spool import btree, delivery, header, older_rows, rows, table_shapes
from framesift.spool.btree import Cell, Row, UnreadableCell, Value
from framesift.spool.page_file import PageFile
from framesift.spool.table_shapes import FileShape, Key, TableShape

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
        self._file = PageFile(path)
        try:
            self._read_as_its_format()
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
        row = self._row(cell)
        if found.shape.now is None or row is None:
            return None if row is None else found.shape.complete(row, cell.rowid)
        seq = _seq_of(key)
        values = found.shape.complete(row, seq if table in ("datapoint", "delivery") else cell.rowid)
        if values is not None and table == "datapoint" and seq in self._ids:
            at = found.shape.positions["id"]
            values = (*values[:at], self._ids[seq], *values[at + 1 :])
        return None if values is None else found.shape.as_now(values)[0]

    def columns(self, table: str) -> tuple[str, ...]:
        """The columns of the rows that are returned: those that the table has in this format."""
        shape = self.tables[table].shape
        return (shape.now or shape).columns

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
        shape = self.tables[table].shape.now or self.tables[table].shape
        found = [values for values, _ in self.rows(table)]
        for index, columns in _COPIES.get(table, {}).items():
            if index not in self._shape.roots:
                continue  # an older format has no such index
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
            if row is None or (hash is None and number in self._twice):
                continue
            if not isinstance(row[2], str) or not isinstance(row[3], bytes):
                continue
            if row[1] == rows.content_hash(row[2], row[3]) and hash in (None, row[1]):
                return row[1:]
        return None

    # --- reading all tables ---------------------------------------------------------------------------------------

    def _read_as_its_format(self) -> None:
        """Reads the file as one of the format that its list of tables says; if that is damaged, as the likeliest."""
        said = header.master_roots(self._file).keys() & {"image", "picture"}
        is_older = said == {"image"}
        # A file that was made an older one has the identity of the other format on its free pages.
        self._identity = None if is_older else header.identity_of(self._file)
        older = tuple(table_shapes.older_file(format, local.TABLES) for format in (2, 1))
        new = table_shapes.new_file(local.TABLES)
        tries: list[tuple[int, int, FileShape]] = []
        for shape in (*older, new) if is_older else (new, *older):
            self._read(shape)
            datapoints = len(self.tables["datapoint"].whole)
            if said and datapoints:
                return
            tries.append((datapoints, sum(len(found.whole) for found in self.tables.values()), shape))
        self._read(max(tries, key=lambda one: one[:2])[2])

    def _read(self, shape: FileShape) -> None:
        self._shape = shape
        self.tables = {name: FoundTable(table) for name, table in shape.tables.items()}
        self._numbers: dict[bytes, int] | None = None
        self._twice: set[Key] = set()  # pictures of which two different ones have one number
        self._ids: dict[int, str] = {}  # of datapoints of an older format whose own are damaged
        known = {} if self._identity is None else self._identity.roots
        self._roots = [older_rows.with_new_names(header.master_roots(self._file)), known, shape.roots]
        self._seqs = self.numbers_of_ids()
        reached = set(btree.walk(self._file, 1, is_index=False).pages)
        for name in sorted(self.tables, key="datapoint".__eq__):  # last: others show which of its numbers are damaged
            reached |= self._read_tree(name, self.tables[name])
        for name in self._shape.roots.keys() - self.tables.keys():
            reached.update(btree.walk(self._file, self._root(name), is_index=True).pages)
        self._split_rows()
        if not self._is_consistent():
            self._search(reached)
            self._split_rows()

    def _split_rows(self) -> None:
        """Older formats: facts and state of a datapoint are one row. An index has the ids once more, charges too."""
        datapoints, states = self.tables["datapoint"], self.tables["delivery"]
        if states.shape.now is None:
            return
        states.cells = {(_seq_of(seq), delivery.SINK): cell for seq, cell in datapoints.cells.items()}
        states.is_whole = set(self._seqs.values()) == datapoints.cells.keys()
        states.whole.clear()
        charges = self.tables["charge"].cells
        known = {seq: id for id, seq in self._seqs.items()}
        for seq, cell in datapoints.cells.items():
            row = self._row(cell)
            values = None if row is None else states.shape.complete(row, cell.rowid)
            if values is None or not isinstance(seq, int):
                continue
            if states.shape.is_whole(values):
                states.whole.add((seq, delivery.SINK))
            id, other = values[states.shape.positions["id"]], known.get(seq)
            if other is not None and other != id and (other,) in charges and (id,) not in charges:
                self._ids[seq] = other

    def _key_of(self, shape: TableShape, values: Row, rowid: int | None) -> Key:
        """What distinguishes a row. A number without a checksum, in an older format, is that of the index of ids."""
        if shape.name == "picture":
            return rowid
        id = values[shape.positions["id"]] if shape.now is not None and shape.name == "datapoint" else None
        number = self._seqs.get(id) if isinstance(id, str) else None
        if number in (None, rowid) or (rowid in self.tables["picture"].cells and rowid not in self._seqs.values()):
            return shape.key_of(values, rowid)
        return number

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
        elsewhere, whole = found.cells, found.whole  # its rows that lay in other trees
        for root in dict.fromkeys(roots[name] for roots in self._roots if name in roots):
            tree = btree.walk(self._file, root, is_index=found.shape.is_index)
            tried = FoundTable(found.shape, is_whole=tree.is_whole)
            for page in tree.pages:
                for cell in btree.cells(self._file, page):
                    self._take(tried, cell)
            if tried.is_whole or not reached:
                found.cells, found.whole = elsewhere | tried.cells, whole | tried.whole
                found.is_whole = tried.is_whole
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
        key = self._key_of(shape, values, cell.rowid)
        if key in found.cells:
            if shape.name == "picture" and btree.leading_blob(self._file, found.cells[key], _HASH_BYTES) != values[0]:
                self._twice.add(key)
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
                key = self._key_of(shape, values, cell.rowid)
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
            if free[number] or not btree.has_rows(self._file, number):
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

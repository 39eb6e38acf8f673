"""What the rows of each table look like in a file, so that they are recognized on the pages of a damaged one."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass, field, replace
from functools import lru_cache

from framesift.limits.row_checksums import row_checksum
from framesift.spool import format_1, format_2, older_rows, schema
from framesift.spool.btree import Row, Value
from framesift.spool.checksums import CHECKED_COLUMNS

Key = Value | tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class TableShape:
    """A table of a new file, or of a new file of an older format.

    columns: those that are stored, in order. types: their declared types, empty in SQLite's own tables. defaults: their
    values in rows from before a column was added. nullable: which may be NULL. key: positions of the primary key; None
    if rows have no key but their number, which is then no column. is_index: WITHOUT ROWID, so its tree is that of an
    index. root: its first page. now: the table of this format that has its rows, if it is one of an older format; then
    `format` is that format.
    """

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    defaults: tuple[Value, ...]
    nullable: tuple[bool, ...]
    key: tuple[int, ...] | None
    is_index: bool
    root: int
    now: TableShape | None = None
    format: int = schema.VERSION
    positions: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", {name: at for at, name in enumerate(self.columns)})

    @property
    def has_checksum(self) -> bool:
        """Whether a row shows by itself that it is one of this table, and what was written."""
        return self.name in (CHECKED_COLUMNS if self.now is None else older_rows.UNLIKE_OTHERS)

    def complete(self, row: Row, rowid: int | None) -> Row | None:
        """The values of all columns, as SQLite would return them; None if such a row isn't of this table."""
        missing = len(self.columns) - len(row)
        if missing < 0 or (missing and any(default is None for default in self.defaults[len(row) :])):
            return None
        values = list(row + self.defaults[len(row) :])
        if not self.is_index and self.key is not None:
            values[self.key[0]] = rowid
        for at, type_ in enumerate(self.types):
            if type_ == "REAL" and isinstance(values[at], int):
                values[at] = float(values[at])  # type: ignore[arg-type]  # SQLite stores whole numbers shorter
        return tuple(values)

    def fits(self, values: Row) -> bool:
        """Whether all values have the types of their columns."""
        return all(
            nullable if value is None else isinstance(value, _TYPES[type_])
            for value, type_, nullable in zip(values, self.types, self.nullable, strict=True)
        )

    def is_whole(self, values: Row) -> bool:
        """Whether the row is what was written, as far as it shows."""
        if self.now is not None:
            return self.as_now(values)[1]
        if not self.has_checksum:
            return self.fits(values)
        checked = (values[self.positions[name]] for name in CHECKED_COLUMNS[self.name])
        return values[self.positions["checksum"]] == row_checksum(self.name, *checked)

    def as_now(self, values: Row) -> tuple[Row, bool]:
        """The row in this format, and whether it is what was written, as far as it shows."""
        if self.now is None:
            return values, self.is_whole(values)
        named = older_rows.convert(self.name, dict(zip(self.columns, values, strict=True)), self.format)
        if self.name in CHECKED_COLUMNS:
            named["checksum"] = row_checksum(self.name, *(named.get(name) for name in CHECKED_COLUMNS[self.name]))
        row = tuple(named.get(name) for name in self.now.columns)
        is_whole = self.now.fits(row) and older_rows.is_valid(self.name, named)
        if not is_whole and self.name in CHECKED_COLUMNS:
            at = self.now.positions["checksum"]
            row = (*row[:at], b"", *row[at + 1 :])
        return row, is_whole

    def key_of(self, values: Row, rowid: int | None) -> Key:
        """What distinguishes the row from all others of its table."""
        return rowid if not self.is_index else tuple(values[at] for at in self.key or ())


_TYPES = {"INTEGER": int, "REAL": float, "TEXT": str, "BLOB": bytes, "": object}


@dataclass(frozen=True, slots=True)
class FileShape:
    """A new file.

    tables: by name; one without a root has no pages of its own. roots: the first page of each table and index, by name.
    """

    tables: dict[str, TableShape]
    roots: dict[str, int]


@lru_cache
def new_file(limits_tables: str) -> FileShape:
    """The shape of a new file of this format. limits_tables: SQL of the tables of the limits."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        schema.create(connection, limits_tables)
        return _read_shape(connection)


@lru_cache
def older_file(format: int, limits_tables: str) -> FileShape:
    """The shape of a new file of format 1 or 2, with the names that the tables have in this format.

    Its table `delivery` has the rows of `datapoint`: they were one table.
    """
    now = new_file(limits_tables).tables
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript((format_1 if format == format_1.VERSION else format_2).TABLES)
        found = _read_shape(connection)
    roots = older_rows.with_new_names(found.roots)
    tables = {
        name: replace(shape, name=name, now=now.get(name, shape), format=format)
        for name, shape in older_rows.with_new_names(found.tables).items()
    }
    tables["delivery"] = replace(tables["datapoint"], name="delivery", now=now["delivery"])
    return FileShape(now | tables, roots)


def _read_shape(connection: sqlite3.Connection) -> FileShape:
    found = connection.execute("SELECT type, name, rootpage, sql FROM sqlite_master").fetchall()
    tables = {name: _shape(connection, name, root, sql or "") for type_, name, root, sql in found if type_ == "table"}
    return FileShape(tables, {name: root for _, name, root, _ in found})


def _shape(connection: sqlite3.Connection, name: str, root: int, sql: str) -> TableShape:
    columns = connection.execute(f"PRAGMA table_info({name})").fetchall()  # without those that are computed
    key = tuple(at for at, column in enumerate(columns) if column[5])
    is_index = "WITHOUT ROWID" in sql
    if key != tuple(range(len(key))):
        raise ValueError(f"{name}: the primary key must come first")  # otherwise they are stored in another order
    is_number = is_index or (len(key) == 1 and columns[0][2] == "INTEGER")
    return TableShape(
        name=name,
        columns=tuple(column[1] for column in columns),
        types=tuple(column[2] for column in columns),
        defaults=tuple(_default(connection, column[4]) for column in columns),
        nullable=tuple(not column[3] and not column[5] for column in columns),
        key=key if is_number else None,
        is_index=is_index,
        root=root,
    )


def _default(connection: sqlite3.Connection, sql: str | None) -> Value:
    value: Value = None if sql is None else connection.execute(f"SELECT {sql}").fetchone()[0]
    return value

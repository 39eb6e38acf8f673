"""The parts that are equal in all files of a format, so that damage shows: most of the header, the list of tables."""

from __future__ import annotations

import contextlib
import sqlite3
from functools import lru_cache

from framesift.spool import schema

# The bytes that are equal in the header of every spool, by offset. https://www.sqlite.org/fileformat2.html#the_database_header
CONSTANT_BYTES = {
    0: b"SQLite format 3\0",
    20: bytes((0, 64, 32, 32)),  # no reserved bytes, and values that are constant in SQLite
    44: bytes((0, 0, 0, 4)),
    52: bytes(4),  # no auto-vacuum
    56: bytes((0, 0, 0, 1)),  # UTF-8
    64: bytes(4),
    72: bytes(20),
}
APPLICATION_ID_AT = 68
HEADER_BYTES = 100

VERSION_AT = 60

# A table or index: its type, its name, its table's name, the number of its root page, and its SQL statement.
TableEntry = tuple[bytes, bytes, bytes, int, bytes]


def header_is_damaged(header: bytes) -> bool:
    """Whether a file with the mark of a spool has a header that no version writes."""
    if header[APPLICATION_ID_AT : APPLICATION_ID_AT + 4] != schema.APPLICATION_ID.to_bytes(4, "big"):
        return False
    page_bytes = int.from_bytes(header[16:18], "big")
    is_size = page_bytes == 1 or (page_bytes >= 512 and page_bytes & (page_bytes - 1) == 0)
    # Write-ahead log, or the default journal before the log was switched on.
    is_journal = header[18:20] in (bytes((2, 2)), bytes((1, 1)))
    return not (is_size and is_journal) or any(
        header[at : at + len(same)] != same for at, same in CONSTANT_BYTES.items()
    )


def read_table_list(connection: sqlite3.Connection) -> list[TableEntry]:
    """All tables and indexes in the order of their creation. Raises sqlite3.Error."""
    connection.text_factory = bytes
    found = connection.execute("SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master ORDER BY rowid")
    return [(_bytes(type_), _bytes(name), _bytes(of), _page(root), _bytes(sql)) for type_, name, of, root, sql in found]


@lru_cache
def expected_table_list(limits_tables: str) -> list[TableEntry]:
    """The tables and indexes of a new file."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        schema.create(connection, limits_tables)
        return read_table_list(connection)


def table_list_of(tables: str) -> list[TableEntry]:
    """The tables and indexes that these SQL statements make."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(tables)
        return read_table_list(connection)


def same_tables(found: list[TableEntry], expected: list[TableEntry]) -> bool:
    """Whether the tables are equal; their root pages may differ."""
    return [_text_of(entry) for entry in found] == [_text_of(entry) for entry in expected]


def has_all_tables(found: list[TableEntry], expected: list[TableEntry]) -> bool:
    """Whether all expected tables and indexes exist, by name."""
    return {entry[1] for entry in expected} <= {entry[1] for entry in found}


def differs_by_one_bit(found: list[TableEntry], expected: list[TableEntry]) -> bool:
    """Whether the two lists differ by a single bit.

    (A file that was migrated has its tables on other pages and may have other statements.)
    """
    if len(found) != len(expected):
        return False
    texts = [
        (one, other)
        for f, e in zip(found, expected, strict=True)
        for one, other in zip(_text_of(f), _text_of(e), strict=True)
    ]
    if any(len(one) != len(other) for one, other in texts):
        return False
    bits = sum(_bits_between(one, other) for one, other in texts)
    roots = [(f[3] ^ e[3]).bit_count() for f, e in zip(found, expected, strict=True)]
    return bits == 1 or (bits == 0 and sum(roots) == 1)


def _bits_between(one: bytes, other: bytes) -> int:
    """The number of bits that differ between two texts of equal length."""
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def _text_of(entry: TableEntry) -> tuple[bytes, bytes, bytes, bytes]:
    return (*entry[:3], entry[4])


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _page(value: object) -> int:
    return value if isinstance(value, int) else -1

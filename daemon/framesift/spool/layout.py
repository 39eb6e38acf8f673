"""What is the same in every file of a format, and so tells of damage: most of the header, and the list of tables."""

from __future__ import annotations

import contextlib
import sqlite3
from functools import lru_cache

from framesift.spool import schema

# What is the same in the header of every spool, by its place. https://www.sqlite.org/fileformat2.html#the_database_header
CONSTANT_BYTES = {
    0: b"SQLite format 3\0",
    20: bytes((0, 64, 32, 32)),  # no reserved bytes, and what SQLite itself never varies
    44: bytes((0, 0, 0, 4)),
    52: bytes(4),  # no auto-vacuum
    56: bytes((0, 0, 0, 1)),  # UTF-8
    64: bytes(4),
    72: bytes(20),
}
APPLICATION_ID_AT = 68
HEADER_BYTES = 100

VERSION_AT = 60

# One table or index: its type, its own name and its table's, the page of its root, and the statement that made it.
TableEntry = tuple[bytes, bytes, bytes, int, bytes]


def header_is_damaged(header: bytes) -> bool:
    """Whether a file that is marked as a spool has a header that none was ever written with."""
    if header[APPLICATION_ID_AT : APPLICATION_ID_AT + 4] != schema.APPLICATION_ID.to_bytes(4, "big"):
        return False
    page_bytes = int.from_bytes(header[16:18], "big")
    is_size = page_bytes == 1 or (page_bytes >= 512 and page_bytes & (page_bytes - 1) == 0)
    # A log on the side, or as it was before there was one.
    is_journal = header[18:20] in (bytes((2, 2)), bytes((1, 1)))
    return not (is_size and is_journal) or any(
        header[at : at + len(same)] != same for at, same in CONSTANT_BYTES.items()
    )


def read_table_list(connection: sqlite3.Connection) -> list[TableEntry]:
    """All tables and indexes, in the order in which they were made. Raises sqlite3.Error."""
    connection.text_factory = bytes
    found = connection.execute("SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master ORDER BY rowid")
    return [(_bytes(kind), _bytes(name), _bytes(of), _page(root), _bytes(sql)) for kind, name, of, root, sql in found]


@lru_cache
def expected_table_list(limits_tables: str) -> list[TableEntry]:
    """As a new file has them."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        schema.create(connection, limits_tables)
        return read_table_list(connection)


def same_tables(found: list[TableEntry], expected: list[TableEntry]) -> bool:
    """Whether the tables are the same, wherever they lie."""
    return [_said(made) for made in found] == [_said(made) for made in expected]


def has_all_tables(found: list[TableEntry], expected: list[TableEntry]) -> bool:
    return {made[1] for made in expected} <= {made[1] for made in found}


def differs_by_one_bit(found: list[TableEntry], expected: list[TableEntry]) -> bool:
    """Whether the two differ by a single bit. (A file that once was of an older format has its tables elsewhere, and
    may describe them in other words.)
    """
    if len(found) != len(expected):
        return False
    texts = [
        (one, other)
        for f, e in zip(found, expected, strict=True)
        for one, other in zip(_said(f), _said(e), strict=True)
    ]
    if any(len(one) != len(other) for one, other in texts):
        return False
    bits = sum(_bits_between(one, other) for one, other in texts)
    roots = [(f[3] ^ e[3]).bit_count() for f, e in zip(found, expected, strict=True)]
    return bits == 1 or (bits == 0 and sum(roots) == 1)


def _bits_between(one: bytes, other: bytes) -> int:
    """In how many bits two texts of one length differ."""
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def _said(made: TableEntry) -> tuple[bytes, bytes, bytes, bytes]:
    return (*made[:3], made[4])


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _page(value: object) -> int:
    return value if isinstance(value, int) else -1

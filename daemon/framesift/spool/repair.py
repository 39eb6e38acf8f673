"""Repairs one flipped bit in the parts that are equal in all files of a format: the header and the list of tables.

Such a bit would make all rows unreadable. If more than one bit is wrong, nothing is changed.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO

from framesift.atomic_files import sync_file
from framesift.limits import local
from framesift.spool import database, layout
from framesift.spool.disk_errors import STORAGE_ERRORS

# Offsets in the header that differ between files: numbers of changes, pages and free pages, and marks of programs.
_VARIABLE = (range(24, 44), range(92, 100))
_PAGES_AT = 28


def repair_one_bit(path: Path) -> bool:
    """Repairs a bit that differs from all new files. Returns whether there was one. Raises OSError, sqlite3.Error."""
    template = database.sibling_path(path, ".salvage")  # a file of this name is worthless after a crash
    database.remove_database(template)
    database.connect(template, database.WAL_BYTES).close()
    try:
        return _repair(path, template)
    finally:
        database.remove_database(template)


def _repair(path: Path, template: Path) -> bool:
    with closing(sqlite3.connect(template)) as connection:
        page_bytes = int(connection.execute("PRAGMA page_size").fetchone()[0])
        roots = {root for (root,) in connection.execute("SELECT rootpage FROM sqlite_master")}
        count = int(connection.execute("PRAGMA page_count").fetchone()[0])
    # Pages that are no root of a table or index contain the header and the list of tables.
    same = [number - 1 for number in range(1, count + 1) if number not in roots]
    with path.open("r+b") as content, template.open("rb") as wanted:
        wrong: list[tuple[int, int]] = []  # offset, and the bits that differ there
        for page in same:
            content.seek(page * page_bytes)
            wanted.seek(page * page_bytes)
            found = zip(content.read(page_bytes), wanted.read(page_bytes), strict=False)
            wrong += [(page * page_bytes + at, one ^ other) for at, (one, other) in enumerate(found) if one != other]
        wrong = [(at, bits) for at, bits in wrong if not any(at in range_ for range_ in _VARIABLE)]
        for some in (wrong, _of_header(path, wrong), _page_count(path, page_bytes)):
            if len(some) == 1 and some[0][1].bit_count() == 1:
                _flip(content, *some[0])
                return True
    return False


def _of_header(path: Path, wrong: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those of the differences that are in the header.

    Only the tables show whether the format version is wrong: a newer program's file has another version, too.
    """
    of_version = range(layout.VERSION_AT, layout.VERSION_AT + 4)
    found = [(at, bits) for at, bits in wrong if at < layout.HEADER_BYTES]
    if any(at in of_version for at, _ in found):
        with suppress(*STORAGE_ERRORS), closing(database.connect_read_only(path)) as connection:
            if layout.same_tables(layout.read_table_list(connection), layout.expected_table_list(local.TABLES)):
                return found
    return [(at, bits) for at, bits in found if at not in of_version]


def _page_count(path: Path, page_bytes: int) -> list[tuple[int, int]]:
    """The differences between the number of pages in the header and in the file, if no log contains more pages."""
    wal = database.sibling_path(path, "-wal")
    size_bytes = path.stat().st_size
    if size_bytes % page_bytes or (wal.exists() and wal.stat().st_size):
        return []
    with path.open("rb") as content:
        content.seek(_PAGES_AT)
        found = content.read(4)
    pairs = zip(found, (size_bytes // page_bytes).to_bytes(4, "big"), strict=True)
    return [(_PAGES_AT + at, one ^ other) for at, (one, other) in enumerate(pairs) if one != other]


def _flip(content: BinaryIO, place: int, bit: int) -> None:
    content.seek(place)
    (byte,) = content.read(1)
    content.seek(place)
    content.write(bytes([byte ^ bit]))
    sync_file(content)

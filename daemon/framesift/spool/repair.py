"""Puts one bit right where all files of a format are the same: in the header, and in the list of tables.

Such a bit would make every row unreadable. Where more is wrong than one bit, nothing is touched.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO

from framesift.atomic_files import sync_file
from framesift.limits import local
from framesift.spool import database as file
from framesift.spool import layout as shape

# What the header holds of its own file, and other programs' marks: the numbers of changes, pages and free pages.
_OWN = (range(24, 44), range(92, 100))
_PAGES_AT = 28


def repair_one_bit(path: Path) -> bool:
    """Puts one bit right that is otherwise in every new file. Whether there was one. Raises OSError, sqlite3.Error."""
    template = file.sibling_path(path, ".salvage")  # a name that is worthless after a crash
    file.remove_database(template)
    file.connect(template, file.WAL_BYTES).close()
    try:
        return _mend(path, template)
    finally:
        file.remove_database(template)


def _mend(path: Path, template: Path) -> bool:
    with closing(sqlite3.connect(template)) as connection:
        page_bytes = int(connection.execute("PRAGMA page_size").fetchone()[0])
        roots = {root for (root,) in connection.execute("SELECT rootpage FROM sqlite_master")}
        count = int(connection.execute("PRAGMA page_count").fetchone()[0])
    # The pages that no table or index has hold the header and the list of them.
    same = [number - 1 for number in range(1, count + 1) if number not in roots]
    with path.open("r+b") as content, template.open("rb") as wanted:
        wrong: list[tuple[int, int]] = []  # place, and what is wrong there
        for page in same:
            content.seek(page * page_bytes)
            wanted.seek(page * page_bytes)
            found = zip(content.read(page_bytes), wanted.read(page_bytes), strict=False)
            wrong += [(page * page_bytes + at, one ^ other) for at, (one, other) in enumerate(found) if one != other]
        wrong = [(at, bits) for at, bits in wrong if not any(at in own for own in _OWN)]
        for some in (wrong, _of_header(path, wrong), _page_count(path, page_bytes)):
            if len(some) == 1 and some[0][1].bit_count() == 1:
                _flip(content, *some[0])
                return True
    return False


def _of_header(path: Path, wrong: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of these, what is the header's. Whether the format's number is wrong, only the tables can say: a newer program's
    file has another, too.
    """
    of_version = range(shape.VERSION_AT, shape.VERSION_AT + 4)
    found = [(at, bits) for at, bits in wrong if at < shape.HEADER_BYTES]
    if any(at in of_version for at, _ in found):
        with suppress(*file.STORAGE_ERRORS), closing(file.connect_read_only(path)) as connection:
            if shape.same_tables(shape.read_table_list(connection), shape.expected_table_list(local.TABLES)):
                return found
    return [(at, bits) for at, bits in found if at not in of_version]


def _page_count(path: Path, page_bytes: int) -> list[tuple[int, int]]:
    """Where the header says another number of pages than there are, without a log that would know better."""
    wal = file.sibling_path(path, "-wal")
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

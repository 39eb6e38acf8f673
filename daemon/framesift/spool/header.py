"""The header of the file: the first 100 bytes of its first page. SQLite reads nothing of a file whose header is wrong.

Everything in it is known or said elsewhere: constants, the size of the file, and in the table `identity`, twice and
with checksums, the format and the mark of the program. Where the two disagree, the table is right.

The format: https://www.sqlite.org/fileformat2.html#the_database_header
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from framesift.limits.local import TABLES
from framesift.spool import btree, identity, kept_descriptors, schema
from framesift.spool.btree import UnreadableCell
from framesift.spool.identity import FoundIdentity
from framesift.spool.page_file import HEADER_BYTES, PageFile
from framesift.spool.table_shapes import new_file

MAGIC = b"SQLite format 3\0"  # of every SQLite file
# By offset: the bytes that are equal in each spool.
_CONSTANT = {
    0: MAGIC,
    20: bytes((0, 64, 32, 32)),  # no reserved bytes, and values that are constant in SQLite
    44: bytes((0, 0, 0, 4)),
    48: bytes(8),  # no size of the cache, no auto-vacuum
    56: bytes((0, 0, 0, 1)),  # UTF-8
    64: bytes(4),
    72: bytes(20),
}
_PAGE_BYTES_AT, _JOURNAL_AT, _PAGES_AT, _VERSION_AT, _APPLICATION_AT = 16, 18, 28, 60, 68
_JOURNALS = (b"\2\2", b"\1\1")  # the write-ahead log; the default, before the log was switched on
_SEARCHED_PAGES = 4096
_NAMES = ("identity", "identity_copy")


@dataclass(frozen=True, slots=True)
class Header:
    """What the header says. is_whole: whether all that is equal in each spool is what it must be.

    format, application: as in Identity.
    """

    is_whole: bool
    format: int
    application: int


def read(path: Path) -> Header:
    """Reads the header. Raises OSError."""
    with kept_descriptors.holding(path) as descriptor:
        found = _parse(os.pread(descriptor, HEADER_BYTES, 0).ljust(HEADER_BYTES, b"\0"))
        if found.is_whole and found.format == schema.VERSION:
            return found
        with contextlib.closing(PageFile(path)) as file:  # a file that was made just now has its header in the log
            return _parse(file.read(1)) if file.is_logged(1) else found


def _parse(header: bytes) -> Header:
    page_bytes = _number(header, _PAGE_BYTES_AT, 2)
    page_bytes = 65536 if page_bytes == 1 else page_bytes
    is_whole = (
        all(header[at : at + len(same)] == same for at, same in _CONSTANT.items())
        and header[_JOURNAL_AT : _JOURNAL_AT + 2] in _JOURNALS
        and page_bytes >= 512
        and page_bytes.bit_count() == 1
    )
    return Header(is_whole, _number(header, _VERSION_AT), _number(header, _APPLICATION_AT))


def find_identity(path: Path, *, search: bool = True) -> FoundIdentity | None:
    """What the table `identity` says, read without the help of the header; None if no row of it is whole.

    search: also on pages that no tree leads to. Raises OSError.
    """
    with contextlib.closing(PageFile(path)) as file:
        return identity_of(file, search=search)


def identity_of(file: PageFile, *, search: bool = True) -> FoundIdentity | None:
    """What the table `identity` of these pages says: see `find_identity`. Raises OSError."""
    roots = [roots[name] for roots in (master_roots(file), new_file(TABLES).roots) for name in _NAMES if name in roots]
    trees = [page for root in roots for page in btree.walk(file, root, is_index=False).pages]
    others = range(1, min(file.page_count, _SEARCHED_PAGES) + 1) if search else ()
    for page in dict.fromkeys([*trees, *others]):
        if not btree.has_rows(file, page):
            continue
        for cell in btree.cells(file, page):
            with contextlib.suppress(UnreadableCell):
                row = () if cell is None else btree.read_row(file, cell)
                found = identity.of_values(row if cell is None or cell.rowid is None else (cell.rowid, *row[1:]))
                if found is not None:
                    return found
    return None


def master_roots(file: PageFile) -> dict[str, int]:
    """The first page of each table and index, as the list of tables says. Raises OSError."""
    roots: dict[str, int] = {}
    for page in btree.walk(file, 1, is_index=False).pages:
        for cell in btree.cells(file, page):
            with contextlib.suppress(UnreadableCell):
                row = () if cell is None else btree.read_row(file, cell)
                if len(row) == 5 and isinstance(row[1], str) and isinstance(row[3], int):
                    roots[row[1]] = row[3]
    return roots


def repair(path: Path, format: int) -> bool:
    """Writes what must be in the header of a spool of this format. Returns whether it was wrong. Raises OSError."""
    with contextlib.closing(PageFile(path)) as file:
        page_bytes = file.page_bytes
        if file.is_logged(1):
            return False  # the first page of the log counts, and has checksums
    size_bytes = path.stat().st_size
    if size_bytes < page_bytes:
        return False  # it was cut off: there is no first page
    with kept_descriptors.holding(path, write=True) as content:
        found = os.pread(content, HEADER_BYTES, 0)
        wanted = bytearray(found)
        for at, same in _CONSTANT.items():
            wanted[at : at + len(same)] = same
        wanted[_PAGE_BYTES_AT : _PAGE_BYTES_AT + 2] = (1 if page_bytes == 65536 else page_bytes).to_bytes(2, "big")
        if found[_JOURNAL_AT : _JOURNAL_AT + 2] not in _JOURNALS:
            wanted[_JOURNAL_AT : _JOURNAL_AT + 2] = _JOURNALS[0]
        wanted[_VERSION_AT : _VERSION_AT + 4] = format.to_bytes(4, "big")
        wanted[_APPLICATION_AT : _APPLICATION_AT + 4] = schema.APPLICATION_ID.to_bytes(4, "big")
        # If it says more, the file was cut off: its trees may lead to pages that are gone.
        if size_bytes % page_bytes == 0 and _number(found, _PAGES_AT) < size_bytes // page_bytes:
            wanted[_PAGES_AT : _PAGES_AT + 4] = (size_bytes // page_bytes).to_bytes(4, "big")
        if wanted == found:
            return False
        os.pwrite(content, wanted, 0)
        os.fsync(content)
    return True


def _number(header: bytes, at: int, size: int = 4) -> int:
    return int.from_bytes(header[at : at + size], "big")

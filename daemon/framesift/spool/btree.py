"""Reads rows from the pages of SQLite's B-trees, whether or not the tree above them is whole.

The format: https://www.sqlite.org/fileformat2.html#b_tree_pages and #record_format
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from framesift.spool.page_file import HEADER_BYTES, PageFile

_INDEX_INNER, _TABLE_INNER, _INDEX_LEAF, _TABLE_LEAF = 0x02, 0x05, 0x0A, 0x0D
_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)  # by serial type
_KINDS = (_TABLE_LEAF, _INDEX_LEAF, _TABLE_INNER, _INDEX_INNER)
_DEEPEST = 30

Value = int | float | str | bytes | None
Row = tuple[Value, ...]


class UnreadableCell(Exception):
    """The bytes are no row: a page of it is damaged."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A row, or an entry of an index, on a page. rowid: its number, None in an index or a table WITHOUT ROWID."""

    page: int
    rowid: int | None
    at: int  # where its content begins on the page
    size_bytes: int  # of its content


@dataclass
class Tree:
    """What of a tree can be reached. pages: numbers of its pages. is_whole: whether every page of it could be read."""

    pages: list[int] = field(default_factory=list)
    is_whole: bool = True


def walk(file: PageFile, root: int, *, is_index: bool) -> Tree:
    """Finds the pages of the table or index with this root. is_index: also a table WITHOUT ROWID."""
    tree, seen = Tree(), set[int]()
    inner, leaf = (_INDEX_INNER, _INDEX_LEAF) if is_index else (_TABLE_INNER, _TABLE_LEAF)
    waiting = [(root, 0)]
    while waiting:
        number, depth = waiting.pop()
        if number in seen or depth > _DEEPEST or not 1 <= number <= file.page_count:
            tree.is_whole = False
            continue
        seen.add(number)
        kind = _kind(file.read(number), number)
        tree.is_whole &= kind in (inner, leaf)
        tree.pages.append(number)
        if _nearest(kind) == inner:
            waiting += [(child, depth + 1) for child in reversed(_children(file.read(number), number))]
    return tree


def _kind(page: bytes, number: int) -> int:
    return page[_start(number)]


def _start(number: int) -> int:
    return HEADER_BYTES if number == 1 else 0


def _nearest(kind: int) -> int:
    """The kind of page that a damaged one most probably was."""
    return min(_KINDS, key=lambda one: (one ^ kind).bit_count())


def _children(page: bytes, number: int) -> list[int]:
    at = _start(number)
    numbers = [int.from_bytes(page[place : place + 4], "big") for place in _places(page, number, _TABLE_INNER)]
    return [*numbers, int.from_bytes(page[at + 8 : at + 12], "big")]


def _places(page: bytes, number: int, kind: int, *, beyond: bool = False) -> list[int]:
    """Where the cells of a page begin, in their order. beyond: what follows the last of them instead."""
    at = _start(number)
    count = int.from_bytes(page[at + 3 : at + 5], "big")
    first = at + (12 if kind in (_INDEX_INNER, _TABLE_INNER) else 8)
    most = (len(page) - first) // 2
    if beyond:
        first, most, count = first + 2 * count, most - count, most - count
    if count <= 0 or most <= 0:
        return []
    # Without the bits that no place on a page can have, as SQLite reads them: what it still delivers must be found.
    return [place & (len(page) - 1) for place in struct.unpack_from(f">{min(count, most)}H", page, first)]


def cells(file: PageFile, number: int, *, beyond: bool = False) -> Iterator[Cell | None]:
    """The rows or entries on a page, in their order; None for each that can't be one.

    beyond: those that the page has after the number of rows that it says: it may be damaged, or they were deleted.
    """
    page = file.read(number)
    kind = _nearest(_kind(page, number))
    if kind == _TABLE_INNER:
        return
    for place in _places(page, number, kind, beyond=beyond):
        cell = _cell(page, number, kind, place)
        if beyond and cell is None:
            return
        yield cell


def _cell(page: bytes, number: int, kind: int, place: int) -> Cell | None:
    try:
        size_bytes, at = _varint(page, place + (4 if kind == _INDEX_INNER else 0))  # before it: the child's number
        if kind != _TABLE_LEAF:
            return Cell(number, None, at, size_bytes)
        rowid, at = _varint(page, at)
    except IndexError:
        return None
    return Cell(number, rowid - ((rowid >> 63) << 64), at, size_bytes)


def has_rows(file: PageFile, number: int) -> bool:
    """Whether the page may have rows of a table or entries of an index."""
    page = file.read(number)
    return _kind(page, number) in (_INDEX_INNER, _INDEX_LEAF, _TABLE_LEAF) and any(page[3:5])


def leading_blob(file: PageFile, cell: Cell, size_bytes: int) -> bytes | None:
    """The second column of a row of four columns: its number, a blob of this size, a text and a blob.

    None if the row isn't like this. Reads only the page of the cell, however long the row is.
    """
    page = file.read(cell.page)
    try:
        head_bytes, at = _varint(page, cell.at)
        types: list[int] = []
        end = cell.at + head_bytes
        while at < end and len(types) < 5:
            kind, at = _varint(page, at)
            types.append(kind)
    except IndexError:
        return None
    if len(types) != 4 or at != end or cell.rowid is None or types[:2] != [0, 12 + 2 * size_bytes]:
        return None
    is_text, is_blob = types[2] >= 13 and types[2] % 2 == 1, types[3] >= 12 and types[3] % 2 == 0
    return page[end : end + size_bytes] if is_text and is_blob else None


def read_row(file: PageFile, cell: Cell) -> Row:
    """The values of a row in the order in which they are stored. Raises UnreadableCell.

    A column that is the row's number is None. Text that is no UTF-8 is returned as bytes.
    """
    try:
        return _values(_content(file, cell))
    except (IndexError, struct.error):
        raise UnreadableCell(f"a row on page {cell.page}") from None


def _content(file: PageFile, cell: Cell) -> bytes:
    page, usable = file.read(cell.page), file.page_bytes
    most = usable - 35 if cell.rowid is not None else (usable - 12) * 64 // 255 - 23
    if cell.size_bytes <= most:
        found = page[cell.at : cell.at + cell.size_bytes]
        if len(found) < cell.size_bytes:
            raise UnreadableCell(f"a row on page {cell.page}")
        return found
    if cell.size_bytes > file.page_count * usable:
        raise UnreadableCell(f"a row on page {cell.page}")
    least = (usable - 12) * 32 // 255 - 23
    local = least + (cell.size_bytes - least) % (usable - 4)
    local = local if local <= most else least
    parts = [page[cell.at : cell.at + local]]
    following = int.from_bytes(page[cell.at + local : cell.at + local + 4], "big")
    left, seen = cell.size_bytes - local, set[int]()
    while left > 0:
        if following in seen or not 1 < following <= file.page_count:
            raise UnreadableCell(f"a row on page {cell.page}")
        seen.add(following)
        page = file.read(following)
        parts.append(page[4 : 4 + left])
        left -= usable - 4
        following = int.from_bytes(page[:4], "big")
    return b"".join(parts)


def _values(content: bytes) -> Row:
    head_bytes, at = _varint(content, 0)
    if not 1 <= head_bytes <= len(content):
        raise UnreadableCell("the header of a row")
    types = []
    while at < head_bytes:
        kind, at = _varint(content, at)
        types.append(kind)
    values: list[Value] = []
    for kind in types:
        value, at = _value(content, at, kind)
        values.append(value)
    if at != len(content):
        raise UnreadableCell("the length of a row")
    return tuple(values)


def _value(content: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind >= 12:
        size = (kind - 12) // 2
        raw = content[at : at + size]
        if len(raw) < size:
            raise UnreadableCell("the length of a value")
        if kind % 2 == 0:
            return raw, at + size
        try:
            return raw.decode(), at + size
        except UnicodeDecodeError:
            return raw, at + size
    if kind in (8, 9):
        return kind - 8, at
    if kind == 7:
        return float(struct.unpack_from(">d", content, at)[0]), at + 8
    if kind > 9:
        raise UnreadableCell("the type of a value")
    size = _INTEGER_BYTES[kind]
    if at + size > len(content):
        raise UnreadableCell("the length of a value")
    return (int.from_bytes(content[at : at + size], "big", signed=True) if kind else None), at + size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = data[at]
    if value < 0x80:
        return value, at + 1
    value &= 0x7F
    for n in range(1, 8):
        byte = data[at + n]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + n + 1
    return value << 8 | data[at + 8], at + 9

"""Overwrites what deleted rows have left behind in the spool's file: SQLite marks their pages as free, no more.

Three kinds of places hold old bytes: free pages, the unused parts of pages of tables and indexes, and the rest of the
last page of a long value. They are overwritten in the file itself, with zeros. That is safe while this connection has
the write lock and the log is empty: the file is then complete, nobody else can change it, and no reader looks at unused
bytes. At the end of each step a commit makes all other connections forget their copies of pages. A step is short, so
that a daemon beside it hardly waits. What a crash leaves undone is done by the next call.

Only the content of files is overwritten. What a disk keeps of older versions of a block is beyond any program.

The format: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from framesift.clock.clock import Clock
from framesift.spool import kept_descriptors
from framesift.spool.database import sibling_path
from framesift.spool.records import SpoolBroken

_STEP_S = 0.25
_ALONE_WITHIN_S = 60.0
_INTERIOR_INDEX, _INTERIOR_TABLE, _LEAF_INDEX, _LEAF_TABLE = 2, 5, 10, 13
_INTERIOR = (_INTERIOR_INDEX, _INTERIOR_TABLE)
_SCHEMA_ROOT = 1  # its page is written by the commit at the end of each step, and has no data of rows


class _StepOver(Exception):
    """Others have waited long enough."""


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """bytes: how many were overwritten. unread_pages: pages that are damaged, and were left as they are."""

    bytes: int
    unread_pages: int


def scrub(connection: sqlite3.Connection, path: Path, clock: Clock) -> Scrubbed:
    """Overwrites all unused bytes of a spool, and empties its log. The connection must be fresh.

    Raises sqlite3.Error, OSError, and SpoolBroken if other processes never let go of the log.
    """
    with kept_descriptors.holding(path, write=True) as file:
        walk = _Walk(file, int(connection.execute("PRAGMA page_size").fetchone()[0]), clock)
        while True:
            with _alone(connection, path, clock):
                roots = [
                    root for (root,) in connection.execute("SELECT rootpage FROM sqlite_master WHERE rootpage > 1")
                ]
                walk.begin_step()
                try:
                    walk.free_pages()
                    for root in roots:
                        walk.tree(root)
                    break
                except _StepOver:
                    continue
                finally:
                    os.fsync(file)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Scrubbed(walk.written_bytes, len(walk.unread))


@contextlib.contextmanager
def _alone(connection: sqlite3.Connection, path: Path, clock: Clock) -> Iterator[None]:
    """The write lock while the log is empty; a commit at the end, so that others read their pages again."""
    wal = sibling_path(path, "-wal")
    until_s = clock.monotonic() + _ALONE_WITHIN_S
    while True:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("BEGIN IMMEDIATE")
        if not wal.exists() or wal.stat().st_size == 0:
            break
        connection.execute("ROLLBACK")  # somebody wrote in between
        if clock.monotonic() >= until_s:
            raise SpoolBroken(f"{path}: other processes never let go of its log; stop the daemon, and try again")
    try:
        yield
    finally:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")


@dataclass(eq=False)
class _Walk:
    """All pages of a file, in steps. What a step has done stays done: pages that change later get only new data."""

    file: int
    page_bytes: int
    clock: Clock
    written_bytes: int = 0
    unread: set[int] = field(default_factory=set)
    _done: set[tuple[int, int]] = field(default_factory=set)  # (root, page)
    _free_done: bytearray = field(default_factory=bytearray)  # by number: 1 for a free page; there may be millions
    _until_s: float = 0.0

    def begin_step(self) -> None:
        """Begins the time of a step."""
        self._until_s = self.clock.monotonic() + _STEP_S
        self._pages = os.fstat(self.file).st_size // self.page_bytes
        self._free_done.extend(bytes(max(0, self._pages + 1 - len(self._free_done))))

    def free_pages(self) -> None:
        """Overwrites the free pages. Raises _StepOver."""
        header = os.pread(self.file, 40, 0)
        trunk = int.from_bytes(header[32:36], "big")
        for _ in range(self._pages):
            if not 1 < trunk <= self._pages:
                return
            page = self._read(trunk)
            count = min(_u32(page, 4), self.page_bytes // 4 - 2)
            for at in range(8, 8 + 4 * count, 4):
                leaf = _u32(page, at)
                if 1 < leaf <= self._pages and not self._free_done[leaf]:
                    self._zero(leaf, self._read(leaf), 0, self.page_bytes)
                    self._free_done[leaf] = 1
                    self._end_step_in_time()
            self._zero(trunk, page, 8 + 4 * count, self.page_bytes)
            trunk = _u32(page, 0)

    def tree(self, root: int) -> None:
        """Overwrites the unused parts of the pages of a table or index. Raises _StepOver."""
        waiting = [root]
        while waiting:
            number = waiting.pop()
            if (root, number) in self._done:
                continue
            try:
                page = self._read(number)
                if page[0] in _INTERIOR:
                    waiting += self._children(page)
                self._unused(number, page)
                for cell in self._cells(page):
                    self._last_overflow_page(page, cell)
            except (ValueError, IndexError):
                self.unread.add(number)
                continue
            if page[0] not in _INTERIOR:  # whose children may not be done yet
                self._done.add((root, number))
                self._end_step_in_time()

    def _end_step_in_time(self) -> None:
        if self.clock.monotonic() >= self._until_s:
            raise _StepOver

    def _cells(self, page: bytes) -> list[int]:
        start = 12 if page[0] in _INTERIOR else 8
        count = _u16(page, 3)
        return [_u16(page, start + 2 * number) for number in range(count)]

    def _children(self, page: bytes) -> list[int]:
        children = [_u32(page, cell) for cell in self._cells(page)] + [_u32(page, 8)]
        if not all(1 < child <= self._pages for child in children):
            raise ValueError("a page that does not exist")
        return children

    def _unused(self, number: int, page: bytes) -> None:
        """The gap between pointers and content, and the free blocks in the content."""
        if page[0] not in (*_INTERIOR, _LEAF_INDEX, _LEAF_TABLE):
            raise ValueError("no page of a tree")
        begin = (12 if page[0] in _INTERIOR else 8) + 2 * _u16(page, 3)
        end = _u16(page, 5) or 65536
        if not begin <= end <= self.page_bytes:
            raise ValueError("content where the pointers are")
        parts = [(begin, end)]
        block, before = _u16(page, 1), 0
        while block:
            size = _u16(page, block + 2)
            if block <= before or block < end or size < 4 or block + size > self.page_bytes:
                raise ValueError("a free block outside the content")
            parts.append((block + 4, block + size))
            block, before = _u16(page, block), block
        for part in parts:
            self._zero(number, page, *part)

    def _last_overflow_page(self, page: bytes, cell: int) -> None:
        """The rest of the last page of a value that has pages of its own."""
        kind = page[0]
        if kind == _INTERIOR_TABLE:
            return
        at = cell + 4 if kind == _INTERIOR_INDEX else cell
        size, at = _varint(page, at)
        if kind == _LEAF_TABLE:
            _, at = _varint(page, at)
        usable = self.page_bytes
        most = usable - 35 if kind == _LEAF_TABLE else (usable - 12) * 64 // 255 - 23
        if size <= most:
            return
        least = (usable - 12) * 32 // 255 - 23
        here = least + (size - least) % (usable - 4)
        if here > most:
            here = least
        number, left = _u32(page, at + here), size - here
        while left > usable - 4:
            if not 1 < number <= self._pages:
                raise ValueError("a page that does not exist")
            number = int.from_bytes(os.pread(self.file, 4, (number - 1) * self.page_bytes), "big")
            left -= usable - 4
        if not 1 < number <= self._pages:
            raise ValueError("a page that does not exist")
        self._zero(number, self._read(number), 4 + left, usable)

    def _read(self, number: int) -> bytes:
        page = os.pread(self.file, self.page_bytes, (number - 1) * self.page_bytes)
        if len(page) != self.page_bytes:
            raise ValueError("a page beyond the end")
        return page

    def _zero(self, number: int, page: bytes, begin: int, end: int) -> None:
        """Overwrites a part of a page, unless it is zero already."""
        if any(page[begin:end]):
            os.pwrite(self.file, bytes(end - begin), (number - 1) * self.page_bytes + begin)
            self.written_bytes += end - begin


def _u16(page: bytes, at: int) -> int:
    return page[at] << 8 | page[at + 1]


def _u32(page: bytes, at: int) -> int:
    return int.from_bytes(page[at : at + 4], "big")


def _varint(page: bytes, at: int) -> tuple[int, int]:
    """The number that begins there, and where it ends."""
    value = 0
    for offset in range(8):
        byte = page[at + offset]
        value = value << 7 | byte & 127
        if byte < 128:
            return value, at + offset + 1
    return value << 8 | page[at + 8], at + 9

"""The pages of a database file as the last commit left them, read without SQLite: it refuses damaged headers.

The formats: https://www.sqlite.org/fileformat2.html#the_database_header and #walformat
"""

from __future__ import annotations

import os
import struct
from functools import lru_cache
from pathlib import Path

from framesift.spool import kept_descriptors, wal

HEADER_BYTES = 100
# Of a new file. Each commit writes whole pages to the log, and a datapoint changes about thirty of them beside those of
# its picture until it has left: with the 4 KiB that SQLite takes by itself, they were as many bytes as a small picture.
PAGE_BYTES = 1024
_WRITTEN_PAGE_BYTES = (PAGE_BYTES, 4096)  # the others: of files that an older version made
_PAGE_SIZES: tuple[int, ...] = tuple(2**power for power in range(9, 17))
_CACHED_PAGES = 256
_SAMPLE_BYTES, _SMALL_SAMPLE_BYTES = 2**21, 2**18


class PageFile:
    """Reads pages by number, from 1 on. One thread uses it. Raises OSError.

    page_bytes: size of a page, found by looking at the pages where the header's can't be right. page_count: how many
    pages the file and its log have. Pages of the write-ahead log count instead of those of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = None
        kept_descriptors.hold(path)
        try:
            self._content = kept_descriptors.descriptor(path)
            log = path.with_name(path.name + "-wal")
            self._log = log.open("rb") if log.is_file() else None
            committed = wal.committed_pages(log) if self._log is not None else None
            self._offsets = {} if committed is None else committed.offsets
            size_bytes = path.stat().st_size
            self.page_bytes = committed.page_bytes if committed is not None else self._find_page_bytes(size_bytes)
        except BaseException:
            self.close()
            raise
        self.page_count = max(-(-size_bytes // self.page_bytes), max(self._offsets, default=0))
        self._cached = lru_cache(_CACHED_PAGES)(self._read)

    def is_logged(self, number: int) -> bool:
        """Whether the page in the log counts, instead of the one in the file."""
        return number in self._offsets

    def close(self) -> None:
        """Closes the files, unless others hold them."""
        kept_descriptors.release(self._path)
        if self._log is not None:
            self._log.close()

    def free_pages(self) -> tuple[bytearray, bool]:
        """For each page, by its number, 1 if it is free; and whether their list in the file can be right.

        (A set would have millions of numbers for a large spool that was emptied.)
        """
        header, free = self.read(1), bytearray(self.page_count + 1)
        trunk, is_right = _number(header, 32), True
        while trunk:
            page = self.read(trunk)
            count = _number(page, 4)
            if not 1 < trunk <= self.page_count or free[trunk] or count > self.page_bytes // 4 - 2:
                is_right = False
                break
            for number in (trunk, *struct.unpack_from(f">{count}I", page, 8)):
                if 1 < number <= self.page_count and not free[number]:
                    free[number] = 1
                else:
                    is_right = False
            trunk = _number(page, 0)
        return free, is_right and free.count(1) == _number(header, 36)

    def read(self, number: int) -> bytes:
        """One page. What is missing at the end of a file that was cut off is 0."""
        return self._cached(number)

    def _read(self, number: int) -> bytes:
        if number in self._offsets and self._log is not None:
            self._log.seek(self._offsets[number])
            return self._log.read(self.page_bytes).ljust(self.page_bytes, b"\0")
        if not 1 <= number <= self.page_count:
            return bytes(self.page_bytes)
        page = os.pread(self._content, self.page_bytes, (number - 1) * self.page_bytes)
        return page.ljust(self.page_bytes, b"\0")

    def _find_page_bytes(self, size_bytes: int) -> int:
        sample = os.pread(self._content, min(size_bytes, _SAMPLE_BYTES), 0)
        said = int.from_bytes(sample[16:18], "big")
        said = 65536 if said == 1 else said
        sizes = _PAGE_SIZES
        if said in _WRITTEN_PAGE_BYTES:  # most likely
            sizes, sample = _WRITTEN_PAGE_BYTES, sample[:_SMALL_SAMPLE_BYTES]

        def likelihood(size: int) -> tuple[int, bool, bool]:
            pages = (sample[at : at + size] for at in range(size, len(sample), size))
            return sum(map(is_tree_page, pages)), size == said, size == PAGE_BYTES

        return max(sizes, key=likelihood)


def _number(page: bytes, at: int) -> int:
    return int.from_bytes(page[at : at + 4], "big")


def is_tree_page(page: bytes, at: int = 0) -> bool:
    """Whether this may be a page of a table or an index with something on it. at: 100 on the first page, else 0."""
    if page[at : at + 1] not in (b"\x02", b"\x05", b"\x0a", b"\x0d"):
        return False
    count = int.from_bytes(page[at + 3 : at + 5], "big")
    first = at + (12 if page[at] < 8 else 8)
    ends = first + 2 * count
    if ends > len(page) or (count == 0 and page[at] >= 8):
        return False
    return all(ends <= int.from_bytes(page[place : place + 2], "big") < len(page) for place in range(first, ends, 2))

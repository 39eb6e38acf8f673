"""metadata.jsonl: one JSON object per line; the line commits a datapoint to the folder, and its removal takes it out.

A line is written with one write and one fsync. A crash can leave an incomplete last line: it is removed, or completed
if only the newline is missing. The user may edit the file: lines that were changed, added or removed by hand are
noticed at the next delivery (those that leave the file as long as it was, when pictures are removed), and no line but a
broken last one is ever changed. Lines are removed many at a time: the
rest is copied to a new file, which replaces the old one atomically, so that a reader sees the one or the other.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from framesift.atomic_files import create_file, replace_file, sync_file, sync_folder
from framesift.sinks.own_lines import OwnLine, PictureIndex, name_in_line, object_in_line, parse_own_line

# Our own lines begin like this, so that a hundred thousand lines need not be parsed for one field each.
_OWN_LINE = re.compile(rb'\{"file_name": "[^"\\]*", "id": "([^"\\]*)"')
_NO_FILE = (0, 0)


class _NothingToRemove(Exception):
    """The file has no line that should go: it stays as it is."""


class MetadataFile:
    """The lines of one file, and the ids in them (16 bytes of memory each). For one thread at a time.

    index: of the lines that framesift wrote; None where nobody needs it.
    """

    def __init__(self, path: Path, *, indexed: bool = False) -> None:
        """indexed: whether to keep an index."""
        self._path = path
        self.index = PictureIndex() if indexed else None
        self._ids: set[bytes] = set()
        self._inode = _NO_FILE
        self._end = 0

    def __contains__(self, id: str) -> bool:
        """Whether a line has this id, as of the last `refresh`."""
        return _digest(id) in self._ids

    def refresh(self) -> None:
        """Reads what is new since the last call (everything, if it is another file) and repairs a broken last line.

        Raises OSError.
        """
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._reset(_NO_FILE)
            return
        inode = (status.st_dev, status.st_ino)
        if inode == self._inode and status.st_size == self._end:
            return
        if inode != self._inode or status.st_size < self._end:
            self._reset(inode)
        line = b"\n"
        with self._path.open("rb") as file:
            file.seek(self._end)
            for line in file:
                if self._end + len(line) >= status.st_size and object_in_line(line) is None:
                    self._remove_last_line()
                    return
                self._ids |= _ids(line)
                if self.index is not None:
                    self.index.add(line, self._end)
                self._end += len(line)
        if not line.endswith(b"\n"):
            self._add(b"\n")

    def append(self, id: str, line: bytes) -> None:
        """Adds a line (ending in a newline) that holds `id`, durably, after `refresh`. Raises OSError: not added."""
        begin = self._end
        self._add(line)
        self._ids.add(_digest(id))
        if self.index is not None:
            self.index.add(line, begin)

    def own_line_at(self, offset: int, length: int) -> OwnLine | None:
        """The line at an offset of the index; None if it can't be found there any more. Raises OSError."""
        file = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            line = os.pread(file, length, offset)
        finally:
            os.close(file)
        return parse_own_line(line) if line.find(b"\n") == length - 1 else None

    def read_anew(self) -> None:
        """Reads all lines again: some were changed in a way that the file's size did not show. Raises OSError."""
        self._reset(_NO_FILE)
        self.refresh()

    def own_lines(self) -> Iterator[OwnLine]:
        """All lines that framesift wrote. Raises OSError."""
        if self._path.exists():
            with self._open() as file:
                yield from (own for own in map(parse_own_line, file) if own is not None)

    def remove(self, names: Collection[str]) -> int:
        """Removes the lines of pictures with these names, durably, after `refresh`. Returns how many there were.

        Raises OSError: nothing is removed then, also where somebody else changes the file at this moment.
        """
        if not self._path.exists():
            return 0
        removed: set[int] = set()
        ids: set[bytes] = set()
        offset = 0
        with self._open() as old, contextlib.suppress(_NothingToRemove):
            before = os.fstat(old.fileno())
            with replace_file(self._path, like=before) as new:
                for line in old:
                    if name_in_line(line) in names:
                        removed.add(offset)
                        ids |= _ids(line)
                    else:
                        new.write(line)
                    offset += len(line)
                if not removed:
                    raise _NothingToRemove
                sync_file(new)
                now = self._path.stat()
                if (now.st_ino, now.st_size, now.st_mtime_ns) != (before.st_ino, offset, before.st_mtime_ns):
                    raise OSError(errno.EBUSY, "another program changes this file at this moment", str(self._path))
                after = os.fstat(new.fileno())
            self._ids -= ids
            if self.index is not None:
                self.index.remove(removed)
            self._inode, self._end = (after.st_dev, after.st_ino), after.st_size
        return len(removed)

    def _open(self) -> BinaryIO:
        file = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        return os.fdopen(file, "rb", buffering=1 << 20)

    def _add(self, content: bytes) -> None:
        file = create_file(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            try:
                if os.write(file, content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
                os.fsync(file)
            except OSError:
                # The next refresh must not find a line that may not be durable. If removing it fails as well, the
                # refresh sees a longer file than it knew, and repairs it.
                os.ftruncate(file, self._end)
                raise
            if self._inode == _NO_FILE:
                sync_folder(self._path.parent)
            status = os.fstat(file)
        finally:
            os.close(file)
        self._inode, self._end = (status.st_dev, status.st_ino), status.st_size

    def _remove_last_line(self) -> None:
        with os.fdopen(os.open(self._path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), "r+b") as file:
            file.truncate(self._end)
            os.fsync(file.fileno())

    def _reset(self, inode: tuple[int, int]) -> None:
        self._ids = set()
        if self.index is not None:
            self.index.clear()
        self._inode = inode
        self._end = 0


def _digest(id: str) -> bytes:
    return hashlib.blake2b(id.encode(errors="replace"), digest_size=16).digest()


def _ids(line: bytes) -> set[bytes]:
    """The digest of the id in a line; none if it isn't an object with an id."""
    own = _OWN_LINE.match(line)
    if own is not None:
        return {_digest(own.group(1).decode("utf-8", "replace"))}
    id = (object_in_line(line) or {}).get("id")
    return {_digest(id)} if isinstance(id, str) else set()

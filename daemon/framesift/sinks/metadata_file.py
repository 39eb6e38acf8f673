"""metadata.jsonl: one JSON object per line; the line commits a datapoint to the folder.

A line is written with one write and one fsync. A crash can leave an incomplete last line: it is removed, or completed
if only the newline is missing. The user may edit the file: lines that were changed, added or removed by hand are
noticed at the next delivery, and no line but a broken last one is ever changed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from pathlib import Path

from framesift.atomic_files import create_file, sync_folder

# Our own lines begin like this, so that a hundred thousand lines need not be parsed for one field each.
_OWN_LINE = re.compile(rb'\{"file_name": "[^"\\]*", "id": "([^"\\]*)"')
_NO_FILE = (0, 0)


class MetadataFile:
    """The lines of one file, and the ids in them (16 bytes of memory each). For one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
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
                if self._end + len(line) >= status.st_size and not _is_object(line):
                    self._remove_last_line()
                    return
                self._ids |= _ids(line)
                self._end += len(line)
        if not line.endswith(b"\n"):
            self._add(b"\n")

    def append(self, id: str, line: bytes) -> None:
        """Adds a line (ending in a newline) that holds `id`, durably, after `refresh`. Raises OSError: not added."""
        self._add(line)
        self._ids.add(_digest(id))

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
        self._inode = inode
        self._end = 0


def _digest(id: str) -> bytes:
    return hashlib.blake2b(id.encode(), digest_size=16).digest()


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _ids(line: bytes) -> set[bytes]:
    """The digest of the id in a line; none if it isn't an object with an id."""
    own = _OWN_LINE.match(line)
    if own is not None:
        return {_digest(own.group(1).decode("utf-8", "replace"))}
    try:
        parsed = json.loads(line)
    except ValueError:
        return set()
    id = parsed.get("id") if isinstance(parsed, dict) else None
    return {_digest(id)} if isinstance(id, str) else set()

"""Descriptors of the database's file for reading its bytes beside SQLite: they stay open while anybody holds the path.

POSIX locks belong to a process and a file. Whenever a process closes a descriptor of a file, whichever it is, all locks
that it has on this file are gone, and SQLite does not notice. The next program that opens the spool and closes it again
would then take itself for the last one, and delete the write-ahead log under the daemon, with all that is written to it
later.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True, eq=False)
class _Held:
    """holders: how many hold the path. descriptors: of its file, and whether each can write."""

    holders: int = 0
    file: tuple[int, int] | None = None
    descriptors: list[tuple[int, bool]] = field(default_factory=list)

    def close(self) -> None:
        for descriptor, _ in self.descriptors:
            os.close(descriptor)
        self.descriptors = []


_lock = threading.Lock()
_held: dict[str, _Held] = {}  # by absolute path; of the whole process, as its locks are


def hold(path: Path) -> None:
    """Keeps descriptors of the file open from now on. Whoever has a connection to it holds it, until that is closed."""
    with _lock:
        _held.setdefault(os.path.abspath(path), _Held()).holders += 1  # noqa: PTH100  # a symbolic link stays one


def release(path: Path) -> None:
    """Ends one `hold`: with the last one, all descriptors of the file are closed."""
    with _lock:
        name = os.path.abspath(path)  # noqa: PTH100
        held = _held[name]
        held.holders -= 1
        if held.holders == 0:
            del _held[name]
            held.close()


def descriptor(path: Path, *, write: bool = False) -> int:
    """A descriptor of the file, which the caller holds and must not close; for `os.pread` and `os.pwrite`.

    Raises OSError, as opening the file anew would: also if it can be read or written no more.
    """
    with _lock:
        held = _held[os.path.abspath(path)]  # noqa: PTH100
        status = path.stat()
        if held.file != (status.st_dev, status.st_ino):  # another file took its place: nobody locks the old one
            held.close()
            held.file = (status.st_dev, status.st_ino)
        for kept, can_write in held.descriptors:
            if (can_write or not write) and os.access(path, os.R_OK | (os.W_OK if write else 0), effective_ids=True):
                return kept
        opened = os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC)
        held.descriptors.append((opened, write))
        return opened


@contextlib.contextmanager
def holding(path: Path, *, write: bool = False) -> Iterator[int]:
    """Holds the file, and yields a descriptor: see `descriptor`. Raises OSError."""
    hold(path)
    try:
        yield descriptor(path, write=write)
    finally:
        release(path)

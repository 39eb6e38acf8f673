"""Removes pictures from a collected folder: the lines first, then labels and pictures, so that no line lacks its file.

The names are written to a file `.removing` before anything else is changed. Whoever finds that file (the next process,
or the next pass) finishes what a crash interrupted. All functions are for whoever holds the folder's `changing` lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from framesift.atomic_files import sync_folder, synced_folder, write_atomically
from framesift.sinks.metadata_file import MetadataFile

_JOURNAL = ".removing"
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EINVAL}
# Folder and ending of the files of a picture, in the order of their removal.
_FILES = (("labels", ".txt"), ("images", ".jpg"))


@contextlib.contextmanager
def changing(root: Path) -> Iterator[None]:
    """Held for each change of a collected folder, so that a command and a daemon can change it beside each other.

    Waits for the other one. A file system without locks is used as it is. Raises OSError.
    """
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield
    finally:
        os.close(folder)


def remove_pictures(root: Path, metadata: MetadataFile, names: Collection[str]) -> None:
    """Removes pictures, labels and lines of these names, after `metadata.refresh()`.

    Raises OSError; it is finished then by the next call of `finish_removal`.
    """
    finish_removal(root, metadata)
    if names:
        write_atomically(root / _JOURNAL, "".join(f"{name}\n" for name in sorted(names)).encode())
        _remove(root, metadata, names)


def finish_removal(root: Path, metadata: MetadataFile) -> None:
    """Finishes a removal that was interrupted, if there is one, after `metadata.refresh()`. Raises OSError."""
    try:
        text = (root / _JOURNAL).read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return
    _remove(root, metadata, {name for name in text.splitlines() if _NAME.fullmatch(name)})


def _remove(root: Path, metadata: MetadataFile, names: Collection[str]) -> None:
    metadata.remove(names)
    for folder, ending in _FILES:
        with contextlib.suppress(FileNotFoundError), synced_folder(root / folder, follow_link=False) as opened:
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name + ending, dir_fd=opened)
    (root / _JOURNAL).unlink()
    sync_folder(root)


def measure_files(root: Path, name: str) -> tuple[int, float]:
    """The bytes of picture and label of this name (0 for a file that is gone), and the Unix time of the last change."""
    size_bytes, changed_s = 0, 0.0
    for folder, ending in _FILES:
        with contextlib.suppress(OSError):
            found = (root / folder / (name + ending)).lstat()
            size_bytes, changed_s = size_bytes + found.st_size, max(changed_s, found.st_mtime)
    return size_bytes, changed_s

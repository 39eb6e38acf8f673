"""Files that are there as a whole or not at all, also after a power cut."""

from __future__ import annotations

import errno
import os
from pathlib import Path

# One name a folder, not one a file: what a crash leaves behind is overwritten by the next file, and never piles up.
_PARTIAL = ".partial"


def write_whole(path: Path, content: bytes) -> None:
    """Puts `content` at `path`, in place of what is there. When it returns, the file survives a power cut.

    For one writer per folder at a time. Raises OSError; `path` is then as it was.
    """
    partial = path.with_name(_PARTIAL)
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable. Raises OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network and FUSE filesystems don't know how, and need not
            raise
    finally:
        os.close(folder)


def make_folder(path: Path) -> None:
    """Makes a folder and those above it, durably. Raises OSError, also where `path` is something else."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)

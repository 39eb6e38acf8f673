"""Files that are there as a whole or not at all, also after a power cut."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

# One name a folder, not one a file: what a crash leaves behind is overwritten by the next file, and never piles up.
_PARTIAL = ".partial"


def write_atomically(path: Path, content: bytes, *, follow_folder_link: bool = True) -> None:
    """Puts `content` at `path`, in place of what is there. When it returns, the file survives a power cut.

    Symbolic links are replaced, never written through; through_link: whether the folder itself may be one. For one
    writer per folder at a time. Raises OSError; `path` is then as it was.
    """
    if not follow_folder_link and path.parent.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path.parent))
    folder = os.open(
        path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow_folder_link else os.O_NOFOLLOW)
    )
    try:
        # What lies there is of a crash, or somebody else's: only a new file is surely ours.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_PARTIAL, dir_fd=folder)
        new = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(_PARTIAL, new, 0o666, dir_fd=folder), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(_PARTIAL, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        _sync(folder)
    except OSError as error:
        if error.filename == _PARTIAL:
            error.filename = str(path.with_name(_PARTIAL))
        raise
    finally:
        os.close(folder)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable. Raises OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _sync(folder)
    finally:
        os.close(folder)


def _sync(folder: int) -> None:
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network and FUSE filesystems don't know how, and need not
            raise


def make_folder(path: Path) -> None:
    """Makes a folder and those above it, durably. Raises OSError, also where `path` is something else."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)

"""Durable file operations: files that exist completely or not at all, also after a power cut, and safe file names."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

# One name per folder, not one per file: the next write replaces what a crash left behind, so nothing accumulates.
_PARTIAL = ".partial"


def write_atomically(path: Path, content: bytes, *, follow_folder_link: bool = True) -> None:
    """Writes `content` to `path` and replaces an existing file. After the return, the file survives a power cut.

    A symbolic link at `path` is replaced, never followed. follow_folder_link: whether the folder may be a symbolic
    link. Only one thread may write to a folder at a time. Raises OSError; `path` is then unchanged.
    """
    if not follow_folder_link and path.parent.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path.parent))
    try:
        with synced_folder(path.parent, follow_link=follow_folder_link) as folder:
            # An existing partial file is from a crash or from another program: only a new file is surely our own.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_PARTIAL, dir_fd=folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(_PARTIAL, flags, 0o666, dir_fd=folder), "wb") as file:
                file.write(content)
                sync_file(file)
            os.replace(_PARTIAL, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        if error.filename == _PARTIAL:
            error.filename = str(path.with_name(_PARTIAL))
        raise


def sync_file(file: IO[bytes]) -> None:
    """Makes the content of an open file durable. Raises OSError."""
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def synced_folder(path: Path, *, follow_link: bool = True) -> Iterator[int]:
    """Opens a folder for changes of names, and makes them durable when the block ends without an error.

    Yields the folder's descriptor. The folder is opened first: if that fails, no name has changed yet. follow_link:
    whether the folder may be a symbolic link. Raises OSError.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow_link else os.O_NOFOLLOW)
    folder = os.open(path, flags)
    try:
        yield folder
        try:
            os.fsync(folder)
        except OSError as error:
            if error.errno != errno.EINVAL:  # some network and FUSE filesystems do not support it
                raise
    finally:
        os.close(folder)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable. Raises OSError."""
    with synced_folder(path):
        pass


def make_folder(path: Path) -> None:
    """Makes a folder and its missing parents, durably. Raises OSError, also if `path` exists and is not a folder."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def safe_name(text: str, *, extra: str = "", merge: bool = False) -> str:
    """The text as a part of a file name that every filesystem accepts.

    ASCII letters, digits, "-" and the characters of `extra` are kept; any other character becomes "-". merge: whether
    several such characters in a row become one "-". Different texts may get the same name.
    """
    return re.sub(rf"[^A-Za-z0-9{re.escape(extra)}-]" + ("+" if merge else ""), "-", text)

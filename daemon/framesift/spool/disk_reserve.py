"""Disk space for the spool: the reserve for a full disk, and how much is free."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from framesift.atomic_files import create_file
from framesift.spool.database import sibling_path

RESERVE_BYTES = 8 * 2**20


class DiskReserve:
    """Reserved disk space: on a full disk, even a deletion needs space for its log.

    It consists of two files, because on a disk without free inodes the log and its index need an inode each.
    """

    def __init__(self, path: Path) -> None:
        self._paths = (sibling_path(path, ".reserve"), sibling_path(path, ".reserve-2"))

    def exists(self) -> bool:
        """Whether there is any."""
        return any(path.exists() for path in self._paths)

    def release(self) -> bool:
        """Deletes the reserve. Returns whether there was one."""
        released = False
        for path in self._paths:
            with contextlib.suppress(OSError):
                path.unlink()
                released = True
        return released

    def allocate(self, min_free_bytes: int) -> bool:
        """Creates the reserve if the disk has space for it besides `min_free_bytes`. Returns whether it exists."""
        size_bytes = RESERVE_BYTES // len(self._paths)
        try:
            for path in self._paths:
                if not path.is_symlink() and path.exists() and path.stat().st_size == size_bytes:
                    continue
                if free_bytes(path.parent) < min_free_bytes + size_bytes:
                    return False
                path.unlink(missing_ok=True)  # it has another size, or is a symbolic link
                with os.fdopen(create_file(path, os.O_WRONLY | os.O_EXCL), "wb") as file:
                    os.posix_fallocate(file.fileno(), 0, size_bytes)
        except OSError:
            self.release()
            return False
        return True


def free_bytes(folder: Path) -> int:
    """Free space that an ordinary user may use on the disk of a folder. Raises OSError."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize

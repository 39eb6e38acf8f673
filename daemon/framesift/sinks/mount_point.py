"""MountPoint: notices that the disk on which a folder lies was unmounted or pulled out.

The empty folder on which it was mounted is still there, on another disk. Whoever wrote into it would fill the wrong
disk, and hide what was written when the right one comes back.
"""

from __future__ import annotations

import os
from pathlib import Path


class DiskGone(Exception):
    """Nothing is mounted any more where the folder's disk was. The text says where."""


class MountPoint:
    """The place where the disk of one folder is mounted. For one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mounted_at: Path | None = None

    def remember(self) -> None:
        """Remember where the disk is mounted; the folder must exist. Raises OSError."""
        if self._mounted_at is None:
            place = self._folder.resolve(strict=True)
            while not _is_mount_point(place):
                place = place.parent
            self._mounted_at = place

    def check(self) -> None:
        """Raises DiskGone if the disk was mounted at the last `remember`, and is no more. Another disk may be there."""
        place = self._mounted_at
        if place is not None and not _is_mount_point(place):
            raise DiskGone(
                f"{self._folder}: no disk is mounted at {place} any more; mount it again, or restart framesift to "
                "write to the folder without it"
            )


def _is_mount_point(place: Path) -> bool:
    """Whether a disk begins here. A place that does not exist is none."""
    try:
        here, above = place.stat(), place.parent.stat()
    except OSError:
        return False
    return here.st_dev != above.st_dev or os.path.samestat(here, above)

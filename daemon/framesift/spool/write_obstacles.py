"""Why nothing can be written to a folder, told apart: mounted read-only, somebody else's, full, gone."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from framesift.spool.disk_errors import FailureKind, failure_kind
from framesift.spool.disk_reserve import free_bytes

MIN_FREE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class WriteObstacle:
    """what: why nothing can be written, in one line. advice: what to do about it."""

    what: str
    advice: str


def write_obstacle(folder: Path, *files: Path) -> WriteObstacle | None:
    """Return why this process can't write to a folder, or to its files; None if it can.

    What does not exist yet would be made. Raises OSError where the disk does not answer.
    """
    there = nearest_existing(folder)
    disk = os.statvfs(there)
    if disk.f_flag & os.ST_RDONLY:
        advice = (
            "mount it for writing (after an error the kernel makes it read-only: see dmesg), or choose another path"
        )
        return WriteObstacle(f"{there} is on a disk that is mounted read-only", advice)
    if not there.is_dir():
        return WriteObstacle(f"{there} is no folder", "choose another path")
    for path, needed in ((there, os.W_OK | os.X_OK), *((file, os.R_OK | os.W_OK) for file in files)):
        if os.path.lexists(path) and not os.access(path, needed):
            what = f"{path} belongs to {_user(path.lstat().st_uid)} and is not writable for uid {os.geteuid()}"
            return WriteObstacle(what, "change its owner, or choose another path")
    if disk.f_blocks == 0:
        return WriteObstacle(f"{there} is on no disk: nothing can be kept there", "choose another path")
    if free_bytes(there) < MIN_FREE_BYTES:
        return WriteObstacle(f"the disk of {there} is full", "free some disk space")
    if disk.f_files > 0 and disk.f_favail == 0:
        what = f"the disk of {there} can't hold another file (no free inodes)"
        return WriteObstacle(what, "delete files that are not needed")
    return None


def describe_failure(error: Exception, spool: Path) -> str:
    """Return what one of STORAGE_ERRORS of a spool means, for the operator, and what to do if that is known."""
    kind = failure_kind(error)
    text = f"{kind.value} ({error})"
    try:
        if kind is FailureKind.READ_ONLY and (obstacle := write_obstacle(spool.parent, spool)) is not None:
            return f"{text}: {obstacle.what}; {obstacle.advice}"
        if kind is FailureKind.FULL:
            return (
                f"{text}: {free_bytes(spool.parent) / 2**20:.1f} MiB are free at {spool.parent}; free some disk space"
            )
    except OSError:
        return text
    return text


def nearest_existing(folder: Path) -> Path:
    """Return the folder, or the nearest parent that exists."""
    while not os.path.exists(folder):  # noqa: PTH110  # unlike Path.exists, it is False where this user may not look
        folder = folder.parent
    return folder


def _user(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except (KeyError, OSError):  # nobody has this number, or no file descriptor is free to look
        return f"uid {uid}"

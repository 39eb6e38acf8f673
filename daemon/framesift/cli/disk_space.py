"""Disk space: whether a folder can be written to (or made), and how much is free there."""

from __future__ import annotations

import os
from pathlib import Path

MIN_FREE_BYTES = 1 << 20


def write_problem(folder: Path) -> tuple[str, str] | None:
    """Why nothing can be written to a folder, and what to do about it; None if it can. It need not exist yet."""
    there = nearest_existing(folder)
    if not os.access(there, os.W_OK):
        return f"{there} is not writable for uid {os.getuid()}", "change its owner, or choose another path"
    if free_bytes(folder) < MIN_FREE_BYTES:
        return f"the disk of {there} is full", "free some disk space"
    disk = os.statvfs(there)
    if disk.f_files > 0 and disk.f_favail == 0:
        return f"the disk of {there} can't hold another file (no free inodes)", "free some disk space"
    return None


def free_bytes(folder: Path) -> int:
    """The bytes that an ordinary user may still write there."""
    disk = os.statvfs(nearest_existing(folder))
    return disk.f_bavail * disk.f_frsize


def nearest_existing(folder: Path) -> Path:
    """The folder, or the nearest parent that exists."""
    while not os.path.exists(folder):  # noqa: PTH110  # unlike Path.exists, it is False where this user may not look
        folder = folder.parent
    return folder


def format_gib(size_bytes: int) -> str:
    """A size as text, such as "1.5 GiB"."""
    return f"{size_bytes / 2**30:.1f} GiB"

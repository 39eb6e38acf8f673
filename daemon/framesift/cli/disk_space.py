"""Disk room: whether a folder, or the one that it would be made in, can be written to, and how much fits in."""

from __future__ import annotations

import os
from pathlib import Path

MIN_FREE_BYTES = 1 << 20


def write_problem(folder: Path) -> tuple[str, str] | None:
    """What keeps everybody from writing there (whether the folder is there yet or not), and what to do about it."""
    there = nearest_existing(folder)
    if not os.access(there, os.W_OK):
        return f"{there} is not writable for uid {os.getuid()}", "change its owner, or choose another path"
    if free_bytes(folder) < MIN_FREE_BYTES:
        return f"the disk of {there} is full", "make room"
    disk = os.statvfs(there)
    if disk.f_files > 0 and disk.f_favail == 0:
        return f"the disk of {there} has no room for another file (no inodes)", "make room"
    return None


def free_bytes(folder: Path) -> int:
    """What an ordinary user may still write there."""
    disk = os.statvfs(nearest_existing(folder))
    return disk.f_bavail * disk.f_frsize


def nearest_existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    while not os.path.exists(folder):  # noqa: PTH110  # unlike Path.exists, it takes what may not be looked at for absent
        folder = folder.parent
    return folder


def format_gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"

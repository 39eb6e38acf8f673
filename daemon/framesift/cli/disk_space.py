"""Disk space as `framesift check` prints it."""

from __future__ import annotations


def format_gib(size_bytes: int) -> str:
    """A size as text, such as "1.5 GiB"."""
    return f"{size_bytes / 2**30:.1f} GiB"

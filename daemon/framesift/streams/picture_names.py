"""The names of picture files: which count, in which order they are read, and what is a pattern for them."""

from __future__ import annotations

import re

# Of the files that count as pictures where a folder is read.
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_NUMBER = re.compile(r"([0-9]+)")

NameOrder = tuple[tuple[str | int, ...], str]


def name_order(name: str) -> NameOrder:
    """Return what names are sorted by: numbers in them by their values."""
    parts = _NUMBER.split(name)
    return tuple(int(part) if index % 2 else part for index, part in enumerate(parts)), name


def has_wildcard(name: str) -> bool:
    """Whether it may be a pattern for names, as of a shell."""
    return any(wildcard in name for wildcard in "*?[")

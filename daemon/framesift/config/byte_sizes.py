"""Sizes in bytes as people read them."""

from __future__ import annotations


def bytes_text(size: float) -> str:
    """A size in bytes, such as "1.5 GiB"."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 99.95 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TiB"

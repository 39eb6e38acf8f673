"""What a sink with bounds keeps, in words, for `status` and `check`."""

from __future__ import annotations

from typing import Any

from framesift.cli.console import counted
from framesift.config.byte_sizes import bytes_text


def collected_text(collected: dict[str, Any], now_s: float) -> str:
    """What a sink with bounds keeps, and its bounds. now_s: Unix time."""
    size = collected["size_bytes"]
    text = f"{counted(collected['pictures'], 'picture')}, "
    text += "being measured" if size is None else bytes_text(size)
    if collected["max_bytes"] is not None:
        text += f" of {bytes_text(collected['max_bytes'])}"
    if collected["oldest_s"] is not None:
        text += f", the oldest {max(0.0, now_s - collected['oldest_s']) / 86400:.1f} days"
    if collected["max_age_s"] is not None:
        text += f" of {collected['max_age_s'] / 86400:g}"
    removed = sum(collected["removed"].values())
    return f"{text}; {removed} removed since the start" if removed else text

"""ConfigError, and how it speaks of places and values. Needs nothing that takes long to load."""

from __future__ import annotations

import json
from collections.abc import Mapping

from framesift.config.redact import redact_url

# Where a value stands in the data: keys of objects and indexes of lists, from the root.
KeyPath = tuple[str | int, ...]

_LONGEST_VALUE = 60


class ConfigError(Exception):
    """A configuration that can't be used. problems: one line for each thing that is wrong, fit to be printed."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def format_value(value: object) -> str:
    """A value as a message may show it: as JSON, cut to a line's length, its credentials masked."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, str):
        value = redact_url(value)
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."

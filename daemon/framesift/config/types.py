"""ConfigError, paths of keys, and how messages show values. Imports nothing that takes long to load."""

from __future__ import annotations

import json
from collections.abc import Mapping

from framesift.config.redact import redact_url

# The path to a value: keys of objects and indexes of lists, from the root.
KeyPath = tuple[str | int, ...]

_MAX_CHARACTERS = 60


class ConfigError(Exception):
    """A configuration that can't be used. problems: one line per problem, without secrets."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def kind_of(value: object) -> str:
    """What a value is, for a message that must not show it: as a text it may be a secret."""
    if value is None or isinstance(value, bool | Mapping | list | tuple):
        return format_value(value)
    return "a text" if isinstance(value, str) else "a number"


def format_value(value: object) -> str:
    """A value as text for a message: as JSON, at most 60 characters, credentials masked."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, str):
        value = redact_url(value)
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= _MAX_CHARACTERS else text[: _MAX_CHARACTERS - 3] + "..."

"""Deprecated settings: old keys and values of framesift.yaml, which are accepted until a later version.

To rename a key or a value, change the model and add one line to DEPRECATED_KEYS or DEPRECATED_VALUES. The published
JSON Schema shows only the new word; the log and `framesift check` print one line for each old one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from framesift.config.errors import path_to
from framesift.config.types import ConfigError, KeyPath

# In a path: every element of a list.
ANY = "*"
REMOVED_IN = "0.4"  # scripts/release.py makes no such version while they are there


@dataclass(frozen=True, slots=True)
class DeprecatedKey:
    """A key that was renamed.

    block: the path of the block that it stands in, () for the root, in today's words. element_defaults: keys and values
    that the elements of a list under the old key get if they don't set them, where a default has changed too.
    """

    block: tuple[str, ...]
    old: str
    new: str
    element_defaults: tuple[tuple[str, Any], ...] = ()

    def set_element_defaults(self, elements: object) -> None:
        """Set `element_defaults` in each element of a list, in place. Does nothing with what is no list of objects."""
        for element in elements if isinstance(elements, list) else ():
            for name, default in self.element_defaults if isinstance(element, dict) else ():
                element.setdefault(name, default)


@dataclass(frozen=True, slots=True)
class DeprecatedValue:
    """A word that was renamed. path: the path of the key whose value it is, in today's words."""

    path: tuple[str, ...]
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Deprecation:
    """An old word that the settings use. location: the file and line, or the variable. old, new: the key's path."""

    location: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.location}: {self.old} is deprecated and will be removed in version {REMOVED_IN}: use {self.new}"


DEPRECATED_KEYS = (
    # What came in at a door without a stream's name was of the stream "door"; dashboards and limits may know it.
    DeprecatedKey((), "doors", "listeners", element_defaults=(("stream", "door"),)),
    DeprecatedKey(("limits",), "late_credit_h", "pending_quota_h"),
)
DEPRECATED_VALUES: tuple[DeprecatedValue, ...] = ()


class Deprecations:
    """Replaces old words by new ones, and records which, for warnings and for the locations of errors."""

    def __init__(
        self,
        keys: tuple[DeprecatedKey, ...] = DEPRECATED_KEYS,
        values: tuple[DeprecatedValue, ...] = DEPRECATED_VALUES,
    ) -> None:
        self._keys = keys
        self._values = values
        self._written: dict[KeyPath, str] = {}
        self._found: dict[Deprecation, None] = {}

    @property
    def found(self) -> tuple[Deprecation, ...]:
        """The old words that were replaced, in the order in which they were found."""
        return tuple(self._found)

    def replace_in_data(self, data: dict[str, Any], location_of: Callable[[KeyPath], str]) -> None:
        """Renames the old keys and values of `data`, in place.

        location_of: the file and line, or the variable, of a path of the data as it was written. Raises ConfigError
        where an old key and its new one are both set.
        """
        for key in self._keys:
            for block_path, block in _found(data, key.block):
                if not isinstance(block, dict) or key.old not in block:
                    continue
                old_path = (*self.as_written(block_path), key.old)
                location = location_of(old_path)
                if key.new in block:
                    raise ConfigError(f"{location}: {key.old} is the old name of {key.new}, and both are set")
                # The order of keys is that of the file, and so is the order of messages.
                renamed = [(key.new if name == key.old else name, value) for name, value in block.items()]
                block.clear()
                block.update(renamed)
                key.set_element_defaults(block[key.new])
                new_path = (*block_path, key.new)
                self._written[new_path] = key.old
                self._record(location, path_to(old_path, None), key.new)
        for value in self._values:
            for block_path, block in _found(data, value.path[:-1]):
                if isinstance(block, dict) and block.get(value.path[-1]) == value.old:
                    block[value.path[-1]] = value.new
                    path = self.as_written((*block_path, value.path[-1]))
                    self._record(location_of(path), f"{path_to(path, None)}: {value.old}", value.new)

    def replace_in_path(self, variable: str, path: KeyPath) -> KeyPath:
        """The path that a variable's name gives, in new words. variable: its name, for the warning."""
        found = list(path)
        for key in self._keys:
            at = len(key.block)
            if at < len(found) and found[at] == key.old and _matches(tuple(found[:at]), key.block):
                found[at] = key.new
                self._record(variable, key.old, key.new)
        return tuple(found)

    def set_element_defaults(self, data: dict[str, Any], path: KeyPath) -> None:
        """Set `element_defaults` where a variable has put a value under an old key. path: what its name gives.

        Only in the elements that the variable names: one, or the whole list.
        """
        found = list(path)
        for key in self._keys:
            at = len(key.block)
            if at < len(found) and found[at] == key.old and _matches(tuple(found[:at]), key.block):
                found[at] = key.new
                for _, elements in _found(data, tuple(map(str, found[: at + 1]))):
                    if at + 1 == len(found):
                        key.set_element_defaults(elements)
                    elif isinstance(elements, list):
                        index = int(found[at + 1])
                        key.set_element_defaults(elements[index : index + 1])

    def as_written(self, path: KeyPath) -> KeyPath:
        """A path of the data with the keys as they stand in the file."""
        return tuple(self._written.get(path[: i + 1], part) for i, part in enumerate(path))

    def _record(self, location: str, old: str, new: str) -> None:
        self._found[Deprecation(location, old, new)] = None


def _matches(path: KeyPath, pattern: tuple[str, ...]) -> bool:
    return len(path) == len(pattern) and all(
        wanted == part or (wanted == ANY and str(part).isdecimal()) for part, wanted in zip(path, pattern, strict=True)
    )


def _found(data: Any, pattern: tuple[str, ...]) -> list[tuple[KeyPath, Any]]:
    """Every path of the data that fits the pattern, with its value."""
    found: list[tuple[KeyPath, Any]] = [((), data)]
    for part in pattern:
        below: list[tuple[KeyPath, Any]] = []
        for path, value in found:
            if part == ANY and isinstance(value, list):
                below += [((*path, i), element) for i, element in enumerate(value)]
            elif isinstance(value, list) and part.isdecimal():
                below += [((*path, i), element) for i, element in enumerate(value) if i == int(part)]
            elif isinstance(value, dict) and part in value:
                below.append(((*path, part), value[part]))
        found = below
    return found

"""Parses the text of configuration files strictly: JSON or YAML as plain data, with the line of every key.

Errors here, though other parsers accept them: a key twice in one object, NaN, bytes that are not UTF-8, a second
document, a structure that contains itself. A text that is too large is refused before it costs time or memory.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from framesift.config.json_text import MAX_DEPTH, MAX_VALUES, NESTED_TOO_DEEPLY, read_json
from framesift.config.types import ConfigError, KeyPath, format_value
from framesift.config.yaml_errors import (
    INDENTED_WITH_A_TAB,
    NEEDS_QUOTES,
    PlainProblem,
    explain_yaml,
    tabs_of_indentation,
)

MAX_BYTES = 1 << 20
_JSON = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed JSON or YAML text.

    source: its name in messages. line_of: returns the line (from 1) of a key or a list element, or of the nearest one
    around it; None for the whole document.
    """

    source: str
    data: object
    line_of: Callable[[KeyPath], int | None]

    def location_of(self, key_path: KeyPath) -> str:
        """`source:line` of a key, or of the nearest key around it."""
        line = self.line_of(key_path)
        return self.source if line is None else f"{self.source}:{line}"


def read_text(path: Path) -> str:
    """The text of a configuration file. Raises ConfigError with the path and the reason."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder, not a file") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_BYTES} bytes: that is too large for a configuration")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        utf_16 = "; it is UTF-16: save it as UTF-8" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise ConfigError(f"{path}:{line}: is not UTF-8 text (byte 0x{content[error.start]:02x}){utf_16}") from None


def parse(text: str, source: str, *, is_json: bool | None = None) -> Document:
    """Parses JSON or YAML. is_json: None decides by the first character. Raises ConfigError with every problem."""
    return _without_problems(*parse_with_problems(text, source, is_json=is_json))


def parse_with_problems(text: str, source: str, *, is_json: bool | None = None) -> tuple[Document, tuple[str, ...]]:
    """The document of a text, and those of its problems that leave something to look at, such as a key that is twice.

    The caller must raise them, together with what it finds itself. is_json: as for `parse`. Raises ConfigError.
    """
    if not text.strip():
        raise ConfigError(f"{source}: is empty")
    if is_json is None:
        is_json = text.lstrip()[0] in "{["
    return _read_json(text, source) if is_json else _read_yaml(text, source)


def parse_json(text: str, source: str) -> Document:
    """Parses JSON. source: its name in messages. Raises ConfigError with every problem."""
    return _without_problems(*_read_json(text, source))


def parse_yaml(text: str, source: str, transform: Callable[[yaml.Node], None] | None = None) -> Document:
    """Parses YAML. transform: may change the tree of nodes before it becomes data. Raises ConfigError, as `parse`."""
    return _without_problems(*_read_yaml(text, source, transform))


def _without_problems(document: Document, problems: tuple[str, ...]) -> Document:
    if problems:
        raise ConfigError(*problems)
    return document


def _read_json(text: str, source: str) -> tuple[Document, tuple[str, ...]]:
    data, problems, text = read_json(text, source)
    return Document(source, data, partial(_line_in_json, text)), problems


def _line_in_json(text: str, key_path: KeyPath) -> int | None:
    """Parses a valid text again as far as `key_path`. Slow, but only errors need a line."""
    begins: int | None = None
    value = _skip_space(text, 0)
    for part in key_path:
        found = _below_in_json(text, value, part)
        if found is None:
            break
        begins, value = found
    return None if begins is None else text.count("\n", 0, begins) + 1


def _below_in_json(text: str, at: int, part: str | int) -> tuple[int, int] | None:
    """The offsets of a key or an element, and of its value; None if the value at offset `at` has no such part."""
    if text[at] != ("{" if isinstance(part, str) else "["):
        return None
    index, begins = 0, _skip_space(text, at + 1)
    while text[begins] not in "}]":
        name: str | int = index
        value = begins
        if isinstance(part, str):
            name, end = _JSON.raw_decode(text, begins)
            value = _skip_space(text, _skip_space(text, end) + 1)  # the colon
        if name == part:
            return begins, value
        _, end = _JSON.raw_decode(text, value)
        end = _skip_space(text, end)
        begins = _skip_space(text, end + 1) if text[end] == "," else end
        index += 1
    return None


def _skip_space(text: str, offset: int) -> int:
    while text[offset] in " \t\n\r":
        offset += 1
    return offset


def _read_yaml(
    text: str, source: str, transform: Callable[[yaml.Node], None] | None = None
) -> tuple[Document, tuple[str, ...]]:
    _refuse_too_much_yaml(text, source)
    try:
        loader = StrictLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                raise ConfigError(f"{source}: is empty")
            if transform is not None:
                transform(node)
            lines = _lines(node)
            document = Document(source, loader.construct_document(node), partial(_line_in, lines))
            return document, tuple(explain_yaml(error, text, source) for error in loader.problems)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        tabs = tabs_of_indentation(text)
        if tabs and "\\t" in str(error.problem):
            raise ConfigError(
                *(f"{source}:{line}: column {column}: {INDENTED_WITH_A_TAB}" for line, column in tabs)
            ) from None
        raise ConfigError(explain_yaml(error, text, source)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{source}:{line}: a character that YAML does not allow: {format_value(chr(error.character))}"
        ) from None
    except RecursionError:
        raise ConfigError(f"{source}:{loader.line + 1}: {NESTED_TOO_DEEPLY}") from None
    except (ValueError, OverflowError):  # PyYAML's own: an escape such as "\\UFFFFFFFF"
        raise ConfigError(f"{source}:{loader.line + 1}: a backslash with the number of no character") from None


class StrictLoader(yaml.SafeLoader):
    """A YAML loader without YAML's surprises.

    No key twice; keys are texts; no types but those of JSON; a plain word is a boolean or a number only if it is one in
    JSON: `no`, `1:30`, `010`, `1_000` and dates are texts, `1e-3` is a number, NaN and infinity are errors.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.problems: list[yaml.MarkedYAMLError] = []  # that leave data to look at
        self._unused: dict[int, PlainProblem] = {}  # by the id of a text with a name (&) that no * has used so far

    def compose_document(self) -> yaml.Node | None:
        """Overrides PyYAML's method: notes texts with a name that nothing uses, half of a password, say."""
        node: yaml.Node | None = super().compose_document()
        self.problems += self._unused.values()
        return node

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Overrides PyYAML's method: notes which texts are used by their names."""
        is_use = self.check_event(yaml.AliasEvent)
        node: yaml.Node | None = super().compose_node(parent, index)
        if is_use:
            self._unused.pop(id(node), None)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Overrides PyYAML's method: notes keys that are set twice. Raises MarkedYAMLError for one that is no text."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                raise PlainProblem("a key must be a text: put it in quotes", key.start_mark)
            if key.value in seen:
                twice = f"the key {format_value(key.value)} is set twice in one object"
                self.problems.append(PlainProblem(twice, key.start_mark))
            seen.add(key.value)
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        """Overrides PyYAML's method. Raises MarkedYAMLError for a name behind & that stands before nothing."""
        node: yaml.ScalarNode = super().compose_scalar_node(anchor)
        if anchor is not None and not node.value and node.style is None:
            raise PlainProblem(NEEDS_QUOTES, node.start_mark)
        if anchor is not None:
            self._unused[id(node)] = PlainProblem(f"{NEEDS_QUOTES}; no * uses the name behind this &", node.start_mark)
        return node


def _whole(loader: StrictLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    try:
        return int(text)
    except ValueError:  # Python reads 4300 digits; or it has the tag of a number, and is none: maybe a password
        wrong = "a number of too many digits" if text.lstrip("+-").isdecimal() else "is not a whole number"
        raise PlainProblem(wrong, node.start_mark) from None


def _finite(loader: StrictLoader, node: yaml.ScalarNode) -> float:
    try:
        number = float(loader.construct_scalar(node))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise PlainProblem("is not a finite number", node.start_mark)
    return number


def _truth(loader: StrictLoader, node: yaml.ScalarNode) -> bool:
    value = loader.bool_values.get(str(loader.construct_scalar(node)).lower())
    if value is None:  # it has the tag of a boolean, and is none
        raise PlainProblem("is neither true nor false", node.start_mark)
    return value


_BOOL, _INT, _FLOAT = (f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "float"))
_REPLACED = {_BOOL, _INT, _FLOAT, "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"}
StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern, _first in (
    (_BOOL, r"(?:true|True|TRUE|false|False|FALSE)\Z", "tTfF"),
    (_INT, r"[-+]?(?:0|[1-9][0-9]*)\Z", "-+0123456789"),
    (_FLOAT, r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\Z", "-+.0123456789"),
    (_FLOAT, r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z", "-+."),
):
    StrictLoader.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))
StrictLoader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in ("null", "str", "seq", "map")
}
for _tag, _construct in ((_BOOL, _truth), (_INT, _whole), (_FLOAT, _finite)):
    StrictLoader.add_constructor(_tag, _construct)


def _refuse_too_much_yaml(text: str, source: str) -> None:
    """Raises ConfigError for too many values, counted by libyaml, if PyYAML was built with it.

    PyYAML's own parser takes seconds and hundreds of MB for a million values. Errors of syntax are left to it.
    """
    if not yaml.__with_libyaml__:
        return
    values = 0
    try:
        for event in yaml.parse(text, Loader=yaml.CBaseLoader):
            values += isinstance(event, yaml.NodeEvent)
            if values > 2 * MAX_VALUES:  # keys are counted here, too
                raise ConfigError(f"{source}: more than {MAX_VALUES} values: that is too large for a configuration")
    except yaml.YAMLError:
        return


def _line_in(lines: Mapping[KeyPath, int], key_path: KeyPath) -> int | None:
    while key_path and key_path not in lines:
        key_path = key_path[:-1]
    return lines.get(key_path)


def _lines(root: yaml.Node | None) -> dict[KeyPath, int]:
    """The line of each key and each list element. Raises PlainProblem for a structure that contains itself."""
    lines: dict[KeyPath, int] = {}
    waiting: list[tuple[KeyPath, yaml.Node]] = [((), root)] if root is not None else []
    while waiting:
        key_path, node = waiting.pop()
        if len(lines) > MAX_VALUES or len(key_path) > MAX_DEPTH:
            endless = f"more than {MAX_VALUES} values, or {MAX_DEPTH} levels: it may refer to itself"
            raise PlainProblem(endless, node.start_mark)
        if isinstance(node, yaml.MappingNode):
            inner = [((*key_path, key.value), key, value) for key, value in node.value if isinstance(key.value, str)]
        elif isinstance(node, yaml.SequenceNode):
            inner = [((*key_path, i), value, value) for i, value in enumerate(node.value)]
        else:
            continue
        for below, key, value in inner:
            lines[below] = key.start_mark.line + 1
            waiting.append((below, value))
    return lines

"""Whether JSON data fits a JSON Schema (2020-12): as much of the draft as our schemas use, and an error for more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_SAYING = {"title", "description", "default", "examples", "writeOnly", "format"}
_ANNOTATIONS = {"$schema", "$defs", "discriminator"} | _SAYING


def faults(schema: dict[str, Any], data: object, root: dict[str, Any] | None = None, place: str = "$") -> Iterator[str]:
    """What is wrong with the data, each with its place; nothing if it fits."""
    root = schema if root is None else root
    for word, said in schema.items():
        if word in _ANNOTATIONS:
            continue
        if not _RULES[word](said, data, schema, root, place):
            yield f"{place}: {word} {said!r:.80} does not hold of {data!r:.80}"
    if isinstance(data, dict):
        inner = schema.get("properties", {})
        for key, value in data.items():
            if key in inner:
                yield from faults(inner[key], value, root, f"{place}.{key}")
            elif isinstance(schema.get("additionalProperties"), dict) and not _by_pattern(schema, key):
                yield from faults(schema["additionalProperties"], value, root, f"{place}.{key}")
            for one in _by_pattern(schema, key):
                yield from faults(one, value, root, f"{place}.{key}")
    if isinstance(data, list):
        first = schema.get("prefixItems", [])
        for i, value in enumerate(data):
            each = first[i] if i < len(first) else schema.get("items", {})
            yield from faults(each, value, root, f"{place}[{i}]")


def _by_pattern(schema: dict[str, Any], key: str) -> list[dict[str, Any]]:
    return [one for pattern, one in schema.get("patternProperties", {}).items() if re.search(pattern, key)]


def _fits(schema: dict[str, Any], data: object, root: dict[str, Any]) -> bool:
    return next(faults(schema, data, root), None) is None


def _is(kind: str, data: object) -> bool:
    if kind in ("number", "integer"):
        if not isinstance(data, int | float) or isinstance(data, bool):
            return False
        return kind == "number" or data == int(data)
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    return isinstance(data, kinds[kind])


def _same(one: object, other: object) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _number(data: object) -> bool:
    return _is("number", data)


# keyword -> (what it says, the data, the schema around it, the root, the place) -> whether it holds
_RULES: dict[str, Any] = {
    "type": lambda s, d, *_: _is(s, d),
    "const": lambda s, d, *_: _same(s, d),
    "enum": lambda s, d, *_: any(_same(one, d) for one in s),
    "minimum": lambda s, d, *_: not _number(d) or d >= s,
    "maximum": lambda s, d, *_: not _number(d) or d <= s,
    "exclusiveMinimum": lambda s, d, *_: not _number(d) or d > s,
    "exclusiveMaximum": lambda s, d, *_: not _number(d) or d < s,
    "minLength": lambda s, d, *_: not isinstance(d, str) or len(d) >= s,
    "maxLength": lambda s, d, *_: not isinstance(d, str) or len(d) <= s,
    "pattern": lambda s, d, *_: not isinstance(d, str) or re.search(s.removesuffix("$") + r"\Z", d) is not None,
    "minItems": lambda s, d, *_: not isinstance(d, list) or len(d) >= s,
    "maxItems": lambda s, d, *_: not isinstance(d, list) or len(d) <= s,
    "required": lambda s, d, *_: not isinstance(d, dict) or all(key in d for key in s),
    "properties": lambda *_: True,  # of their values, above
    "patternProperties": lambda *_: True,
    "items": lambda *_: True,
    "prefixItems": lambda *_: True,
    "propertyNames": lambda s, d, _schema, root, _place: (
        not isinstance(d, dict) or all(_fits(s, key, root) for key in d)
    ),
    "additionalProperties": lambda s, d, schema, *_: (
        not isinstance(d, dict)
        or s is not False
        or all(key in schema.get("properties", {}) or _by_pattern(schema, key) for key in d)
    ),
    "$ref": lambda s, d, _schema, root, _place: _fits(root["$defs"][s.removeprefix("#/$defs/")], d, root),
    "anyOf": lambda s, d, _schema, root, _place: any(_fits(one, d, root) for one in s),
    "oneOf": lambda s, d, _schema, root, _place: sum(_fits(one, d, root) for one in s) == 1,
    "if": lambda s, d, schema, root, _place: not _fits(s, d, root) or _fits(schema.get("then", {}), d, root),
    "then": lambda *_: True,
}

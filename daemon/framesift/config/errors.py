"""Error messages of the configuration: one line per problem, with the file, the key, the value and what is allowed.

What is allowed is read from the JSON Schema of the pydantic model, so that a message always agrees with the rule.
No line shows a secret: neither a field that the schema marks as secret, nor a text that may hold credentials.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from framesift.config.redact import MASK, is_secret_name
from framesift.config.schema import (
    ADDRESS_PATTERN,
    DURATION_PATTERN,
    FACTORY_PATTERN,
    HOURS_PATTERN,
    MODEL_ID_PATTERN,
    NAME_PATTERN,
    SIZE_PATTERN,
    SLUG_PATTERN,
    TAG_PATTERN,
    TEXT_PATTERN,
)
from framesift.config.types import ConfigError, KeyPath, format_value, kind_of

__all__ = [
    "ConfigError",
    "KeyPath",
    "Options",
    "allowed_text",
    "allowed_types",
    "explain",
    "format_value",
    "nearest",
    "path_to",
    "validate",
]

Options = TypeVar("Options", bound=BaseModel)

MAX_PROBLEMS = 20
_TYPOGRAPHIC = "“”„‟«»"
_PATTERNS = {
    TAG_PATTERN: "1 to 64 characters of a-z A-Z 0-9 - _ : / . [ ] < > { } @",
    NAME_PATTERN: "1 to 64 characters of a-z A-Z 0-9 _ . - that begin with a letter or a digit",
    SLUG_PATTERN: "one part of an address, such as parking: 1 to 128 characters of a-z A-Z 0-9 _ -",
    FACTORY_PATTERN: 'a module and a callable in it, such as "module:function"',
    MODEL_ID_PATTERN: "a project and a version, such as parking/3",
    HOURS_PATTERN: 'two times of day, such as "06:00-22:00", from 00:00 to 24:00',
    TEXT_PATTERN: "a text of 1 to 128 characters, without control characters",
    ADDRESS_PATTERN: "an https:// address (http:// on this machine)",
    DURATION_PATTERN: "a duration such as 12h",
    SIZE_PATTERN: "a size such as 2GiB",
}


def validate(
    model: type[Options],
    data: object,
    source: str | Callable[[KeyPath], str],
    at: Callable[[KeyPath], KeyPath] = lambda key_path: key_path,
    *,
    most: int = MAX_PROBLEMS,
) -> Options:
    """Validates `data` (parsed JSON or YAML) strictly as `model`.

    source, at, most: as in `explain`. Raises ConfigError.
    """
    where = source if isinstance(source, str) else source(())
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{where}: a text holds half of a character (a lone surrogate)") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{where}: not to be written as JSON: {error}") from None
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise explain(error, source, model, data, at, most=most) from None


def explain(
    error: ValidationError,
    source: str | Callable[[KeyPath], str],
    model: type[BaseModel],
    data: object,
    at: Callable[[KeyPath], KeyPath] = lambda key_path: key_path,
    *,
    most: int = MAX_PROBLEMS,
) -> ConfigError:
    """Turns pydantic's error into a ConfigError with at most `most` lines, and one that counts the others.

    source: the file's name, or a function that returns where the value of a path was written (a file and its line, or
    a variable). data: the parsed JSON that was validated; it tells the keys of a path from pydantic's own labels.
    at: turns a path of `data` into the path in the user's file, if the two differ.
    """
    schema = _schema_of(model)
    by_path: dict[KeyPath, list[Any]] = {}
    for problem in error.errors(include_url=False):
        # A union reports a problem for each of its branches: together they are one problem of one key.
        by_path.setdefault(_key_path(problem["loc"], data, missing=problem["type"] == "missing"), []).append(problem)
    around = {key_path[:depth] for key_path in by_path for depth in range(len(key_path))}
    for key_path, problems in list(by_path.items()):
        if key_path in around and problems[0]["type"] in ("too_short", "literal_error"):
            # Pydantic counts only the valid elements. The problems of the elements explain more than that of the list.
            del by_path[key_path]
    for key_path in _misspelt(by_path, schema, data):
        del by_path[key_path]
    lines = []
    for key_path, problems in islice(by_path.items(), most):
        where = source if isinstance(source, str) else source(key_path)
        shown_path = at(key_path)
        if _may_be_value(key_path, problems, schema, data):
            shown_path = (*shown_path[:-1], MASK)
        path = path_to(key_path, data, shown_path)
        lines.append(f"{where}: {path + ': ' if path else ''}{_describe(key_path, problems, schema, data)}")
    if len(by_path) > most:
        lines.append(f"{len(by_path) - most} more problems are not shown")
    return ConfigError(*lines)


def _may_be_value(key_path: KeyPath, problems: list[Any], root: dict[str, Any], data: object) -> bool:
    """Whether an unknown key may be a secret: `{word}` is a block in YAML, with a key that has no value."""
    value = data
    for part in key_path:
        _, value = _step(value, part)
    if value is not None or problems[0]["type"] != "extra_forbidden":
        return False
    known = _meant(key_path, root, data)[1]
    return not difflib.get_close_matches(str(key_path[-1]).lower(), known, n=1, cutoff=0.8)


def _is_block(schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Whether a schema allows only an object, or a list of other things than texts."""
    if schema.get("type") == "array" and "items" in schema:
        return all(branch.get("type") != "string" for branch in branches(schema["items"], root, None))
    return schema.get("type") in ("object", "null")


def _misspelt(by_path: Mapping[KeyPath, list[Any]], root: dict[str, Any], data: object) -> list[KeyPath]:
    """The missing keys for which an unknown one stands beside them, misspelt: the problem of that one says all."""
    unknown = [path for path, problems in by_path.items() if problems[0]["type"] == "extra_forbidden"]
    meant = [(path[:-1], _meant(path, root, data)[0]) for path in unknown]
    found = [(*around, key) for around, key in meant if key is not None]
    return [path for path in found if path in by_path and by_path[path][0]["type"] == "missing"]


def _meant(key_path: KeyPath, root: dict[str, Any], data: object) -> tuple[str | None, list[str]]:
    """The key that an unknown one probably means, if there is one, and all keys that are known there."""
    known = [key for schema in _schemas(root, key_path[:-1], data) for key in schema.get("properties", {})]
    return nearest(str(key_path[-1]), known), known


def nearest(word: str, words: Sequence[str]) -> str | None:
    """The one of `words` that a misspelt `word` probably means, or None."""
    by_folded = {w.lower().replace("-", "_"): w for w in words}
    found = difflib.get_close_matches(word.lower().replace("-", "_"), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def allowed_types(model: type[BaseModel], key_path: KeyPath, data: object) -> frozenset[str] | None:
    """The JSON types that `model` allows at a path of `data`: empty for any type, None if the path is not known."""
    root = _schema_of(model)
    found = list(_schemas(root, key_path, data))
    types = {str(s.get("type", "string" if "enum" in s or "const" in s else "")) for s in found}
    return frozenset() if "" in types else frozenset(types) if found else None


@functools.cache
def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema. It takes tens of milliseconds to make, and nobody changes it."""
    return model.model_json_schema()


def _key_path(loc: tuple[int | str, ...], data: object, *, missing: bool) -> KeyPath:
    """Pydantic's location `loc` without the labels of union branches, which are no keys of the file."""
    key_path: list[str | int] = []
    last = len(loc) - 1
    for i, part in enumerate(loc):
        found, inner = _step(data, part)
        if found:
            data = inner
        elif not (missing and i == last):
            continue
        key_path.append(part)
    return tuple(key_path)


def _step(data: object, part: str | int) -> tuple[bool, object]:
    if isinstance(data, Mapping) and part in data:
        return True, data[part]
    if isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
        return True, data[part]
    return False, None


def path_to(key_path: KeyPath, data: object, shown_path: KeyPath | None = None) -> str:
    """A path as text, with the name of the innermost object that has one: `streams[2].fps ("gate")`.

    shown_path: the path to print instead, of the same length.
    """
    path, name = "", None
    for part, shown in zip(key_path, key_path if shown_path is None else shown_path, strict=True):
        if isinstance(part, int):
            path += f"[{shown}]"
        else:
            key = str(shown) if re.fullmatch(r"[\w-]{1,64}", str(shown)) else format_value(shown)
            path += f".{key}" if path else key
        _, data = _step(data, part)
        if isinstance(part, int) and isinstance(data, Mapping) and isinstance(data.get("name"), str):
            name = data["name"]
    return path if name is None else f"{path} ({format_value(name)})"


def _describe(key_path: KeyPath, problems: list[Any], root: dict[str, Any], data: object) -> str:
    value = data
    for part in key_path:
        _, value = _step(value, part)
    kinds = {problem["type"] for problem in problems}
    if "extra_forbidden" in kinds:
        meant, known = _meant(key_path, root, data)
        return f"unknown key; did you mean {meant}?" if meant else f"unknown key; known are {', '.join(known)}"
    schemas = list(_schemas(root, key_path, data))
    allowed = _join_choices(allowed_text(s, root) for s in schemas)
    if "missing" in kinds:
        return f"is missing; it must be {allowed}" if allowed else "is missing"
    for problem in problems:
        if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
            return _describe_type(problem, value)
        if problem["type"] in ("value_error", "assertion_error"):
            return str(problem["ctx"]["error"])
    if any(_is_secret(s, root) for s in schemas) or any(is_secret_name(str(part)) for part in key_path):
        shown = MASK
    else:
        # What stands in the place of a block may be its secret: `roboflow: <the key>`.
        may_be_secret = isinstance(value, str) or (isinstance(value, int) and abs(value) > 99_999)
        in_place_of_block = bool(schemas) and all(_is_block(s, root) for s in schemas)
        shown = kind_of(value) if may_be_secret and in_place_of_block else format_value(value)
    quotes = ""
    if isinstance(value, str) and any(quote in value for quote in _TYPOGRAPHIC):
        quotes = '; its typographic quotes are a part of the text: type plain ones (")'
    if value is None and allowed:
        return f"null is not allowed; remove the line, or give it a value: it must be {allowed}"
    return f"{shown} is not allowed; it must be {allowed}{quotes}" if allowed else f"{shown}: {problems[0]['msg']}"


def _describe_type(problem: Any, value: object) -> str:
    key = str(problem["ctx"]["discriminator"]).strip("'")
    if problem["type"] == "union_tag_not_found":
        near = nearest(key, [str(k) for k in value]) if isinstance(value, Mapping) else None
        return f"{key} is missing" + (f"; is {near} a misspelling of it?" if near else "")
    words = re.findall(r"'([^']*)'", problem["ctx"]["expected_tags"])
    given = value[key] if isinstance(value, Mapping) and key in value else problem["ctx"]["tag"]
    meant = nearest(given, words) if isinstance(given, str) else None
    return f"{key}: {format_value(given)} is not one of {', '.join(words)}" + (
        f"; did you mean {meant}?" if meant else ""
    )


def _schemas(root: dict[str, Any], key_path: KeyPath, data: object) -> Iterator[dict[str, Any]]:
    """The schemas of the value at `key_path`: of a union, the branches that fit the data."""
    found = list(branches(root, root, data))
    for part in key_path:
        _, data = _step(data, part)
        inner: list[dict[str, Any]] = []
        for schema in found:
            below = _inner_schema(schema, part)
            if isinstance(below, dict):
                inner += branches(below, root, data)
        found = inner
    yield from found


def _inner_schema(schema: dict[str, Any], part: str | int) -> object:
    if isinstance(part, int):
        fixed = schema.get("prefixItems", [])
        return fixed[part] if part < len(fixed) else schema.get("items")
    if part in schema.get("properties", {}):
        return schema["properties"][part]
    by_pattern = schema.get("patternProperties", {})
    return next(iter(by_pattern.values())) if by_pattern else schema.get("additionalProperties")


def branches(schema: dict[str, Any], root: dict[str, Any], data: object) -> Iterator[dict[str, Any]]:
    if "$ref" in schema:
        yield from branches(root["$defs"][schema["$ref"].rpartition("/")[2]], root, data)
    elif "discriminator" in schema:
        chosen = data.get(schema["discriminator"]["propertyName"]) if isinstance(data, Mapping) else None
        mapping = schema["discriminator"]["mapping"]
        if isinstance(chosen, str) and chosen in mapping:
            yield from branches({"$ref": mapping[chosen]}, root, data)
        else:
            yield {"type": "object"}
    elif "anyOf" in schema or "oneOf" in schema:
        for branch in schema.get("anyOf") or schema["oneOf"]:
            yield from branches(branch, root, data)
    else:
        yield schema


def allowed_text(schema: dict[str, Any], root: dict[str, Any]) -> str:
    """What a schema allows, in words; "" if it can't be said."""
    if "const" in schema:
        return format_value(schema["const"])
    if "enum" in schema:
        words = [word if isinstance(word, str) else format_value(word) for word in schema["enum"]]
        return f"one of {', '.join(words)}"
    kind = schema.get("type")
    if kind in ("number", "integer"):
        return ("a number" if kind == "number" else "a whole number") + _range(schema)
    if kind == "string":
        if "pattern" in schema:
            return _PATTERNS.get(schema["pattern"], f"a text that matches {schema['pattern']}")
        what = "a path" if schema.get("format") == "path" else "a text"
        return what + _count(schema, "minLength", "maxLength", "character")
    if kind == "array":
        fixed = schema.get("prefixItems")
        if fixed:
            each_of = list(dict.fromkeys(_join_choices(_each(s, root)) for s in fixed))
            return f"a list of {len(fixed)}" + (f", each {each_of[0]}" if len(each_of) == 1 else "")
        each = _join_choices(_each(schema["items"], root)) if "items" in schema else ""
        count = _count(schema, "minItems", "maxItems", "element")
        return "a list" + count + (f", each {each}" if each else "")
    return {"boolean": "true or false", "null": "null", "object": "an object"}.get(str(kind), "")


def _each(schema: dict[str, Any], root: dict[str, Any]) -> Iterator[str]:
    for branch in branches(schema, root, None):
        yield allowed_text(branch, root)


def _range(schema: dict[str, Any]) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if least is not None and most is not None:
        return f" from {_number(least)} to {_number(most)}"
    parts = [
        f"{word} {_number(bound)}"
        for word, bound in (
            ("of at least", least),
            ("above", above),
            ("at most" if above is not None else "of at most", most),
            ("below", below),
        )
        if bound is not None
    ]
    return " " + " and ".join(parts) if parts else ""


def _count(schema: dict[str, Any], least_key: str, most_key: str, noun: str) -> str:
    least, most = schema.get(least_key), schema.get(most_key)
    if least and most:
        return f" of {least} to {most} {noun}s"
    if least:
        return f" of at least {least} {noun}{'s' if least > 1 else ''}"
    return f" of at most {most} {noun}s" if most else ""


def _number(bound: float) -> str:
    return str(int(bound)) if float(bound).is_integer() else str(bound)


def _join_choices(choices: Iterator[str]) -> str:
    found = dict.fromkeys(choice for choice in choices if choice)
    words = " or ".join(choice for choice in found if choice != "null")
    return f"{words}, or null" if words and "null" in found else words or "".join(found)


def _is_secret(schema: dict[str, Any], root: dict[str, Any]) -> bool:
    return any(branch.get("writeOnly", False) for branch in branches(schema, root, None))

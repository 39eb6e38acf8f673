"""Writes the tables of docs/settings.md, below its prose: every key of framesift.yaml, as the code knows it.

    .venv/bin/python scripts/settings_page.py [FILE]

Names, defaults, ranges, examples and sentences are those of the settings' JSON Schema, which pydantic makes of their
fields. A key without a sentence, or without an example where none can be told from its kind, is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from framesift.config.errors import allowed_text, branches
from framesift.settings import Settings
from markdown_pages import ROOT, table, write

SCHEMA = Settings.model_json_schema()
PROSE_ENDS = "## Every setting\n"
_INTRODUCTION = """
Each table is a block of the file; `streams[]` is each element of a list. What is
allowed is what the program checks; sizes and durations may also be texts, such as "64MiB" or "24h". `framesift settings
schema` prints the same for editors. These tables are written by `scripts/settings_page.py` from the code.
"""
_MOST_WORDS = 6  # of a closed list; a longer one is told by its first ones
_UNITS = {"_s": "seconds", "_h": "hours", "_days": "days", "_bytes": "bytes", "quiet_after": "seconds"}
_UNITS |= {"fps": "pictures a second", "rotate": "degrees", "input_size": "pixels", "max_image_size": "pixels"}
_BINARY = (("GiB", 1 << 30), ("MiB", 1 << 20))
_COMPUTED = {"device": "the host's name", "options": "`{}`"}  # defaults that stand in no schema


class Undescribed(Exception):
    """A key without a sentence, or without an example."""


@dataclass
class Block:
    """A table: where it stands in the file, what it is, its keys. kind: its `type`, where there are several kinds."""

    places: list[str]
    kind: str | None
    schema: dict[str, Any]

    @property
    def title(self) -> str:
        """The heading."""
        return f"`{self.places[0]}`" + (f", type `{self.kind}`" if self.kind else "") if self.places[0] else "The file"


def _named(schema: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    """The blocks that a schema allows at a place, as (name, place)."""
    if "$ref" in schema:
        yield schema["$ref"].rpartition("/")[2], place
    for key in ("anyOf", "oneOf"):
        for one in schema.get(key, []):
            yield from _named(one, place)
    if isinstance(schema.get("items"), dict):
        yield from _named(schema["items"], f"{place}[]")


def blocks() -> list[Block]:
    """All blocks, the file first, each with the places where it may stand, those of the fewest parts first."""
    found = {"": Block([""], None, SCHEMA)}
    waiting = [pair for key, inner in SCHEMA["properties"].items() for pair in _named(inner, key)]
    while waiting:
        name, place = waiting.pop(0)
        schema = SCHEMA["$defs"][name]
        if name in found:
            found[name].places.append(place)
        elif "properties" in schema:
            found[name] = Block([place], schema["properties"].get("type", {}).get("const"), schema)
            waiting += [pair for key, inner in schema["properties"].items() for pair in _named(inner, f"{place}.{key}")]
    order = ["", *SCHEMA["properties"]]
    return sorted(found.values(), key=lambda block: order.index(re.split(r"[.[]", block.places[0])[0]))


def _as_yaml(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, dict) and "type" in value:
        value = {"type": value["type"], **value}
    return yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).split("\n...")[0].strip()


def _size(value: object) -> str:
    for unit, factor in _BINARY:
        if isinstance(value, int) and value >= factor and value % factor == 0:
            return f"{value // factor}{unit}"
    return _as_yaml(value)


def _shown(key: str, value: object) -> str:
    return _size(value) if key.endswith("_bytes") else _as_yaml(value)


def _default(key: str, schema: dict[str, Any], required: list[str]) -> str:
    if key in required:
        return "required"
    if "default" in schema:
        is_block = isinstance(schema["default"], dict)
        return "its defaults" if is_block else f"`{_shown(key, schema['default'])}`"
    return _COMPUTED[key]


def _allowed(key: str, schema: dict[str, Any]) -> str:
    """What may stand there, in words, with the unit."""
    kinds = _kinds(schema)
    unit = next((unit for end, unit in _UNITS.items() if key == end or key.endswith(end)), None)
    texts = []
    for one in kinds:
        if key.endswith("_bytes") and one.get("type") == "integer":
            texts.append(f"from {_size(one['minimum'])} to {one['maximum'] >> 40}TiB")
        elif (key.endswith("_bytes") or key == "quiet_after") and one.get("type") == "string":
            continue
        elif len(one.get("enum", [])) > _MOST_WORDS:
            first = ", ".join(map(str, one["enum"][:_MOST_WORDS]))
            texts.append(f"one of {first} and {len(one['enum']) - _MOST_WORDS} more ([models.md](models.md))")
        elif one.get("format") == "path":
            texts.append("a path")
        elif one.get("format") == "uri":
            texts.append("an https:// address (http:// on this machine)")
        elif one.get("type") == "object":
            texts.append("a block")
        else:
            texts.append(allowed_text(one, SCHEMA).replace("an object", "a block"))
    words = list(dict.fromkeys(text for text in texts if text))
    last = [words.pop(words.index("null"))] if "null" in words else []
    return "; or ".join([" or ".join(words) + (f" ({unit})" if unit else ""), *last])


def _kinds(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return list(branches(schema, SCHEMA, None))


def _example(block: Block, key: str, schema: dict[str, Any]) -> str:
    kinds = _kinds(schema)
    default = schema.get("default")
    for given in (schema, *kinds):
        if "examples" in given:
            return f"`{key}: {_as_yaml(given['examples'][0])}`"
    words = [word for one in kinds for word in one.get("enum", [one["const"]] if "const" in one else [])]
    if words:
        return f"`{key}: {next((word for word in words if word != default), words[0])}`"
    if any(one.get("type") == "boolean" for one in kinds):
        return f"`{key}: {'false' if default else 'true'}`"
    if isinstance(default, dict):
        return ""  # the block has its own table
    if default is None:
        raise Undescribed(f"{block.title}: {key} has no example: Field(examples=[...])")
    return f"`{key}: {_shown(key, _another(default, kinds))}`"


def _another(default: object, kinds: list[dict[str, Any]]) -> object:
    """Another value than a default that is a number: twice or half of it."""
    if not isinstance(default, int | float):
        return default
    most = max(one[key] for one in kinds for key in ("maximum", "exclusiveMaximum") if key in one)
    return 1 if default == 0 else default * 2 if default * 2 < most else type(default)(default / 2)


def _row(block: Block, key: str, schema: dict[str, Any]) -> tuple[str, ...]:
    if not schema.get("description"):
        raise Undescribed(f"{block.title}: {key} has no sentence: Field(description=...)")
    allowed, example = _allowed(key, schema), _example(block, key, schema)
    default = _default(key, schema, block.schema.get("required", []))
    return tuple(cell.replace("|", "\\|") for cell in (f"`{key}`", default, allowed, example, schema["description"]))


def section(block: Block) -> Iterator[str]:
    """The lines of a block: its heading, what it is, its table. Raises Undescribed."""
    yield from (f"### {block.title}", "")
    if block.places[0]:
        also = f" Also at {', '.join(f'`{place}`' for place in block.places[1:])}." if block.places[1:] else ""
        yield from (block.schema["description"].partition("\n\n")[0].replace("\n", " ") + also, "")
    keys = sorted(block.schema["properties"].items(), key=lambda pair: pair[0] != "type")
    rows = [_row(block, key, schema) for key, schema in keys]
    yield from table(("key", "default", "allowed", "example", "what it is"), rows)
    yield ""


def page() -> str:
    """The text of docs/settings.md: its prose as it is, and the tables. Raises Undescribed."""
    prose = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8").partition(PROSE_ENDS)[0]
    lines = [line for block in blocks() for line in section(block)]
    return f"{prose.rstrip()}\n\n{PROSE_ENDS}{_INTRODUCTION}\n" + "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    write(page, "settings.md")

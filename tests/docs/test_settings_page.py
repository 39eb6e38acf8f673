"""docs/settings.md has every key of framesift.yaml, as scripts/settings_page.py reads them from the code."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import settings_page
from framesift.settings import Settings
from json_schema import faults

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "settings.md"
SCHEMA = Settings.model_json_schema()


def tables() -> dict[str, dict[str, list[str]]]:
    """The rows of each table by its heading, by their keys."""
    found: dict[str, dict[str, list[str]]] = {}
    for section in PAGE.read_text(encoding="utf-8").split("\n### ")[1:]:
        rows = [re.split(r" (?<!\\)\| ", line[2:-2]) for line in section.splitlines() if line.startswith("| `")]
        found[section.partition("\n")[0]] = {row[0].strip("`"): row for row in rows}
    return found


def schemas() -> Iterator[dict[str, Any]]:
    """The schema of the file, and of every block in it."""
    yield SCHEMA
    yield from (one for one in SCHEMA["$defs"].values() if "properties" in one)


def test_the_page_is_what_the_script_writes(tmp_path: Path) -> None:
    file = tmp_path / "settings.md"
    script = ROOT / "scripts" / "settings_page.py"
    subprocess.run([sys.executable, str(script), str(file)], check=True, timeout=60)
    assert file.read_text() == PAGE.read_text(), "run .venv/bin/python scripts/settings_page.py"


def test_each_block_of_the_settings_has_a_table_with_all_of_its_keys() -> None:
    wanted = sorted(sorted(schema["properties"]) for schema in schemas())
    assert sorted(sorted(rows) for rows in tables().values()) == wanted


def test_each_row_has_a_default_what_is_allowed_an_example_and_a_sentence() -> None:
    for title, rows in tables().items():
        for key, (_, default, allowed, example, sentence) in rows.items():
            assert default, (title, key)
            assert allowed, (title, key)
            assert sentence.endswith("."), (title, key, sentence)
            assert example.startswith(f"`{key}: ") or default == "its defaults", (title, key)


def test_the_example_of_each_key_is_allowed() -> None:
    for title, rows in tables().items():
        kinds = [schema["properties"] for schema in schemas() if set(rows) == set(schema["properties"])]
        for key, (_, default, _, example, _) in rows.items():
            if default == "its defaults":
                continue
            value = yaml.safe_load(example.strip("`"))[key]
            if isinstance(value, str) and value.startswith("${"):
                value = "of the environment"
            assert any(not list(faults(one[key], value, SCHEMA)) for one in kinds), (title, example)


@pytest.mark.parametrize(
    ("field", "missing"),
    [
        ({"type": "integer", "examples": [1]}, "seed has no sentence"),
        ({"type": "string", "description": "The seed."}, "seed has no example"),
    ],
)
def test_a_key_without_a_sentence_or_an_example_is_an_error(field: dict[str, Any], missing: str) -> None:
    block = settings_page.Block([""], None, {"properties": {"seed": field}, "required": ["seed"]})
    with pytest.raises(settings_page.Undescribed, match=missing):
        list(settings_page.section(block))

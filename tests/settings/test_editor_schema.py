"""The schema that editors check framesift.yaml with: it takes what `init` writes, and finds what people mistype."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from framesift.cli.main import app
from framesift.settings import read_template
from framesift.settings.editor_schema import SCHEMA_FILE, editor_schema
from json_schema import faults

SCHEMA = json.loads(editor_schema())


def test_the_command_prints_it() -> None:
    done = CliRunner().invoke(app, ["settings", "schema"])
    assert (done.exit_code, done.stdout) == (0, editor_schema())


def test_init_writes_it_beside_the_settings_whose_first_line_names_it(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["init", str(tmp_path)]).exit_code == 0
    first = (tmp_path / "framesift.yaml").read_text().splitlines()[0]
    assert first == f"# yaml-language-server: $schema={SCHEMA_FILE}"
    assert (tmp_path / SCHEMA_FILE).read_text() == editor_schema()
    assert not list(faults(SCHEMA, yaml.safe_load((tmp_path / "framesift.yaml").read_text())))


@pytest.mark.parametrize("key", ["sinc", "streams.0.sauce", "spool.max_bites", "model.tusk"])
def test_a_mistyped_key_does_not_fit(key: str) -> None:
    data = yaml.safe_load(read_template("framesift.yaml"))
    block = data
    *path, last = key.split(".")
    for part in path:
        block = block[int(part) if part.isdigit() else part]
    block[last] = "x"
    assert list(faults(SCHEMA, data))


def test_it_has_nothing_of_a_later_draft_but_the_place_of_its_definitions() -> None:
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert "prefixItems" not in editor_schema()
    assert SCHEMA["$defs"]["OnnxSettings"]["properties"]["input_size"]["anyOf"][0]["items"][1]["maximum"] == 8192

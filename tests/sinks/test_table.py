"""What holds for every sink in the table. A new one is found here, and each failure says what is missing where."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from framesift.sinks import SINK_TYPES, CommonSinkSettings
from settings.test_schema import SINKS

ROOT = Path(__file__).parents[2]
every_type = pytest.mark.parametrize("kind", SINK_TYPES)


@every_type
def test_it_has_a_file_of_its_name(kind: str) -> None:
    module = SINK_TYPES[kind].__module__
    assert module == f"framesift.sinks.{kind}", f"put the sink {kind} into sinks/{kind}.py, not {module}"


@every_type
def test_its_settings_say_in_one_line_where_datapoints_go(kind: str) -> None:
    text = SINK_TYPES[kind].__dict__.get("__doc__") or ""
    assert re.fullmatch(r"[A-Z][^\n]*\.", text), (
        f"editors show the docstring of {SINK_TYPES[kind].__name__}: add one line"
    )


@every_type
def test_the_tests_of_the_settings_have_an_example(kind: str) -> None:
    missing = set(SINK_TYPES[kind].model_fields) - set(SINKS.get(kind, ()))
    assert not missing, (
        f"tests/settings/test_schema.py: SINKS needs a sink of type {kind} with {', '.join(sorted(missing))}"
    )


@every_type
def test_the_page_of_the_settings_names_it_with_its_own(kind: str) -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    found = re.search(r"^- \*\*Sink\*\*.*?(?=^- )", text, re.MULTILINE | re.DOTALL)
    assert found, 'docs/settings.md: the list has no item "Sink"'
    own = set(SINK_TYPES[kind].model_fields) - set(CommonSinkSettings.model_fields) - {"type"}
    missing = [word for word in (kind, *sorted(own)) if f"`{word}`" not in found[0]]
    assert not missing, f'docs/settings.md, item "Sink": add {", ".join(missing)}'


@every_type
def test_it_answers_what_is_asked_before_it_is_opened(kind: str) -> None:
    settings = SINK_TYPES[kind].model_validate_json(json.dumps(SINKS[kind]))
    assert settings.check_advice != CommonSinkSettings.check_advice, f"say what `framesift check` advises for {kind}"
    assert settings.limits[0].value == 60
    assert settings.locked_folder is None or settings.locked_folder.name
    assert settings.uses_platform or (settings.default_project is None and not settings.watches_batches)


def test_no_other_module_asks_for_the_type_of_a_sink() -> None:
    package = ROOT / "daemon" / "framesift"
    asking = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"sink\.type (==|!=|in)|isinstance\(.*Sink(Settings)?\b", path.read_text(encoding="utf-8"))
    ]
    assert asking == [], "give the sinks' settings a property instead: see CommonSinkSettings"

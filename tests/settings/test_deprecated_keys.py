"""Deprecated settings: the old word means the same as the new one, and one line says so; the schema has the new one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from framesift.config.errors import ConfigError
from framesift.settings import Settings, load
from framesift.settings.deprecated_keys import ANY, DEPRECATED_KEYS, DeprecatedKey, DeprecatedValue, Deprecations
from rigs.daemon import framesift, write_configuration
from rigs.footage import numbered_clip

BASE = """\
policy: policy.json
sink: {type: folder, path: collected}
"""
LISTENERS = BASE + "listeners: [{listen: '127.0.0.1:9470'}]\n"


def settings_of(folder: Path, text: str, **environ: str) -> Settings:
    (folder / "framesift.yaml").write_text(text, encoding="utf-8")
    return load(folder / "framesift.yaml", environ)


def problems_of(folder: Path, text: str, **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as refused:
        settings_of(folder, text, **environ)
    return tuple(problem.replace(f"{folder}/", "") for problem in refused.value.problems)


def warnings_of(folder: Path, text: str, **environ: str) -> tuple[str, ...]:
    warnings = map(str, settings_of(folder, text, **environ).deprecations)
    return tuple(warning.replace(f"{folder}/", "") for warning in warnings)


def test_today_s_words_give_no_warning(tmp_path: Path) -> None:
    assert warnings_of(tmp_path, LISTENERS + "limits: {pending_quota_h: 3}\n") == ()


def test_an_old_key_means_what_the_new_one_does_and_one_line_names_both(tmp_path: Path) -> None:
    text = LISTENERS.replace("listeners", "doors") + "limits:\n  late_credit_h: 3\n"
    found = settings_of(tmp_path, text)
    assert [listener.listen for listener in found.listeners] == ["127.0.0.1:9470"]
    assert found.limits.pending_quota_h == 3
    assert warnings_of(tmp_path, text) == (
        "framesift.yaml:3: doors is deprecated and will be removed in version 0.4: use listeners",
        "framesift.yaml:5: limits.late_credit_h is deprecated and will be removed in version 0.4: use pending_quota_h",
    )


def test_a_listener_under_its_old_key_has_the_stream_that_it_had(tmp_path: Path) -> None:
    old = LISTENERS.replace("listeners", "doors")
    assert [settings_of(tmp_path, text).listeners[0].stream for text in (old, LISTENERS)] == ["door", "listener"]
    named = old.replace("9470'", "9470', stream: yard")
    assert settings_of(tmp_path, named).listeners[0].stream == "yard"


@pytest.mark.parametrize("file", ["", LISTENERS.replace(BASE, ""), "doors: [{stream: yard}]\n"])
@pytest.mark.parametrize("name", ["FRAMESIFT_DOORS", "FRAMESIFT_DOORS_FILE"])
def test_a_list_that_a_variable_gives_under_the_old_key_has_the_streams_that_it_had(
    tmp_path: Path, file: str, name: str
) -> None:
    value = '[{"listen": "127.0.0.1:9471"}, {"listen": "127.0.0.1:9472", "stream": "hall"}]'
    (tmp_path / "doors").write_text(value, encoding="utf-8")
    environ = {name: str(tmp_path / "doors") if name.endswith("_FILE") else value}
    found = settings_of(tmp_path, BASE + file, **environ)
    assert [(listener.port, listener.stream) for listener in found.listeners] == [(9471, "door"), (9472, "hall")]


def test_a_variable_with_the_old_key_gives_the_stream_that_it_had_to_the_element_that_it_names(tmp_path: Path) -> None:
    two = BASE + "listeners: [{listen: '127.0.0.1:9470'}, {listen: '127.0.0.1:9471'}]\n"
    found = settings_of(tmp_path, two, FRAMESIFT_DOORS__1__LISTEN="127.0.0.1:9472")
    assert [(listener.port, listener.stream) for listener in found.listeners] == [(9470, "listener"), (9472, "door")]
    environ = {"FRAMESIFT_DOORS__1__LISTEN": "127.0.0.1:9472", "FRAMESIFT_DOORS__1__STREAM": "hall"}
    assert settings_of(tmp_path, two, **environ).listeners[1].stream == "hall"


def test_an_old_key_in_the_name_of_a_variable_is_accepted_too(tmp_path: Path) -> None:
    lay = {"FRAMESIFT_DOORS__0__STREAM": "hall", "FRAMESIFT_LIMITS__LATE_CREDIT_H": "2"}
    for text in (LISTENERS, LISTENERS.replace("listeners", "doors")):
        found = settings_of(tmp_path, text, **lay)
        assert found.listeners[0].stream == "hall"
        assert found.limits.pending_quota_h == 2
    assert (
        "FRAMESIFT_DOORS__0__STREAM: doors is deprecated and will be removed in version 0.4: use listeners"
        in warnings_of(tmp_path, LISTENERS, **lay)
    )


def test_an_old_key_in_the_json_of_a_variable_is_accepted_too(tmp_path: Path) -> None:
    lay = {"FRAMESIFT_LIMITS": '{"late_credit_h": 2}'}
    assert settings_of(tmp_path, LISTENERS, **lay).limits.pending_quota_h == 2
    (warning,) = warnings_of(tmp_path, LISTENERS, **lay)
    assert warning.startswith("FRAMESIFT_LIMITS: limits.late_credit_h is deprecated")


def test_the_old_key_and_the_new_one_together_are_an_error(tmp_path: Path) -> None:
    assert problems_of(tmp_path, LISTENERS + "doors: []\n") == (
        "framesift.yaml:4: doors is the old name of listeners, and both are set",
    )


def test_what_is_wrong_under_an_old_key_is_said_with_its_line_and_the_word_of_the_file(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, BASE + "doors:\n  - listen: '127.0.0.1:9470'\n    stream: 'a b'\n")
    assert problem.startswith('framesift.yaml:5: doors[0].stream: "a b" is not allowed')


def test_the_published_schema_knows_only_the_new_words() -> None:
    schema = json.dumps(Settings.model_json_schema())
    for key in DEPRECATED_KEYS:
        assert f'"{key.old}"' not in schema
        assert f'"{key.new}"' in schema


def test_keys_and_values_in_the_elements_of_a_list_can_be_renamed() -> None:
    renamed = Deprecations(
        (DeprecatedKey(("listeners", ANY), "kind", "type"),),
        (DeprecatedValue(("listeners", ANY, "type"), "old", "new"),),
    )
    data = {"listeners": [{"kind": "old"}, {"type": "new"}, "odd", {"kind": "other"}]}
    renamed.replace_in_data(data, str)
    assert data == {"listeners": [{"type": "new"}, {"type": "new"}, "odd", {"type": "other"}]}
    assert tuple(map(str, renamed.found)) == (
        "('listeners', 0, 'kind'): listeners[0].kind is deprecated and will be removed in version 0.4: use type",
        "('listeners', 3, 'kind'): listeners[3].kind is deprecated and will be removed in version 0.4: use type",
        "('listeners', 0, 'kind'): listeners[0].kind: old is deprecated and will be removed in version 0.4: use new",
    )
    assert renamed.replace_in_path("NAME", ("listeners", "1", "kind")) == ("listeners", "1", "type")


def test_a_variable_sets_the_defaults_of_elements_in_the_elements_of_a_list() -> None:
    renamed = Deprecations((DeprecatedKey(("streams", ANY), "marks", "labels", element_defaults=(("name", "mark"),)),))
    data: dict[str, Any] = {"streams": [{"labels": [{}]}, {"labels": [{}, {}, "odd"]}]}
    renamed.set_element_defaults(data, ("streams", "1", "marks", "1", "size"))
    assert data == {"streams": [{"labels": [{}]}, {"labels": [{}, {"name": "mark"}, "odd"]}]}
    renamed.set_element_defaults(data, ("streams", "0", "labels"))  # the new word
    renamed.set_element_defaults(data, ("streams", "7", "marks"))
    assert data["streams"][0] == {"labels": [{}]}
    renamed.set_element_defaults(data, ("streams", "0", "marks"))
    assert data["streams"][0] == {"labels": [{"name": "mark"}]}


def test_the_log_of_a_run_and_the_check_name_each_old_word_once(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    settings = {"streams": [{"name": "gate", "source": "clip.mp4"}], "doors": [], "limits": {"late_credit_h": 3}}
    write_configuration(tmp_path, settings)
    checked = framesift(tmp_path, "check", COLUMNS="300")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for old, new in (("doors", "listeners"), ("limits.late_credit_h", "pending_quota_h")):
        lines = [line for line in checked.stdout.splitlines() if f": {old} is deprecated" in line]
        assert len(lines) == 1, checked.stdout
        assert lines[0].startswith("note")
        assert f"use {new}" in lines[0]
    ran = framesift(tmp_path, "run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    deprecated = {event["setting"]: event["use"] for event in events if event["event"] == "deprecated_setting"}
    assert deprecated == {"doors": "listeners", "limits.late_credit_h": "pending_quota_h"}

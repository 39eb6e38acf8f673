"""A stream may have a model of its own; equal ones are one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from framesift.config.errors import ConfigError
from framesift.settings import Settings, load

STUB = {"type": "stub"}
RECORDED = {"type": "recorded", "path": "said.jsonl", "task": "object-detection"}


def settings(folder: Path, common: dict[str, Any] | None, **own: dict[str, Any] | None) -> Settings:
    """Settings with a stream for each of `own`, and its model."""
    streams = [{"name": name, "source": "a.mp4"} | ({"model": model} if model else {}) for name, model in own.items()]
    document = {"streams": streams, "policy": "policy.json", "sink": {"type": "folder", "path": "collected"}}
    (folder / "framesift.yaml").write_text(yaml.safe_dump(document | ({"model": common} if common else {})))
    return load(folder / "framesift.yaml", {})


def used(found: Settings) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(use.name, use.settings.type, use.streams) for use in found.model_uses]


def test_one_model_is_called_the_model(tmp_path: Path) -> None:
    assert used(settings(tmp_path, STUB, gate=None, yard=None)) == [("model", "stub", ("gate", "yard"))]
    assert used(settings(tmp_path, None, gate=STUB, yard=STUB)) == [("model", "stub", ("gate", "yard"))]


def test_streams_with_equal_models_share_one_whoever_names_it(tmp_path: Path) -> None:
    assert used(settings(tmp_path, STUB, gate=None, yard=RECORDED, hall=STUB, roof=RECORDED)) == [
        ("model", "stub", ("gate", "hall")),
        ("model of yard, roof", "recorded", ("yard", "roof")),
    ]
    assert used(settings(tmp_path, None, gate=RECORDED, yard=STUB)) == [
        ("model of gate", "recorded", ("gate",)),
        ("model of yard", "stub", ("yard",)),
    ]


def test_a_common_model_that_no_stream_uses_is_not_loaded(tmp_path: Path) -> None:
    assert used(settings(tmp_path, RECORDED, gate=STUB)) == [("model", "stub", ("gate",))]


def test_the_paths_of_a_streams_model_count_from_the_settings_file(tmp_path: Path) -> None:
    (use,) = settings(tmp_path, None, gate=RECORDED).model_uses
    assert use.settings.type == "recorded"
    assert use.settings.path == tmp_path / "said.jsonl"


def test_a_stream_without_any_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"model: missing: streams need a model for their frames \(stream yard, roof\)"
    ):
        settings(tmp_path, None, gate=STUB, yard=None, roof=None)
    with pytest.raises(ConfigError, match=r"streams need a model for their frames; \{type: stub\}"):
        settings(tmp_path, None, gate=None)


def test_a_mistake_in_a_streams_model_names_the_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"streams\[0\].model"):
        settings(tmp_path, STUB, gate={"type": "recorded"})

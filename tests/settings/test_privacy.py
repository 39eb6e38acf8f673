"""`privacy` at the top, and of a stream and a listener."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from framesift.config.errors import ConfigError
from framesift.settings import Settings, load
from framesift.settings.privacy_entry import PrivacyEntry

FACES = {"type": "recorded", "path": "faces.jsonl", "task": "object-detection"}
PLATES = {**FACES, "path": "plates.jsonl"}
MISSING = object()


def text(common: object = MISSING, gate: str = "", clients: str = "") -> str:
    """framesift.yaml; gate, clients: a line in the entry of the stream and of the listener."""
    document: dict[str, Any] = {
        "model": {"type": "stub"},
        "policy": "policy.json",
        "sink": {"type": "folder", "path": "collected"},
    }
    document |= {} if common is MISSING else {"privacy": common}
    streams = f"streams:\n- name: gate\n  source: a.mp4\n  {gate}\n- {{name: yard, source: a.mp4}}\n"
    return f"{yaml.safe_dump(document)}{streams}listeners:\n- stream: clients\n  {clients}\n"


def settings(folder: Path, written: str) -> Settings:
    (folder / "framesift.yaml").write_text(written)
    return load(folder / "framesift.yaml", {})


def of_each(found: Settings) -> dict[str, Any]:
    owners = {"gate": found.streams[0], "yard": found.streams[1], "clients": found.listeners[0]}
    return {
        name: None if (privacy := found.privacy_of(owner)) is None else privacy.classes  # type: ignore[arg-type]
        for name, owner in owners.items()
    }


def test_nothing_is_covered_without_the_block(tmp_path: Path) -> None:
    assert of_each(settings(tmp_path, text())) == {"gate": None, "yard": None, "clients": None}


@pytest.mark.parametrize("without", ["", "privacy:", "privacy: null", "privacy: ~"])
def test_a_key_without_a_value_does_not_switch_privacy_off(tmp_path: Path, without: str) -> None:
    found = settings(tmp_path, text({"classes": ["person"]}, without, without))
    assert of_each(found) == {"gate": ("person",), "yard": ("person",), "clients": ("person",)}


def test_one_stream_and_one_listener_may_be_without(tmp_path: Path) -> None:
    common, off = {"classes": ["person"]}, "privacy: false"
    assert of_each(settings(tmp_path, text(common, off))) == {"gate": None, "yard": ("person",), "clients": ("person",)}
    assert of_each(settings(tmp_path, text(common, "", off)))["clients"] is None


def test_an_own_privacy_replaces_the_whole_common_one(tmp_path: Path) -> None:
    triangle = [[0, 0], [1, 0], [0.5, 0.5]]
    found = settings(tmp_path, text({"classes": ["person"], "polygons": [triangle]}, "privacy: {classes: [car]}"))
    assert of_each(found) == {"gate": ("car",), "yard": ("person",), "clients": ("person",)}
    own = found.privacy_of(found.streams[0])
    assert own is not None
    assert own.polygons == ()


def test_each_detector_is_used_once_by_whoever_names_it(tmp_path: Path) -> None:
    one = settings(tmp_path, text({"classes": ["face"], "detector": FACES}))
    assert [(use.name, use.streams) for use in one.detector_uses] == [("privacy detector", ("gate", "yard", "clients"))]
    assert [use.settings.path for use in one.detector_uses] == [tmp_path / "faces.jsonl"]  # type: ignore[union-attr]
    own = f"privacy: {{classes: [plate], detector: {{type: recorded, path: {PLATES['path']}, task: object-detection}}}}"
    two = settings(tmp_path, text({"classes": ["face"], "detector": FACES}, own, "privacy: false"))
    assert [(use.name, use.streams) for use in two.detector_uses] == [
        ("privacy detector of gate", ("gate",)),
        ("privacy detector of yard", ("yard",)),
    ]
    assert [use.name for use in two.model_uses] == ["model"]


@pytest.mark.parametrize(
    ("privacy", "problem"),
    [
        ({}, "privacy: covers nothing: name classes, or polygons, or leave the block out"),
        (
            {"polygons": [[[0, 0], [1, 1], [2, 0]]]},
            "privacy.polygons[0][2][0]: 2 is not allowed; it must be a number from 0 to 1",
        ),
        (
            {"classes": ["face"], "style": "smudge"},
            'privacy.style: "smudge" is not allowed; it must be one of blur, pixelate, black',
        ),
        ({"classes": ["face"], "margins": 1}, "privacy.margins: unknown key; did you mean margin?"),
        ({"detector": FACES, "require": "detector"}, "privacy: classes: missing: a detector is there to find objects"),
        ({"classes": ["face"], "detector": {"type": "stub"}}, "privacy: detector: a model of type stub finds nothing"),
        (True, "privacy: true is not allowed; it must be an object, or null"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(tmp_path: Path, privacy: object, problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        settings(tmp_path, text(privacy))
    (line,) = refused.value.problems
    assert problem in line


def test_what_is_wrong_in_the_privacy_of_a_stream_is_named_with_it(tmp_path: Path) -> None:
    for own, problem in (
        ("privacy: {classes: [face], margin: 2}", 'streams[0].privacy.margin ("gate"): 2 is not allowed'),
        ("privacy: {style: black}", 'streams[0].privacy ("gate"): covers nothing'),
        ("privacy: true", 'streams[0].privacy ("gate"): true is not allowed; it must be an object or false, or null'),
    ):
        with pytest.raises(ConfigError) as refused:
            settings(tmp_path, text(MISSING, own))
        (line,) = refused.value.problems
        assert problem in line


def test_privacy_can_be_set_by_a_variable(tmp_path: Path) -> None:
    (tmp_path / "framesift.yaml").write_text(text({"classes": ["face"]}))
    found = load(tmp_path / "framesift.yaml", {"FRAMESIFT_PRIVACY__STYLE": "black"})
    assert isinstance(found.privacy, PrivacyEntry)
    assert found.privacy.style == "black"

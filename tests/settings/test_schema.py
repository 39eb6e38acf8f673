"""Every field of the settings, found by walking their schema: a wrong type, a value out of range, a misspelt name, a
missing one. Each is refused with one line that names the file, the line in it, and the key.

The documents below set every field there is, so that a field that is added later fails here until it stands in one.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from exhaustive import some_of
from framesift.config.errors import ConfigError
from framesift.settings import Settings, load

STREAM = {
    "name": "gate",
    "source": "rtsps://10.0.0.5/s",
    "username": "viewer",
    "password": "geheimnis",
    "transport": "tcp",
    "ca_file": "camera.pem",
    "verify": True,
    "fps": 5.0,
    "tags": ["north"],
    "policy": "own.json",
    "privacy": False,
    "loop": False,
    "watch": False,
    "follow": False,
    "pace": "model",
    "model": {"type": "stub", "task": "object-detection", "model_id": "own/1"},
    "open_timeout_s": 10.0,
    "read_timeout_s": 10.0,
    "engine": "av",
    "decode": "all",
    "threads": 1,
    "rotate": 0,
    "show_damaged": False,
    "snapshot": {
        "source": "rtsps://10.0.0.5/main",
        "url": None,
        "username": "viewer",
        "password": "geheimnis",
        "wait_s": 1.0,
        "max_skew_s": 0.5,
        "max_decode_frames": 150,
        "pre_s": 0.0,
        "max_bytes": 67108864,
    },
}
MODELS: dict[str, dict[str, Any]] = {
    "stub": {"type": "stub", "task": "object-detection", "model_id": "stub/0"},
    "recorded": {"type": "recorded", "path": "said.jsonl", "task": "object-detection"},
    "python": {"type": "python", "factory": "mine:make", "options": {"a": 1}, "path": "lib", "model_id": "mine/1"},
    "onnx": {
        "type": "onnx",
        "path": "net.onnx",
        "family": "classifier",
        "confidence": 0.1,
        "iou": 0.5,
        "resize": "stretch",
        "bars": None,
        "colour": "rgb",
        "scale": 1.0,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "input_size": [224, 224],
        "class_names": ["a", "b"],
        "class_names_file": None,
        "keypoint_names": None,
        "first_class_id": None,
        "multi_label": False,
        "threshold": 0.5,
        "activation": "softmax",
        "providers": ["CPUExecutionProvider"],
        "threads": 2,
        "batch_size": 4,
        "embedding": "features",
        "model_id": "net/1",
    },
    "inference_server": {
        "type": "inference_server",
        "url": "http://127.0.0.1:9001",
        "model_id": "parking/3",
        "task": "object-detection",
        "route": "legacy",
        "api_key": "geheim",
        "confidence": 0.2,
        "overlap": 0.3,
        "max_detections": 100,
        "jpeg_quality": 90,
        "max_image_size": [720, 1280],
        "timeout_s": 2.0,
    },
}
SINKS: dict[str, dict[str, Any]] = {
    "folder": {
        "type": "folder",
        "path": "collected",
        "max_bytes": 17179869184,
        "max_age_days": 30.0,
        "limits": [{"type": "minutely", "value": 60}],
    },
    "roboflow": {"type": "roboflow", "project": "parking", "limits": [{"type": "minutely", "value": 60}]},
    "python": {
        "type": "python",
        "factory": "framesift_outside:JsonLinesSink",
        "options": {"path": "collected"},
        "path": "modules",
        "limits": [{"type": "minutely", "value": 60}],
    },
}
POLICIES: dict[str, Any] = {
    "url": "https://example.com/policy.json",
    "roboflow": {"from": "roboflow", "project": "parking", "model_id": "parking/3"},
}
PRIVACY: dict[str, Any] = {
    "polygons": [[[0.0, 0.0], [0.5, 0.0], [0.25, 0.5]]],
    "classes": ["person"],
    "style": "pixelate",
    "margin": 0.2,
    "over_time_s": 2.0,
    "require": "detector",
    "detector": {"type": "recorded", "path": "said.jsonl", "task": "object-detection"},
}
LISTENER = {
    "type": None,  # with a type, upstream is required or forbidden
    "listen": "127.0.0.1:9470",
    "upstream": "http://127.0.0.1:9002",
    "token": "0123456789abcdef",
    "stream": "clients",
    "tags": ["hall"],
    "privacy": None,
}
WHOLE: dict[str, Any] = {
    "device": "gate-7",
    "enabled": True,
    "group": "labellers",
    "quiet_after": "12h",
    "tags": ["site"],
    "seed": 1,
    "streams": [STREAM],
    "listeners": [LISTENER, {"type": "ingest", "listen": "127.0.0.1:9471"}],
    "model": MODELS["stub"],
    "policy": "policy.json",
    "privacy": PRIVACY,
    "sink": SINKS["folder"],
    "roboflow": {"api_key": "geheim", "api_url": "https://api.roboflow.com", "gateway": "http://10.0.0.9"},
    "network": {"ca_file": "ca.pem", "proxy": "http://10.0.0.8:3128"},
    "limits": {
        "redis": {
            "url": "rediss://10.0.0.7:6380/1",
            "username": "gate",
            "password": "geheim",
            "ca_file": "redis.pem",
            "prefix": "site-1",
        },
        "local_ceiling": 0.5,
        "pending_quota_h": 24.0,
    },
    "spool": {"path": "s.db", "max_bytes": 2147483648, "min_free_bytes": 1048576, "when_full": "refuse"},
    "decisions": {"path": "decisions", "max_bytes": 33554432, "thumbnails": False},
    "upload": {"workers": 2},
    "status": {"bind": "127.0.0.1:9464", "token": "0123456789abcdef"},
    "log": {"format": "json", "level": "info"},
}
DOCUMENTS = {
    **{f"model {kind}": {**WHOLE, "model": model} for kind, model in MODELS.items()},
    **{f"sink {kind}": {**WHOLE, "sink": sink} for kind, sink in SINKS.items()},
    **{f"policy {kind}": {**WHOLE, "policy": policy} for kind, policy in POLICIES.items()},
}
# Numbers that need no bounds: what a network was trained with is nobody's to judge.
UNBOUNDED = {"mean", "std"}

SCHEMA = Settings.model_json_schema()
Place = tuple[str | int, ...]


def branches(schema: dict[str, Any], data: object) -> list[dict[str, Any]]:
    """What `schema` allows where `data` stands: without references, unions as their members, blocks by their `type`."""
    if "$ref" in schema:
        return branches(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], data)
    if "discriminator" in schema:
        assert isinstance(data, dict)
        return branches({"$ref": schema["discriminator"]["mapping"][data["type"]]}, data)
    if "anyOf" in schema:
        return [inner for one in schema["anyOf"] for inner in branches(one, data)]
    return [schema]


@dataclass(frozen=True)
class Spot:
    """A place in a document, and what is allowed there."""

    document: str
    place: Place
    allowed: list[dict[str, Any]]
    required: bool = False

    def __str__(self) -> str:
        return f"{self.document}: {'.'.join(map(str, self.place))}"


def spots(
    document: str, schema: dict[str, Any], data: Any, place: Place = (), required: bool = False
) -> Iterator[Spot]:
    allowed = branches(schema, data)
    yield Spot(document, place, allowed, required)
    for one in allowed:
        if isinstance(data, dict) and "properties" in one:
            assert set(one["properties"]) == set(data), (
                f"{document}: the document above must set every field of {place}"
            )
            for key, inner in one["properties"].items():
                yield from spots(document, inner, data[key], (*place, key), key in one.get("required", []))
        elif isinstance(data, list) and one.get("type") == "array":
            assert data, f"{document}: {place} needs an element, so that elements are tried too"
            each = one["prefixItems"][0] if "prefixItems" in one else one["items"]
            yield from spots(document, each, data[0], (*place, 0))


def all_spots() -> list[Spot]:
    """Each place once: what is the same in all documents is taken from the first."""
    found: dict[tuple[Place, str], Spot] = {}
    for name, data in DOCUMENTS.items():
        for spot in spots(name, SCHEMA, data):
            top = spot.place[0] if spot.place else ""
            kind = json.dumps(data[top].get("type")) if top in ("model", "sink") else ""
            kind = name if top == "policy" else kind
            found.setdefault((spot.place, kind), spot)
    return list(found.values())


SPOTS = all_spots()
BLOCKS = [spot for spot in SPOTS if any("properties" in one for one in spot.allowed)]
KEYS = [spot for spot in SPOTS if spot.place and isinstance(spot.place[-1], str)]

VALUES: dict[str, Any] = {
    "null": None,
    "boolean": True,
    "integer": 7,
    "number": 2.5,
    "string": "some text\x85",
    "array": [[]],
    "object": {"odd": 1},
}


def kinds(allowed: list[dict[str, Any]]) -> set[str]:
    found = {one.get("type", "string") for one in allowed}
    return found | ({"integer"} if "number" in found else set())


def out_of_range(allowed: list[dict[str, Any]]) -> Iterator[Any]:
    texts = [one for one in allowed if one.get("type") == "string"]
    for one in allowed:
        if one in texts and len(texts) > 1:
            continue  # what one kind of text refuses, another takes: a path may be called anything
        step = 1 if one.get("type") == "integer" else 0.001
        if "minimum" in one:
            yield one["minimum"] - step
        if "maximum" in one:
            yield one["maximum"] + step
        if "exclusiveMinimum" in one:
            yield one["exclusiveMinimum"]
        if "exclusiveMaximum" in one:
            yield one["exclusiveMaximum"]
        if "enum" in one or "const" in one:
            yield "nonsense"
        if "pattern" in one:
            yield "*"
        if "minLength" in one:
            yield "x" * (one["minLength"] - 1)
        if "maxLength" in one:
            yield "x" * (one["maxLength"] + 1)
        if one.get("minItems"):
            yield []
        if "maxItems" in one and one["maxItems"] <= 300:
            yield None  # replaced below by too many of what stands there


def changed(spot: Spot, value: Any) -> dict[str, Any]:
    data = copy.deepcopy(DOCUMENTS[spot.document])
    block: Any = data
    for part in spot.place[:-1]:
        block = block[part]
    block[spot.place[-1]] = value
    return data


def at(data: Any, place: Place) -> Any:
    for part in place:
        data = data[part]
    return data


def refusals(folder: Path, data: object) -> list[str]:
    """The problems of a document, without the file's name."""
    path = folder / "framesift.yaml"
    path.write_text(json.dumps(data, indent=1), encoding="utf-8")  # JSON is YAML, and sooner written
    with pytest.raises(ConfigError) as refused:
        load(path, {})
    for line in refused.value.problems:
        assert "\n" not in line
        assert "geheimnis" not in line
        assert line.startswith(f"{path}:"), line
    return [line.removeprefix(f"{path}:") for line in refused.value.problems]


def refusal(folder: Path, data: object) -> str:
    """The only problem of a document."""
    lines = refusals(folder, data)
    assert len(lines) == 1, lines
    return lines[0]


def shown(place: Place) -> str:
    path = ""
    for part in place:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def names(line: str, place: Place) -> bool:
    """Whether the line names the place; a block's own rule may name the key after the block."""
    if place[-1] == "type" and len(place) > 1:
        block = shown(place[:-1])
        if f"{block}: type" in line or f'{block} ("gate"): type' in line:  # the innermost object that has a name
            return True
    return shown(place) in line


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_documents_are_valid_as_they_are(tmp_path: Path, name: str) -> None:
    path = tmp_path / "framesift.yaml"
    path.write_text(yaml.safe_dump(DOCUMENTS[name]), encoding="utf-8")
    assert load(path, {}).device == "gate-7"


def test_there_is_a_document_for_each_kind_of_model_and_of_sink() -> None:
    assert set(SCHEMA["properties"]["model"]["anyOf"][0]["discriminator"]["mapping"]) == set(MODELS)
    assert set(SCHEMA["properties"]["sink"]["discriminator"]["mapping"]) == set(SINKS)


@pytest.mark.parametrize("spot", some_of(KEYS, lambda spot: spot in KEYS[::4]), ids=str)
def test_a_wrong_type_is_refused(tmp_path: Path, spot: Spot) -> None:
    allowed = kinds(spot.allowed)
    wrong = [value for kind, value in VALUES.items() if kind not in allowed]
    assert wrong
    for value in wrong:
        line = refusal(tmp_path, changed(spot, value))
        assert names(line, spot.place), line


@pytest.mark.parametrize("spot", [s for s in SPOTS if s.place and list(out_of_range(s.allowed))], ids=str)
def test_a_value_out_of_range_is_refused(tmp_path: Path, spot: Spot) -> None:
    for value in out_of_range(spot.allowed):
        if value is None:
            (most,) = (one["maxItems"] for one in spot.allowed if "maxItems" in one)
            value = [copy.deepcopy(at(DOCUMENTS[spot.document], spot.place)[0]) for _ in range(most + 1)]
        lines = refusals(tmp_path, changed(spot, value))
        assert all(names(line, spot.place) for line in lines), lines
        assert len(lines) == 1 or value == [], lines  # of a pair or a triple that is empty, each element is missed


def test_a_number_has_bounds_and_a_list_has_elements_of_a_kind() -> None:
    for spot in SPOTS:
        for one in spot.allowed:
            is_number = one.get("type") in ("integer", "number") and "enum" not in one
            if is_number and not UNBOUNDED & set(spot.place):
                assert {"minimum", "exclusiveMinimum"} & set(one), f"{spot} has no least value"
                assert {"maximum", "exclusiveMaximum"} & set(one), f"{spot} has no greatest value"
            if one.get("type") == "array":
                assert {"items", "prefixItems"} & set(one), f"{spot} has elements of any kind"


@pytest.mark.parametrize("spot", some_of(KEYS, lambda spot: spot in KEYS[::4]), ids=str)
def test_a_misspelt_name_is_refused_with_the_right_one(tmp_path: Path, spot: Spot) -> None:
    data = copy.deepcopy(DOCUMENTS[spot.document])
    block = at(data, spot.place[:-1])
    key = str(spot.place[-1])
    if spot.required or key == "type":
        block[key + "q"] = block[key]  # beside the right one, which would be missed otherwise
    else:
        block[key + "q"] = block.pop(key)
    line = refusal(tmp_path, data)
    assert shown((*spot.place[:-1], key + "q")) in line
    assert line.endswith(f"unknown key; did you mean {key}?"), line


@pytest.mark.parametrize("spot", [s for s in KEYS if s.required], ids=str)
def test_a_missing_name_is_missed(tmp_path: Path, spot: Spot) -> None:
    data = copy.deepcopy(DOCUMENTS[spot.document])
    del at(data, spot.place[:-1])[spot.place[-1]]
    line = refusal(tmp_path, data)
    assert names(line, spot.place), line
    assert "is missing" in line


@pytest.mark.parametrize("spot", [s for s in KEYS if not s.required and s.place[-1] != "type"], ids=str)
def test_what_is_not_required_has_a_default_that_is_valid(tmp_path: Path, spot: Spot) -> None:
    data = copy.deepcopy(DOCUMENTS[spot.document])
    block = at(data, spot.place[:-1])
    del block[spot.place[-1]]
    if spot.place[-1] == "username":
        del block["password"]  # which needs one
    if spot.place[-2:] == ("snapshot", "source"):
        block["url"] = "https://10.0.0.5/main.jpg"  # one of both is needed
    if spot.place == ("privacy", "classes"):
        del block["detector"]  # which finds them
    if spot.place == ("model",):
        del data["streams"]  # whose frames it would look at
    path = tmp_path / "framesift.yaml"
    path.write_text(json.dumps(data, indent=1), encoding="utf-8")
    load(path, {})


def test_the_walk_has_seen_all_of_the_settings() -> None:
    seen = {shown(spot.place) for spot in SPOTS}
    assert {"streams[0].fps", "model.std[0]", "sink.limits[0].value", "spool.when_full", "status.token"} <= seen
    assert len(KEYS) >= 60

"""What objects have under keys that we don't know goes with them, within bounds, and is taken for nothing else."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from framesift.prediction.prediction import Detection, Detections, Extras, scale_prediction, with_origin
from framesift.prediction.wire_format import parse_prediction, to_wire
from framesift.prediction.wire_values import MAX_EXTRA_KEY_LENGTH, MAX_EXTRAS

BOX = {"x": 10.0, "y": 20.0, "width": 4.0, "height": 6.0, "confidence": 0.5, "class": "cat", "class_id": 3}
KEPT: dict[str, Any] = {
    "track_quality": 0.7,
    "colour": "red",
    "age": 3,
    "is_parked": True,
    "plate": None,
    "note": "a\nb",
}


def read(*objects: dict[Any, Any]) -> Detections:
    found = parse_prediction({"image": {"width": 64, "height": 48}, "predictions": list(objects)})
    assert isinstance(found, Detections)
    return found


def extras_of(found: Detections) -> list[Extras | None]:
    return [d.extras for d in found.objects]


@pytest.mark.parametrize("others", [(), (BOX,), ({**BOX, "tracker_id": 5, "size": 1},)], ids=["same", "none", "others"])
def test_unknown_keys_come_out_as_they_went_in(others: tuple[dict[str, Any], ...]) -> None:
    found = read({**BOX, **KEPT}, *others, {**KEPT, **BOX})
    assert (found.dropped, found.dropped_extras) == (0, 0)
    first, *_, last = to_wire(found)["predictions"]
    for written in (first, last):
        assert written == {**BOX, **KEPT}
        assert list(map(type, written.values())) == list(map(type, {**BOX, **KEPT}.values()))
    assert read(*json.loads(json.dumps(to_wire(found)["predictions"]))) == found


@pytest.mark.parametrize(
    "said",
    [
        {"predictions": [BOX]},
        {"predictions": [{"class": "cat", "class_id": 3, "confidence": 0.5}], "top": "cat", "confidence": 0.5},
        {"predictions": {"cat": {"confidence": 0.5}}, "predicted_classes": ["cat"]},
        {"is_stub": True, "model_id": "parking/0", "task_type": "object-detection"},
    ],
    ids=["objects", "a label", "labels", "a stub"],
)
def test_a_prediction_has_extras_of_its_own(said: dict[str, Any]) -> None:
    size = {} if "is_stub" in said else {"image": {"width": 64, "height": 48}}
    found = parse_prediction({**size, **said, **KEPT, "strange": []}, width=64, height=48)
    assert (found.extras, found.dropped, found.dropped_extras) == (tuple(KEPT.items()), 0, 1)
    assert to_wire(found) == {**size, **said, **KEPT}


def test_what_stands_beside_a_prediction_in_a_recording_is_no_extra_of_it() -> None:
    beside = {"stream": "gate", "frame": 1, "captured_at": 1.5, "seed": 3, "model_id": "m/1", "visualization": "a"}
    found = parse_prediction({"image": {"width": 64, "height": 48}, "predictions": [BOX], **beside})
    assert (found.extras, found.dropped_extras) == (None, 0)
    again = to_wire(with_origin(found, extras=(("frame", 9), ("weather", "rain"))))
    assert {key for key in again if key not in ("image", "predictions")} == {"weather"}


def test_what_could_not_be_kept_is_counted_of_the_prediction_and_of_its_objects() -> None:
    found = parse_prediction({"image": {"width": 64, "height": 48}, "predictions": [{**BOX, "a": []}] * 2, "b": {}})
    assert found.dropped_extras == 3


def test_an_object_without_unknown_keys_has_none() -> None:
    found = read(BOX, {**BOX, "mask_format": "polygon", "tracker_id": 1})
    assert "extras" not in found.columns.optional
    assert extras_of(found) == [None, None]


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        2**63,
        -(10**400),
        "x" * 129,
        "\ud800",
        [],
        {"red": 1},
        (1,),
        b"red",
        1j,
        np.zeros(2),
        Detection,
    ],
    ids=ascii,
)
def test_what_is_no_plain_value_or_is_too_long_is_left_out_and_counted_and_the_object_stays(value: object) -> None:
    for more in ({}, {"tracker_id": 1}):
        found = read({**BOX, "colour": "red", "strange": value}, {**BOX, **more})
        assert extras_of(found) == [(("colour", "red"),), None]
        assert (found.dropped, found.dropped_extras, found.left_out) == (0, 1, 1)


@pytest.mark.parametrize("key", ["", "x" * (MAX_EXTRA_KEY_LENGTH + 1), "a\nb", "\ud800", 7, None, ("a",)], ids=ascii)
def test_a_key_that_is_no_short_text_is_left_out(key: object) -> None:
    found = read({**BOX, key: 1, "x" * MAX_EXTRA_KEY_LENGTH: 2})
    assert extras_of(found) == [(("x" * MAX_EXTRA_KEY_LENGTH, 2),)]
    assert found.dropped_extras == 1


def test_only_so_many_are_kept_the_first_ones() -> None:
    found = read({**BOX, **{f"key {n}": n for n in range(100)}})
    assert extras_of(found) == [tuple((f"key {n}", n) for n in range(MAX_EXTRAS))]
    assert found.dropped_extras == 100 - MAX_EXTRAS


def test_numbers_and_texts_of_other_types_become_plain_ones() -> None:
    found = read(
        {**BOX, "quality": np.float64(0.5), "age": np.int64(3), "is_new": np.bool_(True), "name": np.str_("a")}
    )
    assert repr(extras_of(found)) == repr([(("quality", 0.5), ("age", 3), ("is_new", True), ("name", "a"))])


def test_they_are_never_taken_for_our_own_keys() -> None:
    """Of a prediction that a Python model has made, with extras under any name."""
    cat = Detection(1.0, 2.0, 3.0, 4.0, 0.5, "cat", 0)
    named = replace(cat, extras=(("x", 99.0), ("tracker_id", 7), ("mask_format", "rle"), ("extras", "kept")))
    made = Detections(task=read().task, objects=(named, cat), width=64, height=48)
    first, second = to_wire(made)["predictions"]
    assert first == {**second, "extras": "kept"}
    assert read(first, second).objects == (replace(cat, extras=(("extras", "kept"),)), cat)


def test_scaling_leaves_them_as_they_are() -> None:
    small = scale_prediction(read({**BOX, "distance": 40.0}, BOX), 32, 24)
    assert isinstance(small, Detections)
    assert extras_of(small) == [(("distance", 40.0),), None]
    assert small.objects[0].x == 5.0

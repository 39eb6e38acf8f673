"""Objects off the wire: read all at once they are those read one by one, whatever comes; and made when asked for."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections import UserDict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framesift.prediction import wire_format as wire
from framesift.prediction.masks import encode_counts
from framesift.prediction.prediction import (
    MAX_OBJECTS,
    BasePrediction,
    Detection,
    Detections,
    Keypoint,
    ObjectColumns,
    Point,
    Task,
    count_classes,
    detections_from_arrays,
    scale_prediction,
    with_origin,
)
from framesift.prediction.wire_objects import read_each, read_objects, write_objects

WIDTH, HEIGHT = 640, 480
BOX = {"x": 10.0, "y": 20.0, "width": 4.0, "height": 6.0, "confidence": 0.5, "class": "cat", "class_id": 3}
CAT = Detection(x=10.0, y=20.0, width=4.0, height=6.0, confidence=0.5, class_name="cat", class_id=3)
RLE = {"size": [HEIGHT, WIDTH], "counts": encode_counts([1000, WIDTH * HEIGHT - 1000])}
WHOLE = {
    **BOX,
    "detection_id": "d",
    "class_confidence": 0.25,
    "tracker_id": 7,
    "parent_id": "p",
    "points": [{"x": 1, "y": 2.5}],
    "rle": RLE,
    "keypoints": [{"x": 1.0, "y": 2.0, "confidence": 0.5, "class": "nose", "class_id": 0}],
}


class Text(str):
    __slots__ = ()


# What JSON can bring, what a Python model can, and what lies at the edges of what is read.
NUMBERS: st.SearchStrategy[object] = st.one_of(
    st.floats(0, 1),
    st.floats(),
    st.integers(-10, 1000),
    st.sampled_from((10**400, -(10**400), 1e6, -1e6, 1e6 + 1, 2**31 - 1, 2**31, 2**63, 2**53 + 1, 1.7e308, -0.0, 0)),
    st.sampled_from((True, False, np.float32(0.1), np.float64(0.5), np.int64(7), np.bool_(True), "0.5", None)),
)
TEXTS: st.SearchStrategy[object] = st.one_of(
    st.sampled_from(("cat", "dog", "", "\x00", "\ud800", "ca\x00t", "x" * 129, "x" * 100, None, 5, 1.0, True, [], {})),
    st.sampled_from((Text("cat"), np.str_("dog"), b"cat")),
    st.text(max_size=5),
)
LISTS: st.SearchStrategy[object] = st.one_of(
    st.lists(st.fixed_dictionaries({"x": NUMBERS, "y": NUMBERS}, optional={"class": TEXTS}), max_size=2),
    st.sampled_from((None, [], 5, "points", {"size": [HEIGHT, WIDTH]}, RLE, [{"x": 1, "y": 2, "class": "nose"}])),
)
VALUES: dict[str, st.SearchStrategy[object]] = {
    **dict.fromkeys(("x", "y", "width", "height", "confidence", "class_id", "class_confidence"), NUMBERS),
    **dict.fromkeys(("class", "detection_id", "parent_id"), TEXTS),
    "tracker_id": TEXTS | NUMBERS,
    **dict.fromkeys(("points", "rle", "keypoints"), LISTS),
}


# Keys that we don't know, with what may be kept and what may not.
EXTRAS: st.SearchStrategy[object] = NUMBERS | TEXTS | LISTS


@st.composite
def _objects(draw: st.DrawFn) -> list[object]:
    """Mostly good objects with the same keys, of which a few have something strange, or lack something."""
    usual = {**BOX, **{name: WHOLE[name] for name in draw(st.sets(st.sampled_from(sorted(WHOLE))))}}
    found: list[object] = []
    usual |= draw(st.dictionaries(st.sampled_from(("colour", "class_name", "extras", "", 7)), EXTRAS, max_size=2))
    for number in range(draw(st.integers(0, 5))):
        made: dict[Any, object] = {**usual, "confidence": number / 7}
        for name in draw(st.sets(st.sampled_from(sorted(VALUES)), max_size=1)):
            made[name] = draw(VALUES[name])
        for name in draw(st.sets(st.sampled_from(sorted(made, key=str)), max_size=draw(st.integers(0, 1)))):
            del made[name]
        if draw(st.integers(0, 4)) == 0:
            made["track_quality"] = draw(EXTRAS)
        if draw(st.integers(0, 9)) == 0:
            made = dict(reversed(made.items()))
        found.append(made)
    strange: st.SearchStrategy[object] = st.sampled_from((None, 5, "cat", [], {}, UserDict(usual), {"x": 1.0}, {3: 4}))
    return found + draw(st.lists(strange, max_size=draw(st.integers(0, 1))))


def same(one: object, other: object) -> bool:
    """Equal, of the same types in every place, and with the same signs of zeros."""
    return one == other and repr(one) == repr(other)


@given(_objects())
@example([BOX, {**BOX, "confidence": 10**400}])
@example([{**BOX, "x": 5, "confidence": 1}, BOX])
@example([{**BOX, "confidence": 1.0005}, BOX])
@example([{**BOX, "confidence": 50}, BOX])
@example([{**BOX, "x": True}, BOX])
@example([{**BOX, "class": ["cat"]}, BOX])
@example([WHOLE, BOX, dict(reversed(WHOLE.items()))])
def test_objects_read_at_once_are_those_read_one_by_one(items: list[object]) -> None:
    expected, dropped_extras = read_each(items, WIDTH, HEIGHT)
    columns, dropped_at_once = read_objects(items, WIDTH, HEIGHT)
    assert same(columns.objects(), expected)
    assert dropped_at_once == dropped_extras
    assert same(ObjectColumns.of(expected).objects(), expected)
    assert columns.optional.keys() == ObjectColumns.of(expected).optional.keys()
    assert len(columns) == len(expected)


@given(_objects())
def test_what_was_read_is_written_and_read_again_as_it_was(items: list[object]) -> None:
    read, _ = read_objects(items, WIDTH, HEIGHT)
    text = json.dumps(write_objects(read), allow_nan=False)
    again, dropped_extras = read_objects(json.loads(text), WIDTH, HEIGHT)
    assert dropped_extras == 0
    assert again.objects() == read.objects()
    assert json.dumps(write_objects(again)) == text


@given(_objects(), st.booleans())
def test_a_prediction_of_columns_is_in_no_way_another(items: list[object], asked: bool) -> None:
    payload = {"image": {"width": WIDTH, "height": HEIGHT}, "predictions": items, "inference_id": "one"}
    of_columns = wire.parse_prediction(payload)
    assert isinstance(of_columns, Detections)
    if asked:
        assert len(of_columns.objects) == len(of_columns.columns)
    objects, dropped_extras = read_each(items, WIDTH, HEIGHT)
    expected = Detections(
        task=of_columns.task,
        objects=objects,
        width=WIDTH,
        height=HEIGHT,
        inference_id="one",
        dropped=len(items) - len(objects),
        dropped_extras=dropped_extras,
    )
    for made in (of_columns, copy.copy(of_columns), copy.deepcopy(of_columns), pickle.loads(pickle.dumps(of_columns))):
        assert made == expected
        assert hash(made) == hash(expected)
        assert repr(made) == repr(expected)
    assert replace(of_columns, model_id="m") == replace(expected, model_id="m") == with_origin(of_columns, model_id="m")
    assert with_origin(expected, model_id="m") == replace(expected, model_id="m")
    assert count_classes(of_columns) == count_classes(expected)
    assert wire.to_wire(of_columns) == wire.to_wire(expected)
    small = scale_prediction(of_columns, 320, 100)
    assert small == scale_prediction(expected, 320, 100)
    assert isinstance(small, Detections)
    assert small.task is expected.task


def test_the_most_confident_of_too_many_are_read() -> None:
    boxes = [{**BOX, "confidence": n / 2000} for n in range(2000)]
    answer = wire.parse_prediction({"image": {"width": WIDTH, "height": HEIGHT}, "predictions": boxes})
    assert isinstance(answer, Detections)
    assert (len(answer.columns), answer.dropped) == (MAX_OBJECTS, 2000 - MAX_OBJECTS)
    assert answer.objects == tuple(replace(CAT, confidence=n / 2000) for n in reversed(range(1000, 2000)))


def test_a_prediction_does_not_follow_what_happens_to_its_json_later() -> None:
    items: list[dict[str, Any]] = [dict(WHOLE), dict(WHOLE)]
    columns, _ = read_objects(items, WIDTH, HEIGHT)
    expected, _ = read_each(items, WIDTH, HEIGHT)
    items[0]["x"] = math.nan
    items[0]["points"].append(5)
    items.pop()
    assert columns.objects() == expected


def test_the_objects_are_made_once() -> None:
    columns, _ = read_objects([BOX], WIDTH, HEIGHT)
    made = Detections.from_columns(columns, task=Task.OBJECT_DETECTION, width=WIDTH, height=HEIGHT)
    assert made.columns is columns
    assert made.objects == (CAT,)
    assert made.objects is made.objects
    of_objects = Detections(task=Task.OBJECT_DETECTION, objects=(CAT,), width=WIDTH, height=HEIGHT)
    assert of_objects.columns is of_objects.columns


def test_what_is_no_attribute_is_named() -> None:
    made = Detections.from_columns(ObjectColumns.of(()), task=Task.OBJECT_DETECTION, width=1, height=1)
    with pytest.raises(AttributeError, match="'Detections' object has no attribute 'object'"):
        getattr(made, "object")  # noqa: B009  # mypy knows better
    assert issubclass(Detections, BasePrediction)


def test_outlines_are_scaled_where_only_some_objects_have_them() -> None:
    outlined = replace(CAT, points=(Point(2.0, 4.0),), keypoints=(Keypoint(2.0, 4.0, 0.5, "nose", 0),))
    before = Detections(task=Task.OBJECT_DETECTION, objects=(CAT, outlined), width=WIDTH, height=HEIGHT)
    after = scale_prediction(before, 320, 120)
    assert isinstance(after, Detections)
    assert after.objects == (
        replace(CAT, x=5.0, y=5.0, width=2.0, height=1.5),
        replace(
            outlined,
            x=5.0,
            y=5.0,
            width=2.0,
            height=1.5,
            points=(Point(1.0, 1.0),),
            keypoints=(Keypoint(1.0, 1.0, 0.5, "nose", 0),),
        ),
    )


def test_arrays_become_the_same_as_their_objects() -> None:
    rng = np.random.default_rng(1)
    boxes, confidences = rng.uniform(-50, 700, (50, 4)).astype(np.float32), rng.random(50).astype(np.float32)
    made = detections_from_arrays(boxes, confidences, np.arange(50) % 3, ("a", "b", "c"), width=WIDTH, height=HEIGHT)
    assert made == Detections(
        task=made.task, objects=made.objects, width=WIDTH, height=HEIGHT, dropped=50 - len(made.objects)
    )
    assert all(type(value) is float for d in made.objects for value in (d.x, d.y, d.width, d.height, d.confidence))
    assert all(type(d.class_id) is int for d in made.objects)
    assert [d.confidence for d in made.objects] == sorted((d.confidence for d in made.objects), reverse=True)


@pytest.mark.parametrize("number", [1000, 2_000_000_000, -1, "0", None])
def test_a_keypoint_without_a_number_that_a_dataset_can_have_is_kept_without_it(number: object) -> None:
    box = {"x": 1.0, "y": 1.0, "width": 2.0, "height": 2.0, "confidence": 0.5, "class": "a"}
    joints = [{"x": 1.0, "y": 1.0, "confidence": 1.0, "class": "tip", "class_id": n} for n in (999, number)]
    answer = {"predictions": [{**box, "keypoints": joints}], "image": {"width": 9, "height": 9}}
    found = wire.parse_prediction(answer)
    assert isinstance(found, Detections)
    assert [(k.class_name, k.class_id) for k in found.objects[0].keypoints or ()] == [("tip", 999), ("tip", -1)]


def test_a_class_without_a_number_is_written_without_one() -> None:
    box = {"x": 1.0, "y": 1.0, "width": 2.0, "height": 2.0, "confidence": 0.5, "class": "a"}
    joint = {"x": 1.0, "y": 1.0, "confidence": 1.0, "class": "tip"}
    size = {"image": {"width": 9, "height": 9}}
    answers: list[dict[str, object]] = [
        {"predictions": [box, {**box, "class_id": 3}]},
        {"predictions": [{**box, "class_id": 0, "keypoints": [joint, {**joint, "class_id": 1}]}]},
        {"predictions": [{"class": "a", "confidence": 0.5}], "top": "a", "confidence": 0.5},
        {
            "predictions": {"a": {"confidence": 0.5}, "b": {"confidence": 0.25, "class_id": 1}},
            "predicted_classes": ["a"],
        },
    ]
    for answer in answers:
        assert wire.to_wire(wire.parse_prediction(answer | size)) == answer | size

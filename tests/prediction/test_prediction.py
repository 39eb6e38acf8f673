"""Predictions: parsed from any input, written and read again, scaled; and the masks in them."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from framesift.prediction import masks
from framesift.prediction import wire_format as wire
from framesift.prediction.masks import Rle
from framesift.prediction.prediction import (
    MAX_CLASS_NAME_LENGTH,
    MAX_OBJECTS,
    Classification,
    ClassScore,
    Detection,
    Detections,
    Keypoint,
    MultiLabel,
    Point,
    Prediction,
    Stub,
    Task,
    count_classes,
    detections_from_arrays,
    scale_prediction,
)

IMAGE = {"width": 640, "height": 480}
BOX = {"x": 10.0, "y": 20.0, "width": 4.0, "height": 6.0, "confidence": 0.5, "class": "cat", "class_id": 3}
CAT = Detection(x=10.0, y=20.0, width=4.0, height=6.0, confidence=0.5, class_name="cat", class_id=3)


def read(*boxes: object, **fields: object) -> Detections:
    answer = wire.parse_prediction({"image": IMAGE, "predictions": list(boxes), **fields})
    assert isinstance(answer, Detections)
    return answer


def seen(*objects: Detection, task: Task = Task.OBJECT_DETECTION, width: int = 640, height: int = 480) -> Detections:
    return Detections(task=task, objects=objects, width=width, height=height)


EVERY_KIND: list[Prediction] = [
    seen(CAT),
    seen(replace(CAT, detection_id="d", class_confidence=0.25, tracker_id=7, parent_id="p")),
    seen(replace(CAT, tracker_id="seven"), task=Task.OBJECT_DETECTION),
    seen(replace(CAT, points=(Point(1.5, 2.0), Point(3.0, 4.0))), task=Task.INSTANCE_SEGMENTATION),
    seen(replace(CAT, rle=Rle(480, 640, masks.encode_counts([1000, 306200]))), task=Task.INSTANCE_SEGMENTATION),
    seen(replace(CAT, keypoints=(Keypoint(1.0, 2.0, 0.5, "nose", 0),)), task=Task.KEYPOINT_DETECTION),
    replace(seen(), inference_id="abc", time_s=0.25),
    Classification(top="cat", confidence=0.9, scores=(ClassScore("cat", 0, 0.9),), width=640, height=480),
    Classification(top="", confidence=0.0, scores=(), parent_id="p", width=640, height=480),
    MultiLabel(scores=(ClassScore("cat", 0, 0.9), ClassScore("dog", 1, 0.1)), predicted=("cat",), width=9, height=8),
    Stub(task=Task.CLASSIFICATION, model_id="proj/0", width=0, height=0),
]


@pytest.mark.parametrize("prediction", EVERY_KIND, ids=lambda p: type(p).__name__)
def test_every_kind_comes_back_from_the_wire_as_it_was(prediction: Prediction) -> None:
    text = json.dumps(wire.to_wire(prediction), allow_nan=False)
    assert wire.parse_prediction(json.loads(text)) == prediction


def test_the_wire_has_the_names_and_places_of_the_inference_server() -> None:
    rle = replace(CAT, rle=Rle(480, 640, "abc"), keypoints=(Keypoint(1.0, 2.0, 0.5, "nose", 0),))
    assert wire.to_wire(seen(rle)) == {
        "image": IMAGE,
        "predictions": [
            {
                **BOX,
                "rle": {"size": [480, 640], "counts": "abc"},
                "mask_format": "rle",
                "keypoints": [{"x": 1.0, "y": 2.0, "confidence": 0.5, "class_id": 0, "class": "nose"}],
            }
        ],
    }
    assert wire.to_wire(EVERY_KIND[-2])["predictions"] == {
        "cat": {"confidence": 0.9, "class_id": 0},
        "dog": {"confidence": 0.1, "class_id": 1},
    }


@pytest.mark.parametrize(
    "broken",
    [
        None,
        "cat",
        [],
        {},
        {**BOX, "confidence": math.nan},
        {**BOX, "confidence": -0.1},
        {**BOX, "confidence": "0.5"},
        {**BOX, "confidence": True},
        {**BOX, "confidence": 10**400},
        {**BOX, "confidence": 50},  # percent
        {**BOX, "confidence": 1.0011},
        {**BOX, "x": math.inf},
        {**BOX, "y": None},
        {**BOX, "x": 1e300},
        {**BOX, "width": -1.0},
        {**BOX, "class": None},
        {**BOX, "class": "\x00\x1b"},
        {**BOX, "points": [{"x": 1.0}]},
        {**BOX, "points": 5},
        {**BOX, "points": "points"},
        {**BOX, "points": [{"x": math.nan, "y": 0.0}]},
        {**BOX, "points": [{"x": 0.0, "y": 0.0}] * 10_001},
        {**BOX, "keypoints": [1]},
        {**BOX, "keypoints": [{"x": 0.0, "y": 0.0}]},
        {**BOX, "keypoints": [{"x": 0.0, "y": 1e300, "class": "nose"}]},
        {**BOX, "rle": "abc"},
        {**BOX, "rle": {"size": [480, 640]}},
        {**BOX, "rle": {"size": [480, 640], "counts": "abc"}},
        {**BOX, "rle": {"size": [480, 640], "counts": "o" * 100_000}},
        {**BOX, "rle": {"size": [480, 640], "counts": [1, 2]}},
        {**BOX, "rle": {"size": [480, 640, 3], "counts": [480 * 640]}},
        {**BOX, "rle": {"size": [240, 320], "counts": [240 * 320]}},
    ],
    ids=repr,
)
def test_a_malformed_object_is_dropped_and_counted_and_costs_nobody_else(broken: object) -> None:
    answer = read(BOX, broken, BOX)
    assert [d.class_name for d in answer.objects] == ["cat", "cat"]
    assert answer.dropped == 1


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (None, "a prediction must be a JSON object, not NoneType"),
        ([], "not list"),
        ({}, "does not say the size"),
        ({"image": {"width": 0, "height": 5}, "predictions": []}, "image.width: 0"),
        ({"image": {"width": 5, "height": math.nan}, "predictions": []}, "image.height: nan"),
        ({"image": {"width": 5, "height": "5"}, "predictions": []}, "image.height: '5'"),
        ({"image": IMAGE}, '"predictions" is missing'),
        ({"image": IMAGE, "predictions": "none"}, "neither a list nor an object"),
        ({"image": IMAGE, "predictions": [], "task_type": "guessing"}, "'guessing' is not one of object-detection"),
        ({"image": IMAGE, "predictions": [], "task_type": ["a"]}, "is not one of"),
        ({"image": IMAGE, "predictions": [], "top": 7}, "a class name must be printable text"),
        ({"image": IMAGE, "predictions": [], "top": "cat", "confidence": math.nan}, "confidence: nan"),
        ({"image": IMAGE, "predictions": {}, "predicted_classes": "cat"}, "predicted_classes: str is not a list"),
        ({"is_stub": True, "task_type": "nothing"}, "is not one of"),
    ],
)
def test_a_value_that_is_no_prediction_is_refused_with_a_reason(payload: object, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        wire.parse_prediction(payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PART = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("x", "y", "width", "height", "confidence", "class", "class_id", "points", "keypoints", "rle", "tracker_id"),
        JSON,
    ),
)


@given(
    st.fixed_dictionaries(
        {"image": st.just(IMAGE) | JSON},
        optional={
            "predictions": st.lists(PART.map(lambda part: BOX | part), max_size=4)
            | st.dictionaries(st.text(max_size=3), PART, max_size=4)
            | JSON,
            "top": JSON,
            "confidence": JSON,
            "predicted_classes": JSON,
            "is_stub": JSON,
            "task_type": JSON,
            "inference_id": JSON,
            "time": JSON,
        },
    )
)
def test_any_input_is_refused_or_becomes_a_prediction_that_json_can_hold(payload: dict[str, object]) -> None:
    try:
        prediction = wire.parse_prediction(payload)
    except ValueError:
        return
    text = json.dumps(wire.to_wire(scale_prediction(prediction, 320, 999)), allow_nan=False)
    text.encode("utf-8")
    if isinstance(prediction, Detections):
        items = payload["predictions"]
        assert isinstance(items, list)
        assert len(prediction.objects) + prediction.dropped == len(items)


def test_of_a_hundred_thousand_boxes_the_most_confident_are_kept() -> None:
    boxes = [{**BOX, "confidence": (i % 1000) / 1000} for i in range(100_000)]
    answer = read(*boxes)
    assert len(answer.objects) == MAX_OBJECTS
    assert answer.dropped == 99_000
    assert min(d.confidence for d in answer.objects) == 0.990


def test_of_too_many_classes_the_most_confident_are_kept() -> None:
    classes = [{"class": f"c{i}", "class_id": i, "confidence": i / 5000} for i in range(5000)]
    answer = wire.parse_prediction({"image": IMAGE, "predictions": classes, "top": "c4999", "confidence": 0.9998})
    assert isinstance(answer, Classification)
    assert answer.scores[0].class_name == "c4999"
    assert (len(answer.scores), answer.dropped) == (MAX_OBJECTS, 4000)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("ca\x00t\x1b[31m\n", "cat[31m"),
        ("\ud800cat", "?cat"),
        ("‮cat", "cat"),
        ("x" * 1_000_000, "x" * MAX_CLASS_NAME_LENGTH),
        ("Fußgänger 行人", "Fußgänger 行人"),
    ],
)
def test_a_class_name_is_safe_to_show_and_store(given: str, kept: str) -> None:
    assert read({**BOX, "class": given}).objects[0].class_name == kept


@pytest.mark.parametrize(("given", "kept"), [(None, -1), ("3", -1), (-5, -1), (1e300, -1), (3.0, 3), (True, -1)])
def test_an_invalid_class_id_is_unknown(given: object, kept: int) -> None:
    assert read({**BOX, "class_id": given}).objects[0].class_id == kept


@pytest.mark.parametrize(
    ("given", "kept"), [(5, 5), ("five", "five"), (True, None), (2**70, None), (1.5, None), (-1, None)]
)
def test_a_tracker_id_is_a_text_or_a_number_that_a_database_can_hold(given: object, kept: object) -> None:
    assert read({**BOX, "tracker_id": given}).objects[0].tracker_id == kept


def test_labels_that_are_not_text_are_counted() -> None:
    answer = wire.parse_prediction(
        {"image": IMAGE, "predictions": {"cat": {}}, "predicted_classes": ["cat", 5, "\x00"]}
    )
    assert isinstance(answer, MultiLabel)
    assert (answer.predicted, answer.scores, answer.dropped) == (("cat",), (), 3)


@pytest.mark.parametrize(
    ("extra", "task"),
    [
        ({}, Task.OBJECT_DETECTION),
        ({"points": [{"x": 1, "y": 2}]}, Task.INSTANCE_SEGMENTATION),
        ({"keypoints": [{"x": 1, "y": 2, "class": "nose"}]}, Task.KEYPOINT_DETECTION),
    ],
)
def test_the_task_follows_from_the_objects_if_it_is_not_named(extra: dict[str, object], task: Task) -> None:
    assert read(BOX, {**BOX, **extra}).task is task
    assert read(BOX, task_type="instance-segmentation").task is Task.INSTANCE_SEGMENTATION
    assert (
        wire.parse_prediction({"image": IMAGE, "predictions": []}, task=Task.KEYPOINT_DETECTION).task
        is Task.KEYPOINT_DETECTION
    )


def test_the_long_name_of_a_multi_label_task_is_understood() -> None:
    assert (
        wire.parse_prediction({"is_stub": True, "task_type": "multi-label-classification"}).task is Task.CLASSIFICATION
    )


def test_the_size_of_the_picture_is_the_callers_where_the_answer_has_none() -> None:
    answer = wire.parse_prediction({"predictions": [BOX]}, width=30, height=40)
    assert (answer.width, answer.height) == (30, 40)
    answer = wire.parse_prediction({"image": IMAGE, "predictions": [BOX]}, width=30, height=40)
    assert (answer.width, answer.height) == (640, 480)


# Scaling


def test_each_axis_is_scaled_by_its_own_factor_in_all_coordinates() -> None:
    whole = replace(CAT, points=(Point(2.0, 3.0),), keypoints=(Keypoint(4.0, 5.0, 0.5, "nose", 0),))
    smaller = scale_prediction(seen(whole), 320, 160)
    assert isinstance(smaller, Detections)
    (found,) = smaller.objects
    assert (smaller.width, smaller.height) == (320, 160)
    assert (found.x, found.width) == (5.0, 2.0)
    assert (found.y, found.height) == pytest.approx((20 / 3, 2.0))
    assert found.points == (Point(1.0, 1.0),)
    assert found.keypoints is not None
    assert (found.keypoints[0].x, found.keypoints[0].y) == pytest.approx((2.0, 5 / 3))
    assert found.confidence == 0.5


def test_scaling_changes_nothing_in_place_and_nothing_at_the_same_size() -> None:
    before = seen(CAT)
    assert scale_prediction(before, 640, 480) is before
    scale_prediction(before, 320, 240)
    assert before == seen(CAT)


def test_a_mask_is_scaled_with_its_picture() -> None:
    mask = np.zeros((4, 8), np.uint8)
    mask[:2, 4:] = 1
    before = seen(replace(CAT, rle=masks.encode_mask(mask)), width=8, height=4, task=Task.INSTANCE_SEGMENTATION)
    after = scale_prediction(before, 4, 4)
    assert isinstance(after, Detections)
    assert after.objects[0].rle is not None
    expected = np.zeros((4, 4), np.uint8)
    expected[:2, 2:] = 1
    assert np.array_equal(masks.decode_mask(after.objects[0].rle), expected)


@pytest.mark.parametrize("prediction", EVERY_KIND[-4:], ids=lambda p: type(p).__name__)
def test_a_prediction_without_coordinates_gets_the_new_size(prediction: Prediction) -> None:
    assert scale_prediction(prediction, 5, 4) == replace(prediction, width=5, height=4)


# Detections from arrays


def from_arrays(boxes: list[list[float]], confidences: list[float], ids: list[int]) -> Detections:
    return detections_from_arrays(
        np.array(boxes, np.float32), np.array(confidences, np.float32), np.array(ids), ("a", "b"), width=100, height=50
    )


def test_corners_become_centre_and_size_clipped_to_the_picture_most_confident_first() -> None:
    answer = from_arrays([[10, 10, 30, 20], [-20, -10, 10, 10], [90, 40, 500, 500]], [0.25, 0.75, 0.5], [0, 1, 0])
    assert [(d.x, d.y, d.width, d.height, d.class_name) for d in answer.objects] == [
        (5.0, 5.0, 10.0, 10.0, "b"),
        (95.0, 45.0, 10.0, 10.0, "a"),
        (20.0, 15.0, 20.0, 10.0, "a"),
    ]
    assert answer.dropped == 0


@pytest.mark.parametrize(
    ("box", "confidence", "class_id"),
    [
        ([math.nan, 0, 5, 5], 0.5, 0),
        ([0, 0, math.inf, 5], 0.5, 0),
        ([0, 0, 5, 5], math.nan, 0),
        ([0, 0, 5, 5], -0.5, 0),
        ([0, 0, 5, 5], 50, 0),  # percent
        ([0, 0, 5, 5], 0.5, 2),
        ([0, 0, 5, 5], 0.5, -1),
        ([5, 5, 5, 9], 0.5, 0),
        ([5, 5, 9, 5], 0.5, 0),
        ([200, 0, 300, 5], 0.5, 0),
        ([9, 0, 5, 5], 0.5, 0),
    ],
)
def test_an_invalid_box_is_dropped_and_counted(box: list[float], confidence: float, class_id: int) -> None:
    answer = from_arrays([box, [0, 0, 5, 5]], [confidence, 0.5], [class_id, 1])
    assert [d.class_name for d in answer.objects] == ["b"]
    assert answer.dropped == 1


def test_a_confidence_that_rounding_left_above_one_is_one() -> None:
    assert from_arrays([[0, 0, 5, 5]], [1.0009], [0]).objects[0].confidence == 1.0
    assert read({**BOX, "confidence": 1.0009}).objects[0].confidence == 1.0


def test_of_too_many_boxes_the_most_confident_are_kept() -> None:
    many = MAX_OBJECTS + 5
    answer = from_arrays([[0, 0, 5, 5]] * many, [i / many for i in range(many)], [0] * many)
    assert (len(answer.objects), answer.dropped) == (MAX_OBJECTS, 5)
    assert answer.objects[-1].confidence == pytest.approx(5 / many)


def test_predicted_classes_are_objects_or_labels_and_nothing_for_a_stub() -> None:
    assert count_classes(seen(CAT, CAT, replace(CAT, class_name="dog"))) == {"cat": 2, "dog": 1}
    assert [dict(count_classes(p)) for p in EVERY_KIND[-4:]] == [{"cat": 1}, {}, {"cat": 1}, {}]


# Masks


def plain_counts(mask: NDArray[np.uint8]) -> list[int]:
    """Runs of zeros and ones in turn, down the columns, counted one pixel at a time."""
    runs, value = [0], 0
    for pixel in (int(mask[row, column]) for column in range(mask.shape[1]) for row in range(mask.shape[0])):
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def plain_text(runs: list[int]) -> str:
    """COCO's text of runs, by arithmetic on bits as characters: groups of 5, the lowest first, in two's complement."""
    text = ""
    for i, run in enumerate(runs):
        number = run - runs[i - 2] if i > 2 else run
        groups = 1
        while not -(2 ** (5 * groups - 1)) <= number < 2 ** (5 * groups - 1):
            groups += 1
        bits = format(number % 2 ** (5 * groups), f"0{5 * groups}b")
        fives = [bits[start : start + 5] for start in range(0, len(bits), 5)][::-1]
        text += "".join(chr(int(("0" if five is fives[-1] else "1") + five, 2) + 48) for five in fives)
    return text


MASKS = arrays.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 1))


@given(MASKS)
def test_a_mask_packs_as_the_plain_reference_does_and_comes_back(mask: NDArray[np.uint8]) -> None:
    rle = masks.encode_mask(mask)
    assert rle == Rle(mask.shape[0], mask.shape[1], plain_text(plain_counts(mask)))
    assert np.array_equal(masks.decode_mask(rle), mask)
    assert masks.parse_rle(mask.shape, rle.counts) == masks.parse_rle(mask.shape, plain_counts(mask)) == rle


@given(st.lists(st.integers(0, 2**28), max_size=12))
def test_runs_of_any_length_pack_as_the_plain_reference_does_and_come_back(runs: list[int]) -> None:
    assert masks.encode_counts(runs) == plain_text(runs)
    assert masks.decode_counts(masks.encode_counts(runs)) == runs


def test_a_known_text_of_the_coco_format_is_read() -> None:
    # 6 x 6, a 3 x 3 square from row 1, column 2: 13 zeros, then 3 ones and 3 zeros in turn, 8 zeros at last.
    assert masks.parse_rle((6, 6), "=330005") == masks.parse_rle((6, 6), [13, 3, 3, 3, 3, 3, 8])


@pytest.mark.parametrize(
    ("size", "counts", "expected"),
    [
        ((2, 2), [5], "do not fill"),
        ((2, 2), [-1, 5], "do not fill"),
        ((0, 5), [], "do not fill"),
        ((-2, -2), [4], "do not fill"),
        ((2, 2), "o", "end inside a number"),
        ((2, 2), "é", "hold the character"),
        ((2, 2), "o" * 1000, "larger than any picture"),
        ((100_000, 100_000), [10**10], "larger than any camera's picture"),
    ],
)
def test_a_broken_mask_is_refused_before_it_takes_memory(
    size: tuple[int, int], counts: str | list[int], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        masks.parse_rle(size, counts)


def test_a_resized_mask_keeps_its_shape() -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[10:20, 20:40] = 1
    larger = masks.decode_mask(masks.resize_rle(masks.encode_mask(mask), 60, 120))
    expected = np.zeros((60, 120), np.uint8)
    expected[20:40, 60:120] = 1
    assert np.array_equal(larger, expected)
    assert masks.resize_rle(masks.encode_mask(mask), 30, 40) == masks.encode_mask(mask)

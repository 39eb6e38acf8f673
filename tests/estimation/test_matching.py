"""Predictions are compared with labels: by class, the most confident first, each label once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from framesift.estimation.matching import LabelledObject, PictureCounts, compare, count_predicted
from framesift.prediction.wire_format import parse_prediction
from rigs.baseline_folder import SIZE, found_object, label, objects

CAR = "car"


def labelled(class_name: str, x: float, y: float = 50.0) -> LabelledObject:
    """A label of 20 x 20 pixels."""
    w, h = SIZE
    return LabelledObject(class_name, ((x - 10) / w, (y - 10) / h, (x + 10) / w, (y + 10) / h))


def counts(found: dict[str, Any], labels: list[LabelledObject], **options: Any) -> PictureCounts:
    return compare(parse_prediction(found), labels, **({"confidence": 0.5, "iou": 0.5} | options))


def test_an_object_is_right_where_a_label_of_its_class_is() -> None:
    found = counts(objects(found_object(CAR, 50), found_object(CAR, 150)), [labelled(CAR, 50), labelled("bus", 150)])
    assert found == PictureCounts(Counter(car=2), Counter(car=1), Counter(car=1, bus=1))


@pytest.mark.parametrize(("shift", "right"), [(6.6, 1), (6.7, 0)])  # IoU (20 - s) / (20 + s): 0.504 and 0.498
def test_it_must_overlap_by_the_iou(shift: float, right: int) -> None:
    assert counts(objects(found_object(CAR, 50 + shift)), [labelled(CAR, 50)]).right.total() == right
    assert counts(objects(found_object(CAR, 50, y=50 + shift)), [labelled(CAR, 50)]).right.total() == right


def test_a_label_is_found_once() -> None:
    found = counts(objects(found_object(CAR, 50), found_object(CAR, 51)), [labelled(CAR, 50)])
    assert (found.predicted[CAR], found.right[CAR]) == (2, 1)


def test_the_most_confident_object_chooses_first() -> None:
    # The object at 53 overlaps both labels alike and would take the first one, which is the only one for that at 50.
    both = [found_object(CAR, 53, confidence=0.6), found_object(CAR, 50, confidence=0.9)]
    assert counts(objects(*both), [labelled(CAR, 50), labelled(CAR, 56)], iou=0.6).right[CAR] == 2
    others = [both[0] | {"confidence": 0.95}, both[1]]
    assert counts(objects(*others), [labelled(CAR, 50), labelled(CAR, 56)], iou=0.6).right[CAR] == 1


def test_it_takes_the_label_that_it_overlaps_most() -> None:
    both = [found_object(CAR, 53, confidence=0.9), found_object(CAR, 47, confidence=0.6)]
    assert counts(objects(*both), [labelled(CAR, 50), labelled(CAR, 54)]).right[CAR] == 2
    assert counts(objects(*both), [labelled(CAR, 50), labelled(CAR, 80)]).right[CAR] == 1


def test_objects_below_the_confidence_are_not_there() -> None:
    found = objects(found_object(CAR, confidence=0.5), found_object("bus", confidence=0.49))
    assert counts(found, [labelled(CAR, 50)]).predicted == Counter(car=1)
    assert count_predicted(parse_prediction(found), 0.4) == Counter(car=1, bus=1)


def test_a_box_that_leaves_the_picture_counts_as_far_as_it_lies_in_it() -> None:
    inside = LabelledObject(CAR, (0.0, 0.4, 0.05, 0.6))
    assert counts(objects(found_object(CAR, 0)), [inside], iou=0.99).right[CAR] == 1


def test_an_empty_picture_is_compared_too() -> None:
    assert counts(objects(), []) == PictureCounts(Counter(), Counter(), Counter())
    assert counts(objects(), [labelled(CAR, 50)]).actual == Counter(car=1)
    assert counts(objects(found_object(CAR)), []).right == Counter()


def test_a_label_of_a_classifier_is_right_whatever_its_confidence() -> None:
    right = counts(label("car"), [LabelledObject("car", None)], confidence=0.99)
    assert right == PictureCounts(Counter(car=1), Counter(car=1), Counter(car=1))
    assert counts(label("bus"), [LabelledObject("car", None)]).right == Counter()


def test_many_labels_of_one_picture_count_each_once() -> None:
    several = {"image": {"width": 9, "height": 9}, "predictions": {}, "predicted_classes": ["car", "bus"]}
    boxes = [LabelledObject("car", (0.0, 0.0, 0.5, 0.5)), LabelledObject("car", (0.5, 0.5, 1.0, 1.0))]
    assert counts(several, boxes) == PictureCounts(Counter(car=1, bus=1), Counter(car=1), Counter(car=1))

"""Zones: which objects lie in them, by exact arithmetic, and that it is worked out once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framesift.prediction.prediction import Detection, Detections, Prediction, Task
from framesift.strategies.zones import Anchor, PlacedObjects, Zones, zones_of
from sampling_data import label, labels, objects, stub

LOWER_HALF = ((0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0))
LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
# A star in one line: by the even-odd rule its middle is outside.
STAR = ((0.5, 0.0), (0.8125, 1.0), (0.0, 0.375), (1.0, 0.375), (0.1875, 1.0))


def boxes(*found: tuple[float, float, float, float], **fields: Any) -> Detections:
    """Objects a, b, ... of these boxes (centre and size, in pixels) in a picture of 100 x 50."""
    parts = tuple(Detection(*box, 0.5, chr(ord("a") + i), i, **fields) for i, box in enumerate(found))
    return Detections(task=Task.OBJECT_DETECTION, objects=parts, width=100, height=50, model_id="m/1", dropped=2)


def within(prediction: Prediction, *polygons: tuple[tuple[float, float], ...], anchor: Anchor = "bottom") -> str:
    """The names of the objects in these zones."""
    found = PlacedObjects(prediction).within(zones_of(polygons, anchor))
    assert found is not None
    return "".join(one.class_name for one in found.objects)


def is_inside(corners: list[tuple[int, int]], x: int, y: int) -> bool:
    """The same for one point, edge after edge, in exact arithmetic."""
    inside = False
    for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
        if (y1 > y) != (y2 > y):
            crossing = x1 + Fraction((y - y1) * (x2 - x1), y2 - y1)
            if crossing == x:
                return True
            inside ^= x < crossing
        elif (x, y) in ((x1, y1), (x2, y2)) or (y1 == y == y2 and min(x1, x2) <= x <= max(x1, x2)):
            return True
    return inside


GRID = st.tuples(st.integers(0, 16), st.integers(0, 16))


def have(polygons: Sequence[Sequence[tuple[float, float]]], points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which points lie in the polygons."""
    x, y = np.array(points, np.float64).T
    return [bool(one) for one in Zones(polygons, "bottom").have(x, y)]


@given(
    st.lists(st.lists(GRID, min_size=3, max_size=9), min_size=1, max_size=3), st.lists(GRID, min_size=1, max_size=30)
)
def test_a_point_is_inside_by_the_even_odd_rule_and_so_is_an_edge(
    polygons: list[list[tuple[int, int]]], points: list[tuple[int, int]]
) -> None:
    # Sixteenths are exact, so that a point on an edge is surely on it.
    found = have(
        [[(x / 16, y / 16) for x, y in corners] for corners in polygons], [(x / 16, y / 16) for x, y in points]
    )
    assert found == [any(is_inside(corners, *point) for corners in polygons) for point in points]


def test_a_star_has_its_tips_and_not_its_middle() -> None:
    points = [(0.5, 0.125), (0.5, 0.5), (0.125, 0.4), (0.5, 0.375), (0.9, 0.9)]
    assert have([STAR], points) == [True, False, True, True, False]


def test_a_thousand_objects_are_compared_with_the_largest_zones() -> None:
    circle = [
        (0.25 + 0.25 * math.cos(k * math.tau / 256), 0.5 + 0.25 * math.sin(k * math.tau / 256)) for k in range(256)
    ]
    points = [(i / 1000, 0.5) for i in range(1000)]
    assert have([circle] * 32, points) == [i <= 500 for i in range(1000)]


def test_an_object_stands_on_the_middle_of_its_lower_edge_or_at_its_centre() -> None:
    # In pixels, the zone begins at y = 25. The first one reaches into it, the second is in it, the third isn't.
    prediction = boxes((10, 20, 8, 20), (10, 40, 8, 10), (10, 10, 8, 10))
    assert within(prediction, LOWER_HALF) == "ab"
    assert within(prediction, LOWER_HALF, anchor="centre") == "b"


def test_across_the_picture_it_is_always_the_middle_of_the_box() -> None:
    prediction = boxes((50, 20, 90, 10), (50.1, 20, 90, 10), (0, 20, 2, 10))
    assert within(prediction, LEFT_HALF) == "ac"


def test_what_is_cut_by_the_pictures_edge_or_lies_beyond_it_is_at_the_edge() -> None:
    # A box that ends with the picture may end a little below it: its centre is a rounded number.
    prediction = boxes((10, 49.9, 4, 0.2 + 1e-13), (10, 60, 4, 40), (-5, 45, 4, 4), (10, -30, 4, 4))
    assert within(prediction, LOWER_HALF) == "abc"


def test_one_of_several_zones_is_enough_and_where_two_overlap_an_object_is_in_both() -> None:
    prediction = boxes((10, 10, 4, 4), (90, 40, 4, 4), (10, 40, 4, 4), (90, 10, 4, 4))
    assert within(prediction, LEFT_HALF, LOWER_HALF) == "abc"
    assert within(prediction, LEFT_HALF, LEFT_HALF) == "ac"


def test_a_place_that_is_no_number_is_in_no_zone() -> None:
    prediction = boxes((float("nan"), 40, 4, 4), (10, float("nan"), 4, 4), (10, 40, 4, float("nan")), (10, 40, 4, 4))
    assert within(prediction, LOWER_HALF) == "d"


def test_an_object_keeps_all_that_it_has_and_the_prediction_too() -> None:
    prediction = boxes((10, 10, 4, 4), (10, 40, 4, 4), tracker_id=7)
    found = PlacedObjects(prediction).within(zones_of((LOWER_HALF,), "bottom"))
    assert found == Detections(
        task=prediction.task, objects=prediction.objects[1:], width=100, height=50, model_id="m/1", dropped=2
    )
    assert len(prediction.objects) == 2


@pytest.mark.parametrize(
    "prediction", [stub(), label("a", 0.5), labels(("a", 0.5)), objects(("a", 0.5), task=Task.SEMANTIC_SEGMENTATION)]
)
def test_what_has_no_boxes_has_nothing_in_zones(prediction: Prediction) -> None:
    assert PlacedObjects(prediction).within(zones_of((LOWER_HALF,), "bottom")) is None


def test_a_prediction_without_objects_has_none_in_zones() -> None:
    assert within(boxes(), LOWER_HALF, LEFT_HALF) == ""


def test_what_lies_in_the_same_zones_is_worked_out_once_for_a_prediction() -> None:
    placed = PlacedObjects(boxes((10, 40, 4, 4)))
    first, second = (placed.within(zones_of((LOWER_HALF,), "bottom")) for _ in range(2))
    assert first is second
    assert placed.within(zones_of((LEFT_HALF,), "bottom")) is not first


def test_strategies_with_equal_polygons_have_the_same_zones() -> None:
    assert zones_of((LOWER_HALF,), "bottom") is zones_of((tuple(LOWER_HALF),), "bottom")
    assert zones_of((LOWER_HALF,), "bottom") is not zones_of((LOWER_HALF,), "centre")

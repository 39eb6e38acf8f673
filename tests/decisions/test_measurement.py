"""What a strategy measured, and how near it was to wanting the frame."""

from __future__ import annotations

import math
from typing import Any

import pytest

from framesift.decisions.measurement import NEARLY, Draw, Measurement, Relation, ValueGauge
from framesift.prediction.confidences import Confidences
from framesift.prediction.prediction import Prediction
from framesift.strategies import AcceptedClasses
from framesift.strategies.strategy import Measures
from sampling_data import FixedRandom, frame, label, labels, objects, options, stub


@pytest.mark.parametrize(
    ("relation", "value", "bound", "nearness"),
    [
        (">=", 0.5, 0.5, 0.0),
        (">=", 0.45, 0.5, -0.1),
        (">=", 0.75, 0.5, 0.5),
        ("<", 0.1, 0.1, 0.0),
        ("<", 0.05, 0.1, 0.5),
        ("<", 0.2, 0.1, -1.0),
        (">", 3, 3, 0.0),
        (">", 4, 3, 1 / 3),
        (">=", 0.2, 0.0, 0.2),
    ],
)
def test_nearness_is_by_which_part_of_the_bound_the_value_is_on_its_right_side(
    relation: Relation, value: float, bound: float, nearness: float
) -> None:
    gauge = ValueGauge("score", relation, bound)
    assert gauge.nearness() == -math.inf
    gauge.value = value
    assert gauge.nearness() == pytest.approx(nearness)


@pytest.mark.parametrize(("drawn", "nearness"), [(0.19, 0.5), (0.2, 0.0), (0.22, -0.1), (0.4, -1.0)])
def test_where_something_was_drawn_and_lost_the_draw_decides(drawn: float, nearness: float) -> None:
    draw = Draw(0.2, FixedRandom(drawn))
    gauge = ValueGauge("score", ">=", 0.5, draw)
    gauge.value = 0.75
    assert gauge.nearness() == pytest.approx(0.5)
    draw.wins()
    assert gauge.nearness() == pytest.approx(nearness)
    assert gauge.measurement() == Measurement("score", 0.75, ">=", 0.5, drawn, 0.2)


@pytest.mark.parametrize(("drawn", "nearness"), [(0.1, 0.5), (0.2, 0.0), (0.4, -1.0)])
def test_a_draw_shows_by_how_much_it_was_won_or_lost(drawn: float, nearness: float) -> None:
    draw = Draw(0.2, FixedRandom(drawn))
    assert (draw.nearness(), draw.measurement()) == (-math.inf, None)
    draw.wins()
    assert draw.nearness() == pytest.approx(nearness)
    assert draw.measurement() == Measurement("draw", drawn, "<", 0.2)


def test_a_draw_is_remembered_until_the_next_frame() -> None:
    draw = Draw(0.5, FixedRandom(0.2, 0.7))
    seen = [draw.latest]
    for _ in range(2):
        seen += [draw.wins(), draw.latest]
    draw.skip()
    assert [*seen, draw.latest] == [None, True, 0.2, False, 0.7, None]


_UNSURE = {"type": "uncertainty", "minimum_score": 0.5, "aggregation": "max"}
_CLOSE = {"type": "close_to_threshold", "threshold": 0.5, "epsilon": 0.1, "probability": 0.5}
_COUNT = {"type": "detections_number_based", "probability": 0.5}


@pytest.mark.parametrize(
    ("fields", "prediction", "measured"),
    [
        ({"type": "random", "traffic_percentage": 0.5}, stub(), Measurement("draw", 0.25, "<", 0.5)),
        (_UNSURE, objects(("car", 0.5)), Measurement("uncertainty", 1.0, ">=", 0.5, 0.25, 1.0)),
        (_UNSURE, objects(("car", 0.9)), Measurement("uncertainty", 0.2, ">=", 0.5)),
        (_UNSURE, objects(), None),
        (
            _CLOSE,
            objects(("car", 0.9), ("bus", 0.45)),
            Measurement("distance from the threshold", 0.05, "<", 0.1, 0.25, 0.5),
        ),
        (
            {**_CLOSE, "minimum_objects_close_to_threshold": 2},
            objects(("car", 0.9), ("bus", 0.45)),
            Measurement("distance of 2 objects from the threshold", 0.4, "<", 0.1, None, 0.5),
        ),
        ({**_CLOSE, "selected_class_names": ["dog"]}, objects(("car", 0.5)), None),
        (
            _CLOSE,
            label("cat", 0.7),
            Measurement("distance from the threshold", 0.2, "<", 0.1, None, 0.5),
        ),
        (_CLOSE, stub(), None),
        (
            {"type": "classes_based", "selected_class_names": ["cat"], "probability": 0.5},
            label("cat", 0.9),
            Measurement("draw", 0.25, "<", 0.5),
        ),
        ({"type": "classes_based", "selected_class_names": ["cat"], "probability": 0.5}, label("dog", 0.9), None),
        (
            {**_COUNT, "more_than": 1},
            objects(("car", 0.9), ("bus", 0.8)),
            Measurement("number of objects", 2, ">", 1, 0.25, 0.5),
        ),
        (
            {**_COUNT, "more_than": 1, "less_than": 3},
            objects(*[("car", 0.9)] * 4),
            Measurement("number of objects", 4, "<", 3, None, 0.5),
        ),
        ({**_COUNT, "less_than": 3}, objects(), Measurement("number of objects", 0, "<", 3, 0.25, 0.5)),
        (
            {"type": "temporal_inconsistency", "minimum_events": 2},
            labels(("cat", 0.9), predicted=("cat",)),
            Measurement("contradictions", 0, ">=", 2),
        ),
        ({"type": "track_end"}, objects(("car", 0.9)), Measurement("ended tracks", 0, ">=", 1)),
    ],
)
def test_strategies_tell_what_they_measured(
    fields: dict[str, Any], prediction: Prediction, measured: Measurement | None
) -> None:
    strategy = options(**fields).create(FixedRandom(0.25), AcceptedClasses())
    assert isinstance(strategy, Measures)
    strategy.evaluate(frame(), objects(("car", 0.5)))  # of which nothing may be left
    match = strategy.evaluate(frame(number=1), prediction)
    gauge = strategy.gauge
    found = gauge.measurement()
    assert (found is None) is (measured is None)
    if found is not None and measured is not None:
        assert found.value == pytest.approx(measured.value)
        assert found._replace(value=0) == measured._replace(value=0)
    assert (match is not None) is (gauge.nearness() >= 0)


def test_the_distance_of_the_nearest_confidences() -> None:
    confidences = Confidences([0.9, 0.2, math.nan, 0.55])
    assert confidences.distance_of_nearest(0.5) == pytest.approx(0.05)
    assert confidences.distance_of_nearest(0.0) == pytest.approx(0.2)
    assert confidences.distance_of_nearest(1.0) == pytest.approx(0.1)
    assert confidences.distance_of_nearest(0.5, 3) == pytest.approx(0.4)
    assert confidences.distance_of_nearest(0.5, 4) == math.inf
    assert Confidences([]).distance_of_nearest(0.5) == math.inf
    assert NEARLY == 0.1

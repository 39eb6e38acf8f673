"""Strategies look at all objects at once, and decide as if they looked at one after the other."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framesift.strategies import AcceptedClasses
from sampling_data import consider, objects

CONFIDENCES = st.one_of(
    st.floats(0, 1),
    st.sampled_from(
        (0.0, -0.0, 0.1, 0.3, 0.4, 0.5, 0.6, 0.7, 0.1 + 0.2, math.nextafter(0.6, 1), 1.0, 1.0000000000000002)
    ),
    st.sampled_from((1.5, 7.0, 1.7e308, 5e-324)),
    st.sampled_from((-0.5, math.nan)),  # of objects that were never read off the wire
)
FRACTIONS = CONFIDENCES.filter(lambda c: 0 <= c <= 1)
FOUND = st.lists(st.tuples(st.sampled_from(("car", "bus", "dog")), CONFIDENCES), max_size=30)
SELECTED = st.none() | st.lists(st.sampled_from(("car", "bus", "cat")), max_size=3)


def _counted(found: list[tuple[str, float]], selected: list[str] | None) -> list[float]:
    return [confidence for name, confidence in found if selected is None or name in selected]


@given(FOUND, SELECTED, FRACTIONS, FRACTIONS, st.integers(0, 4))
@example([("car", 0.6)], None, 0.5, 0.1, 1)  # 0.6 - 0.5 is less than 0.1 in floats
@example([("car", 0.4)], None, 0.5, 0.1, 1)
@example([("car", 0.1 + 0.2)], None, 0.3, 0.0, 1)
def test_close_to_threshold_counts_as_one_by_one(
    found: list[tuple[str, float]], selected: list[str] | None, threshold: float, epsilon: float, least: int
) -> None:
    match, drawn = consider(
        objects(*found),
        0.0,
        type="close_to_threshold",
        threshold=threshold,
        epsilon=epsilon,
        probability=1.0,
        selected_class_names=selected,
        minimum_objects_close_to_threshold=least,
    )
    near = sum(abs(confidence - threshold) < epsilon for confidence in _counted(found, selected))
    assert (match is not None) is (near >= least)
    assert drawn == (near >= least)


@given(FOUND, SELECTED, st.integers(0, 9))
def test_detections_number_based_counts_as_one_by_one(
    found: list[tuple[str, float]], selected: list[str] | None, more_than: int
) -> None:
    match, _ = consider(
        objects(*found),
        0.0,
        type="detections_number_based",
        probability=1.0,
        selected_class_names=selected,
        more_than=more_than,
    )
    count = sum(abs(confidence - 0.5) < 1.0 for confidence in _counted(found, selected))
    assert (match is not None) is (count > more_than)


@pytest.mark.parametrize("aggregation", ["sum", "max", "mean"])
@given(found=FOUND, selected=SELECTED, balanced=st.booleans())
def test_uncertainty_has_to_the_last_bit_the_score_of_one_by_one(
    aggregation: str, found: list[tuple[str, float]], selected: list[str] | None, balanced: bool
) -> None:
    more: dict[str, Any] = {"class_balance": True, "initial_counts": {"car": 3}} if balanced else {}
    match, _ = consider(
        objects(*found),
        0.0,
        accepted=AcceptedClasses({"bus": 7}),
        type="uncertainty",
        aggregation=aggregation,
        selected_class_names=selected,
        **more,
    )
    weights = {"car": math.sqrt(4), "bus": math.sqrt(8)} if balanced else {}
    each = [
        max(0.0, 1 - abs(2 * confidence - 1)) / weights.get(name, 1.0)
        for name, confidence in found
        if selected is None or name in selected
    ]
    if not each:
        assert match is None
        return
    expected = {"sum": sum(each), "max": max(each), "mean": sum(each) / len(each)}[aggregation]
    assert match is not None
    assert match.score == expected
    assert type(match.score) is float

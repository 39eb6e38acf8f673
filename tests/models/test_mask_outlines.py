"""Polygons of logits lie where the logits are above 0, inside their box."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from framesift.models.onnx.mask_outlines import polygon_of_logits


def extent(found: NDArray[np.float64] | None) -> list[float]:
    assert found is not None
    return [*found.min(axis=0).tolist(), *found.max(axis=0).tolist()]


@pytest.mark.parametrize("left", [0.0, 9.0])
def test_logits_are_spread_over_the_picture_from_middle_to_middle(left: float) -> None:
    # A slope that is 0 at x = 30: the logit at place i stands for x = 4 i + 2.
    slope = np.tile(4.0 * np.arange(16) + 2 - 30, (8, 1))
    found = polygon_of_logits(slope, np.array([left, 0.0, 64.0, 32.0]), 32, 64)
    assert extent(found) == [30, 0, 64, 32]
    down = polygon_of_logits(slope.T, np.array([0.0, left, 32.0, 64.0]), 64, 32)
    assert extent(down) == [0, 30, 32, 64]


def test_a_pixel_is_inside_a_box_where_its_middle_is() -> None:
    everywhere = np.ones((16, 16))
    found = polygon_of_logits(everywhere, np.array([10.5, 10.4, 20.5, 20.6]), 64, 64)
    assert extent(found) == [10, 10, 20, 21]


@pytest.mark.parametrize(
    "box", [(5.1, 5.1, 5.4, 20.0), (20.0, 5.0, 10.0, 30.0), (70.0, 0.0, 90.0, 10.0), (-9.0, -9.0, -1.0, -1.0)]
)
def test_a_box_without_pixels_has_no_outline(box: tuple[float, ...]) -> None:
    assert polygon_of_logits(np.ones((16, 16)), np.array(box), 64, 64) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, -1.0])
def test_logits_that_are_nowhere_a_number_above_zero_have_no_outline(value: float) -> None:
    assert polygon_of_logits(np.full((16, 16), value), np.array([0.0, 0.0, 64.0, 64.0]), 64, 64) is None


def test_the_picture_need_not_be_a_multiple_of_the_mask() -> None:
    logits = np.full((7, 9), -1.0)
    logits[2:5, 3:6] = 1.0
    found = polygon_of_logits(logits, np.array([0.0, 0.0, 100.0, 50.0]), 50, 100)
    assert extent(found) == pytest.approx([3 * 100 / 9, 2 * 50 / 7, 6 * 100 / 9, 5 * 50 / 7], abs=1)

"""Outlines run along the edges of pixels, and no longer than they must."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from framesift.models.outlines import MOST_CORNERS, outline, outline_of_logits


def corners_of(found: NDArray[np.float64] | None) -> set[tuple[float, float]]:
    assert found is not None
    return {(x, y) for x, y in found.tolist()}


def extent(found: NDArray[np.float64] | None) -> list[float]:
    assert found is not None
    return [*found.min(axis=0).tolist(), *found.max(axis=0).tolist()]


def test_one_pixel_is_a_square() -> None:
    mask = np.zeros((5, 7), bool)
    assert outline(mask) is None
    mask[2, 3] = True
    assert corners_of(outline(mask)) == {(3, 2), (4, 2), (4, 3), (3, 3)}


def test_of_several_pieces_the_largest_is_outlined_without_its_holes() -> None:
    mask = np.zeros((40, 40), bool)
    mask[1:3, 1:3] = mask[10:20, 10:30] = mask[30:35, 30:35] = True
    mask[13:16, 15:20] = False
    assert corners_of(outline(mask)) == {(10, 10), (30, 10), (30, 20), (10, 20)}


def test_an_outline_has_a_bounded_number_of_corners() -> None:
    comb = np.zeros((10, 8000), bool)
    comb[5:] = True
    comb[:, ::4] = comb[:, 1::4] = True
    found = outline(comb)
    assert found is not None
    assert 3 <= len(found) <= MOST_CORNERS
    assert extent(found)[2:] == pytest.approx([8000, 10], abs=40)


@settings(max_examples=30)
@given(st.integers(8, 60), st.integers(5, 25), st.integers(5, 25), st.integers(0, 180))
def test_an_outline_stays_within_a_pixel_of_the_mask(centre: int, across: int, down: int, angle: int) -> None:
    drawn = np.zeros((70, 70), np.uint8)
    cv2.ellipse(drawn, (centre, 35), (across, down), angle, 0, 360, 1, -1)
    found = outline(drawn > 0)
    assert found is not None
    inside = np.zeros((280, 280), np.uint8)
    cv2.fillPoly(inside, [np.round(found * 4 - 0.5).astype(np.int32)], 1)
    pixels = inside[2::4, 2::4] > 0
    around = np.ones((5, 5), np.uint8)
    most, least = np.asarray(cv2.dilate(drawn, around)) > 0, np.asarray(cv2.erode(drawn, around, borderValue=0)) > 0
    assert not (pixels & ~most).any()
    assert not (least & ~pixels).any()


@pytest.mark.parametrize("left", [0.0, 9.0])
def test_logits_are_spread_over_the_picture_from_middle_to_middle(left: float) -> None:
    # A slope that is 0 at x = 30: the logit at place i stands for x = 4 i + 2.
    slope = np.tile(4.0 * np.arange(16) + 2 - 30, (8, 1))
    found = outline_of_logits(slope, np.array([left, 0.0, 64.0, 32.0]), 32, 64)
    assert extent(found) == [30, 0, 64, 32]
    down = outline_of_logits(slope.T, np.array([0.0, left, 32.0, 64.0]), 64, 32)
    assert extent(down) == [0, 30, 32, 64]


def test_a_pixel_is_inside_a_box_where_its_middle_is() -> None:
    everywhere = np.ones((16, 16))
    found = outline_of_logits(everywhere, np.array([10.5, 10.4, 20.5, 20.6]), 64, 64)
    assert extent(found) == [10, 10, 20, 21]


@pytest.mark.parametrize(
    "box", [(5.1, 5.1, 5.4, 20.0), (20.0, 5.0, 10.0, 30.0), (70.0, 0.0, 90.0, 10.0), (-9.0, -9.0, -1.0, -1.0)]
)
def test_a_box_without_pixels_has_no_outline(box: tuple[float, ...]) -> None:
    assert outline_of_logits(np.ones((16, 16)), np.array(box), 64, 64) is None


@pytest.mark.parametrize("value", [np.nan, -np.inf, 0.0, -1.0])
def test_logits_that_are_nowhere_above_zero_have_no_outline(value: float) -> None:
    assert outline_of_logits(np.full((16, 16), value), np.array([0.0, 0.0, 64.0, 64.0]), 64, 64) is None


def test_the_picture_need_not_be_a_multiple_of_the_mask() -> None:
    logits = np.full((7, 9), -1.0)
    logits[2:5, 3:6] = 1.0
    found = outline_of_logits(logits, np.array([0.0, 0.0, 100.0, 50.0]), 50, 100)
    assert extent(found) == pytest.approx([3 * 100 / 9, 2 * 50 / 7, 6 * 100 / 9, 5 * 50 / 7], abs=1)

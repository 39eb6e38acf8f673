"""One polygon stands for a mask, whatever its pieces and holes: it covers what the mask covers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from exhaustive import examples
from framesift.prediction.masks import MAX_CORNERS, mask_to_polygon
from rigs.polygons import covered, iou


def corners_of(mask: NDArray[np.generic]) -> NDArray[np.float64]:
    found = mask_to_polygon(np.asarray(mask, np.uint8))
    assert found is not None
    assert 3 <= len(found) <= MAX_CORNERS
    return found


def extent(mask: NDArray[np.generic]) -> list[float]:
    """x1, y1, x2, y2 of its polygon."""
    corners = corners_of(mask)
    return [*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()]


def fidelity(mask: NDArray[np.bool_ | np.uint8]) -> float:
    return iou(covered(corners_of(mask), *mask.shape), mask)


def test_one_pixel_is_a_square() -> None:
    mask = np.zeros((5, 7), bool)
    assert mask_to_polygon(mask) is None
    mask[2, 3] = True
    assert set(map(tuple, corners_of(mask).tolist())) == {(3, 2), (4, 2), (4, 3), (3, 3)}


@examples(200)
@given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_every_small_mask_is_covered_to_the_pixel_whatever_its_pieces_and_holes(mask: NDArray[np.bool_]) -> None:
    if mask.any():
        assert (covered(corners_of(mask), *mask.shape) == mask).all()


@examples(50)
@given(st.data())
def test_a_mask_of_several_pieces_and_holes_is_covered(data: st.DataObject) -> None:
    mask = np.zeros((240, 320), np.uint8)
    for value in (1, 1, 1, 0, 0):
        centre = data.draw(st.tuples(st.integers(60, 260), st.integers(60, 180)))
        axes = data.draw(st.tuples(st.integers(8, 60), st.integers(8, 60)))
        cv2.ellipse(mask, centre, axes, data.draw(st.integers(0, 179)), 0, 360, (value,), -1)
    if mask.sum() > 100:
        assert fidelity(mask) > 0.95


def test_an_object_behind_a_pole_is_whole() -> None:
    mask = np.zeros((100, 200), bool)
    mask[20:80, 10:90] = mask[20:80, 100:190] = True
    assert fidelity(mask) == 1
    assert extent(mask) == [10, 20, 190, 80]
    assert len(corners_of(mask)) == 10  # four of each, and the bridge's two once more


def test_a_ring_keeps_its_hole_and_what_is_inside_it() -> None:
    mask = np.zeros((100, 100), np.uint8)
    cv2.circle(mask, (50, 50), 45, (1,), 12)
    cv2.circle(mask, (50, 50), 15, (1,), -1)
    assert fidelity(mask) > 0.97


def test_specks_and_pinholes_are_left_out_and_what_is_as_large_as_the_rest_is_not() -> None:
    mask = np.zeros((200, 200), bool)
    mask[20:120, 20:120] = True
    clean = corners_of(mask)
    mask[150:200:20, 10:200:20] = True
    mask[30:110:20, 30:110:20] = False
    assert len(clean) == 4
    assert (corners_of(mask) == clean).all()
    crowd = np.zeros((200, 200), bool)
    for down in range(0, 200, 40):
        for across in range(0, 200, 40):
            crowd[down : down + 10, across : across + 10] = True
    assert fidelity(crowd) == 1


def test_a_line_of_one_pixel_is_covered_at_any_angle() -> None:
    for angle in range(0, 180, 15):
        mask = np.zeros((200, 200), np.uint8)
        reach = 90 * np.array((np.cos(np.radians(angle)), np.sin(np.radians(angle))))
        start, end = (100 - reach).astype(int).tolist(), (100 + reach).astype(int).tolist()
        cv2.line(mask, start, end, (1,), 1)
        assert fidelity(mask) == 1


def test_a_polygon_has_a_bounded_number_of_corners() -> None:
    comb = np.zeros((10, 8000), bool)
    comb[5:] = True
    comb[:, ::4] = comb[:, 1::4] = True
    assert extent(comb) == pytest.approx([0, 0, 8000, 10], abs=40)
    chance = np.random.default_rng(0)
    for share in (0.02, 0.5, 0.98):
        noise = chance.random((1080, 1921)) < share
        x1, y1, x2, y2 = extent(noise)
        assert 0 <= x1 < x2 <= 1921
        assert 0 <= y1 < y2 <= 1080


def test_a_mask_of_a_picture_larger_than_any_videos_is_covered_nearly() -> None:
    mask = np.zeros((5000, 8000), bool)
    mask[1001:4001, 1001:3001] = mask[1001:4001, 5001:7001] = True
    assert extent(mask) == pytest.approx([1001, 1001, 7001, 4001], abs=2)
    assert len(corners_of(mask)) == 10


@examples(30)
@given(st.integers(8, 60), st.integers(5, 25), st.integers(5, 25), st.integers(0, 180))
def test_a_polygon_stays_within_a_pixel_of_the_mask(centre: int, across: int, down: int, angle: int) -> None:
    drawn = np.zeros((70, 70), np.uint8)
    cv2.ellipse(drawn, (centre, 35), (across, down), angle, 0, 360, (1,), -1)
    pixels = covered(corners_of(drawn), 70, 70)
    around = np.ones((5, 5), np.uint8)
    most = np.asarray(cv2.dilate(drawn, around)) > 0
    least = np.asarray(cv2.erode(drawn, around, borderValue=(0,))) > 0
    assert not (pixels & ~most).any()
    assert not (least & ~pixels).any()

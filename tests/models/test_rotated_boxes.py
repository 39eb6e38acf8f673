"""Rotated boxes: corners, overlap and suppression, against plain reference implementations, and as polygons."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter

from framesift.models import Model, ModelSettings, load
from framesift.models.onnx import rotated_boxes
from framesift.models.onnx.heads import BoxCandidates
from framesift.prediction.prediction import Detection, Detections, Task
from rigs.networks import blank, cells, constant, frame

OPTIONS: TypeAdapter[ModelSettings] = TypeAdapter(ModelSettings)
OBB = {"task": "obb", "names": "{0: 'a', 1: 'b'}"}
# x, y, width, height, angle, confidence, class
Floats = NDArray[np.float64]
Turned = tuple[float, float, float, float, float, float, int]


def turned(*rows: Turned) -> tuple[BoxCandidates, Floats]:
    table = np.array(rows, np.float64).reshape(-1, 7)
    boxes = np.hstack((table[:, :2] - table[:, 2:4] / 2, table[:, :2] + table[:, 2:4] / 2))
    return BoxCandidates(boxes, table[:, 5], table[:, 6].astype(np.int64), np.arange(len(table))), table[:, 4]


def plain_overlap(one: Turned, other: Turned) -> float:
    """One less the Hellinger distance of two normal distributions, by matrices."""

    def distribution(box: Turned) -> tuple[Floats, Floats]:
        x, y, w, h, angle = box[:5]
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        return np.array([x, y]), turn @ np.diag([w**2 / 12, h**2 / 12]) @ turn.T

    (a, of_a), (b, of_b) = distribution(one), distribution(other)
    mean = (of_a + of_b) / 2
    distance = (a - b) @ np.linalg.inv(mean) @ (a - b) / 8
    shape = math.log(np.linalg.det(mean) / math.sqrt(np.linalg.det(of_a) * np.linalg.det(of_b))) / 2
    return 1 - math.sqrt(max(0.0, 1 - math.exp(-(distance + shape))))


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 2, -0.7, 2.3])
def test_the_corners_are_those_of_opencv(angle: float) -> None:
    (found,) = rotated_boxes.corners(np.array([[10.0, 20.0, 50.0, 30.0]]), np.array([angle]))
    expected = np.asarray(cv2.boxPoints(((30.0, 25.0), (40.0, 10.0), math.degrees(angle))))
    distances = np.linalg.norm(found[:, None] - expected[None], axis=2)
    assert sorted(distances.argmin(axis=1)) == [0, 1, 2, 3]
    assert distances.min(axis=1).max() < 1e-4
    # They go around: each has a side in common with the next.
    assert sorted(np.linalg.norm(found - np.roll(found, 1, axis=0), axis=1)) == pytest.approx([10, 10, 40, 40])


ROW = st.tuples(
    *(st.integers(0, 60), st.integers(0, 60), st.integers(4, 40), st.integers(4, 40)),
    st.floats(-1.6, 1.6),
    st.integers(1, 100).map(lambda percent: percent / 100),
    st.integers(0, 1),
)


@given(st.lists(ROW, max_size=12, unique_by=lambda row: row[5]), st.sampled_from([0.1, 0.45, 0.7]))
def test_suppression_keeps_what_the_plain_reference_keeps(rows: list[Turned], iou: float) -> None:
    ranked = sorted(rows, key=lambda row: -row[5])
    overlaps = [
        [plain_overlap(better, row) if better[6] == row[6] else 0.0 for better in ranked[:place]]
        for place, row in enumerate(ranked)
    ]
    if any(abs(overlap - iou) < 1e-3 for of_row in overlaps for overlap in of_row):
        return  # where rounding decides
    expected = [
        rows.index(row) for row, of_row in zip(ranked, overlaps, strict=True) if not any(o >= iou for o in of_row)
    ]
    assert rotated_boxes.suppress(*turned(*rows), iou).tolist() == expected


def test_one_that_goes_itself_takes_others_with_it() -> None:
    row = [(10.0 + 7 * place, 10.0, 20.0, 10.0, 0.0, 0.9 - place / 10, 0) for place in range(3)]
    assert plain_overlap(row[0], row[2]) < 0.3 < plain_overlap(row[1], row[2])
    assert rotated_boxes.suppress(*turned(*row), 0.3).tolist() == [0]


def model(path: Path, **fields: object) -> Model:
    return load(OPTIONS.validate_json(json.dumps({"type": "onnx", "path": str(path), **fields})))


def found(folder: Path, *rows: Turned, finished: bool = False, height: int = 64, width: int = 128) -> Detections:
    """What the network of 64 x 64 finds in a picture that is twice as wide: its rows 16 to 48 are the picture."""
    output = np.zeros((1, 300, 7) if finished else (1, 7, cells(64, 64)), np.float32)
    for place, (x, y, w, h, angle, confidence, number) in enumerate(rows):
        if finished:
            output[0, place] = [x, y, w, h, confidence, number, angle]
        else:
            output[0, :, place] = [x, y, w, h, confidence * (number == 0), confidence * (number == 1), angle]
    answer = model(constant(folder / "n.onnx", output, metadata=OBB)).predict(frame(blank(height, width)))
    assert isinstance(answer, Detections)
    assert answer.task is Task.INSTANCE_SEGMENTATION
    return answer


def corners(box: Detection) -> list[list[float]]:
    return sorted([p.x, p.y] for p in box.points or ())


@pytest.mark.parametrize("finished", [True, False])
def test_a_rotated_box_is_a_polygon_and_the_box_around_it(tmp_path: Path, finished: bool) -> None:
    (box,) = found(tmp_path, (32, 32, 20, 10, math.pi / 4, 0.75, 1), finished=finished).objects
    reach = 30 / math.sqrt(2)  # twice (20 + 10) / 2 pixels, since the picture is twice as large
    assert (box.x, box.y, box.width, box.height) == pytest.approx((64, 32, 2 * reach, 2 * reach), abs=1e-3)
    assert (box.class_name, box.confidence) == ("b", 0.75)
    expected = cv2.boxPoints(((64.0, 32.0), (40.0, 20.0), 45.0)).tolist()
    assert np.array(corners(box)) == pytest.approx(np.array(sorted(expected)), abs=1e-3)


@pytest.mark.parametrize("finished", [True, False])
def test_only_what_is_in_the_picture_counts(tmp_path: Path, finished: bool) -> None:
    # The first reaches into the bar above, the second lies in it, the third has no number for its angle.
    rows: list[Turned] = [
        (32, 16, 20, 20, math.pi / 4, 0.9, 0),
        (32, 5, 20, 8, 0.1, 0.8, 0),
        (10, 32, 10, 10, math.nan, 0.7, 0),
    ]
    answer = found(tmp_path, *rows, finished=finished)
    (box,) = answer.objects
    reach = 20 * math.sqrt(2)
    assert np.array(corners(box)) == pytest.approx(np.array([[64 - reach, 0], [64, reach], [64 + reach, 0]]), abs=1e-3)
    assert (box.y, box.height) == pytest.approx((reach / 2, reach), abs=1e-3)
    assert answer.dropped == 1


def test_overlapping_boxes_are_suppressed_by_their_rotated_shapes(tmp_path: Path) -> None:
    # Crossed bars have the same box around them, but overlap little; nearly the same bar overlaps.
    rows: list[Turned] = [
        (32, 32, 30, 4, math.pi / 4, 0.9, 0),
        (32, 32, 30, 4, -math.pi / 4, 0.8, 0),
        (33, 32, 30, 5, math.pi / 4, 0.7, 0),
        (33, 32, 30, 5, math.pi / 4, 0.6, 1),
    ]
    assert [box.confidence for box in found(tmp_path, *rows).objects] == pytest.approx([0.9, 0.8, 0.6])
    assert len(found(tmp_path, *rows, finished=True).objects) == 4  # such a network has done it itself

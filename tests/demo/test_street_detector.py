"""The demo's detector: small, in the layout that everybody's detectors have, and good enough to show."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

import framesift.demo
from framesift.demo.scene import CLASS_NAMES, Street

MODEL = Path(framesift.demo.__file__).parent / "street.onnx"


@dataclass(frozen=True)
class Box:
    class_name: str
    corners: tuple[float, float, float, float]
    share: float  # the confidence of what was detected; the visible share of what is true


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])


def corners(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def overlap(one: Box, other: Box) -> float:
    """IoU; 0 for boxes of different classes."""
    if one.class_name != other.class_name:
        return 0.0
    a, b = np.array(one.corners), np.array(other.corners)
    shared = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(min=0).prod()
    return float(shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared))


def detect(session: onnxruntime.InferenceSession, picture: NDArray[np.uint8]) -> list[Box]:
    """What is seen with a confidence of 0.3 and more, best first, duplicates taken out."""
    images = np.full((224, 384, 3), 114, np.uint8)
    images[4:220] = cv2.resize(picture, (384, 216))
    fed = np.ascontiguousarray(images[None, :, :, ::-1].transpose(0, 3, 1, 2), np.float32) / 255
    rows = session.run(["output0"], {"images": fed})[0][0].T
    kept: list[Box] = []
    for row in sorted(rows[rows[:, 4:].max(axis=1) >= 0.3], key=lambda row: -row[4:].max()):
        x, y, width, height = row[:4] / 0.6
        box = Box(CLASS_NAMES[int(row[4:].argmax())], corners(x, y - 4 / 0.6, width, height), float(row[4:].max()))
        if all(overlap(box, other) < 0.6 for other in kept):
            kept.append(box)
    return kept


@pytest.fixture(scope="module")
def seen(session: onnxruntime.InferenceSession) -> list[tuple[list[Box], list[Box]]]:
    """What was detected and what was there, in 40 frames of the demo's street."""
    street = Street()

    def frames() -> Iterator[tuple[list[Box], list[Box]]]:
        for number in range(7, street.frames, 15):
            truth = [Box(t.class_name, corners(t.x, t.y, t.width, t.height), t.visible) for t in street.truth(number)]
            yield detect(session, street.render(number)), truth

    return list(frames())


def test_the_file_is_small_and_says_what_it_is(session: onnxruntime.InferenceSession) -> None:
    assert MODEL.stat().st_size < 2_000_000
    metadata = session.get_modelmeta().custom_metadata_map
    assert ast.literal_eval(metadata["names"]) == dict(enumerate(CLASS_NAMES))
    assert metadata["task"] == "detect"
    assert ast.literal_eval(metadata["imgsz"]) == [224, 384]
    assert metadata["stride"] == "32"
    assert metadata["author"] == "framesift"
    assert "rendered" in metadata["description"]


def test_its_input_and_output_have_the_usual_names_and_shapes(session: onnxruntime.InferenceSession) -> None:
    (images,) = session.get_inputs()
    (output,) = session.get_outputs()
    cells = 28 * 48 + 14 * 24 + 7 * 12
    assert (images.name, images.type, images.shape) == ("images", "tensor(float)", [1, 3, 224, 384])
    assert (output.name, output.type, output.shape) == ("output0", "tensor(float)", [1, 4 + len(CLASS_NAMES), cells])


def test_its_scores_are_probabilities(session: onnxruntime.InferenceSession) -> None:
    noise = np.random.default_rng(0).random((1, 3, 224, 384), np.float32)
    scores = session.run(None, {"images": noise})[0][0, 4:]
    assert scores.min() >= 0
    assert scores.max() <= 1


def test_confident_boxes_lie_on_the_objects(seen: list[tuple[list[Box], list[Box]]]) -> None:
    overlaps = [
        max((overlap(box, other) for other in truth), default=0.0)
        for detected, truth in seen
        for box in detected
        if box.share >= 0.5
    ]
    assert len(overlaps) > 100
    assert np.mean(overlaps) >= 0.6


def test_most_of_what_can_be_seen_is_found(seen: list[tuple[list[Box], list[Box]]]) -> None:
    found = [
        max((overlap(box, there) for box in detected if box.share >= 0.5), default=0.0) >= 0.5
        for detected, truth in seen
        for there in truth
        if there.share >= 0.5
    ]
    assert np.mean(found) >= 0.7


def test_every_class_is_found_and_none_in_an_empty_street(seen: list[tuple[list[Box], list[Box]]]) -> None:
    sure = [(box, truth) for detected, truth in seen for box in detected if box.share >= 0.5]
    right = {box.class_name for box, truth in sure if any(overlap(box, there) > 0.5 for there in truth)}
    assert right == set(CLASS_NAMES)
    empty = [detected for detected, truth in seen if not truth]
    assert empty
    assert not any(box.share >= 0.5 for detected in empty for box in detected)


def test_it_is_unsure_now_and_then(seen: list[tuple[list[Box], list[Box]]]) -> None:
    unsure = [box for detected, _ in seen for box in detected if 0.3 <= box.share <= 0.7]
    assert len(unsure) >= 20

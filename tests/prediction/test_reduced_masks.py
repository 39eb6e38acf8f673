"""Answers with reduced masks: all in them is in pixels of a smaller picture, and lands in those of the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from framesift.prediction.masks import decode_mask, encode_mask
from framesift.prediction.prediction import Detections
from framesift.prediction.wire_format import OtherPictureSize, parse_prediction, parse_prediction_of, to_wire

SIZE = (1000, 800)
GRID = {"width": 250, "height": 400}
METADATA = {"coordinate_system": "mask_grid", **GRID, "scale_x": 4.0, "scale_y": 2.0}
BOX = {"x": 50.0, "y": 100.0, "width": 20.0, "height": 40.0, "confidence": 0.5, "class": "cat", "class_id": 3}
CORNERS = [{"x": 40.0, "y": 80.0}, {"x": 60.0, "y": 80.0}, {"x": 60.0, "y": 120.0}]


def answer(*objects: dict[str, Any], **changes: Any) -> dict[str, Any]:
    size = {"width": SIZE[0], "height": SIZE[1]}
    whole = {"image": GRID, "original_image": size, "mask_metadata": METADATA, "predictions": list(objects)}
    return {name: value for name, value in {**whole, **changes}.items() if value is not ...}


def masked() -> dict[str, Any]:
    mask = np.zeros((GRID["height"], GRID["width"]), np.uint8)
    mask[80:120, 40:60] = 1
    return {**BOX, "rle": {"size": [*mask.shape], "counts": encode_mask(mask).counts}, "mask_format": "rle"}


def read(payload: object) -> Detections:
    found = parse_prediction_of(payload, *SIZE)
    assert isinstance(found, Detections)
    return found


@pytest.mark.parametrize("metadata", [METADATA, ...], ids=["with metadata", "without"])
def test_boxes_outlines_and_masks_land_in_the_pixels_of_the_picture(metadata: object) -> None:
    found = read(answer({**BOX, "points": CORNERS}, masked(), mask_metadata=metadata))
    assert (found.width, found.height, found.dropped, found.extras, found.dropped_extras) == (*SIZE, 0, None, 0)
    for one in found.objects:
        assert (one.x, one.y, one.width, one.height) == (200.0, 200.0, 80.0, 80.0)
    outlined, with_mask = found.objects
    assert outlined.points is not None
    assert [(p.x, p.y) for p in outlined.points] == [(160.0, 160.0), (240.0, 160.0), (240.0, 240.0)]
    assert with_mask.rle is not None
    expected = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    expected[160:240, 160:240] = 1
    assert (decode_mask(with_mask.rle) == expected).all()
    written = to_wire(found)
    assert written["image"] == {"width": SIZE[0], "height": SIZE[1]}
    assert "original_image" not in written
    assert parse_prediction(written) == found


def test_an_empty_answer_and_one_that_is_not_reduced_are_of_the_picture_too() -> None:
    assert (read(answer()).width, read(answer()).objects) == (SIZE[0], ())
    size = {"width": SIZE[0], "height": SIZE[1]}
    whole = {"coordinate_system": "mask_grid", **size, "scale_x": 1.0, "scale_y": 1.0}
    (found,) = read(answer(BOX, image=size, mask_metadata=whole)).objects
    assert found.x == 50.0


def test_who_scales_to_the_frame_by_itself_gets_the_pixels_of_the_reduced_picture() -> None:
    found = parse_prediction(answer(BOX))
    assert (found.width, found.height) == (GRID["width"], GRID["height"])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"original_image": ...}, "mask_metadata without original_image"),
        ({"original_image": 5}, "original_image: it must be an object"),
        ({"original_image": {"width": 1000}}, r"original_image\.height: None is not a number of pixels"),
        (
            {"mask_metadata": {**METADATA, "coordinate_system": "crop"}},
            'mask_metadata: .* coordinate_system "mask_grid"',
        ),
        ({"mask_metadata": []}, "mask_metadata: it must be an object"),
        (
            {"mask_metadata": {**METADATA, "scale_y": 4.0}},
            r"scale_y: 4\.0 does not lead from 400 pixels of image to 800",
        ),
        ({"mask_metadata": {**METADATA, "scale_x": None}}, r"scale_x: None does not lead"),
        ({"image": {"width": 4000, "height": 3200}, "mask_metadata": ...}, "4000 x 3200 pixels are no reduction"),
    ],
)
def test_what_does_not_say_clearly_in_which_pixels_it_is_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(answer(BOX, **changes))


def test_it_must_be_for_the_picture_that_was_shown() -> None:
    with pytest.raises(OtherPictureSize, match="it is for a picture of 1000 x 800 pixels"):
        parse_prediction_of(answer(BOX), 250, 400)


def test_the_name_of_the_model_in_newer_answers_is_no_extra() -> None:
    found = read(answer(BOX, resolved_model={"model_id": "shapes/1", "backend": "onnx"}))
    assert (found.extras, found.dropped_extras) == (None, 0)

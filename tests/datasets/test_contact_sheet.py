"""The contact sheet: what is drawn on a picture, and that nothing runs out of its place."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from deliveries import HEIGHT, WIDTH, detected, detection
from framesift.datasets.contact_sheet import (
    GAP,
    MARGIN,
    ON_A_PAGE,
    TILE_WIDTH,
    SheetPicture,
    contact_sheet,
    pages,
)
from framesift.datasets.drawing import (
    COLOURS,
    ClassColours,
    ascii_text,
    draw_prediction,
    fit_text,
    text_width,
)
from framesift.frame import Pixels
from framesift.prediction import masks
from framesift.prediction.prediction import Classification, Keypoint, MultiLabel, Point, Prediction, Stub, Task

GREY = 128


def grey(width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    return np.full((height, width, 3), GREY, np.uint8)


def sheet_picture(prediction: Prediction | None = None, **changes: object) -> SheetPicture:
    made, jpeg = cv2.imencode(".jpg", grey())
    assert made
    one = SheetPicture(jpeg.tobytes(), "north", 1, 1_789_041_600.0, "unsure", 0.5, prediction)
    return replace(one, **changes)  # type: ignore[arg-type]  # by the names of its fields


def drawn(prediction: Prediction, *, scale: int = 1) -> Pixels:
    pixels = grey(scale * WIDTH, scale * HEIGHT)
    draw_prediction(pixels, prediction, ClassColours([prediction]))
    return pixels


def test_a_box_lies_where_the_object_is_at_any_scale_and_is_thin_where_the_model_was_unsure() -> None:
    sure = replace(detection("car", x=60, y=60, w=40, h=40), confidence=0.5)
    unsure = replace(detection("car", x=140, y=60, w=40, h=40), confidence=0.49)
    for scale in (1, 3):
        line = (drawn(detected(sure, unsure), scale=scale) == COLOURS[0]).all(axis=2)[60 * scale]
        left, right = (np.flatnonzero(line[at * scale : (at + 80) * scale]) for at in (20, 100))
        assert abs(left.mean() - 40 * scale) <= 1
        assert abs(right.mean() - 40 * scale) <= 1
        assert len(left) > len(right) == 2


def test_a_mask_is_filled_its_hole_is_not_and_so_is_a_polygon() -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[20:80, 20:80] = 1
    mask[40:60, 40:60] = 0
    ring = detection("ring", x=50, y=50, w=60, h=60, rle=masks.encode_mask(mask))
    corners = tuple(Point(x, y) for x, y in ((120, 20), (180, 20), (180, 80), (120, 80)))
    plate = detection("ring", x=150, y=50, w=60, h=60, points=corners)
    pixels = drawn(detected(ring, plate, task=Task.INSTANCE_SEGMENTATION))
    blended = [round(0.35 * c + 0.65 * GREY) for c in COLOURS[0]]
    assert pixels[30, 50].tolist() == pixels[50, 150].tolist() == blended
    assert pixels[50, 50].tolist() == [GREY] * 3


def test_a_mask_that_can_not_be_decoded_costs_the_mask_alone() -> None:
    broken = detection("ring", x=50, y=50, w=60, h=60, rle=masks.Rle(HEIGHT, WIDTH, "PP"))
    assert (drawn(detected(broken, task=Task.INSTANCE_SEGMENTATION)) == COLOURS[0]).all(axis=2).any()


def test_keypoints_are_dots_in_the_classs_colour() -> None:
    nose = (Keypoint(50.0, 40.0, 0.9, "nose", 0),)
    found = detected(detection("man", x=50, y=50, w=80, h=80, keypoints=nose), task=Task.KEYPOINT_DETECTION)
    assert drawn(found)[40, 50].tolist() == list(COLOURS[0])


def test_two_boxes_at_one_place_have_their_numbers_above_and_below() -> None:
    both = [replace(detection(name, y=50, w=60, h=40), confidence=0.5) for name in ("car", "bus", "dog")]
    pixels = drawn(detected(*both))
    above, below = pixels[16:28], pixels[73:85]
    shades = [{tuple(colour) for colour in part.reshape(-1, 3).tolist()} & set(COLOURS) for part in (above, below)]
    assert [len(found) for found in shades] == [1, 1]  # the third one finds no place
    assert shades[0] != shades[1]


def test_the_most_frequent_classes_have_colours_of_their_own() -> None:
    names = [f"class {n}" for n in range(len(COLOURS) + 1)]
    colours = ClassColours([detected(*[detection(name) for name in names]), detected(detection("class 7")), None])
    assert next(iter(colours.counts)) == "class 7"
    assert not colours.are_unique
    assert [colours.of(name) for name in colours.counts] == [*COLOURS, COLOURS[0]]
    assert ClassColours([detected(detection("car"))]).are_unique


@pytest.mark.parametrize(
    "prediction",
    [
        None,
        Stub(width=WIDTH, height=HEIGHT, task=Task.OBJECT_DETECTION),
        Classification(width=WIDTH, height=HEIGHT, top="rust " * 30, confidence=0.7, scores=()),
        MultiLabel(width=WIDTH, height=HEIGHT, predicted=tuple(f"label {n}" for n in range(40)), scores=()),
        detected(*[detection(f"a class with the long name {n}", x=5.0 * n) for n in range(40)]),
    ],
    ids=["none", "stub", "label", "labels", "objects"],
)
def test_nothing_is_drawn_beyond_the_margins_however_long_the_texts_are(prediction: Prediction | None) -> None:
    one = sheet_picture(prediction, strategy="a strategy " * 10, stream="a stream " * 10, state="registered")
    sheet = contact_sheet([one] * 5, "a title " * 40)
    paper = sheet[0, 0]
    assert sheet.shape[1] == 2 * MARGIN + 4 * TILE_WIDTH + 3 * GAP
    for edge in (sheet[:, : MARGIN - 1], sheet[:, -MARGIN + 1 :], sheet[-MARGIN + 1 :]):
        assert (edge == paper).all()
    tops = np.flatnonzero((sheet[:, MARGIN + TILE_WIDTH + GAP // 2] == paper).all(axis=1))
    assert len(tops) > 100  # between two pictures there is paper, and above them the head


def test_a_picture_that_can_not_be_read_leaves_a_grey_place() -> None:
    for jpeg in (None, b"", b"\xff\xd8 not a picture"):
        sheet = contact_sheet([sheet_picture(jpeg=jpeg)], "one")
        assert sheet.shape[0] > TILE_WIDTH * 9 // 16


def test_a_tall_picture_is_no_taller_than_a_tile_is_wide() -> None:
    made, jpeg = cv2.imencode(".jpg", grey(100, 1000))
    assert made
    tall = contact_sheet([sheet_picture(jpeg=jpeg.tobytes())], "one")
    square = contact_sheet([sheet_picture(jpeg=cv2.imencode(".jpg", grey(50, 50))[1].tobytes())], "one")
    assert tall.shape == square.shape


def test_texts_are_cut_to_their_room_in_letters_that_can_be_drawn() -> None:
    assert ascii_text("Käfer на дороге\n") == "Kafer ?? ??????" + "?"
    assert fit_text("short", 500, 0.4) == "short"
    cut = fit_text("a very long name of a class", 100, 0.4)
    assert cut.endswith("...")
    assert text_width(cut, 0.4) <= 100


def test_how_many_pages_there_are() -> None:
    assert [pages(n) for n in (0, 1, ON_A_PAGE, ON_A_PAGE + 1)] == [1, 1, 1, 2]

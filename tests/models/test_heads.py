"""Preprocessing, families and output heads, against plain reference implementations."""

from __future__ import annotations

import math
from collections.abc import Mapping

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from framesift.frame import Pixels
from framesift.models.model import ModelLoadError
from framesift.models.onnx import heads
from framesift.models.onnx.families import match_family
from framesift.models.onnx.family_match import FamilyMatch, GraphFacts, GraphOutput
from framesift.models.onnx.heads import BoxCandidates
from framesift.models.onnx.onnx_settings import Family, Resize
from framesift.models.onnx.preprocessing import GREY, Preprocessing

# Pictures


def preparation(
    resize: Resize = Resize.LETTERBOX, height: int = 32, width: int = 64, **fields: object
) -> Preprocessing:
    usual: dict[str, object] = {"centred": True, "rgb": True, "scale": 1.0}
    return Preprocessing(height=height, width=width, resize=resize, **(usual | fields))  # type: ignore[arg-type] # a table


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("rgb", [True, False])
def test_channels_are_ordered_scaled_and_normalised(rgb: bool) -> None:
    pixels = noise(32, 64)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    tensor = preparation(rgb=rgb, scale=1 / 255, mean=mean, std=std)(pixels).tensor
    assert tensor.shape == (1, 3, 32, 64)
    assert tensor.dtype == np.float32
    for y, x in ((0, 0), (31, 63), (7, 40)):
        blue, green, red = (int(value) for value in pixels[y, x])
        ordered = (red, green, blue) if rgb else (blue, green, red)
        expected = [(value / 255 - m) / s for value, m, s in zip(ordered, mean, std, strict=True)]
        assert tensor[0, :, y, x].tolist() == pytest.approx(expected, abs=1e-5)


def test_half_precision_is_given_where_it_is_wanted() -> None:
    tensor = preparation(value_type="float16")(noise(32, 64)).tensor
    assert tensor.dtype == np.float16
    assert tensor[0, 0, 0, 0] == noise(32, 64)[0, 0, 2]


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    pixels = noise(32, 64)
    before = pixels.copy()
    for resize in Resize:
        assert np.array_equal(preparation(resize, rgb=False)(pixels).tensor[0].transpose(1, 2, 0), pixels)
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize(("centred", "top"), [(True, 7), (False, 0)])
def test_a_letterbox_keeps_the_aspect_and_fills_with_grey(centred: bool, top: int) -> None:
    pixels = np.full((36, 128, 3), 200, np.uint8)
    prepared = preparation(centred=centred)(pixels)
    rows = prepared.tensor[0, 0]
    assert np.array_equal(rows[top : top + 18], np.full((18, 64), 200.0))
    assert np.array_equal(np.delete(rows, np.s_[top : top + 18], axis=0), np.full((14, 64), float(GREY)))
    corners = prepared.to_picture(np.array([[0.0, top, 64.0, top + 18]]))
    assert corners.tolist() == [[0.0, 0.0, 128.0, 36.0]]


def test_a_tall_picture_has_its_bars_at_the_sides() -> None:
    prepared = preparation()(np.full((64, 32, 3), 200, np.uint8))
    columns = prepared.tensor[0, 0, 0]
    assert columns.tolist() == [GREY] * 24 + [200.0] * 16 + [GREY] * 24
    assert prepared.to_picture(np.array([[24.0, 0.0, 40.0, 32.0]])).tolist() == [[0.0, 0.0, 32.0, 64.0]]


def test_each_axis_finds_its_own_way_back_where_rounding_makes_them_differ() -> None:
    # 7 x 100 shrinks to 4.48, that is 4, rows of 64 columns.
    prepared = preparation()(noise(7, 100))
    back = prepared.to_picture(np.array([[0.0, 14.0, 64.0, 18.0]]))
    assert back.tolist() == [[0.0, 0.0, 100.0, 7.0]]


def test_yolox_rounds_down_and_scales_both_sides_alike() -> None:
    # 59 x 100 at 64 / 100 is 37.76 x 64: its own program makes 37 rows of it, and divides all boxes by 0.64.
    prepared = preparation(height=64, centred=False, rounds_down=True)(np.full((59, 100, 3), 200, np.uint8))
    assert int((prepared.tensor[0, 0, :, 0] == 200).sum()) == 37
    assert prepared.to_picture(np.array([[16.0, 16, 32, 32]])).tolist() == [pytest.approx([25, 25, 50, 50])]
    rounded = preparation(height=64, centred=False)(np.full((59, 100, 3), 200, np.uint8))
    assert int((rounded.tensor[0, 0, :, 0] == 200).sum()) == 38


def test_stretching_gives_up_the_aspect() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32] = 200
    prepared = preparation(Resize.STRETCH)(pixels)
    assert np.array_equal(prepared.tensor[0, 0, :16], np.full((16, 64), 200.0))
    assert np.array_equal(prepared.tensor[0, 0, 16:], np.zeros((16, 64)))
    assert prepared.to_picture(np.array([[0.0, 0.0, 64.0, 16.0]])).tolist() == [[0.0, 0.0, 64.0, 32.0]]


def resized_by_pillow(plane: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float64]:
    """As Pillow's bilinear filter does it, without rounding: what becomes one pixel counts by a triangle."""

    def weights(side: int, wanted: int) -> NDArray[np.float64]:
        """What each pixel of `side` counts for each of `wanted`: a triangle as wide as two of them."""
        scale = max(1.0, side / wanted)
        middles = (np.arange(wanted)[:, None] + 0.5) * side / wanted
        away = np.abs(np.arange(side)[None] + 0.5 - middles) / scale
        triangle = np.maximum(0.0, 1 - away)
        return np.asarray(triangle / triangle.sum(axis=1, keepdims=True))

    return np.asarray(weights(plane.shape[0], height) @ plane.astype(float) @ weights(plane.shape[1], width).T)


def soft_noise(height: int, width: int) -> Pixels:
    return np.asarray(cv2.GaussianBlur(noise(height, width), (0, 0), 0.7), np.uint8)


@pytest.mark.parametrize(("height", "width"), [(70, 150), (96, 192), (32, 300), (20, 40)])
def test_smoothing_averages_as_pillow_does(height: int, width: int) -> None:
    pixels = soft_noise(height, width)
    exact = resized_by_pillow(pixels[:, :, 2], 32, 64)
    smooth, sampled = (
        preparation(Resize.STRETCH, smooths=smooths)(pixels).tensor[0, 0].astype(float) for smooths in (True, False)
    )
    assert np.abs(smooth - exact).mean() < 3
    assert max(height / 32, width / 64) < 2 or np.abs(sampled - exact).mean() > 6


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_cropping_keeps_the_aspect_and_the_middle(factor: int) -> None:
    pixels = np.zeros((48 * factor, 64 * factor, 3), np.uint8)
    pixels[8 * factor : 40 * factor] = 200
    prepared = preparation(Resize.CROP)(pixels)
    inner = prepared.tensor[0, 0, 1:-1]  # a shrunk row at the edge has a little of what lies beyond it
    assert np.array_equal(inner, np.full((30, 64), 200.0))
    assert prepared.tensor[0, 0, 0].tolist() == pytest.approx([200.0 if factor == 1 else 175.0] * 64, abs=8)
    back = prepared.to_picture(np.array([[0.0, 0.0, 64.0, 32.0]]))
    assert back.tolist() == [[0.0, 8.0 * factor, 64.0 * factor, 40.0 * factor]]


@pytest.mark.parametrize(("whole", "factor"), [((48, 64), 3.0), ((32, 100), 2.5), ((41, 64), 1.0), ((32, 76), 0.5)])
def test_cropping_is_the_middle_of_the_whole_picture_as_pillow_shrinks_it(
    whole: tuple[int, int], factor: float
) -> None:
    height, width = (round(side * factor) for side in whole)
    pixels = soft_noise(height, width)
    top, left = round((whole[0] - 32) / 2), round((whole[1] - 64) / 2)
    exact = resized_by_pillow(pixels[:, :, 2], *whole)[top : top + 32, left : left + 64]
    assert np.abs(preparation(Resize.CROP)(pixels).tensor[0, 0].astype(float) - exact).mean() < 3


@given(st.integers(1, 200), st.integers(1, 200), st.sampled_from(list(Resize)))
def test_any_picture_fits_and_finds_its_way_back(height: int, width: int, resize: Resize) -> None:
    prepared = preparation(resize)(np.full((height, width, 3), 255, np.uint8))
    inside = np.argwhere(prepared.tensor[0, 0] == 255)
    (top, left), (bottom, right) = inside.min(axis=0), inside.max(axis=0) + 1
    x1, y1, x2, y2 = prepared.to_picture(np.array([[left, top, right, bottom]], np.float64))[0]
    if resize is not Resize.CROP:
        assert (x1, y1, x2, y2) == pytest.approx((0, 0, width, height))
    assert x1 > -1e-6
    assert y1 > -1e-6
    assert x2 < width + 1e-6
    assert y2 < height + 1e-6


def test_fractions_between_pixels_stay_where_the_network_takes_fractions() -> None:
    pixels = noise(100, 90)
    expected = cv2.resize(pixels.astype(np.float32), (64, 32))[:, :, ::-1].transpose(2, 0, 1)
    assert np.array_equal(preparation(Resize.STRETCH, rounds=False)(pixels).tensor[0], expected)
    whole = preparation(Resize.STRETCH, rounds=False, value_type="uint8")(pixels).tensor
    assert np.array_equal(whole, preparation(Resize.STRETCH, value_type="uint8")(pixels).tensor)


def test_a_picture_is_resized_as_opencv_does() -> None:
    pixels = noise(100, 90)
    expected = cv2.resize(pixels, (64, 32), interpolation=cv2.INTER_LINEAR)[:, :, ::-1]
    assert np.array_equal(preparation(Resize.STRETCH)(pixels).tensor[0].transpose(1, 2, 0), expected)


# Suppression


def plain_suppression(found: BoxCandidates, iou: float) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(found.boxes)), key=lambda i: -found.confidences[i]):
        for j in kept:
            if found.class_ids[i] != found.class_ids[j]:
                continue
            a, b = found.boxes[i].tolist(), found.boxes[j].tolist()
            across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            shared = max(0.0, across) * max(0.0, down)
            both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
            if both > 0 and shared / both > iou:
                break
        else:
            kept.append(i)
    return kept


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 2)),
        max_size=30,
    ),
    st.sampled_from([0.0, 0.3, 0.45, 0.7, 1.0]),
)
def test_suppression_keeps_what_the_plain_reference_keeps(rows: list[tuple[int, ...]], iou: float) -> None:
    table = np.array(rows, np.float64).reshape(-1, 5)
    boxes = np.hstack((table[:, :2], table[:, :2] + table[:, 2:4]))
    confidences = np.random.default_rng(0).permutation(len(rows)) / 100
    found = BoxCandidates(boxes, confidences, table[:, 4].astype(np.int64), np.arange(len(rows)), dropped=3)
    kept = heads.suppress_overlaps(found, iou)
    expected = plain_suppression(found, iou)
    assert np.array_equal(kept.boxes, boxes[expected])
    assert np.array_equal(kept.confidences, confidences[expected])
    assert kept.class_ids.tolist() == found.class_ids[expected].tolist()
    assert kept.rows.tolist() == expected
    assert kept.dropped == 3


def test_suppression_of_far_too_many_keeps_the_best() -> None:
    count = heads.MAX_CANDIDATES + 1000
    x = np.arange(count) * 10.0
    boxes = np.stack((x, x * 0, x + 5, x * 0 + 5), 1)
    rows = np.arange(count)
    kept = heads.suppress_overlaps(BoxCandidates(boxes, rows / count, np.zeros(count, np.int64), rows), 0.5)
    assert len(kept.boxes) == 1000
    assert kept.confidences[0] == (count - 1) / count


# Reading


def test_a_box_is_reported_once_with_its_best_class() -> None:
    output = np.zeros((6, 3), np.float32)
    output[:, 1] = [20, 10, 8, 4, 0.25, 0.75]
    found = heads.yolov8(2)([output], 0.1)
    assert found.boxes.tolist() == [[16, 8, 24, 12]]
    assert (found.confidences.tolist(), found.class_ids.tolist(), found.dropped) == ([0.75], [1], 0)
    assert found.rows.tolist() == [1]


def test_a_confidence_as_high_as_asked_is_high_enough() -> None:
    output = np.zeros((5, 4), np.float32)
    output[4] = [0.5, 0.25, 0.75, 0.49]
    assert heads.yolov8(1)([output], 0.5).confidences.tolist() == [0.5, 0.75]


def test_confidence_is_objectness_times_class() -> None:
    output = np.zeros((3, 7), np.float32)
    output[0] = [20, 10, 8, 4, 0.5, 0.25, 0.75]
    output[1] = [20, 10, 8, 4, 0.5, 0.1, 0.1]  # passes by its objectness, not by the product
    output[2] = [20, 10, 8, 4, 0.05, 1.0, 1.0]
    found = heads.yolov5([output], 0.1)
    assert found.boxes.tolist() == [[16, 8, 24, 12]]
    assert found.rows.tolist() == [0]
    assert (found.confidences.tolist(), found.class_ids.tolist()) == ([0.375], [1])


@pytest.mark.parametrize(("level", "row", "column"), [(0, 0, 0), (0, 3, 7), (1, 1, 2), (2, 0, 1)])
def test_a_cell_knows_its_place_and_stride(level: int, row: int, column: int) -> None:
    height, width, strides = 32, 64, (8, 16, 32)
    grids = [(height // stride, width // stride) for stride in strides]
    index = sum(rows * columns for rows, columns in grids[:level]) + row * grids[level][1] + column
    output = np.zeros((sum(rows * columns for rows, columns in grids), 6), np.float32)
    output[index] = [0.5, 0.25, math.log(2), math.log(0.5), 1.0, 0.5]
    found = heads.yolox(height, width, strides)([output], 0.1)
    stride = strides[level]
    x, y, w, h = (column + 0.5) * stride, (row + 0.25) * stride, 2 * stride, 0.5 * stride
    assert found.boxes[0].tolist() == pytest.approx([x - w / 2, y - h / 2, x + w / 2, y + h / 2], abs=1e-4)
    assert found.confidences.tolist() == [0.5]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 3, 4, 5])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_number_that_is_none_drops_its_box_alone(bad: float, place: int) -> None:
    good = [8.0, 8.0, 4.0, 4.0, 0.5, 0.5]
    rows = np.array([good, good], np.float32)
    rows[0, place] = bad
    detectors = {
        "yolov8": heads.yolov8(2)([np.ascontiguousarray(rows.T)], 0.1),
        "yolov5": heads.yolov5([rows], 0.1),
        "yolox": heads.yolox(8, 16, (8,))([rows], 0.1),
        "end2end": heads.end2end([rows], 0.1),
    }
    for name, found in detectors.items():
        # A confidence of minus infinity is below the least one asked for, a logarithm of minus infinity is no size.
        low = bad == -math.inf and place >= 4 and not (name == "end2end" and place == 5)
        if name == "yolox" and bad == -math.inf and place == 3:
            assert len(found.boxes) == 2, name
            continue
        if name == "yolov8" and low:
            assert found.confidences.tolist() == [0.5, 0.5], name
            continue
        assert len(found.boxes) == 1, name
        assert found.dropped == (0 if low and place == 4 else 1), name


def test_of_a_transformers_query_the_best_class_counts_unless_it_is_none_of_them() -> None:
    logits = np.log(np.array([[6.0, 3.0, 1.0], [1.0, 2.0, 7.0]], np.float32))
    boxes = np.array([[0.5, 0.5, 0.5, 0.25], [0.25, 0.25, 0.5, 0.5]], np.float32)
    found = heads.detr(100, 200)([logits, boxes], 0.15)
    assert found.boxes.tolist() == [[50, 37.5, 150, 62.5], [0, 0, 100, 50]]
    assert found.confidences.tolist() == pytest.approx([0.6, 0.2])
    assert (found.class_ids.tolist(), found.rows.tolist()) == ([0, 1], [0, 1])
    logits[0, 2] = math.nan
    found = heads.detr(100, 200)([logits, boxes], 0.15)
    assert (found.class_ids.tolist(), found.dropped) == ([1], 1)


def test_a_table_of_queries_has_a_class_or_a_confidence_for_each() -> None:
    box = [0.5, 0.5, 0.5, 0.25]
    sorted_ones = np.array([[*box, 0.9, 1], [*box, 0.5, 0], [*box, 0.05, 1]], np.float32)
    found = heads.rtdetr_table(100, 200)([sorted_ones], 0.1)
    assert found.boxes.tolist() == [[50, 37.5, 150, 62.5]] * 2
    assert (found.confidences.tolist(), found.class_ids.tolist()) == (pytest.approx([0.9, 0.5]), [1, 0])
    of_two_classes = np.array([[*box, 0.25, 0.75], [*box, 0.5, 0.125], [*box, 0.0, 0.0625]], np.float32)
    found = heads.rtdetr_table(100, 200)([of_two_classes], 0.1)
    assert (found.confidences.tolist(), found.class_ids.tolist()) == ([0.75, 0.5], [1, 0])
    of_three = np.array([[*box, 0.25, 0.75, 0.5]], np.float32)
    assert heads.rtdetr_table(100, 200)([of_three], 0.1).class_ids.tolist() == [1]


def test_of_a_table_of_all_pictures_only_the_first_ones_rows_count() -> None:
    table = np.array([[0, 1, 2, 3, 4, 1, 0.5], [1, 1, 2, 3, 4, 0, 0.75], [0, 5, 6, 7, 8, 0, 0.05]], np.float32)
    found = heads.yolov7_end2end([table], 0.1)
    assert (found.boxes.tolist(), found.confidences.tolist(), found.class_ids.tolist()) == ([[1, 2, 3, 4]], [0.5], [1])


def test_softmax_and_sigmoid_survive_any_number() -> None:
    values = np.array([1000.0, 0.0, -1000.0])
    assert heads.softmax(values).tolist() == [1.0, 0.0, 0.0]
    assert heads.sigmoid(values).tolist() == [1.0, 0.5, 0.0]
    assert heads.softmax(np.log(np.array([1.0, 3.0]))).tolist() == pytest.approx([0.25, 0.75])
    assert heads.sigmoid(np.array([math.log(3)])).tolist() == pytest.approx([0.75])


# Families


def match(
    *shapes: tuple[int, ...],
    family: Family = Family.AUTO,
    names: int | None = None,
    size: int = 640,
    single: bool = False,
    keypoints: tuple[int, int] | None = None,
    rotated: bool = False,
) -> FamilyMatch:
    outputs = [GraphOutput(f"output{i}", shape) for i, shape in enumerate(shapes)]
    return match_family(family, outputs, GraphFacts(size, size, names, single, keypoints, rotated))


@pytest.mark.parametrize(
    ("shape", "family", "classes"),
    [
        ((1, 84, 8400), Family.YOLOV8, 80),
        ((1, 5, 8400), Family.YOLOV8, 1),
        ((1, 84, 33600 + 400), Family.YOLOV8, 80),  # strides 4 to 32
        ((1, 85, 8500), Family.YOLOV8, 81),  # strides 8 to 64
        ((1, 25200, 85), Family.YOLOV5, 80),
        ((1, 25500, 85), Family.YOLOV5, 80),
        ((1, 25200, 6), Family.YOLOV5, 1),
        ((1, 8400, 85), Family.YOLOX, 80),
        ((1, 8400, 6), Family.YOLOX, 1),
        ((1, 300, 6), Family.END2END, None),
        ((1, 0, 6), Family.END2END, None),
        ((1, 1000), Family.CLASSIFIER, 1000),
        ((1, 1000, 1, 1), Family.CLASSIFIER, 1000),
    ],
)
def test_a_family_is_recognised_by_its_shape(shape: tuple[int, ...], family: Family, classes: int | None) -> None:
    found = match(shape)
    assert (found.family, found.class_count) == (family, classes)
    assert match(shape, family=family) == found
    if family is Family.YOLOX:
        assert found.strides == (8, 16, 32)


@pytest.mark.parametrize("wrong", [family for family in Family if family is not Family.AUTO])
@pytest.mark.parametrize("shape", [(1, 84, 8400), (1, 25200, 85), (1, 8400, 85), (1, 300, 6), (1, 1000)])
def test_a_family_that_was_named_wrongly_is_refused_with_the_shapes(shape: tuple[int, ...], wrong: Family) -> None:
    fits_as_well = {((1, 84, 8400), Family.YOLOV8_OBB), ((1, 300, 6), Family.RTDETR)}
    if match(shape).family is wrong or (shape, wrong) in fits_as_well:
        return
    with pytest.raises(ModelLoadError) as refusal:
        match(shape, family=wrong)
    assert f"{wrong} does not fit" in str(refusal.value)
    assert f"640 x 640 are output0 {shape}" in str(refusal.value)


@pytest.mark.parametrize(
    ("shapes", "names", "message"),
    [
        ([(1, 84, 100)], None, "finds no family"),
        ([(2, 84, 8400)], None, "finds no family"),
        ([(1, 3, 80, 80, 85)], None, "finds no family"),
        ([(8400, 85)], None, "finds no family"),
        ([()], None, "finds no family"),
        ([(1, 1)], None, "finds no family"),
        ([(1, 116, 8400), (1, 113, 160, 160)], None, "output1 (1, 113, 160, 160)"),
        ([(1, 84, 100)], 1, "finds no family that fits, with 1 class name. "),
    ],
)
def test_what_fits_no_family_is_refused_with_the_shapes(
    shapes: list[tuple[int, ...]], names: int | None, message: str
) -> None:
    with pytest.raises(ModelLoadError) as refusal:
        match(*shapes, names=names)
    assert message in str(refusal.value)
    assert f"output0 {shapes[0]}" in str(refusal.value)
    assert "yolov5: (1, N, 5 + classes)" in str(refusal.value)


@pytest.mark.parametrize(
    ("shapes", "names", "message"),
    [
        ([(1, 116, 8400), (1, 32, 160, 160)], 3, "3 names, but the network has 80 classes as yolov8-seg: give 80, or"),
        ([(1, 84, 8400)], 3, "3 names, but the network has 80 classes as yolov8: give 80, or set another model.family"),
        ([(1, 1000)], 10, "10 names, but the network has 1000 classes as classifier: give 1000, or"),
    ],
)
def test_a_wrong_number_of_names_is_refused_with_the_right_one(
    shapes: list[tuple[int, ...]], names: int, message: str
) -> None:
    with pytest.raises(ModelLoadError) as refusal:
        match(*shapes, names=names)
    assert str(refusal.value).startswith(f"model.class_names: {message}")
    assert len(str(refusal.value)) < 250


def test_what_fits_two_families_must_be_named_unless_the_class_names_tell() -> None:
    # 160 x 160 has 525 cells: six numbers for each may be one class on a grid, or finished boxes.
    with pytest.raises(ModelLoadError, match=r"can't tell end2end from yolox.*\(1, 525, 6\).*Name the right one"):
        match((1, 525, 6), size=160)
    assert match((1, 525, 6), size=160, names=4).family is Family.END2END
    assert match((1, 525, 6), size=160, family=Family.YOLOX).class_count == 1


def test_a_named_family_must_have_as_many_classes_as_names() -> None:
    with pytest.raises(ModelLoadError, match="3 names, but the network has 80 classes as yolov8: give 80"):
        match((1, 84, 8400), family=Family.YOLOV8, names=3)


def test_a_named_family_reads_the_first_of_several_outputs() -> None:
    assert match((1, 25200, 85), (1, 3, 80, 80, 85), family=Family.YOLOV5).class_count == 80


@pytest.mark.parametrize(
    ("shapes", "family", "classes"),
    [
        ([(1, 116, 8400), (1, 32, 160, 160)], Family.YOLOV8_SEG, 80),
        ([(1, 32, 160, 160), (1, 116, 8400)], Family.YOLOV8_SEG, 80),
        ([(1, 300, 38), (1, 32, 160, 160)], Family.END2END_SEG, None),
    ],
)
def test_segmentation_is_recognised_by_its_prototypes(
    shapes: list[tuple[int, ...]], family: Family, classes: int | None
) -> None:
    found = match(*shapes)
    assert (found.family, found.class_count, found.has_masks) == (family, classes, True)
    assert len(shapes[found.output_indices[0]]) == 3
    assert match(*shapes, family=family) == found


def test_keypoints_are_recognised_by_the_metadata_and_never_by_the_shape_alone() -> None:
    assert match((1, 56, 8400)).family is Family.YOLOV8
    assert match((1, 56, 8400), names=1, keypoints=(17, 3)).family is Family.YOLOV8_POSE
    assert match((1, 300, 57), keypoints=(17, 3)).family is Family.END2END_POSE
    assert match((1, 300, 40), keypoints=(17, 2)).family is Family.END2END_POSE
    with pytest.raises(ModelLoadError, match="finds no family"):
        match((1, 300, 57))
    assert match((1, 56, 8400), family=Family.YOLOV8_POSE).keypoints == (17, 3)


def test_rotated_boxes_are_recognised_by_the_metadata_and_never_by_the_shape_alone() -> None:
    assert match((1, 20, 8400)).family is Family.YOLOV8
    found = match((1, 20, 8400), rotated=True, names=15)
    assert (found.family, found.class_count) == (Family.YOLOV8_OBB, 15)
    assert match((1, 300, 7), rotated=True, names=15).family is Family.END2END_OBB
    with pytest.raises(ModelLoadError, match="finds no family"):
        match((1, 300, 7))
    assert match((1, 20, 8400), family=Family.YOLOV8_OBB).class_count == 15


NAMED_LOGITS = {"logits": (1, 100, 21), "pred_boxes": (1, 100, 4), "last_hidden_state": (1, 100, 256)}


def matched(
    outputs: Mapping[str, tuple[int, ...]], names: int | None = None, family: Family = Family.AUTO
) -> FamilyMatch:
    return match_family(family, [GraphOutput(*of) for of in outputs.items()], GraphFacts(640, 640, names))


def test_transformers_are_told_apart_by_their_class_names() -> None:
    found = matched(NAMED_LOGITS, 21)
    assert (found.family, found.class_count, found.output_indices) == (Family.RTDETR, 21, (1, 0))
    found = matched(NAMED_LOGITS, 20)
    assert (found.family, found.class_count, found.output_indices) == (Family.DETR, 20, (0, 1))
    with pytest.raises(ModelLoadError, match=r"can't tell rtdetr from detr.*Name the right one"):
        matched(NAMED_LOGITS)
    assert matched(NAMED_LOGITS, family=Family.DETR).class_count == 20
    assert matched({"a": (1, 100, 21), "b": (1, 100, 4)}, family=Family.RTDETR).class_count == 21
    with pytest.raises(ModelLoadError, match="detr does not fit"):
        matched({"a": (1, 100, 21), "b": (1, 99, 4)}, family=Family.DETR)


def test_finished_transformers_are_told_by_the_names_of_their_outputs() -> None:
    shapes: dict[str, tuple[int, ...]] = {"scores": (1, 300), "boxes": (1, 300, 4), "labels": (1, 300)}
    found = matched(shapes)
    assert (found.family, found.class_count, found.output_indices) == (Family.RTDETR, None, (2, 1, 0))
    with pytest.raises(ModelLoadError, match="rtdetr does not fit"):
        matched({**shapes, "labels": (1, 299)}, family=Family.RTDETR)


def test_a_table_of_queries_is_told_by_its_class_names() -> None:
    assert match((1, 300, 84), names=80).family is Family.RTDETR
    assert match((1, 300, 6), names=2).family is Family.END2END  # unless its metadata name the head
    assert match((1, 300, 6), family=Family.RTDETR, names=5).class_count is None
    with pytest.raises(ModelLoadError, match="finds no family"):
        match((1, 300, 84))


def test_boxes_of_all_pictures_in_one_table_are_no_classes() -> None:
    def told(shape: tuple[int, int], per_picture: bool) -> Family:
        return match_family(Family.AUTO, [GraphOutput("output", shape, per_picture)], GraphFacts(640, 640)).family

    assert [told((rows, 7), False) for rows in (0, 1, 9)] == [Family.YOLOV7_END2END] * 3
    assert [told((rows, 7), True) for rows in (0, 1, 9)] == [
        Family.YOLOV7_END2END,
        Family.CLASSIFIER,
        Family.YOLOV7_END2END,
    ]
    assert not match((5, 7), family=Family.YOLOV7_END2END).per_picture


def test_what_torchvision_found_is_told_by_shapes_and_types_in_any_order() -> None:
    def told(*shapes: tuple[tuple[int, ...], bool], family: Family = Family.AUTO) -> FamilyMatch:
        outputs = [GraphOutput(str(n), shape, False, whole) for n, (shape, whole) in enumerate(shapes)]
        return match_family(family, outputs, GraphFacts(640, 640))

    for found in (0, 1, 4):
        boxes, labels, scores = ((found, 4), False), ((found,), True), ((found,), False)
        match = told(boxes, scores, labels)
        assert (match.family, match.output_indices, match.has_masks) == (Family.TORCHVISION, (0, 2, 1), False)
        assert (match.first_class_id, match.per_picture) == (1, False)
        assert told(boxes, labels, scores, ((found, 1, 640, 640), False)).output_indices == (0, 1, 2, 3)
        keypoints = told(boxes, labels, scores, ((found, 4, 3), False), ((found, 4), False))
        assert (keypoints.output_indices, keypoints.has_masks) == ((0, 1, 2), False)
    for outputs in (
        (boxes, scores, scores),
        (boxes, labels, scores, labels, scores),  # of two pictures
        (boxes, labels, ((3,), False)),
        (labels, scores, scores),
    ):
        with pytest.raises(ModelLoadError, match="torchvision does not fit"):
            told(*outputs, family=Family.TORCHVISION)


def test_a_classifier_of_one_class_makes_sense_for_many_labels_only() -> None:
    assert match((1, 1), single=True).class_count == 1


def test_cells_are_counted_up_where_the_input_is_no_multiple_of_the_strides() -> None:
    cells = 13 * 13 + 7 * 7 + 4 * 4
    assert match((1, 84, cells), size=100).family is Family.YOLOV8

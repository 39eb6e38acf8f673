"""Networks in ONNX files: objects are found where they are, and what does not fit is refused with a reason."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter

from framesift.frame import Pixels
from framesift.models import Model, ModelFailed, ModelLoadError, ModelSettings, load
from framesift.prediction.prediction import Classification, Detections, MultiLabel, Task
from rigs.networks import OBJECTNESS, SPOT_NAMES, averaging, blank, cells, constant, frame, spotting

OPTIONS: TypeAdapter[ModelSettings] = TypeAdapter(ModelSettings)
RED, BLUE = (0, 0, 255), (255, 0, 0)
ULTRALYTICS = {"names": "{0: 'red', 1: 'blue'}", "imgsz": "[192, 320]", "task": "detect"}


def model(path: Path, **fields: object) -> Model:
    return load(OPTIONS.validate_json(json.dumps({"type": "onnx", "path": str(path), **fields})))


def spotted(height: int = 720, width: int = 1280, colour: tuple[int, int, int] = RED) -> Pixels:
    """A grey picture with a rectangle of one colour: 400 x 200 around (800, 300) of 1280 x 720."""
    pixels = blank(height, width)
    pixels[height * 200 // 720 : height * 400 // 720, width * 600 // 1280 : width * 1000 // 1280] = colour
    return pixels


def found(model: Model, pixels: Pixels) -> Detections:
    answer = model.predict(frame(pixels))
    assert isinstance(answer, Detections)
    return answer


def scores_of(model: Model, pixels: Pixels) -> dict[str, float]:
    answer = model.predict(frame(pixels))
    assert isinstance(answer, Classification | MultiLabel)
    return {score.class_name: score.confidence for score in answer.scores}


@pytest.mark.parametrize("colour", [RED, BLUE])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("family", ["yolov8", "yolov5", "end2end", "yolox"])
def test_every_family_finds_the_right_class_in_the_right_place(
    tmp_path: Path, family: str, named: bool, colour: tuple[int, int, int]
) -> None:
    path = spotting(tmp_path / "spot.onnx", family, bgr=family == "yolox", peak=255.0 if family == "yolox" else 1.0)
    options: dict[str, object] = {"class_names": list(SPOT_NAMES)} | ({"family": family} if named else {})
    spot = model(path, **options)
    answer = found(spot, spotted(colour=colour))
    (box,) = answer.objects
    assert (box.x, box.y, box.width, box.height) == pytest.approx((800, 300, 400, 200), abs=0.1)
    assert box.class_name == ("red" if colour == RED else "blue")
    assert box.confidence == pytest.approx(OBJECTNESS if family in ("yolov5", "yolox") else 1.0, abs=1e-5)
    assert (answer.width, answer.height, answer.dropped, answer.model_id) == (1280, 720, 0, "spot")
    assert answer.time_s is not None
    assert (spot.task, spot.class_names) == (Task.OBJECT_DETECTION, SPOT_NAMES)
    assert spot.description == f"spot.onnx: {family}, 320 x 192, 2 classes, CPUExecutionProvider"


def test_a_yolox_network_has_its_picture_at_the_top_left_unscaled_and_with_blue_first(tmp_path: Path) -> None:
    # Its only candidate is as confident as the first channel of the pixel at the top left is bright, of 255.
    text = """<ir_version: 9, opset_import: ["" : 17]>
corner (float[1, 3, 32, 32] images) => (float[1, 21, 6] output0) {
  from = Constant <value = int64[4] {0, 0, 0, 0}> ()
  to = Constant <value = int64[4] {1, 1, 1, 1}> ()
  single = Constant <value = int64[3] {1, 1, 1}> ()
  most = Constant <value = float {255.0}> ()
  box = Constant <value = float[1, 1, 5] {0.0, 0.0, 0.0, 0.0, 1.0}> ()
  pads = Constant <value = int64[6] {0, 0, 0, 0, 20, 0}> ()
  pixel = Slice (images, from, to)
  flat = Reshape (pixel, single)
  share = Div (flat, most)
  candidate = Concat <axis = 2> (box, share)
  output0 = Pad (candidate, pads)
}"""
    onnx.save(onnx.parser.parse_model(text), str(tmp_path / "corner.onnx"))
    (box,) = found(model(tmp_path / "corner.onnx", family="yolox"), np.full((16, 32, 3), (204, 9, 9), np.uint8)).objects
    assert box.confidence == pytest.approx(0.8)


@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
@pytest.mark.parametrize(("height", "width"), [(720, 1280), (1280, 720), (96, 160), (481, 641)])
def test_a_box_comes_back_to_the_pixels_of_any_picture(tmp_path: Path, resize: str, height: int, width: int) -> None:
    spot = model(spotting(tmp_path / "spot.onnx", "yolov8", metadata=ULTRALYTICS), resize=resize)
    (box,) = found(spot, spotted(height, width)).objects
    pixel = max(height / 192, width / 320)  # one pixel of the network
    expected = (width * 800 / 1280, height * 300 / 720, width * 400 / 1280, height * 200 / 720)
    assert (box.x, box.y, box.width, box.height) == pytest.approx(expected, abs=1.5 * pixel)


def test_a_picture_in_half_precision_is_given_to_a_network_that_wants_it(tmp_path: Path) -> None:
    spot = model(spotting(tmp_path / "spot.onnx", "yolov8", half=True, metadata=ULTRALYTICS))
    assert found(spot, spotted()).objects[0].confidence == pytest.approx(1.0, abs=0.001)


def test_colour_scale_mean_and_std_are_taken_from_the_configuration(tmp_path: Path) -> None:
    # (1 - 0.5) / 0.25 = 2 for red where there is red, (0 - 0.25) / 0.5 = -0.5 for blue: together 2.5 of a peak of 5.
    path = spotting(tmp_path / "spot.onnx", "yolov8", peak=5.0, metadata=ULTRALYTICS)
    normalised = {"scale": 1 / 255, "mean": [0.5, 0.0, 0.25], "std": [0.25, 1.0, 0.5]}
    (box,) = found(model(path, **normalised), spotted()).objects
    assert box.class_name == "red"
    assert box.confidence == pytest.approx(0.5, abs=1e-5)
    (box,) = found(model(path, scale=0.01), spotted()).objects
    assert box.confidence == pytest.approx(2.55 / 5, abs=1e-5)
    (box,) = found(model(path, scale=0.01, colour="bgr"), spotted()).objects
    assert box.class_name == "blue"


def test_names_size_and_task_are_read_from_the_metadata(tmp_path: Path) -> None:
    path = constant(tmp_path / "open.onnx", eight(), size=("h", "w"), batch="n", metadata=ULTRALYTICS | {"imgsz": "64"})
    dynamic = model(path)
    assert dynamic.class_names == ("red", "blue")
    assert dynamic.description.startswith("open.onnx: yolov8, 64 x 64")


def eight(*boxes: tuple[float, ...], classes: int = 2, size: int = 64) -> NDArray[np.float32]:
    """A yolov8 head's output that holds `boxes` (centre, size, and a confidence per class)."""
    output = np.zeros((1, 4 + classes, cells(size, size)), np.float32)
    for i, box in enumerate(boxes):
        output[0, :, i + 3] = box
    return output


def test_names_are_read_from_lines_too(tmp_path: Path) -> None:
    message = {"character": "red\nblue"}
    assert model(constant(tmp_path / "n.onnx", eight(), metadata=message)).class_names == SPOT_NAMES
    both = message | {"names": "['a', 'b']"}
    assert model(constant(tmp_path / "n.onnx", eight(), metadata=both)).class_names == ("a", "b")


def test_overlapping_boxes_are_suppressed_per_class_as_configured(tmp_path: Path) -> None:
    output = eight((32, 32, 16, 16, 0.9, 0.0), (33, 32, 16, 16, 0.8, 0.0), (33, 32, 16, 16, 0.1, 0.7))
    path = constant(tmp_path / "n.onnx", output, metadata={"names": "['a', 'b']"})
    message = [(d.class_name, round(d.confidence, 3)) for d in found(model(path), blank(64, 64)).objects]
    assert message == [("a", 0.9), ("b", 0.7)]
    assert len(found(model(path, iou=0.95), blank(64, 64)).objects) == 3
    assert len(found(model(path, confidence=0.75), blank(64, 64)).objects) == 1


def test_an_end_to_end_head_is_not_suppressed_again(tmp_path: Path) -> None:
    output = np.zeros((1, 19, 6), np.float32)
    output[0, :2] = [[8, 8, 24, 24, 0.9, 1], [8, 8, 24, 24, 0.8, 1]]
    answer = found(model(constant(tmp_path / "n.onnx", output)), blank(64, 64))
    assert [d.class_id for d in answer.objects] == [1, 1]


def test_classes_without_names_are_numbered(tmp_path: Path) -> None:
    unnamed = model(constant(tmp_path / "my model (1).onnx", eight((32, 32, 8, 8, 0.1, 0.9))))
    assert unnamed.class_names is None
    assert unnamed.model_id == "my-model--1-"
    assert found(unnamed, blank(64, 64)).objects[0].class_name == "class_1"


def test_numbers_that_are_none_are_dropped_and_counted(tmp_path: Path) -> None:
    output = eight(
        (32, 32, 16, 16, 0.9, 0.0),
        (32, 32, math.nan, 16, 0.9, 0.0),
        (8, 8, 16, 16, math.nan, 0.0),
        (math.inf, 8, 16, 16, 0.5, 0.0),
        (-500, 8, 16, 16, 0.5, 0.0),
    )
    answer = found(model(constant(tmp_path / "n.onnx", output)), blank(64, 64))
    assert [round(d.confidence, 3) for d in answer.objects] == [0.9]
    assert answer.dropped == 4


def test_a_class_beyond_the_names_is_dropped_and_counted(tmp_path: Path) -> None:
    output = np.zeros((1, 19, 6), np.float32)
    output[0, :3] = [[8, 8, 24, 24, 0.9, 1], [8, 8, 24, 24, 0.8, 7], [8, 8, 24, 24, 0.8, -1]]
    answer = found(model(constant(tmp_path / "n.onnx", output), class_names=["a", "b"]), blank(64, 64))
    assert [d.class_name for d in answer.objects] == ["b"]
    assert answer.dropped == 2


# Classifiers


def test_a_classifier_gets_the_middle_of_a_wide_picture_unless_resize_is_set(tmp_path: Path) -> None:
    path = averaging(tmp_path / "mean.onnx", {"task": "classify", "names": "['r', 'g', 'b']"})
    pixels = np.zeros((100, 400, 3), np.uint8)
    pixels[:, 150:250] = RED
    pixels[:, :150] = pixels[:, 250:] = (0, 255, 0)
    expected = {
        "crop": {"r": 1.0, "g": 0.0, "b": 0.0},
        "stretch": {"r": 0.25, "g": 0.75, "b": 0.0},
        "letterbox": {"r": 0.0625 + 0.75 * 114 / 255, "g": 0.1875 + 0.75 * 114 / 255, "b": 0.75 * 114 / 255},
    }
    assert scores_of(model(path, activation="none"), pixels) == pytest.approx(expected["crop"], abs=0.02)
    for resize, scores in expected.items():
        assert scores_of(model(path, activation="none", resize=resize), pixels) == pytest.approx(scores, abs=0.02)


def said_of(tmp_path: Path, values: list[float], **fields: object) -> Classification | MultiLabel:
    path = constant(tmp_path / "c.onnx", np.array([values], np.float32), metadata={"names": "['a', 'b', 'c']"})
    classifier = model(path, **fields)
    assert classifier.task is Task.CLASSIFICATION
    answer = classifier.predict(frame(blank(48, 64)))
    assert isinstance(answer, Classification | MultiLabel)
    assert (answer.width, answer.height, answer.model_id) == (64, 48, "c")
    return answer


@pytest.mark.parametrize(
    ("values", "fields", "expected"),
    [
        ([0.25, 0.625, 0.125], {}, {"b": 0.625, "a": 0.25, "c": 0.125}),
        ([0.0, math.log(6), math.log(3)], {}, {"b": 0.6, "c": 0.3, "a": 0.1}),
        ([0.26, 0.625, 0.125], {}, {"b": 0.625, "a": 0.26, "c": 0.125}),
        ([0.5, 0.5, 0.5], {"activation": "softmax"}, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}),
        ([0.5, 0.5, 0.5], {"activation": "none"}, {"a": 0.5, "b": 0.5, "c": 0.5}),
        ([0.0, 1.0, 0.0], {"activation": "sigmoid"}, {"b": 0.731059, "a": 0.5, "c": 0.5}),
    ],
)
def test_confidences_are_made_of_a_classifiers_numbers_where_they_are_none_yet(
    tmp_path: Path, values: list[float], fields: dict[str, object], expected: dict[str, float]
) -> None:
    answer = said_of(tmp_path, values, **fields)
    assert isinstance(answer, Classification)
    assert [score.class_name for score in answer.scores] == list(expected)
    assert [score.confidence for score in answer.scores] == pytest.approx(list(expected.values()), abs=1e-5)
    assert (answer.top, answer.confidence) == (answer.scores[0].class_name, answer.scores[0].confidence)
    assert answer.scores[0].class_id == "abc".index(answer.top)


def test_a_classifier_below_its_confidence_gives_no_label(tmp_path: Path) -> None:
    answer = said_of(tmp_path, [0.25, 0.625, 0.125], confidence=0.7)
    assert isinstance(answer, Classification)
    assert (answer.top, answer.confidence, len(answer.scores)) == ("", 0.625, 3)


@pytest.mark.parametrize(
    ("values", "fields", "predicted"),
    [
        ([0.9, 0.1, 0.5], {}, ("a", "c")),
        ([0.9, 0.1, 0.5], {"threshold": 0.6}, ("a",)),
        ([3.0, -3.0, 0.1], {}, ("a", "c")),
        ([-3.0, -3.0, -3.0], {}, ()),
    ],
)
def test_a_classifier_may_give_many_labels(
    tmp_path: Path, values: list[float], fields: dict[str, object], predicted: tuple[str, ...]
) -> None:
    answer = said_of(tmp_path, values, multi_label=True, **fields)
    assert isinstance(answer, MultiLabel)
    assert answer.predicted == predicted
    assert len(answer.scores) == 3
    assert all(0 <= score.confidence <= 1 for score in answer.scores)


@pytest.mark.parametrize("values", [[0.9, 0.8, 0.1], [0.5, 0.5, 0.5], [0.0, 0.0, 0.9], [0.0, 0.0, 0.0]])
def test_confidences_that_are_not_those_of_one_label_are_taken_as_they_are_and_multi_label_is_asked_for(
    tmp_path: Path, values: list[float]
) -> None:
    with pytest.raises(ModelLoadError, match=rf"model\.multi_label: .*c\.onnx .*add up to {sum(values):.3g}: .*true"):
        said_of(tmp_path, values)
    for fields in ({"multi_label": True}, {"activation": "none"}):
        scores = said_of(tmp_path, values, **fields).scores
        assert [score.confidence for score in sorted(scores, key=lambda s: s.class_id)] == pytest.approx(values)


def test_confidences_of_one_label_must_add_up_for_every_test_picture(tmp_path: Path) -> None:
    text = f"""<ir_version: 9, opset_import: ["" : 17]>
g (float[1, 3, 32, 32] images) => (float[1, 3, 1, 1] output0) {{
  third = Constant <value = float {{{255 / 114 / 3}}}> ()
  means = GlobalAveragePool (images)
  output0 = Mul (means, third)
}}"""
    onnx.save(onnx.parser.parse_model(text), str(tmp_path / "n.onnx"))
    with pytest.raises(ModelLoadError, match=r"add up to 2\.24"):
        model(tmp_path / "n.onnx")


def ending(path: Path, operation: str) -> Path:
    """A classifier of what the means of the channels are, less a half, after an operation."""
    text = f"""<ir_version: 9, opset_import: ["" : 17]>
g (float[1, 3, 32, 32] images) => (float[1, 3] output0) {{
  weights = Constant <value = float[3, 3] {{0.5, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.5}}> ()
  two = Constant <value = int64[2] {{1, 3}}> ()
  means = GlobalAveragePool (images)
  row = Reshape (means, two)
  answer = {operation}
  output0 = Reshape (answer, two)
}}"""
    onnx.save(onnx.parser.parse_model(text), str(path))
    return path


def test_a_graph_that_ends_with_a_layer_gives_logits_even_if_they_look_like_confidences(tmp_path: Path) -> None:
    # Means of 0.5, 0 and 0.1: in the range of confidences, as those of every other picture are.
    pixels = np.full((32, 32, 3), (51, 0, 255), np.uint8)
    for operation in ("MatMul (row, weights)", "Gemm (row, weights)"):
        path = ending(tmp_path / "n.onnx", operation)
        logits = np.array([0.5, 0.0, 0.1])
        expected = np.exp(logits) / np.exp(logits).sum()
        assert list(scores_of(model(path), pixels).values()) == pytest.approx(sorted(expected, reverse=True), abs=1e-5)
        many = scores_of(model(path, multi_label=True), pixels)
        assert list(many.values()) == pytest.approx(sorted(1 / (1 + np.exp(-logits)), reverse=True), abs=1e-5)


def test_a_graph_that_ends_with_an_activation_gives_confidences(tmp_path: Path) -> None:
    pixels = np.full((32, 32, 3), (51, 0, 255), np.uint8)
    softmax = ending(tmp_path / "n.onnx", "Softmax (row)")
    expected = np.exp([1.0, 0.2, 0.0]) / np.exp([1.0, 0.2, 0.0]).sum()
    for fields in ({}, {"multi_label": True}):
        assert list(scores_of(model(softmax, **fields), pixels).values()) == pytest.approx(list(expected), abs=1e-5)
    sigmoid = ending(tmp_path / "n.onnx", "Sigmoid (row)")
    with pytest.raises(ModelLoadError, match=r"model\.multi_label"):
        model(sigmoid)
    expected = 1 / (1 + np.exp([-1.0, -0.2, 0.0]))
    assert list(scores_of(model(sigmoid, multi_label=True), pixels).values()) == pytest.approx(list(expected), abs=1e-5)


def test_what_confidences_are_is_settled_once_and_a_picture_that_belies_it_has_no_prediction(tmp_path: Path) -> None:
    # Of grey, black, white and noise the numbers lie from 0 to 1, and add up to about 1; of pure red the first is 334.
    text = """<ir_version: 9, opset_import: ["" : 17]>
g (float[1, 3, 32, 32] images) => (float[1, 3] output0) {
  two = Constant <value = int64[2] {1, 3}> ()
  little = Constant <value = float {0.001}> ()
  three = Constant <value = float {3.0}> ()
  means = GlobalAveragePool (images)
  row = Reshape (means, two)
  more = Add (row, little)
  least = ReduceMin (more)
  divisor = Mul (least, three)
  output0 = Div (more, divisor)
}"""
    onnx.save(onnx.parser.parse_model(text), str(tmp_path / "n.onnx"))
    classifier = model(tmp_path / "n.onnx")
    assert list(scores_of(classifier, blank(32, 32)).values()) == pytest.approx([1 / 3] * 3, abs=0.01)
    for _ in range(2):
        with pytest.raises(ModelFailed, match=r"334 is not a confidence: set model\.activation"):
            classifier.predict(frame(np.full((32, 32, 3), RED, np.uint8)))
    assert list(scores_of(classifier, blank(32, 32)).values()) == pytest.approx([1 / 3] * 3, abs=0.01)


def test_a_class_without_a_number_is_dropped_and_a_picture_without_any_has_no_prediction(tmp_path: Path) -> None:
    answer = said_of(tmp_path, [0.9, math.nan, math.inf], activation="none")
    assert isinstance(answer, Classification)
    assert (answer.top, len(answer.scores), answer.dropped) == ("a", 1, 2)
    for values, fields in (([7.5, 0.5, 0.1], {}), ([90.0, 0.0, 0.0], {"multi_label": True})):
        with pytest.raises(ModelFailed, match=r"is not a confidence: set model\.activation to softmax or sigmoid"):
            said_of(tmp_path, values, activation="none", **fields)
    with pytest.raises(ModelFailed, match="no class has a finite confidence"):
        said_of(tmp_path, [math.nan] * 3)


# Class names


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.txt", "red\n blue \n"),
        ("names.yaml", "names: [red, blue]"),
        ("data.yml", "train: a\nnames: {1: blue, 0: red}"),
    ],
)
def test_class_names_are_read_from_a_file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    path = constant(tmp_path / "n.onnx", eight(), metadata={"names": "['other', 'names']"})
    assert model(path, class_names_file=str(tmp_path / name)).class_names == SPOT_NAMES


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.txt", None, "No such file"),
        ("names.txt", b"\xff\xfe\x00", "is not UTF-8 text"),
        ("names.txt", b"", "a list of names is expected"),
        ("names.txt", b"red\n\nblue", "class 1: a class name must be printable text, not ''"),
        ("names.yaml", b"names: {0: red, 2: blue}", "class id 1 has no name"),
        ("names.yaml", b"names: {red: 0}", "the keys are class ids"),
        ("names.yaml", b"names: [red, 5]", "class 1: a class name must be printable text"),
        ("names.yaml", b"names: red", "a list of names is expected"),
        ("names.yaml", b"[red, blue]", "a list of names is expected"),
        ("names.yaml", b"names: [", "while parsing"),
        ("names.yaml", b'names: ["\\0"]', "class 0"),
        ("names.txt", b"red", "names.txt: 1 name, but the network has 2 classes as yolov8: give 2"),
    ],
)
def test_an_invalid_file_of_names_is_refused_with_a_reason(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelLoadError) as refusal:
        model(constant(tmp_path / "n.onnx", eight()), class_names_file=str(tmp_path / name))
    assert message in str(refusal.value)


def test_coco_names_the_eighty_classes_of_a_network_that_was_trained_on_it(tmp_path: Path) -> None:
    output = eight((32, 32, 8, 8, *(0.9 if number == 2 else 0.0 for number in range(80))), classes=80)
    path = constant(tmp_path / "n.onnx", output)
    cars = model(path, class_names="coco", family="yolov8")
    assert [box.class_name for box in found(cars, blank(64, 64)).objects] == ["car"]
    assert cars.class_names is not None
    assert (len(set(cars.class_names)), cars.class_names[0], cars.class_names[79]) == (80, "person", "toothbrush")
    with pytest.raises(ModelLoadError, match="class_names: coco: 80 names, but the network has 2 classes as"):
        model(constant(tmp_path / "n.onnx", eight()), class_names="coco", family="yolov8")


def test_a_network_that_counts_as_cocos_files_do_has_its_names_by_category_id(tmp_path: Path) -> None:
    # Of COCO's category ids, 13 is a stop sign and 90 a toothbrush; 12 is not used.
    boxes, scores = np.tile(np.array([0.25, 0.25, 0.75, 0.75], np.float32), (1, 3, 1)), np.array([[0.9, 0.8, 0.7]])
    ids, count = np.array([[13, 90, 12]], np.float32), np.array([3], np.float32)
    path = constant(tmp_path / "n.onnx", boxes, ids, scores.astype(np.float32), count)
    ssd = model(path, class_names="coco", family="ssd", first_class_id=1)
    assert [box.class_name for box in found(ssd, blank(64, 64)).objects] == ["stop sign", "toothbrush", "class_12"]
    logits = np.full((1, 2, 91), -9.0, np.float32)
    logits[0, 0, 13] = logits[0, 1, 1] = 5.0
    path = constant(tmp_path / "n.onnx", np.full((1, 2, 4), 0.5, np.float32), logits)
    detr = model(path, class_names="coco", family="rfdetr")
    assert [box.class_name for box in found(detr, blank(64, 64)).objects] == ["stop sign", "person"]


# What is refused when it is loaded


@pytest.mark.parametrize(
    ("metadata", "fields", "message"),
    [
        ({"names": "nonsense("}, {}, "metadata's names can't be read"),
        ({"names": "{0: 'a', 5: 'b'}"}, {}, "class id 1 has no name"),
        ({"names": "['a', 'b', 'c']"}, {}, "n.onnx: its metadata's names (model.class_names goes before them): 3"),
        ({"task": "depth"}, {}, "is for task 'depth'; detect, segment, pose, obb and classify can be read"),
        ({"task": "obb", "names": "['a', 'b']"}, {}, "2 names, but the network has 1 class as yolov8-obb"),
        ({"task": "obb"}, {"family": "yolov8"}, "says its task is 'obb'"),
        ({"head": "RTDETRDecoder", "names": "['a']"}, {}, "1 name, but the network has 80 classes as rtdetr"),
        ({"head": "RTDETRDecoder", "task": "detect"}, {"family": "yolov8"}, "'detect' and its head RTDETRDecoder"),
        ({"names": "{0: 5}"}, {}, "class 0: a class name must be printable text, not 5; give model.class_names"),
        ({}, {"bars": "right_below", "family": "rtdetr"}, "family rtdetr has none unless resize: letterbox is set"),
        ({"task": "segment"}, {}, "no family that fits. The outputs"),
        ({"task": "pose"}, {"family": "yolov8"}, "says its task is 'pose'"),
        ({"task": "classify"}, {}, "classifier does not fit"),
        ({"task": "classify"}, {"family": "yolov8"}, "says its task is 'classify'"),
        ({}, {"class_names": ["a"]}, "class_names: 1 name, but the network has 2 classes as yolov8"),
        ({}, {"family": "yolov5"}, "yolov5 does not fit"),
        ({}, {"input_size": [64, 32]}, "model.input_size: [64, 32]"),
        ({}, {"multi_label": True}, "this is not a classifier, but yolov8"),
        ({}, {"providers": ["CPUExecutionProvidr"]}, "'CPUExecutionProvidr' is not one of"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_reason(
    tmp_path: Path, metadata: dict[str, str], fields: dict[str, object], message: str
) -> None:
    path = constant(tmp_path / "n.onnx", eight(), metadata=metadata)
    with pytest.raises(ModelLoadError) as refusal:
        model(path, **fields)
    assert message in str(refusal.value)


@pytest.mark.parametrize("names", ["None", " null ", "{}", "[]"])
def test_names_that_say_none_are_none(tmp_path: Path, names: str) -> None:
    nameless = model(constant(tmp_path / "n.onnx", eight((32, 32, 8, 8, 0.9, 0.1)), metadata={"names": names}))
    assert nameless.class_names is None
    assert "model.class_names" in nameless.notes.class_names_advice
    assert [box.class_name for box in found(nameless, blank(64, 64)).objects] == ["class_0"]


def test_a_class_names_file_without_names_says_where_they_belong(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: null\n")
    with pytest.raises(
        ModelLoadError, match=r"data\.yaml: names: .*there are none: write them there, or give model\.cl"
    ):
        model(constant(tmp_path / "n.onnx", eight()), class_names_file=str(tmp_path / "data.yaml"))


@pytest.mark.parametrize("key", ["path", "class_names_file"])
def test_a_pointer_of_git_lfs_is_not_taken_for_the_file(tmp_path: Path, key: str) -> None:
    pointer = tmp_path / "file.onnx"
    pointer.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345678\n")
    path = pointer if key == "path" else constant(tmp_path / "n.onnx", eight())
    fields = {} if key == "path" else {"class_names_file": str(pointer)}
    with pytest.raises(
        ModelLoadError, match=rf"model\.{key}: .*file\.onnx is a pointer of Git LFS.*run `git lfs pull`"
    ):
        model(path, **fields)


def refused(path: Path, network: onnx.ModelProto) -> str:
    path.write_bytes(network.SerializeToString())
    with pytest.raises(ModelLoadError) as refusal:
        model(path)
    text = str(refusal.value)
    assert text.startswith(f"model.path: {path} ")
    assert len(text.splitlines()) <= 2
    assert not re.search(r"std::|\.cc|\.h:|onnxruntime_src|ONNXRuntimeError|const ", text)
    return text


def test_a_network_newer_than_onnxruntime_is_refused_in_two_lines(tmp_path: Path) -> None:
    network = onnx.load(str(constant(tmp_path / "n.onnx", eight())))
    network.opset_import[0].version = 999
    text = refused(tmp_path / "n.onnx", network)
    assert re.search(
        r"is written for opset 999 of ai\.onnx; onnxruntime [\d.]+ reads up to \d+\.\nExport it again", text
    )
    network.opset_import[0].version = 17
    network.ir_version = 999
    assert "is written in ONNX's format (IR) 999; onnxruntime" in refused(tmp_path / "n.onnx", network)


def test_an_operation_that_onnxruntime_lacks_is_named(tmp_path: Path) -> None:
    network = onnx.load(str(constant(tmp_path / "n.onnx", eight())))
    network.opset_import.append(onnx.helper.make_opsetid("trt", 1))
    network.graph.node.append(onnx.helper.make_node("EfficientNMS_TRT", ["images"], ["boxes"], domain="trt"))
    assert "needs the operation trt:EfficientNMS_TRT, which onnxruntime" in refused(tmp_path / "n.onnx", network)
    network.graph.node[-1].CopyFrom(onnx.helper.make_node("FusedNMS", ["images"], ["boxes"]))
    assert "needs the operation FusedNMS, which" in refused(tmp_path / "n.onnx", network)
    network.graph.node[-1].CopyFrom(onnx.helper.make_node("Relu", ["nowhere"], ["boxes"]))
    assert "can't be loaded: " in refused(tmp_path / "n.onnx", network)


def test_confidences_beyond_one_mean_that_the_family_is_wrong(tmp_path: Path) -> None:
    output = eight((32, 32, 16, 16, 3.0, -9.0))
    with pytest.raises(ModelLoadError, match=r"from 0 to 3, not from 0 to 1\. The outputs are output0 \(1, 6, 84\)"):
        model(constant(tmp_path / "n.onnx", output))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"channels": 1}, "wants images tensor(float) [1, 1, 64, 64]; one picture is given"),
        ({"batch": 65}, "[65, 3, 64, 64]"),
        ({"input_type": onnx.TensorProto.INT32}, "tensor(int32)"),
        ({"size": ("h", "w")}, "leaves its size open"),
    ],
)
def test_an_input_that_is_not_a_picture_is_refused_with_its_shape(
    tmp_path: Path, network: dict[str, object], message: str
) -> None:
    path = constant(tmp_path / "n.onnx", eight(), **network)  # type: ignore[arg-type] # a table of keywords
    with pytest.raises(ModelLoadError) as refusal:
        model(path)
    assert message in str(refusal.value)


def test_an_open_size_is_given_by_the_configuration(tmp_path: Path) -> None:
    path = constant(tmp_path / "n.onnx", eight(), size=("h", "w"))
    assert "64 x 64" in model(path, input_size=[64, 64]).description


def test_an_output_without_numbers_is_refused(tmp_path: Path) -> None:
    path = constant(tmp_path / "n.onnx", np.zeros((1, 6, 84), np.int64))
    with pytest.raises(ModelLoadError, match="output0 is not an array of floating-point numbers"):
        model(path)


def test_a_folder_is_no_network(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=rf"^model\.path: {tmp_path}: is a folder, not a file$"):
        model(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"", "is empty"), (b"PK", "is a PyTorch file"), (b"what?", "can't be loaded")],
)
def test_a_file_that_is_no_network_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "n.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelLoadError, match=rf"model\.path: .*n\.onnx.*{message}"):
        model(path)


def test_a_network_that_fails_on_a_picture_of_the_size_is_refused(tmp_path: Path) -> None:
    text = """<ir_version: 9, opset_import: ["" : 17]>
g (float[1, 3, h, w] images) => (float[a, b, c] output0) {
  to = Constant <value = int64[3] {1, 84, 100}> ()
  output0 = Reshape (images, to)
}"""
    path = tmp_path / "n.onnx"
    onnx.save(onnx.parser.parse_model(text), str(path))
    with pytest.raises(ModelLoadError, match="fails on a picture of 64 x 32"):
        model(path, input_size=[64, 32])


def test_providers_that_are_not_there_are_passed_over_while_one_is(tmp_path: Path) -> None:
    there = onnxruntime.get_available_providers()
    missing = next(name for name in onnxruntime.get_all_providers() if name not in there)
    path = constant(tmp_path / "n.onnx", eight())
    assert model(path, providers=[missing, "CPUExecutionProvider"]).description.endswith("CPUExecutionProvider")
    with pytest.raises(ModelLoadError, match=f"none of {missing} is in this onnxruntime, which has {there[0]}"):
        model(path, providers=[missing])


def test_a_picture_is_worked_on_by_as_many_threads_as_configured(tmp_path: Path) -> None:
    path = spotting(tmp_path / "spot.onnx", "yolov8")
    kept = [model(path, threads=1)]
    for threads in (1, 4):
        before = running_threads()
        kept.append(model(path, threads=threads))
        # Those of others may end meanwhile.
        assert len(running_threads() - before) == threads - 1


def running_threads() -> set[str]:
    return {task.name for task in Path("/proc/self/task").iterdir()}


# In service


def test_a_picture_without_pixels_and_a_closed_model_have_no_prediction(tmp_path: Path) -> None:
    spot = model(spotting(tmp_path / "spot.onnx", "yolov8"), threads=1)
    with pytest.raises(ModelFailed, match="0 x 5"):
        spot.predict(frame(np.zeros((5, 0, 3), np.uint8)))
    with pytest.raises(ModelFailed):
        spot.predict(frame(np.zeros((5, 5), np.uint8)))
    assert len(found(spot, spotted()).objects) == 1
    spot.close()
    with pytest.raises(ModelFailed, match="closed"):
        spot.predict(frame(spotted()))


def test_several_streams_ask_at_once_and_each_gets_its_own_answer(tmp_path: Path) -> None:
    spot = model(spotting(tmp_path / "spot.onnx", "yolov8", metadata=ULTRALYTICS), threads=1)
    seen: dict[int, set[tuple[int, str]]] = {}

    def ask(stream: int) -> None:
        pixels = blank(192, 320)
        pixels[10:20, 40 * stream : 40 * stream + 20] = RED if stream % 2 else BLUE
        boxes = [found(spot, pixels).objects[0] for _ in range(10)]
        seen[stream] = {(round(box.x), box.class_name) for box in boxes}

    threads = [threading.Thread(target=ask, args=(stream,)) for stream in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert seen == {stream: {(40 * stream + 10, SPOT_NAMES[1 - stream % 2])} for stream in range(6)}


def test_onnxruntimes_telemetry_is_disabled_before_it_is_loaded(tmp_path: Path) -> None:
    network = tmp_path / "network.onnx"
    network.write_bytes(b"no network, but onnxruntime is loaded to find out")
    program = (
        "import ctypes, sys, pathlib\n"
        "from framesift.models import ModelLoadError, load\n"
        "from framesift.models.onnx.onnx_settings import OnnxSettings\n"
        "try:\n    load(OnnxSettings(type='onnx', path=pathlib.Path(sys.argv[1])))\n"
        "except ModelLoadError:\n    pass\n"
        "libc = ctypes.CDLL(None)\nlibc.getenv.restype = ctypes.c_char_p\n"
        "print('onnxruntime' in sys.modules, libc.getenv(b'ORT_DISABLE_TELEMETRY'))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(network)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True b'1'"

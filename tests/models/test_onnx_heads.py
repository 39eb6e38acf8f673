"""Heads with masks, keypoints or several outputs: objects are found where they are in the frame."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter

from framesift.frame import Pixels
from framesift.models import Model, ModelFailed, ModelLoadError, ModelSettings, load
from framesift.prediction import wire_format as wire
from framesift.prediction.prediction import Detection, Detections, Task
from rigs.networks import SPOT_NAMES, blank, cells, constant, frame
from rigs.networks_heads import SURE, UNSURE, reporting
from rigs.polygons import covered, iou

OPTIONS: TypeAdapter[ModelSettings] = TypeAdapter(ModelSettings)
RED, BLUE = (0, 0, 255), (255, 0, 0)
NAMED = {"names": "{0: 'red', 1: 'blue'}"}
POSE = NAMED | {"task": "pose", "kpt_shape": "[2, 3]"}
# Red less blue, and blue less red, where a pixel is nothing else: after ImageNet's normalisation.
PURE_RED = (1 - 0.485) / 0.229 + 0.406 / 0.225
PURE_BLUE = (1 - 0.406) / 0.225 + 0.485 / 0.229
ROTATED = ["yolov8-obb", "end2end-obb"]
QUERIED = ["rtdetr", "rtdetr by class", "rtdetr logits", "detr"]
EVERY_HEAD = [
    *("yolov8-seg", "end2end-seg", "yolov8-pose", "end2end-pose", *ROTATED),
    *("rfdetr", "rfdetr with masks", "ssd", *QUERIED, "torchvision", "torchvision with masks"),
]
# What exporters say of a network whose outputs could be something else.
TOLD = {head: {"task": "obb"} for head in ROTATED}
TOLD |= {head: {"task": "detect", "head": "RTDETRDecoder"} for head in ("rtdetr", "rtdetr by class")}
WITH_OUTLINES = ["yolov8-seg", "end2end-seg", "rfdetr with masks", "torchvision with masks"]
STRETCHED = ("rfdetr", "rfdetr with masks", "ssd", *QUERIED)


def model(path: Path, **fields: object) -> Model:
    return load(OPTIONS.validate_json(json.dumps({"type": "onnx", "path": str(path), **fields})))


def spotting(folder: Path, head: str, **fields: object) -> Model:
    """The network, for auto to tell its family."""
    peak = {"ssd": 255.0}.get(head, PURE_RED if head.startswith(("rfdetr", "detr")) else 1.0)
    metadata = POSE if "pose" in head else NAMED | TOLD.get(head, {})
    batch = "" if head.startswith("torchvision") else "1"
    path = reporting(folder / "spot.onnx", head, peak=peak, batch=batch, metadata=metadata)
    return model(path, confidence=0.5, **fields)


def found(model: Model, pixels: Pixels) -> Detections:
    answer = model.predict(frame(pixels))
    assert isinstance(answer, Detections)
    # What the model says can be written and read again, and nothing is lost.
    again = wire.parse_prediction(wire.to_wire(answer), task=answer.task)
    assert isinstance(again, Detections)
    assert (again.objects, again.task, again.dropped) == (answer.objects, answer.task, 0)
    return answer


def spotted(height: int = 720, width: int = 1280, colour: tuple[int, int, int] = RED) -> Pixels:
    """400 x 200 around (800, 300) of 1280 x 720."""
    pixels = blank(height, width)
    pixels[height * 200 // 720 : height * 400 // 720, width * 600 // 1280 : width * 1000 // 1280] = colour
    return pixels


def corners(box: Detection) -> list[tuple[float, float]]:
    assert box.points is not None
    return [(p.x, p.y) for p in box.points]


@pytest.mark.parametrize("colour", [RED, BLUE])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("head", EVERY_HEAD)
def test_every_head_finds_the_right_class_in_the_right_place(
    tmp_path: Path, head: str, named: bool, colour: tuple[int, int, int]
) -> None:
    family = head.partition(" ")[0]
    spot = spotting(tmp_path, head, **({"family": family} if named else {}))
    answer = found(spot, spotted(colour=colour))
    (box,) = answer.objects
    pixel = 720 / 192 if head in STRETCHED else 0.2  # what is stretched has other pixels down than across
    assert (box.x, box.width) == pytest.approx((800, 400), abs=0.1)
    assert (box.y, box.height) == pytest.approx((300, 200), abs=pixel)
    assert (box.class_name, box.class_id) == (("red", 0) if colour == RED else ("blue", 1))
    assert box.confidence == pytest.approx(1.0, abs=1e-5)
    assert (answer.width, answer.height, answer.dropped) == (1280, 720, 0)
    assert spot.description == f"spot.onnx: {family}, 320 x 192, 2 classes, CPUExecutionProvider"
    outlines, joints = head in (*WITH_OUTLINES, *ROTATED), "pose" in head
    assert ((box.points is not None), (box.keypoints is not None)) == (outlines, joints)
    expected = Task.INSTANCE_SEGMENTATION if outlines else Task.KEYPOINT_DETECTION if joints else Task.OBJECT_DETECTION
    assert spot.task is answer.task is expected


@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
@pytest.mark.parametrize(("height", "width"), [(1280, 720), (96, 160), (481, 641)])
@pytest.mark.parametrize("head", EVERY_HEAD)
def test_boxes_outlines_and_keypoints_come_back_to_the_pixels_of_any_picture(
    tmp_path: Path, head: str, height: int, width: int, resize: str
) -> None:
    (box,) = found(spotting(tmp_path, head, resize=resize), spotted(height, width)).objects
    pixel = max(height / 192, width / 320)  # one pixel of the network
    x, y, w, h = (width * 800 / 1280, height * 300 / 720, width * 400 / 1280, height * 200 / 720)
    assert (box.x, box.y, box.width, box.height) == pytest.approx((x, y, w, h), abs=1.5 * pixel)
    if box.keypoints is not None:
        places = [(k.x, k.y, k.confidence, k.class_name, k.class_id) for k in box.keypoints]
        assert places[0] == pytest.approx((x - w / 2, y - h / 2, SURE, "keypoint_0", 0), abs=1.5 * pixel)
        assert places[1] == pytest.approx((x + w / 2, y + h / 2, UNSURE, "keypoint_1", 1), abs=1.5 * pixel)
    if box.points is not None:
        corners = np.array([(p.x, p.y) for p in box.points])
        extent = (*corners.min(axis=0), *corners.max(axis=0))
        assert extent == pytest.approx((x - w / 2, y - h / 2, x + w / 2, y + h / 2), abs=3 * pixel)


@pytest.mark.parametrize("head", WITH_OUTLINES)
def test_an_outline_covers_what_was_seen(tmp_path: Path, head: str) -> None:
    for height, width, centre in ((192, 320, (160, 90)), (720, 1280, (700, 300)), (600, 400, (180, 350))):
        pixels = blank(height, width)
        cv2.ellipse(pixels, centre, (height // 4, height // 6), 30, 0, 360, RED, -1)
        (box,) = found(spotting(tmp_path, head), pixels).objects
        assert iou(covered(corners(box), height, width), pixels[:, :, 2] == 255) > 0.93
        assert len(box.points or ()) < 60


def test_an_outline_ends_at_its_box_and_at_the_frame(tmp_path: Path) -> None:
    output = np.zeros((1, 7, cells(64, 64)), np.float32)
    output[0, :, 3] = [32, 24, 24, 16, 0.9, 0.0, 1.0]
    output[0, :, 5] = [32, 60, 20, 40, 0.0, 0.8, 1.0]
    path = constant(tmp_path / "n.onnx", output, np.full((1, 1, 16, 16), 5.0, np.float32))
    # Letterboxed: of 64 x 64 the rows 16 to 48 are the frame's.
    inside, beyond = found(model(path), blank(64, 128)).objects
    assert {(p.x, p.y) for p in inside.points or ()} == {(40, 0), (88, 0), (88, 32), (40, 32)}
    assert {(p.x, p.y) for p in beyond.points or ()} == {(44, 48), (84, 48), (84, 64), (44, 64)}
    assert (beyond.y, beyond.height) == (56, 16)


@pytest.mark.parametrize(("height", "width"), [(192, 320), (720, 1280), (600, 400)])
@pytest.mark.parametrize("head", WITH_OUTLINES)
def test_an_object_in_pieces_and_with_a_hole_is_whole(tmp_path: Path, head: str, height: int, width: int) -> None:
    pixels = blank(height, width)
    pixels[height // 4 : height * 3 // 4, width // 8 : width * 7 // 8] = RED
    pixels[:, width * 4 // 10 : width * 5 // 10] = 90  # a pole
    pixels[height * 4 // 10 : height * 6 // 10, width * 6 // 10 : width * 7 // 10] = 90  # a window
    (box,) = found(spotting(tmp_path, head), pixels).objects
    assert iou(covered(corners(box), height, width), pixels[:, :, 2] == 255) > 0.9
    x, y = np.array(corners(box)).T
    pixel = max(height / 192, width / 320)
    around = (x.min() + x.max()) / 2, (y.min() + y.max()) / 2, x.max() - x.min(), y.max() - y.min()
    assert around == pytest.approx((box.x, box.y, box.width, box.height), abs=3 * pixel)


def test_an_object_without_any_mask_is_dropped_and_counted(tmp_path: Path) -> None:
    output = np.zeros((1, 8, cells(64, 64)), np.float32)
    output[0, :, 3] = [32, 32, 64, 64, 0.9, 0.0, 1.0, 0.0]
    output[0, :, 5] = [32, 32, 64, 64, 0.0, 0.8, 0.0, 1.0]
    prototypes = np.full((1, 2, 64, 64), -1.0, np.float32)
    prototypes[0, 0, 10:20, 10:30] = prototypes[0, 0, 40:44, 40:44] = 1
    answer = found(model(constant(tmp_path / "n.onnx", output, prototypes)), blank(64, 64))
    (box,) = answer.objects
    assert (covered(corners(box), 64, 64) == (prototypes[0, 0] > 0)).all()
    assert (box.class_id, answer.dropped) == (0, 1)


# 64 x 128 is letterboxed into 64 x 64: its rows are 16 to 48.
@pytest.mark.parametrize("row", [[32.0, 8, 20, 14], [32, 56, 60, 15.5], [5, 62, 20, 9]])
@pytest.mark.parametrize("family", ["yolov8", "yolov8-seg", "yolov8-pose", "end2end"])
def test_objects_in_the_bars_are_left_out_and_not_counted(tmp_path: Path, family: str, row: list[float]) -> None:
    columns = {"yolov8": [], "yolov8-seg": [1.0], "yolov8-pose": [1.0, 1.0, 1.0], "end2end": []}[family]
    seen = [32.0, 32, 20, 20]
    if family == "end2end":
        output = np.zeros((1, 30, 6), np.float32)
        for place, (x, y, w, h) in enumerate((row, seen)):
            output[0, place] = [x - w / 2, y - h / 2, x + w / 2, y + h / 2, 0.9, 0]
    else:
        output = np.zeros((1, 5 + len(columns), cells(64, 64)), np.float32)
        output[0, :, [3, 5]] = [[*row, 0.9, *columns], [*seen, 0.9, *columns]]
    masks = [np.full((1, 1, 16, 16), 5.0, np.float32)] if family == "yolov8-seg" else []
    path = constant(tmp_path / "n.onnx", output, *masks)
    answer = found(
        model(path, family=family, **({} if family == "end2end" else {"class_names": ["a"]})), blank(64, 128)
    )
    assert [(box.x, box.y) for box in answer.objects] == [(64, 32)]
    assert answer.dropped == 0


def test_of_a_mask_only_what_lies_in_the_picture_counts(tmp_path: Path) -> None:
    # Two boxes of one size, which reach from the picture into the bar below: the mask of one is in the bar alone.
    output = np.zeros((1, 8, cells(64, 64)), np.float32)
    output[0, :, 3] = [16, 48, 16, 16, 0.9, 0.0, 1.0, 0.0]
    output[0, :, 5] = [48, 48, 16, 16, 0.0, 0.9, 0.0, 1.0]
    prototypes = np.full((1, 2, 64, 64), -1.0, np.float32)
    prototypes[0, 0] = 1
    prototypes[0, 1, 50:] = 1
    answer = found(model(constant(tmp_path / "n.onnx", output, prototypes), class_names=["a", "b"]), blank(64, 128))
    (box,) = answer.objects
    assert {*corners(box)} == {(16, 48), (48, 48), (48, 64), (16, 64)}
    assert (box.class_name, box.y, box.height, answer.dropped) == ("a", 56, 16, 0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("family", "place"), [("seg", 6), ("seg", 0), ("pose", 6), ("pose", 8), ("pose", 2)])
def test_a_number_that_is_none_drops_its_object_alone(tmp_path: Path, family: str, place: int, bad: float) -> None:
    # Two objects apart, with one prototype's share, or with one keypoint.
    rows = [[16, 16, 16, 16, 0.9, 0.0, 1.0], [48, 48, 16, 16, 0.9, 0.0, 1.0]]
    if family == "pose":
        rows = [[*row, 20.0, 0.5] for row in rows]
    output = np.zeros((1, len(rows[0]), cells(64, 64)), np.float32)
    output[0, :, [3, 5]] = rows
    output[0, place, 5] = bad
    prototypes = [np.full((1, 1, 16, 16), 5.0, np.float32)] if family == "seg" else []
    path = constant(tmp_path / "n.onnx", output, *prototypes, metadata=NAMED)
    answer = found(model(path, family=f"yolov8-{family}"), blank(64, 64))
    assert [(d.x, d.y) for d in answer.objects] == [(16, 16)]
    assert answer.dropped == 1


def test_prototypes_that_are_no_numbers_outline_nothing(tmp_path: Path) -> None:
    output = np.zeros((1, 7, cells(64, 64)), np.float32)
    output[0, :, 3] = [32, 32, 16, 16, 0.9, 0.0, 1.0]
    prototypes = np.full((1, 1, 16, 16), np.nan, np.float32)
    answer = found(model(constant(tmp_path / "n.onnx", output, prototypes)), blank(64, 64))
    assert (answer.objects, answer.dropped) == ((), 1)


def test_a_mask_of_noise_has_an_outline_of_bounded_length(tmp_path: Path) -> None:
    output = np.zeros((1, 7, cells(512, 512)), np.float32)
    output[0, :, 3] = [256, 256, 512, 512, 0.9, 0.0, 1.0]
    prototypes = np.random.default_rng(0).normal(0.5, 1, (1, 1, 512, 512)).astype(np.float32)
    path = constant(tmp_path / "n.onnx", output, prototypes, size=(512, 512))
    (box,) = found(model(path), blank(512, 512)).objects
    assert 3 <= len(box.points or ()) <= 1000


@pytest.mark.parametrize("head", EVERY_HEAD)
def test_nothing_is_found_in_an_empty_picture(tmp_path: Path, head: str) -> None:
    answer = found(spotting(tmp_path, head), blank(480, 640))
    assert (answer.objects, answer.dropped) == ((), 0)


# Keypoints


def test_keypoints_have_the_names_that_the_metadata_or_the_configuration_gives(tmp_path: Path) -> None:
    def names(metadata: dict[str, str], **fields: object) -> list[str]:
        path = reporting(tmp_path / "n.onnx", "yolov8-pose", metadata=metadata)
        (box,) = found(model(path, confidence=0.5, **fields), spotted(colour=BLUE)).objects
        return [k.class_name for k in box.keypoints or ()]

    assert names(POSE | {"kpt_names": "['head', 'tail']"}) == ["head", "tail"]
    by_class = "{0: ['head', 'tail'], 1: ['bow', 'stern']}"
    assert names(POSE | {"kpt_names": by_class}) == ["bow", "stern"]
    assert names(POSE | {"kpt_names": by_class}, keypoint_names=["left", "right"]) == ["left", "right"]
    assert names(POSE | {"kpt_names": "{0: ['head']}"}) == ["head", "keypoint_1"]
    for broken in ("[", "{0: 5}", "['', 'a']", "[1, 2]", "'ab'", "None"):
        assert names(POSE | {"kpt_names": broken}) == ["keypoint_0", "keypoint_1"]


def test_keypoints_of_two_numbers_are_sure(tmp_path: Path) -> None:
    output = np.zeros((1, 300, 10), np.float32)
    output[0, 7] = [10, 10, 50, 40, 0.9, 0, 12, 14, 48, 36]
    path = constant(tmp_path / "n.onnx", output, metadata={"task": "pose", "kpt_shape": "[2, 2]"})
    (box,) = found(model(path), blank(64, 64)).objects
    assert [(k.x, k.y, k.confidence) for k in box.keypoints or ()] == [(12, 14, 1.0), (48, 36, 1.0)]


@pytest.mark.parametrize(
    ("metadata", "fields", "message"),
    [
        (POSE | {"kpt_shape": "[3, 3]"}, {}, "no family that fits, with 2 class names"),
        (POSE | {"kpt_shape": "[2, 5]"}, {}, "no family that fits"),
        (POSE, {"keypoint_names": ["a"]}, "model.keypoint_names: 1 names, but"),
        ({}, {"class_names": ["red", "blue"]}, "8 classes as yolov8"),
        ({}, {"class_names": ["red"], "family": "yolov8-pose"}, "yolov8-pose does not fit"),
        ({}, {"family": "end2end-pose"}, "end2end-pose does not fit"),
        ({}, {"keypoint_names": ["a", "b"]}, "can't tell yolov8 from yolov8-pose"),
    ],
)
def test_keypoints_that_do_not_fit_are_refused(
    tmp_path: Path, metadata: dict[str, str], fields: dict[str, object], message: str
) -> None:
    path = reporting(tmp_path / "n.onnx", "yolov8-pose", metadata=metadata)
    with pytest.raises(ModelLoadError) as refusal:
        model(path, **fields)
    assert message in str(refusal.value)


def test_without_metadata_the_names_give_the_number_of_keypoints(tmp_path: Path) -> None:
    path = reporting(tmp_path / "n.onnx", "yolov8-pose")
    for fields in (
        {"class_names": list(SPOT_NAMES), "keypoint_names": ["a", "b"]},
        {"class_names": list(SPOT_NAMES), "family": "yolov8-pose"},
    ):
        (box,) = found(model(path, confidence=0.5, **fields), spotted()).objects
        assert len(box.keypoints or ()) == 2


# RF-DETR


def test_a_picture_for_rfdetr_is_normalised_as_imagenet_is(tmp_path: Path) -> None:
    path = reporting(tmp_path / "n.onnx", "rfdetr", peak=10.0, metadata=NAMED)
    for colour, expected in ((RED, PURE_RED / 10), (BLUE, PURE_BLUE / 10)):
        best = found(model(path), spotted(colour=colour)).objects[0]
        assert best.class_name == ("red" if colour == RED else "blue")
        assert best.confidence == pytest.approx(expected, abs=1e-4)
    plain = found(model(path, confidence=0.05, mean=[0, 0, 0], std=[1, 1, 1]), spotted()).objects[0]
    assert plain.confidence == pytest.approx(0.1, abs=1e-4)


def queries(*logits: list[float]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    boxes = np.array([[[0.5, 0.5, 0.25, 0.5]] * len(logits)], np.float32)
    return boxes, np.array([logits], np.float32)


def detr(folder: Path, *outputs: NDArray[np.float32], **fields: object) -> Detections:
    path = constant(folder / "n.onnx", *outputs)
    network = onnx.load(str(path))
    names = {"output0": "dets", "output1": "labels", "output2": "keypoints"}
    for node in network.graph.node:
        node.output[0] = names[node.output[0]]
    for value in network.graph.output:
        value.name = names[value.name]
    onnx.save(network, str(path))
    return found(model(path, **fields), blank(64, 128))


def test_a_query_may_be_of_several_classes_and_as_many_count_as_there_are_queries(tmp_path: Path) -> None:
    answer = detr(tmp_path, *queries([2.0, 1.0, 0.0, -9.0], [-9, -9, 0.5, 3.0], [-9.0, -9, -9, -9]))
    sure = [(d.class_id, round(d.confidence, 3)) for d in answer.objects]
    assert sure == [(3, 0.953), (0, 0.881), (1, 0.731)]
    assert (answer.objects[0].x, answer.objects[0].y) == (64, 32)
    assert (answer.objects[0].width, answer.objects[0].height) == (32, 32)


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "none"]])
def test_the_last_class_of_rfdetr_counts_where_it_has_a_name(tmp_path: Path, names: list[str]) -> None:
    answer = detr(tmp_path, *queries([-9.0, 1.0, 2.0], [-9.0, -9.0, -9.0]), class_names=names)
    assert [d.class_name for d in answer.objects] == names[1:][::-1]


def test_rfdetr_is_recognised_by_the_names_of_its_outputs_even_with_four_classes(tmp_path: Path) -> None:
    path = reporting(tmp_path / "n.onnx", "rfdetr", renamed={"dets": "a", "labels": "b"}, metadata=NAMED)
    with pytest.raises(ModelLoadError, match=r"no family that fits.* rfdetr: dets \(1, N, 4\) and labels"):
        model(path)
    assert model(path, family="rfdetr").task is Task.OBJECT_DETECTION
    with pytest.raises(ModelLoadError, match="5 names, but the network has 3 classes as rfdetr"):
        model(path, family="rfdetr", class_names=list("abcde"))
    swapped = detr(tmp_path, *queries([2.0, -9.0, -9.0, -9.0]), np.zeros((1, 1, 7), np.float32))
    assert [d.class_id for d in swapped.objects] == [0]


def test_of_rfdetr_with_keypoints_the_boxes_are_read_and_the_keypoints_are_not_taken_for_masks(tmp_path: Path) -> None:
    # Of each query: two classes of 17 keypoints, eight numbers each.
    answer = detr(tmp_path, *queries([2.0, -9.0, -9.0], [-9.0] * 3), np.ones((1, 2, 34, 8), np.float32))
    assert answer.task is Task.OBJECT_DETECTION
    assert [(d.class_id, d.points, d.keypoints) for d in answer.objects] == [(0, None, None)]


def test_numbers_of_rfdetr_that_are_none_are_dropped_and_counted(tmp_path: Path) -> None:
    boxes, logits = queries([2.0, -9.0], [math.nan, -9.0], [math.inf, -math.inf], [2.0, -9.0])
    boxes[0, 3, 2] = math.nan
    answer = detr(tmp_path, boxes, logits)
    assert [round(d.confidence, 3) for d in answer.objects] == [1.0, 0.881]
    assert answer.dropped == 2


# SSD


@pytest.mark.parametrize("number", ["uint8", "float", "float16"])
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("batch", ["1", "n"])
def test_pixels_are_given_in_the_layout_and_type_that_the_graph_wants(
    tmp_path: Path, number: str, channels_last: bool, batch: str
) -> None:
    path = reporting(
        tmp_path / "n.onnx", "ssd", peak=255.0, number=number, channels_last=channels_last, batch=batch, metadata=NAMED
    )
    for colour, name in ((RED, "red"), (BLUE, "blue")):
        (box,) = found(model(path), spotted(colour=colour)).objects
        assert box.class_name == name
        assert box.confidence == pytest.approx(1.0, abs=1e-3)
        assert (box.x, box.y, box.width, box.height) == pytest.approx((800, 300, 400, 200), abs=4)
        (box,) = found(model(path, colour="bgr"), spotted(colour=colour)).objects
        assert box.class_name != name


def test_pixels_of_a_normalised_ssd_run_from_minus_one_to_one(tmp_path: Path) -> None:
    renamed = {"given": "normalized_input_image_tensor"}
    path = reporting(tmp_path / "n.onnx", "ssd", peak=4.0, renamed=renamed, channels_last=True, metadata=NAMED)
    assert found(model(path), spotted()).objects[0].confidence == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("key", ["scale", "mean", "std"])
def test_bytes_are_not_scaled(tmp_path: Path, key: str) -> None:
    path = reporting(tmp_path / "n.onnx", "ssd", number="uint8", metadata=NAMED)
    with pytest.raises(ModelLoadError, match=rf"model\.{key}: .*n\.onnx takes the pixels as they are \(uint8\)"):
        model(path, **{key: 0.5 if key == "scale" else [0.5, 0.5, 0.5]})


DEVICE = {
    "detection_boxes": "TFLite_Detection_PostProcess",
    "detection_classes": "TFLite_Detection_PostProcess:1",
    "detection_scores": "TFLite_Detection_PostProcess:2",
    "num_detections": "TFLite_Detection_PostProcess:3",
}
PORTS = {name: f"{name}:0" for name in DEVICE}
UNKNOWN = {name: f"Identity_{number}" for number, name in enumerate(DEVICE)}


@pytest.mark.parametrize(
    ("head", "renamed", "fields"),
    [
        ("ssd", {}, {}),
        ("ssd", PORTS, {}),
        ("ssd from 0", {}, {"first_class_id": 0}),
        ("ssd from 0", DEVICE, {}),
        ("ssd", DEVICE, {"first_class_id": 1}),
        ("ssd from 0", UNKNOWN, {"family": "ssd"}),
    ],
)
def test_the_first_class_id_of_an_ssd_follows_its_output_names_or_the_settings(
    tmp_path: Path, head: str, renamed: dict[str, str], fields: dict[str, object]
) -> None:
    path = reporting(tmp_path / "n.onnx", head, peak=255.0, renamed=renamed, metadata=NAMED)
    for colour, name, number in ((RED, "red", 0), (BLUE, "blue", 1)):
        (box,) = found(model(path, **fields), spotted(colour=colour)).objects
        assert (box.class_name, box.class_id) == (name, number)


def ssd(folder: Path, boxes: int, scores: int, count: float) -> Model:
    path = constant(
        folder / "n.onnx",
        np.tile(np.array([0.25, 0.25, 0.75, 0.75], np.float32), (1, boxes, 1)),
        np.arange(1, scores + 1, dtype=np.int64)[None],
        np.linspace(0.9, 0.1, scores, dtype=np.float32)[None],
        np.array([count], np.float32),
    )
    return model(path, family="ssd", first_class_id=1)


def test_only_as_many_objects_of_an_ssd_count_as_its_count_output_allows(tmp_path: Path) -> None:
    answer = found(ssd(tmp_path, 5, 5, 2.0), blank(64, 64))
    assert [(d.class_id, d.x, d.width) for d in answer.objects] == [(0, 32, 32), (1, 32, 32)]
    assert len(found(ssd(tmp_path, 5, 5, 5.0), blank(64, 64)).objects) == 5


@pytest.mark.parametrize("count", [6.0, -1.0, math.nan])
def test_an_ssd_that_counts_wrongly_is_refused(tmp_path: Path, count: float) -> None:
    with pytest.raises(
        ModelLoadError,
        match=r"n\.onnx: its outputs can't be read as ssd: its count output is .*, but there are 5 boxes",
    ):
        ssd(tmp_path, 5, 5, count)


def test_outputs_that_do_not_belong_together_are_not_an_ssd(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="ssd does not fit"):
        ssd(tmp_path, 5, 4, 4.0)


# What a network wants beside the picture, and how many pictures at once


TRANSFORMER = """<ir_version: 9, opset_import: ["" : 17]>
g (float[n, 3, 192, 320] images, int64[n, 2] orig_target_sizes, int64[n, h, w] pixel_mask)
  => (int64[n, 2] labels, float[n, 2, 4] boxes, float[n, 2] scores) {
  once = Cast <to = 1> (orig_target_sizes)
  twice = Concat <axis = 1> (once, once)
  one = Constant <value = int64[1] {1}> ()
  sides = Unsqueeze (twice, one)
  shares = Constant <value = float[1, 2, 4] {0.25, 0.5, 0.75, 1.0, 0.0, 0.0, 0.5, 0.5}> ()
  boxes = Mul (shares, sides)
  seen = Cast <to = 1> (pixel_mask)
  share = ReduceMean <axes = [1, 2], keepdims = 0> (seen)
  shares_seen = Unsqueeze (share, one)
  confidences = Constant <value = float[1, 2] {0.75, 0.25}> ()
  scores = Mul (confidences, shares_seen)
  ids = Constant <value = int64[1, 2] {1, 0}> ()
  of_share = Cast <to = 7> (shares_seen)
  labels = Mul (ids, of_share)
}"""


def test_a_transformer_is_told_the_size_and_that_all_pixels_count(tmp_path: Path) -> None:
    onnx.save(onnx.parser.parse_model(TRANSFORMER), str(tmp_path / "n.onnx"))
    network = model(tmp_path / "n.onnx", class_names=["a", "b"])
    assert "n.onnx: rtdetr, 320 x 192" in network.description
    assert "stretched, smoothed where it shrinks; RGB, pixels from 0 to 1, mean 0, std 1" in network.notes.preprocessing
    first, second = found(network, blank(400, 800)).objects
    assert (first.x, first.y, first.width, first.height) == pytest.approx((400, 300, 400, 200))
    assert (first.class_name, first.confidence) == ("b", 0.75)
    assert (second.class_name, second.confidence) == ("a", 0.25)


@pytest.mark.parametrize("wanted", ["int64[1, 2] other", "uint8[1, 2] orig_target_sizes"])
def test_whatever_else_a_network_wants_is_refused(tmp_path: Path, wanted: str) -> None:
    text = f"""<ir_version: 9, opset_import: ["" : 17]>
g (float[1, 3, 64, 64] images, {wanted}) => (float[1, 3, 64, 64] output) {{
  output = Identity (images)
}}"""
    onnx.save(onnx.parser.parse_model(text), str(tmp_path / "n.onnx"))
    with pytest.raises(
        ModelLoadError, match=f"{wanted.split()[-1]}.*nothing else but orig_target_sizes and pixel_mask"
    ):
        model(tmp_path / "n.onnx")


@pytest.mark.parametrize("head", ["yolov8-seg", "end2end-pose", "yolov8-obb", "rtdetr", "ssd"])
def test_a_network_of_a_fixed_batch_is_filled_up(tmp_path: Path, head: str) -> None:
    peak, metadata = (255.0 if head == "ssd" else 1.0), POSE if "pose" in head else NAMED | TOLD.get(head, {})
    one = reporting(tmp_path / "one.onnx", head, peak=peak, metadata=metadata)
    three = reporting(tmp_path / "three.onnx", head, peak=peak, batch="3", metadata=metadata)
    network = model(three, confidence=0.5)
    assert f"{head}, 320 x 192, always 3 at once, 2 classes" in network.description
    expected = found(model(one, confidence=0.5), spotted())
    assert len(expected.objects) == 1
    assert found(network, spotted()).objects == expected.objects
    assert found(model(three, confidence=0.5, batch_size=2), spotted()).objects == expected.objects
    with pytest.raises(ModelLoadError, match=r"batch_size: 4, but .*three\.onnx takes 3 pictures.*or set 3 or less"):
        model(three, batch_size=4)


# As many rows as there are objects, of all pictures: one in a bright picture, none in another.
YOLOV7 = """<ir_version: 9, opset_import: ["" : 17]>
g (float[{batch}, 3, 64, 64] images) => (float[rows, 7] output) {{
  first = Constant <value = int64[1] {{0}}> ()
  one = Constant <value = int64[1] {{1}}> ()
  picture = Slice (images, first, one)
  brightness = ReduceMean <keepdims = 0> (picture)
  bright = Constant <value = float {{0.8}}> ()
  is_bright = Greater (brightness, bright)
  condition = Reshape (is_bright, one)
  conditions = Concat <axis = 0> (condition, condition)
  first_row = Constant <value = float[1, 7] {{0.0, 16.0, 24.0, 48.0, 40.0, 1.0, 0.75}}> ()
  other_row = Constant <value = float[1, 7] {{{other}, 0.0, 0.0, 9.0, 9.0, 0.0, 0.5}}> ()
  table = Concat <axis = 0> (first_row, other_row)
  output = Compress <axis = 0> (table, conditions)
}}"""


@pytest.mark.parametrize(("batch", "other", "objects"), [(1, 0.0, 2), (3, 1.0, 1)])
def test_yolov7_has_rows_of_all_pictures_and_may_find_nothing(
    tmp_path: Path, batch: int, other: float, objects: int
) -> None:
    onnx.save(onnx.parser.parse_model(YOLOV7.format(batch=batch, other=other)), str(tmp_path / "n.onnx"))
    network = model(tmp_path / "n.onnx", class_names=["a", "b"], resize="stretch")
    assert "n.onnx: yolov7-end2end, 64 x 64" in network.description
    assert found(network, blank(64, 128)).objects == ()
    answer = found(network, np.full((64, 128, 3), 255, np.uint8))
    assert len(answer.objects) == objects
    best = answer.objects[0]
    assert (best.x, best.y, best.width, best.height) == pytest.approx((64, 32, 64, 16))
    assert (best.class_name, best.confidence, answer.dropped) == ("b", 0.75, 0)
    with pytest.raises(ModelLoadError, match="batch_size: 2, but yolov7-end2end is run with one picture; set 1"):
        model(tmp_path / "n.onnx", batch_size=2)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"class_names": ["red", "blue"]}, "blue"),
        ({"class_names": ["__background__", "red", "blue"], "first_class_id": 0}, "blue"),
        ({"class_names": "coco"}, "bicycle"),
        ({}, "class_1"),
    ],
)
def test_torchvision_counts_from_one_and_its_classes_have_their_names(
    tmp_path: Path, fields: dict[str, object], name: str
) -> None:
    path = reporting(tmp_path / "n.onnx", "torchvision", batch="")
    (box,) = found(model(path, **fields), spotted(colour=BLUE)).objects
    assert (box.class_name, box.class_id) == (name, 2 if "first_class_id" in fields else 1)


@pytest.mark.parametrize("batch", ["", "1"])
def test_torchvision_takes_a_picture_with_and_without_the_side_of_the_batch(tmp_path: Path, batch: str) -> None:
    network = model(reporting(tmp_path / "n.onnx", "torchvision with masks", batch=batch, metadata=NAMED))
    (box,) = found(network, spotted()).objects
    assert (box.x, box.y) == pytest.approx((800, 300), abs=1)
    assert "bars to the right and below; RGB, pixels from 0 to 1, " in network.notes.preprocessing
    with pytest.raises(ModelLoadError, match="batch_size: 2, but torchvision is run with one picture; set 1"):
        model(tmp_path / "n.onnx", batch_size=2)


@pytest.mark.parametrize(("bars", "top"), [(None, 16), ("both_sides", 16), ("right_below", 0)])
def test_bars_are_on_the_side_on_which_the_network_was_trained_with_them(
    tmp_path: Path, bars: str | None, top: int
) -> None:
    output = np.zeros((1, 30, 6), np.float32)
    output[0, 0] = [0, top, 64, top + 32, 0.9, 0]
    network = model(constant(tmp_path / "n.onnx", output), bars=bars)
    (box,) = found(network, blank(64, 128)).objects
    assert (box.x, box.y, box.width, box.height) == (64, 32, 128, 64)
    assert ("both sides" if top else "to the right and below") in network.notes.preprocessing


# What is refused, and what changes under way


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"first_class_id": 0}, "model.first_class_id: this is yolov8-seg, not ssd"),
        ({"keypoint_names": ["a"]}, "model.keypoint_names: this is yolov8-seg, which has no keypoints"),
        ({"activation": "softmax"}, "this is not a classifier, but yolov8-seg"),
    ],
)
def test_an_option_of_another_family_is_refused(tmp_path: Path, fields: dict[str, object], message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        spotting(tmp_path, "yolov8-seg", **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"family": "yolov8", "keypoint_names": ["a"]}, "family yolov8 has no keypoints"),
        ({"family": "rfdetr", "first_class_id": 1}, "first_class_id is for families ssd and torchvision, not"),
        ({"bars": "right_below", "resize": "stretch"}, "resize stretch leaves none"),
        ({"bars": "left"}, "'both_sides' or 'right_below'"),
        ({"first_class_id": 2}, "less than or equal to 1"),
        ({"family": "rfdetr", "resize": "crop"}, "crop would remove"),
    ],
)
def test_options_that_contradict_each_other_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OPTIONS.validate_json(json.dumps({"type": "onnx", "path": "n.onnx", **fields}))


def test_a_size_that_is_no_multiple_of_the_stride_is_refused(tmp_path: Path) -> None:
    output = np.zeros((1, 6, cells(64, 64)), np.float32)
    path = constant(tmp_path / "n.onnx", output, size=("h", "w"), metadata={"stride": "32", "imgsz": "[64, 64]"})
    with pytest.raises(ModelLoadError, match="stride is 32: 80 is not a multiple of it"):
        model(path, input_size=[64, 80])
    assert "64 x 64" in model(path, input_size=[64, 64]).description


def test_outputs_that_change_their_shapes_with_the_picture_fail_the_frame(tmp_path: Path) -> None:
    # As many boxes as there are white pixels in the first row, but always four classes and confidences.
    text = """<ir_version: 9, opset_import: ["" : 17]>
g (uint8[1, 16, 16, 3] images) => (float[1, n, 4] boxes, float[1, 4] classes, float[1, 4] scores) {
  from = Constant <value = int64[4] {0, 0, 0, 0}> ()
  to = Constant <value = int64[4] {1, 1, 16, 1}> ()
  row = Slice (images, from, to)
  flat = Constant <value = int64[1] {-1}> ()
  line = Reshape (row, flat)
  numbers = Cast <to = 1> (line)
  bright = Constant <value = float {200.0}> ()
  white = Greater (numbers, bright)
  where = NonZero (white)
  shape = Shape (where)
  at = Constant <value = int64[1] {1}> ()
  found = Gather (shape, at)
  four = Constant <value = int64[1] {4}> ()
  one = Constant <value = int64[1] {1}> ()
  extra = Add (found, four)
  size = Concat <axis = 0> (one, extra, four)
  boxes = ConstantOfShape (size)
  classes = Constant <value = float[1, 4] {1.0, 1.0, 1.0, 1.0}> ()
  scores = Constant <value = float[1, 4] {0.5, 0.5, 0.5, 0.5}> ()
}"""
    onnx.save(onnx.parser.parse_model(text), str(tmp_path / "n.onnx"))
    network = model(tmp_path / "n.onnx", family="ssd")
    assert found(network, blank(16, 16)).dropped == 4
    with pytest.raises(ModelFailed, match="20 boxes, but 4 classes and 4 confidences"):
        network.predict(frame(np.full((16, 16, 3), 255, np.uint8)))
    assert found(network, blank(16, 16)).dropped == 4

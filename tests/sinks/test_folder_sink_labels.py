"""Labels and data.yaml: an index belongs to one class for ever, and every kind of object is a line that YOLO reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from deliveries import (
    HEIGHT,
    WIDTH,
    Label,
    deliver,
    delivery,
    detected,
    detection,
    folder_sink,
    read_image_folder,
    read_yolo,
)
from framesift.prediction import masks
from framesift.prediction.prediction import Detection, Keypoint, Point, Task
from framesift.sinks import Delivered, FailureScope, RetryLater
from rigs.polygons import covered, iou

SEGMENTS = Task.INSTANCE_SEGMENTATION
POSES = Task.KEYPOINT_DETECTION


def names(root: Path) -> dict[int, str]:
    loaded = yaml.safe_load((root / "data.yaml").read_text(encoding="utf-8"))["names"]
    return dict(loaded)


def only_labels(root: Path) -> list[Label]:
    (labels,) = read_yolo(root).values()
    assert labels is not None
    return labels


def test_the_models_classes_keep_the_models_indices(tmp_path: Path) -> None:
    deliver(folder_sink(tmp_path, ("person", "car", "dog")), delivery(1, detected(detection("dog"))))

    assert names(tmp_path) == {0: "person", 1: "car", 2: "dog"}
    assert (next((tmp_path / "labels").iterdir())).read_text().startswith("2 ")


def test_indices_only_grow_over_restarts_and_other_models(tmp_path: Path) -> None:
    first = folder_sink(tmp_path, ("car", "person"))
    deliver(first, delivery(1, detected(detection("person"))))
    first.close()
    second = folder_sink(tmp_path, ("person", "truck"))
    deliver(second, delivery(2, detected(detection("truck"), detection("car"))))
    deliver(second, delivery(3, detected(detection("bus"))))

    assert names(tmp_path) == {0: "car", 1: "person", 2: "truck", 3: "bus"}
    found = [[label.class_name for label in labels or []] for labels in read_yolo(tmp_path).values()]
    assert found == [["person"], ["truck", "car"], ["bus"]]


@pytest.mark.parametrize(
    "written",
    [
        "names: [cat, dog]\ntrain: images\nval: ./images\ntest: more\nnc: 2\n",
        "names: {0: cat, '1': dog}\nval: ./images\ntest: more\nnc: 2\n",
    ],
    ids=["list", "mapping"],
)
def test_a_data_yaml_written_by_hand_is_continued(tmp_path: Path, written: str) -> None:
    (tmp_path / "data.yaml").write_text(written)

    deliver(folder_sink(tmp_path, ("person",)), delivery(1, detected(detection("dog"), detection("emu"))))

    loaded = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert loaded == {
        "names": {0: "cat", 1: "dog", 2: "emu"},
        "train": "images",
        "val": "./images",
        "test": "more",
        "nc": 3,
    }
    assert [label.class_name for label in only_labels(tmp_path)] == ["dog", "emu"]


def test_a_gap_or_a_repeated_name_is_never_given_to_another_class(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: {0: cat, 4: cat}\n")

    deliver(folder_sink(tmp_path), delivery(1, detected(detection("emu"), detection("cat"))))

    assert names(tmp_path) == {0: "cat", 4: "cat", 5: "emu"}
    assert [line[0] for line in next((tmp_path / "labels").iterdir()).read_text().splitlines()] == ["5", "0"]


def test_a_data_yaml_that_changes_under_a_running_sink_is_read_again(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path)
    deliver(sink, delivery(1, detected(detection("car"))))
    (tmp_path / "data.yaml").write_text("train: images\nval: images\nnames: [car, lorry]\n")
    deliver(sink, delivery(2, detected(detection("bus"), detection("lorry"))))

    assert names(tmp_path) == {0: "car", 1: "lorry", 2: "bus"}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("names: [car", "not readable as YAML"),
        ("- car\n", "a mapping with names is expected, not list"),
        ("names: car\n", "names: a list of class names"),
        ("names: {car: 0}\n", "names: a list of class names"),
        ("names: {-1: car}\n", "names: the index -1 is negative"),
        ("names: [car]\nkpt_shape: 17\n", "kpt_shape: [number of keypoints, 2 or 3] is expected, not 17"),
    ],
)
def test_a_data_yaml_that_is_none_stops_the_sink_and_stays(tmp_path: Path, written: str, message: str) -> None:
    (tmp_path / "data.yaml").write_text(written)
    sink = folder_sink(tmp_path)

    outcome = deliver(sink, delivery(1))

    assert isinstance(outcome, RetryLater)
    assert outcome.scope is FailureScope.SINK
    assert not outcome.may_have_arrived
    assert outcome.reason.startswith(f"{tmp_path / 'data.yaml'}: ")
    assert message in outcome.reason
    assert sink.check() == outcome.reason
    assert (tmp_path / "data.yaml").read_text() == written
    (tmp_path / "data.yaml").unlink()
    assert deliver(sink, delivery(1)) == Delivered()


def test_a_class_has_its_index_before_a_label_uses_it(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("in the way")
    sink = folder_sink(tmp_path)

    assert isinstance(deliver(sink, delivery(1, detected(detection("car")))), RetryLater)
    assert names(tmp_path) == {0: "car"}


def test_a_box_is_cut_at_the_pictures_edge_and_left_out_where_nothing_is_left(tmp_path: Path) -> None:
    nothing = (detection("car", x=300, y=50), detection("car", w=0), detection("car", w=1e-5))
    objects = (detection("car", x=0, y=100, w=40, h=20), *nothing)
    deliver(folder_sink(tmp_path), delivery(1, detected(*objects)))

    assert [label.box.tolist() for label in only_labels(tmp_path) if label.box is not None] == [[0.05, 0.95, 0.1, 0.1]]


def test_a_polygon_is_an_outline_and_a_box_beside_it_too(tmp_path: Path) -> None:
    triangle = (Point(20, 10), Point(60, 10), Point(220, 90))
    objects = (detection("car", points=triangle), detection("dog", x=100, y=50, w=20, h=10))
    deliver(folder_sink(tmp_path), delivery(1, detected(*objects, task=SEGMENTS)))

    car, dog = only_labels(tmp_path)
    assert car.outline is not None
    assert dog.outline is not None
    assert car.outline.tolist() == [[0.1, 0.1], [0.3, 0.1], [1.0, 0.9]]
    assert dog.outline.tolist() == [[0.45, 0.45], [0.55, 0.45], [0.55, 0.55], [0.45, 0.55]]


def test_boxes_of_a_segmentation_model_are_outlines_even_where_no_object_has_one(tmp_path: Path) -> None:
    deliver(folder_sink(tmp_path), delivery(1, detected(detection("car"), task=SEGMENTS)))

    assert only_labels(tmp_path)[0].outline is not None


def test_an_outline_runs_along_the_edges_of_the_outermost_pixels_as_a_box_does(tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[20:80, 20:60] = 1
    label = _label_of(tmp_path, mask)
    assert set(map(tuple, label.tolist())) == {(0.1, 0.2), (0.3, 0.2), (0.3, 0.8), (0.1, 0.8)}


def test_a_mask_in_pieces_and_with_a_hole_is_one_outline_that_covers_it(tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[20:80, 20:60] = mask[30:70, 100:180] = 1
    mask[40:60, 120:150] = 0
    cv2.ellipse(mask, (80, 50), (8, 25), 20, 0, 360, (1,), -1)
    assert iou(covered(_label_of(tmp_path, mask) * (WIDTH, HEIGHT), HEIGHT, WIDTH), mask) > 0.98


def test_label_and_list_say_the_same_whole_polygon_of_an_object_in_pieces(tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[20:80, 20:60] = mask[20:80, 100:180] = 1
    corners = masks.mask_to_polygon(mask)
    assert corners is not None
    car = detection("car", x=100, y=50, w=160, h=60, points=tuple(Point(x, y) for x, y in corners.tolist()))
    deliver(folder_sink(tmp_path), delivery(1, detected(car, task=SEGMENTS)))

    (label,) = only_labels(tmp_path)
    assert label.outline is not None
    (listed,) = read_image_folder(tmp_path)[0]["prediction"]["predictions"]
    for points in (label.outline * (WIDTH, HEIGHT), [(point["x"], point["y"]) for point in listed["points"]]):
        assert (covered(points, HEIGHT, WIDTH) == mask).all()
    (x1, y1), (x2, y2) = label.outline.min(axis=0).tolist(), label.outline.max(axis=0).tolist()
    assert [x1 * WIDTH, y1 * HEIGHT, x2 * WIDTH, y2 * HEIGHT] == [20, 20, 180, 80]


def test_a_mask_of_two_pixels_is_an_outline_too(tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[50, 90:92] = 1
    label = _label_of(tmp_path, mask)
    assert set(map(tuple, label.tolist())) == {(0.45, 0.5), (0.46, 0.5), (0.46, 0.51), (0.45, 0.51)}


def test_a_label_is_the_whole_mask_where_the_polygon_beside_it_is_one_piece(tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[20:80, 20:60] = mask[20:80, 100:180] = 1
    largest = tuple(Point(x, y) for x, y in ((100, 20), (180, 20), (180, 80), (100, 80)))
    label = _label_of(tmp_path, mask, points=largest)
    assert (covered(label * (WIDTH, HEIGHT), HEIGHT, WIDTH) == mask).all()


def test_a_mask_whose_runs_hold_nothing_is_its_box(tmp_path: Path) -> None:
    label = _label_of(tmp_path, np.zeros((HEIGHT, WIDTH), np.uint8))
    assert label.tolist() == [[0.45, 0.45], [0.55, 0.45], [0.55, 0.55], [0.45, 0.55]]


def test_keypoints_are_columns_in_the_order_of_their_ids(tmp_path: Path) -> None:
    person = _person((2, 100, 50), (0, 20, 10))
    deliver(folder_sink(tmp_path), delivery(1, detected(person, task=POSES)))

    assert yaml.safe_load((tmp_path / "data.yaml").read_text())["kpt_shape"] == [3, 3]
    (label,) = only_labels(tmp_path)
    assert label.keypoints is not None
    assert label.keypoints.tolist() == [[0.1, 0.1, 2.0], [0.0, 0.0, 0.0], [0.5, 0.5, 2.0]]


def test_the_number_of_keypoints_is_settled_once(tmp_path: Path) -> None:
    first = folder_sink(tmp_path)
    deliver(first, delivery(1, detected(_person((0, 20, 10), (1, 40, 10)), task=POSES)))
    first.close()
    sink = folder_sink(tmp_path)
    deliver(sink, delivery(2, detected(_person((0, 20, 10), (5, 40, 10), (1, 400, 10)), detection("dog"), task=POSES)))

    first_labels, labels = read_yolo(tmp_path).values()
    assert first_labels is not None
    assert labels is not None
    assert [label.keypoints.tolist() for label in labels if label.keypoints is not None] == [
        [[0.1, 0.1, 2.0], [0.0, 0.0, 0.0]],
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
    ]


def test_a_folder_that_began_with_boxes_stays_one_of_boxes(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path)
    deliver(sink, delivery(1, detected(detection("person"))))
    deliver(sink, delivery(2, detected(_person((0, 20, 10)), detection("rider"), task=POSES)))

    assert all(label.box is not None for labels in read_yolo(tmp_path).values() for label in labels or [])
    assert all(label.keypoints is None for labels in read_yolo(tmp_path).values() for label in labels or [])


def test_a_folder_may_be_moved_and_still_loads(tmp_path: Path) -> None:
    deliver(folder_sink(tmp_path / "here"), delivery(1))
    (tmp_path / "here").rename(tmp_path / "there")

    assert len(read_yolo(tmp_path / "there")) == 1


def _person(*points: tuple[int, float, float]) -> Detection:
    return detection(
        "person",
        keypoints=tuple(Keypoint(x=x, y=y, confidence=0.9, class_name=f"k{i}", class_id=i) for i, x, y in points),
    )


def _label_of(root: Path, mask: NDArray[np.uint8], **more: Any) -> NDArray[np.float64]:
    """The outline of an object with this mask, in fractions of the picture."""
    car = detection("car", rle=masks.encode_mask(mask), **more)
    deliver(folder_sink(root), delivery(1, detected(car, task=SEGMENTS)))
    (label,) = only_labels(root)
    assert label.outline is not None
    return label.outline

"""Labels that came back are read in each format, and each fault of theirs is named with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from framesift.estimation.errors import EstimationError
from framesift.estimation.label_formats import read_labels
from framesift.estimation.labels import Labels
from framesift.estimation.matching import LabelledObject
from rigs.baseline_folder import picture_id, write_coco, write_yolo

ID = picture_id(0xABC)
NAME = f"box_gate_20261129T000000000Z_{ID}"
RENAMED = f"{NAME}_jpg.rf.{picture_id(0xDEF)}"
IDS = {ID, picture_id(1)}


def read(path: Path) -> Labels:
    return read_labels(path, IDS)


def fault(path: Path) -> str:
    with pytest.raises(EstimationError) as raised:
        read(path)
    return str(raised.value)


@pytest.mark.parametrize("name", [NAME, RENAMED, ID])
def test_a_yolo_box(tmp_path: Path, name: str) -> None:
    write_yolo(tmp_path, ["car", "bus"], {name: ["1 0.5 0.5 0.2 0.4", "0 0.0 0.5 0.2 0.4"]})
    found = read(tmp_path)
    assert (found.class_names, found.unknown) == (("car", "bus"), 0)
    (bus, car) = found.of_pictures[ID]
    assert [bus.class_name, car.class_name] == ["bus", "car"]
    assert bus.box == pytest.approx((0.4, 0.3, 0.6, 0.7))
    assert car.box == pytest.approx((0.0, 0.3, 0.1, 0.7))  # cut to the picture


def test_a_yolo_outline_is_its_box_and_a_class_alone_has_none(tmp_path: Path) -> None:
    write_yolo(tmp_path, ["car"], {NAME: ["0 0.1 0.2 0.3 0.2 0.2 0.5", "0"]})
    outline, alone = read(tmp_path).of_pictures[ID]
    assert outline.box == pytest.approx((0.1, 0.2, 0.3, 0.5))
    assert alone == LabelledObject("car", None)


def test_yolo_keypoints_are_no_outline(tmp_path: Path) -> None:
    write_yolo(tmp_path, ["car"], {NAME: ["0 0.5 0.5 0.2 0.4 0.9 0.9 2 0.1 0.1 2"]})
    (tmp_path / "data.yaml").write_text("names: [car]\nkpt_shape: [2, 3]\n")
    assert read(tmp_path).of_pictures[ID][0].box == pytest.approx((0.4, 0.3, 0.6, 0.7))
    write_yolo(tmp_path / "b", ["car"], {NAME: ["0 0.1 0.2 0.3 0.2 0.2 0.5"]})
    (tmp_path / "b" / "data.yaml").write_text("names: [car]\nkpt_shape: [2, 3]\n")
    assert "7 columns" in fault(tmp_path / "b")


def test_the_classes_may_stand_in_the_folder_above_or_in_a_list(tmp_path: Path) -> None:
    write_yolo(tmp_path, ["car"], {NAME: ["0 0.5 0.5 0.2 0.4"]})
    assert read(tmp_path / "labels").class_names == ("car",)
    (tmp_path / "data.yaml").unlink()
    (tmp_path / "labels" / "classes.txt").write_text("tram\n\nbus\n")
    assert read(tmp_path / "labels").of_pictures[ID][0].class_name == "tram"


def test_an_empty_label_file_says_that_there_is_nothing_and_a_missing_one_says_nothing(tmp_path: Path) -> None:
    write_yolo(tmp_path, ["car"], {NAME: []})
    (tmp_path / "README.roboflow.txt").write_text("About this dataset\n")
    found = read(tmp_path)
    assert (found.of_pictures, found.unknown) == ({ID: ()}, 0)


def test_labels_of_other_pictures_are_counted(tmp_path: Path) -> None:
    write_yolo(tmp_path, ["car"], {NAME: [], "holiday": ["0 0.5 0.5 0.2 0.4"], f"x_{picture_id(9)}": ["7 broken"]})
    found = read(tmp_path)
    assert (set(found.of_pictures), found.unknown) == ({ID}, 2)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("0 0.5 0.5 0.2 x", ":1: '0 0.5 0.5 0.2 x' has a column that is no number"),
        ("0 0.5 nan 0.2 0.2", ":1: '0 0.5 nan 0.2 0.2' has a column that is no number"),
        ("2 0.5 0.5 0.2 0.2", ":1: the class 2 has no name (there are 0 to 1)"),
        ("0 0.5 0.5 0.2 0.2 0.9", ":1: 6 columns: a class with x y width height, or with the corners of an outline"),
        ("0 0.5", ":1: 2 columns: a class with x y width height"),
    ],
)
def test_a_wrong_line_of_yolo_is_named(tmp_path: Path, line: str, text: str) -> None:
    write_yolo(tmp_path, ["car", "bus"], {NAME: [line]})
    assert f"{NAME}.txt{text}" in fault(tmp_path)


def test_labels_without_names_of_classes_are_refused(tmp_path: Path) -> None:
    write_yolo(tmp_path, ["car"], {NAME: []})
    (tmp_path / "data.yaml").write_text("names: 3\n")
    assert "data.yaml: names: a list of class names" in fault(tmp_path)
    (tmp_path / "data.yaml").unlink()
    assert fault(tmp_path).startswith(f"{tmp_path}: neither data.yaml (with names) nor classes.txt nor obj.names")


def test_two_labels_of_one_picture_are_refused(tmp_path: Path) -> None:
    write_yolo(tmp_path, ["car"], {NAME: [], RENAMED: []})
    assert f"the picture {ID} has labels in {tmp_path}/labels/{NAME}.txt too" in fault(tmp_path)


@pytest.mark.parametrize("name", [f"{NAME}.jpg", f"train/{RENAMED}.jpg"])
def test_coco_boxes(tmp_path: Path, name: str) -> None:
    path = tmp_path / "coco.json"
    write_coco(path, ["car", "bus"], {name: [(1, [20, 10, 40, 30])], "other.jpg": [(0, [0, 0, 1, 1])]})
    found = read(path)
    assert (found.class_names, found.unknown) == (("car", "bus"), 1)
    assert found.of_pictures == {ID: (LabelledObject("bus", (0.1, 0.1, 0.3, 0.4)),)}


def test_a_coco_image_that_was_renamed_may_have_its_name_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    write_coco(path, ["car"], {"0001.jpg": [(0, None)]})
    content = json.loads(path.read_text())
    content["images"][0]["extra"] = {"name": f"{NAME}.jpg"}
    path.write_text(json.dumps(content))
    assert read(path).of_pictures == {ID: (LabelledObject("car", None),)}


def test_a_coco_image_without_annotations_has_nothing_on_it(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    write_coco(path, ["car"], {f"{NAME}.jpg": []})
    assert read(path).of_pictures == {ID: ()}


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (["images"], None, "coco.json: images: a list is expected, not NoneType"),
        (["images", 0], 3, "coco.json: images[0]: an object with id and file_name is expected"),
        (["images", 1, "id"], 0, "coco.json: images[1]: two images have the id 0"),
        (["images", 0, "width"], 0, "coco.json: annotations[0]: its image"),
        (["annotations", 0, "category_id"], 9, "coco.json: annotations[0].category_id: 9 is the id of no category"),
        (["annotations", 0, "image_id"], 9, "coco.json: annotations[0].image_id: 9 is the id of no image"),
        (["annotations", 0, "bbox"], [1, 2, 3], "coco.json: annotations[0].bbox: [1, 2, 3] is no x, y, width and"),
        (["categories", 0, "name"], None, "coco.json: categories[0]: an object with id and name is expected"),
    ],
)
def test_a_wrong_part_of_coco_is_named(tmp_path: Path, place: list[Any], value: object, text: str) -> None:
    path = tmp_path / "coco.json"
    write_coco(path, ["car"], {f"{NAME}.jpg": [(0, [20, 10, 40, 30])], f"{picture_id(1)}.jpg": []})
    content = part = json.loads(path.read_text())
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    path.write_text(json.dumps(content))
    assert text in fault(path)


@pytest.mark.parametrize(
    ("content", "text"), [("[]", "an object with images"), ("{", "is not JSON"), ("\udcff", "is not")]
)
def test_what_is_no_coco_file_is_named(tmp_path: Path, content: str, text: str) -> None:
    path = tmp_path / "coco.json"
    path.write_text(content, errors="surrogateescape")
    assert text in fault(path)


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    for class_name, name in (("car", f"{RENAMED}.jpg"), ("bus", f"{picture_id(1)}.png"), ("bus", "other.jpg")):
        (tmp_path / "train" / class_name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / class_name / name).touch()
    found = read(tmp_path)
    assert (found.class_names, found.unknown) == (("bus", "car"), 1)
    assert found.of_pictures == {ID: (LabelledObject("car", None),), picture_id(1): (LabelledObject("bus", None),)}


def test_anything_else_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    assert fault(tmp_path / "missing") == f"{tmp_path}/missing: does not exist"
    assert fault(tmp_path).startswith(f"{tmp_path}: labels are expected: the folder of a YOLO dataset (NAME.txt), one")
    (tmp_path / "a.jpg").touch()
    (tmp_path / "a.json").touch()
    assert "one COCO file (.json)" in fault(tmp_path)
    assert "labels are expected" in fault(tmp_path / "a.jpg")

"""An exported YOLO dataset, read back by the loaders' rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from deliveries import HEIGHT, WIDTH, Label, read_yolo
from framesift.datasets.drafts import DatasetFormat, LeftOut
from rigs.exports import CORNERS, RING, car, collect_predictions, export, label, objects, person, plate, ring
from rigs.polygons import covered, iou

YOLO = DatasetFormat.YOLO


def exported(tmp_path: Path) -> list[list[Label] | None]:
    return list(read_yolo(tmp_path / "out").values())


def test_boxes_of_the_confidence_and_the_models_classes(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", objects(car(0.3), car(0.29)), objects(), class_names=("bus", "car"))
    report = export(folder, tmp_path / "out", YOLO)
    first, second = exported(tmp_path)
    assert first is not None
    assert [one.class_name for one in first] == ["car"]
    assert first[0].box is not None
    np.testing.assert_allclose(first[0].box, [0.5, 0.5, 20 / WIDTH, 10 / HEIGHT])
    assert second == []  # an empty file: a background picture
    assert report.class_names == ("bus", "car")
    assert (report.pictures.total(), report.labels.total(), report.background.total()) == (2, 1, 1)


def test_a_dataset_with_an_outline_has_outlines_only(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", objects(ring(), plate()), objects(car()))
    export(folder, tmp_path / "out", YOLO)
    first, second = exported(tmp_path)
    assert first is not None
    assert second is not None
    outlines = [one.outline * (WIDTH, HEIGHT) for one in (*first, *second) if one.outline is not None]
    assert iou(covered(outlines[0], HEIGHT, WIDTH), RING) > 0.95
    np.testing.assert_allclose(outlines[1], CORNERS, atol=0.01)
    np.testing.assert_allclose(outlines[2], [(90, 45), (110, 45), (110, 55), (90, 55)], atol=0.01)


def test_whether_labels_are_outlines_does_not_depend_on_the_confidence(tmp_path: Path) -> None:
    export(collect_predictions(tmp_path / "in", objects(ring(0.2), car()), objects(car())), tmp_path / "out", YOLO)
    labels = [one for of_picture in exported(tmp_path) for one in of_picture or []]
    assert [one.class_name for one in labels if one.outline is not None] == ["car", "car"]


def test_keypoints_have_their_shape_and_cost_the_outlines(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", objects(person(), plate()))
    report = export(folder, tmp_path / "out", YOLO)
    assert yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())["kpt_shape"] == [3, 3]
    ((first, second),) = (one or [] for one in exported(tmp_path))
    assert first.keypoints is not None
    np.testing.assert_allclose(first.keypoints, [(0.2, 0.3, 2), (0, 0, 0), (0.3, 0.7, 2)])
    assert second.keypoints is not None
    assert not second.keypoints.any()
    assert report.left_out[LeftOut.OUTLINES] == 1


def test_how_many_keypoints_there_are_does_not_depend_on_the_confidence(tmp_path: Path) -> None:
    export(collect_predictions(tmp_path / "in", objects(person(0.2), car())), tmp_path / "out", YOLO)
    ((only,),) = (one or [] for one in exported(tmp_path))
    assert only.keypoints is not None
    assert only.keypoints.shape == (3, 3)


def test_indices_are_those_of_the_folder_without_its_gaps(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", objects(car(), plate()))
    (folder / "data.yaml").write_text("names: {7: plate, 2: dog}\n")
    assert export(folder, tmp_path / "out", YOLO).class_names == ("dog", "plate", "car")


def test_a_classifiers_labels_are_counted(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", objects(car()), label("car"))
    report = export(folder, tmp_path / "out", YOLO)
    assert (report.pictures.total(), report.left_out[LeftOut.LABELS_ONLY]) == (1, 1)


def test_the_splits_are_folders_that_data_yaml_names(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", *[objects(car())] * 30)
    report = export(folder, tmp_path / "out", YOLO, split="50/25/25")
    data = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())
    assert {name: data[name] for name in ("train", "val", "test")} == {
        name: f"images/{name}" for name in ("train", "val", "test")
    }
    assert "path" not in data  # beside the file, wherever that is
    for split, number in report.pictures.items():
        pictures = {path.stem for path in (tmp_path / "out" / "images" / split).iterdir()}
        assert pictures == {path.stem for path in (tmp_path / "out" / "labels" / split).iterdir()}
        assert len(pictures) == number > 0
    assert report.pictures.total() == 30
    export(folder, tmp_path / "two", YOLO, split="80/20")
    assert "test" not in yaml.safe_load((tmp_path / "two" / "data.yaml").read_text())


def test_programs_for_labelling_find_the_names_one_a_line(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", objects(car(), plate()), class_names=("bus", "car"))
    export(folder, tmp_path / "out", YOLO)
    assert (tmp_path / "out" / "classes.txt").read_text() == "bus\ncar\nplate\n"


def test_what_a_mirror_swaps_is_told_where_the_keypoints_names_tell(tmp_path: Path) -> None:
    joint = (person().keypoints or ())[0]
    for names, flipped in ((("left", "right", "tip"), [1, 0, 2]), (("keypoint_0", "keypoint_1"), None)):
        joints = tuple(replace(joint, class_id=number, class_name=name) for number, name in enumerate(names))
        folder = collect_predictions(tmp_path / f"in-{len(names)}", objects(replace(person(), keypoints=joints)))
        export(folder, tmp_path / f"out-{len(names)}", YOLO)
        data = yaml.safe_load((tmp_path / f"out-{len(names)}" / "data.yaml").read_text())
        assert data.get("flip_idx") == flipped

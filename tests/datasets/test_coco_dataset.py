"""An exported COCO dataset, read back by pycocotools."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from deliveries import HEIGHT, WIDTH, delivery, detected
from framesift.datasets.drafts import DatasetFormat, LeftOut
from framesift.estimation.label_formats import read_labels
from framesift.prediction import masks
from framesift.prediction.prediction import Keypoint, Point
from rigs.exports import (
    CORNERS,
    RING,
    car,
    collect,
    collect_predictions,
    export,
    objects,
    person,
    plate,
    ring,
)
from rigs.polygons import covered, iou


def read(file: Path) -> tuple[COCO, list[list[dict[str, Any]]]]:
    """The file, and the annotations of each image in the order of the file's images."""
    coco = COCO(str(file))
    for image in coco.loadImgs(coco.getImgIds()):
        pixels = cv2.imread(str(file.parent / image["file_name"]))
        assert pixels is not None
        assert pixels.shape[:2] == (image["height"], image["width"])
    return coco, [coco.loadAnns(coco.getAnnIds(imgIds=[id])) for id in sorted(coco.getImgIds())]


def exported(tmp_path: Path, *predictions: Any, **how: Any) -> tuple[COCO, list[list[dict[str, Any]]]]:
    folder = collect_predictions(tmp_path / "in", *predictions)
    export(folder, tmp_path / "out", DatasetFormat.COCO, **how)
    return read(tmp_path / "out" / "train" / "_annotations.coco.json")


def test_boxes_categories_and_background(tmp_path: Path) -> None:
    coco, (first, second) = exported(tmp_path, objects(car(0.3), car(0.2), plate(0.9)), objects())
    assert [(c["id"], c["name"]) for c in coco.loadCats(coco.getCatIds())] == [(1, "car"), (2, "plate")]
    assert coco.getImgIds() == [1, 2]
    assert [a["category_id"] for a in first] == [1, 2]
    assert [a["id"] for a in first] == [1, 2]
    assert first[0]["bbox"] == [90.0, 45.0, 20.0, 10.0]
    assert (first[0]["area"], first[0]["score"], first[0]["iscrowd"]) == (200.0, 0.3, 0)
    assert second == []


def test_a_mask_comes_back_pixel_for_pixel_and_a_polygon_too(tmp_path: Path) -> None:
    coco, ((of_mask, of_polygon),) = exported(tmp_path, objects(ring(), plate()))
    assert (coco.annToMask(of_mask) == RING).all()
    assert of_mask["area"] == RING.sum()
    assert iou(coco.annToMask(of_polygon), covered(CORNERS, HEIGHT, WIDTH)) > 0.95
    assert of_polygon["area"] == 1800.0


def test_keypoints_have_names_in_their_category(tmp_path: Path) -> None:
    coco, ((man, other),) = exported(tmp_path, objects(person(), car()))
    (category,) = coco.loadCats(coco.getCatIds(catNms=["person"]))
    assert category["keypoints"] == ["nose", "keypoint 1", "right hand"]
    assert man["keypoints"] == [40.0, 30.0, 2, 0.0, 0.0, 0.0, 60.0, 70.0, 2]
    assert man["num_keypoints"] == 2
    assert "keypoints" not in other


def test_keypoints_without_a_number_are_counted(tmp_path: Path) -> None:
    stray = replace(person(), keypoints=(Keypoint(1.0, 1.0, 0.9, "somewhere", -1),))
    folder = collect_predictions(tmp_path / "in", objects(stray))
    report = export(folder, tmp_path / "out", DatasetFormat.COCO)
    assert report.left_out[LeftOut.KEYPOINTS] == 1


def test_a_box_is_cut_to_the_picture_and_one_outside_is_counted(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", detected(car(x=WIDTH), car(x=WIDTH + 30)))
    report = export(folder, tmp_path / "out", DatasetFormat.COCO)
    _, ((only,),) = read(tmp_path / "out" / "train" / "_annotations.coco.json")
    assert only["bbox"] == [190.0, 45.0, 10.0, 10.0]
    assert report.left_out[LeftOut.OUTSIDE] == 1


def test_outlines_and_keypoints_are_cut_to_the_picture_too(tmp_path: Path) -> None:
    corners = tuple(Point(x, y) for x, y in ((-50.0, 20.0), (WIDTH + 50.0, 20.0), (WIDTH + 50.0, HEIGHT + 50.0)))
    far = tuple(replace(p, x=p.x + 2 * WIDTH) for p in corners)
    points = (Keypoint(-1.0, 5.0, 0.9, "nose", 0), Keypoint(WIDTH, HEIGHT, 0.9, "tail", 1))
    shown = objects(replace(plate(), points=corners), replace(plate(), points=far), replace(car(), keypoints=points))
    _, ((cut, outside, pose),) = exported(tmp_path, shown)
    assert cut["segmentation"] == [[0.0, 20.0, WIDTH, 20.0, WIDTH, HEIGHT]]
    assert outside["segmentation"] == []
    assert pose["keypoints"] == [0.0, 0.0, 0.0, WIDTH, HEIGHT, 2]
    report = export(tmp_path / "in", tmp_path / "again", DatasetFormat.CVAT)
    assert report.left_out[LeftOut.KEYPOINTS_OUTSIDE] == 1


def test_a_box_without_an_area_and_a_mask_without_a_pixel_are_none(tmp_path: Path) -> None:
    thin = [replace(car(), width=0.0), replace(car(), height=0.01), car(x=WIDTH + 9.99)]
    empty = replace(car(), rle=masks.encode_mask(np.zeros((HEIGHT, WIDTH), np.uint8)))
    _, ((only,),) = exported(tmp_path, objects(*thin, empty))
    assert (only["area"], only["segmentation"]) == (200.0, [])
    report = export(tmp_path / "in", tmp_path / "again", DatasetFormat.YOLO)
    assert report.left_out[LeftOut.OUTSIDE] == len(thin)


@pytest.mark.parametrize("folder", ["train", "valid", "test"])
def test_each_split_has_a_file_of_its_own_with_all_categories(tmp_path: Path, folder: str) -> None:
    pictures = [delivery(n, objects(car() if n % 2 else plate())) for n in range(20)]
    collect(tmp_path / "in", *pictures)
    export(tmp_path / "in", tmp_path / "out", DatasetFormat.COCO, split="60/20/20")
    coco, annotations = read(tmp_path / "out" / folder / "_annotations.coco.json")
    assert len(coco.getCatIds()) == 2
    assert len(annotations) == len(list((tmp_path / "out" / folder).glob("*.jpg"))) > 0
    assert all(len(of_image) == 1 for of_image in annotations)
    content = json.loads((tmp_path / "out" / folder / "_annotations.coco.json").read_text())
    assert content["images"][0]["date_captured"].startswith("2026-09-10 12:")


def test_estimate_reads_it_as_labels(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", objects(car()), objects())
    export(folder, tmp_path / "out", DatasetFormat.COCO)
    ids = {f"{n:032x}" for n in range(2)}
    found = read_labels(tmp_path / "out" / "train" / "_annotations.coco.json", ids)
    assert [len(found.of_pictures[id]) for id in sorted(ids)] == [1, 0]
    np.testing.assert_allclose(found.of_pictures[f"{0:032x}"][0].box or (), (0.45, 0.45, 0.55, 0.55))

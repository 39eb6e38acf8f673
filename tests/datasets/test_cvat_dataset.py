"""An exported dataset for CVAT, held against the structure that CVAT documents for images, version 1.1."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from deliveries import HEIGHT, WIDTH
from framesift.datasets.drafts import DatasetFormat, LeftOut
from rigs.exports import (
    CORNERS,
    RING,
    car,
    collect_predictions,
    export,
    label,
    labels,
    objects,
    person,
    plate,
    ring,
)
from rigs.polygons import covered, iou

# Element -> the attributes that it must have, those that it may have, and the elements that it may contain.
SHAPE, MAY = {"label", "occluded"}, {"source", "z_order", "group_id"}
STRUCTURE: dict[str, tuple[set[str], set[str], set[str]]] = {
    "annotations": (set(), set(), {"version", "meta", "image"}),
    "version": (set(), set(), set()),
    "meta": (set(), set(), {"task", "dumped"}),
    "task": (set(), set(), {"id", "name", "size", "mode", "overlap", "flipped", "created", "updated", "labels"}),
    "size": (set(), set(), set()),
    "mode": (set(), set(), set()),
    "labels": (set(), set(), {"label"}),
    "label": (set(), set(), {"name", "attributes"}),
    "name": (set(), set(), set()),
    "attributes": (set(), set(), {"attribute"}),
    "image": ({"id", "name", "width", "height"}, {"subset"}, {"box", "polygon", "polyline", "points", "tag"}),
    "box": (SHAPE | {"xtl", "ytl", "xbr", "ybr"}, MAY, {"attribute"}),
    "polygon": (SHAPE | {"points"}, MAY, {"attribute"}),
    "points": (SHAPE | {"points"}, MAY, {"attribute"}),
    "tag": ({"label"}, {"source", "group_id"}, {"attribute"}),
}


def hold_against_structure(element: ElementTree.Element) -> None:
    needed, allowed, children = STRUCTURE[element.tag]
    assert needed <= set(element.attrib) <= needed | allowed, element.tag
    assert {child.tag for child in element} <= children, element.tag
    for child in element:
        hold_against_structure(child)


def read(out: Path) -> ElementTree.Element:
    """The root of annotations.xml, which is what CVAT documents, with a picture for each image."""
    root = ElementTree.parse(out / "annotations.xml").getroot()
    hold_against_structure(root)
    assert root.findtext("version") == "1.1"
    images = root.findall("image")
    assert root.findtext("meta/task/size") == str(len(images))
    names = [name.text for name in root.findall("meta/task/labels/label/name")]
    assert len(names) == len(set(names))
    assert [image.get("id") for image in images] == [str(n) for n in range(len(images))]
    assert [image.get("name") for image in images] == sorted(str(image.get("name")) for image in images)
    for image in images:
        assert (out / "images" / str(image.get("subset")) / str(image.get("name"))).is_file()
        for shape in image:
            assert shape.get("label") in names
            for x, y in corners(shape):
                assert 0 <= x <= int(image.get("width", 0))
                assert 0 <= y <= int(image.get("height", 0))
    return root


def corners(shape: ElementTree.Element) -> list[tuple[float, float]]:
    if shape.tag == "box":
        x1, y1, x2, y2 = (float(shape.get(side, "")) for side in ("xtl", "ytl", "xbr", "ybr"))
        return [(x1, y1), (x2, y2)]
    pairs = (pair.split(",") for pair in shape.get("points", "").split(";") if pair)
    return [(float(x), float(y)) for x, y in pairs]


def test_boxes_and_background(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", objects(car(), car(0.1)), objects())
    export(folder, tmp_path / "out", DatasetFormat.CVAT)
    first, second = read(tmp_path / "out").findall("image")
    (box,) = first
    assert corners(box) == [(90.0, 45.0), (110.0, 55.0)]
    assert (box.get("source"), box.get("occluded"), first.get("width"), first.get("height")) == (
        "auto",
        "0",
        str(WIDTH),
        str(HEIGHT),
    )
    assert list(second) == []


def test_masks_and_outlines_are_polygons(tmp_path: Path) -> None:
    export(collect_predictions(tmp_path / "in", objects(ring(), plate())), tmp_path / "out", DatasetFormat.CVAT)
    (of_mask, of_polygon) = read(tmp_path / "out").findall("image/polygon")
    assert iou(covered(corners(of_mask), HEIGHT, WIDTH), RING) > 0.95
    np.testing.assert_allclose(corners(of_polygon), CORNERS)


def test_keypoints_are_points_in_the_group_of_their_box(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", objects(car(), person()))
    report = export(folder, tmp_path / "out", DatasetFormat.CVAT)
    root = read(tmp_path / "out")
    (points,) = root.findall("image/points")
    assert corners(points) == [(40.0, 30.0), (60.0, 70.0)]
    assert points.get("group_id") == root.findall("image/box")[1].get("group_id") is not None
    assert report.left_out[LeftOut.KEYPOINT_NAMES] == 1


def test_labels_are_tags(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", label("wet"), labels(day=0.9, fog=0.2, wet=0.3), label("dry", 0.1))
    report = export(folder, tmp_path / "out", DatasetFormat.CVAT)
    images = read(tmp_path / "out").findall("image")
    assert [[tag.get("label") for tag in image] for image in images] == [["wet"], ["day", "wet"], []]
    assert (report.labels.total(), report.background.total()) == (3, 1)


@pytest.mark.parametrize("name", ['a "quoted" <name> & more', "Käfer"])
def test_a_class_may_have_any_name(tmp_path: Path, name: str) -> None:
    export(collect_predictions(tmp_path / "in", label(name)), tmp_path / "out", DatasetFormat.CVAT)
    assert [tag.get("label") for tag in read(tmp_path / "out").findall("image/tag")] == [name]


def test_subsets_are_the_splits(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", *[objects(car())] * 20)
    report = export(folder, tmp_path / "out", DatasetFormat.CVAT, split="60/20/20")
    subsets = [image.get("subset") for image in read(tmp_path / "out").findall("image")]
    assert {split: subsets.count(split) for split in report.pictures} == dict(report.pictures)
    assert len(set(subsets)) == 3

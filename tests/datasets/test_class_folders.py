"""An exported dataset for classifiers: a folder for each class, the same ones in each split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from framesift.datasets.drafts import DatasetFormat, LeftOut
from framesift.datasets.errors import DatasetError
from framesift.prediction.prediction import MultiLabel
from rigs.exports import car, collect_predictions, export, label, labels, objects

CLASSIFY = DatasetFormat.CLASSIFY


def pictures(out: Path) -> dict[str, int]:
    return {str(path.relative_to(out)): len(list(path.iterdir())) for path in sorted(out.glob("*/*"))}


def test_each_picture_lies_in_the_folder_of_its_class(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", label("car"), label("bus", 0.3), label("car"), label("van", 0.29))
    report = export(folder, tmp_path / "out", CLASSIFY)
    assert pictures(tmp_path / "out") == {"train/bus": 1, "train/car": 2, "val/bus": 0, "val/car": 0}
    assert report.left_out[LeftOut.NO_LABEL] == 1
    (of_bus,) = (tmp_path / "out" / "train" / "bus").iterdir()
    assert of_bus.read_bytes() == (folder / "images" / of_bus.name).read_bytes()


def test_several_labels_are_too_many_unless_one_alone_is_sure(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", labels(day=0.9, wet=0.8), labels(day=0.9, wet=0.2), objects(car()))
    report = export(folder, tmp_path / "out", CLASSIFY, split="100/0/0")
    assert pictures(tmp_path / "out") == {"train/day": 1, "val/day": 0}
    assert report.left_out[LeftOut.SEVERAL_LABELS] == report.left_out[LeftOut.OBJECTS_ONLY] == 1


def test_a_label_that_is_named_twice_is_one(tmp_path: Path) -> None:
    named = labels(day=0.9)
    assert isinstance(named, MultiLabel)
    folder = collect_predictions(tmp_path / "in", replace(named, predicted=("day", "day")))
    report = export(folder, tmp_path / "out", CLASSIFY)
    assert (report.labels.total(), report.left_out[LeftOut.SEVERAL_LABELS]) == (1, 0)


def test_a_label_without_a_confidence_is_counted(tmp_path: Path) -> None:
    named = labels(day=0.9)
    assert isinstance(named, MultiLabel)
    folder = collect_predictions(tmp_path / "in", replace(named, predicted=("day", "wet")))
    report = export(folder, tmp_path / "out", CLASSIFY)
    assert (report.labels.total(), report.left_out[LeftOut.NO_CONFIDENCE]) == (1, 1)


def test_a_class_that_is_no_name_of_a_folder(tmp_path: Path) -> None:
    folder = collect_predictions(
        tmp_path / "in", label("car/red"), label("..hidden"), label("Käfer"), label("車" * 128)
    )
    export(folder, tmp_path / "out", CLASSIFY)
    names = ["-.hidden", "Käfer", "car-red", "車" * 85]
    assert sorted(path.name for path in (tmp_path / "out" / "train").iterdir()) == names


def test_two_classes_with_one_folder_are_refused(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", label("car/red"), label("car-red"))
    with pytest.raises(DatasetError, match=r"'car-red' and 'car/red' would share the folder car-red: rename one"):
        export(folder, tmp_path / "out", CLASSIFY)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]

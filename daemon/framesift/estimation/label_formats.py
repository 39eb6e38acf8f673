"""Reading labels that came back, whichever of the formats they are in."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from framesift.estimation.coco_labels import read_coco_labels
from framesift.estimation.errors import EstimationError
from framesift.estimation.labels import LabelCollector, Labels
from framesift.estimation.matching import LabelledObject
from framesift.estimation.yolo_labels import has_label_files, read_yolo_labels

_PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def read_labels(path: Path, ids: Collection[str]) -> Labels:
    """Reads the labels of the pictures with these ids.

    path: a COCO file, the folder of a YOLO dataset, or a classifier's folder with a folder for each class. Raises
    EstimationError and OSError.
    """
    if path.is_file() and path.suffix.lower() == ".json":
        return read_coco_labels(path, ids)
    if path.is_dir():
        if has_label_files(path):
            return read_yolo_labels(path, ids)
        pictures = sorted(file for file in path.rglob("*") if file.suffix.lower() in _PICTURES)
        if pictures and not any(path.rglob("*.json")):
            return _read_class_folders(pictures, ids)
    elif not path.exists():
        raise EstimationError(f"{path}: does not exist")
    raise EstimationError(
        f"{path}: labels are expected: the folder of a YOLO dataset (NAME.txt), one COCO file (.json), or a folder with"
        " pictures in a folder for each class"
    )


def _read_class_folders(pictures: list[Path], ids: Collection[str]) -> Labels:
    collector = LabelCollector(ids)
    for picture in pictures:
        id = collector.id_in(picture.stem)
        if id is not None:
            collector.add(id, str(picture), (LabelledObject(picture.parent.name, None),))
    return collector.labels(tuple(sorted({picture.parent.name for picture in pictures})))

"""Labels that came back as a YOLO dataset: NAME.txt for each picture, anywhere in a folder."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from framesift.estimation.errors import EstimationError
from framesift.estimation.labels import LabelCollector, Labels, cut_to_picture
from framesift.estimation.matching import Box, LabelledObject
from framesift.sinks.data_yaml import DataYaml, InvalidDataYaml

_NAME_LISTS = ("classes.txt", "obj.names")  # a name a line: labelImg, Label Studio, CVAT
_NO_LABELS = re.compile(r"(?:readme.*|classes|train|val|valid|test|predefined_classes)\.txt", re.IGNORECASE)


def read_yolo_labels(folder: Path, ids: Collection[str]) -> Labels:
    """Reads the label files of a YOLO dataset: NAME.txt, anywhere in the folder. Raises EstimationError, OSError."""
    class_names, keypoint_shape = _yolo_names(folder)
    keypoint_columns = 0 if keypoint_shape is None else keypoint_shape[0] * keypoint_shape[1]
    collector = LabelCollector(ids)
    for path in _label_files(folder):
        id = collector.id_in(path.stem)
        if id is not None:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            objects = [
                _yolo_object(f"{path}:{number}", line.split(), class_names, keypoint_columns)
                for number, line in enumerate(lines, 1)
                if line.strip()
            ]
            collector.add(id, str(path), tuple(objects))
    return collector.labels(tuple(class_names.values()))


def has_label_files(folder: Path) -> bool:
    """Whether there are YOLO's label files in the folder, or below it."""
    return next(_label_files(folder), None) is not None


def _label_files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*.txt")) if not _NO_LABELS.fullmatch(path.name))


def _yolo_names(folder: Path) -> tuple[dict[int, str], tuple[int, int] | None]:
    """The classes by their index, and the shape of keypoints, from the folder or the one above it."""
    for place in (folder, folder.parent):
        for name in ("data.yaml", "data.yml"):
            if (place / name).is_file():
                try:
                    return DataYaml.read_names(place / name)
                except InvalidDataYaml as error:
                    raise EstimationError(str(error)) from None
        for name in _NAME_LISTS:
            if (place / name).is_file():
                lines = (place / name).read_text(encoding="utf-8", errors="replace").splitlines()
                return dict(enumerate(line.strip() for line in lines if line.strip())), None
    raise EstimationError(
        f"{folder}: neither data.yaml (with names) nor {' nor '.join(_NAME_LISTS)} in it or above it, so that the"
        " labels' classes have no names"
    )


def _yolo_object(place: str, columns: list[str], class_names: dict[int, str], keypoint_columns: int) -> LabelledObject:
    """One line: a class, with a box, a box and keypoints, an outline, or alone."""
    try:
        index, numbers = int(columns[0]), [float(column) for column in columns[1:]]
        if not all(map(math.isfinite, numbers)):
            raise ValueError
    except ValueError:
        raise EstimationError(f"{place}: {' '.join(columns)[:80]!r} has a column that is no number") from None
    if index not in class_names:
        allowed = f"0 to {max(class_names)}" if class_names else "none"
        raise EstimationError(f"{place}: the class {index} has no name (there are {allowed})")
    if not numbers:
        return LabelledObject(class_names[index], None)
    if len(numbers) == 4 + keypoint_columns:
        x, y, width, height = numbers[:4]
        box: Box = (x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0)
    elif len(numbers) >= 6 and len(numbers) % 2 == 0 and not keypoint_columns:
        box = (min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2]))
    else:
        raise EstimationError(
            f"{place}: {len(columns)} columns: a class with x y width height, or with the corners of an outline,"
            " is expected"
        )
    return LabelledObject(class_names[index], cut_to_picture(box))

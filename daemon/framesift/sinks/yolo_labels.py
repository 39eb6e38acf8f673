"""YOLO's label files and data.yaml, as Ultralytics' loaders read them.

A label line is `class x y w h` (centre and size), `class x1 y1 x2 y2 ...` (an outline of at least three points; one
polygon for all parts of an object, see `masks`) or `class x y w h` with `x y visibility` for each keypoint, all as
fractions of the picture. The loaders tell the kinds apart by the number of columns. So a picture with one outline has
outlines only, and a folder of poses keeps one number of keypoints: `kpt_shape` in data.yaml, set by the first picture
that is labelled. Keypoints beyond it, and all else that a label can't express, are in metadata.jsonl only.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from framesift.atomic_files import write_atomically
from framesift.prediction import masks
from framesift.prediction.prediction import Detection, Detections, Task

Points = NDArray[np.float64]


class InvalidDataYaml(Exception):
    """data.yaml was changed by hand and can't be read. It is never overwritten."""


class DataYaml:
    """data.yaml: the index of each class. An index never changes its class.

    What a person wrote into the file stays there, except comments; `names` may be a list or a mapping.
    keypoint_shape: (number of keypoints, 2 or 3 columns each), None for a folder without poses.
    """

    def __init__(self, path: Path, class_names: tuple[str, ...] | None) -> None:
        self._path = path
        self._model_names = dict(enumerate(class_names or ()))
        self._apply(None, {})

    def refresh(self) -> None:
        """Reads the file if it has changed. Raises OSError, InvalidDataYaml."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._apply(None, {})
            return
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            self._apply(stamp, _read(self._path))

    def index_of(self, class_name: str) -> int:
        """The index of a class. Raises KeyError before `add_classes` had it."""
        return self._indices[class_name]

    def add_classes(self, prediction: Detections) -> None:
        """Gives an index to each class in `prediction` that has none, and writes the file.

        Raises OSError, InvalidDataYaml.
        """
        if all(d.class_name in self._indices for d in prediction.objects):
            return
        # No `path`: so the loaders search the pictures beside this file, wherever the folder is moved to.
        content = {"train": "images", "val": "images"} | self._content
        if not self._names:
            keypoints = 1 + max((k.class_id for d in prediction.objects for k in d.keypoints or ()), default=-1)
            if prediction.task is Task.KEYPOINT_DETECTION and keypoints:
                content.setdefault("kpt_shape", [keypoints, 3])
        names = dict(self._names or self._model_names)
        for name in dict.fromkeys(d.class_name for d in prediction.objects):
            if name not in names.values():
                names[max(names, default=-1) + 1] = name
        content["names"] = names
        if "nc" in content:
            content["nc"] = len(names)
        write_atomically(self._path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())
        self.refresh()

    def _apply(self, stamp: tuple[int, int, int] | None, content: dict[str, Any]) -> None:
        self._names = _names(content.get("names"))
        self.keypoint_shape = _pose_shape(content.get("kpt_shape"))
        self._indices = {name: index for index, name in sorted(self._names.items(), reverse=True)}
        self._content = content
        self._stamp = stamp


def label_lines(prediction: Detections, classes: DataYaml) -> str:
    """The label file of a picture, after `classes.add_classes(prediction)`; empty where nothing was predicted."""
    outlines = prediction.task is Task.INSTANCE_SEGMENTATION or any(d.points or d.rle for d in prediction.objects)
    lines: list[str] = []
    for d in prediction.objects:
        box = _box(d, prediction)
        if box is None:
            continue
        x1, y1, x2, y2 = box
        columns: Iterable[float] = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
        if classes.keypoint_shape is not None:
            columns = [*columns, *_keypoints(d, prediction, classes.keypoint_shape)]
        elif outlines:
            outline = _outline(d, prediction)
            columns = (x1, y1, x2, y1, x2, y2, x1, y2) if outline is None else np.clip(outline, 0.0, 1.0).ravel()
        lines.append(f"{classes.index_of(d.class_name)} " + " ".join(f"{c:.6f}" for c in columns) + "\n")
    return "".join(lines)


def _box(d: Detection, picture: Detections) -> tuple[float, float, float, float] | None:
    """Corners as fractions of the picture, cut to it; None if nothing is left."""
    x1, x2 = (min(max((d.x + side * d.width / 2) / picture.width, 0.0), 1.0) for side in (-1, 1))
    y1, y2 = (min(max((d.y + side * d.height / 2) / picture.height, 0.0), 1.0) for side in (-1, 1))
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None


def _keypoints(d: Detection, picture: Detections, shape: tuple[int, int]) -> list[float]:
    """x, y and visibility (2: seen, 0: not there) of each keypoint, in the order of their class ids."""
    count, dimensions = shape
    columns = np.zeros((count, dimensions))
    for k in d.keypoints or ():
        x, y = k.x / picture.width, k.y / picture.height
        if 0 <= k.class_id < count and 0.0 <= x <= 1.0 and 0.0 <= y <= 1.0:
            columns[k.class_id] = (x, y, 2.0)[:dimensions]
    flat: list[float] = columns.ravel().tolist()
    return flat


def _outline(d: Detection, picture: Detections) -> Points | None:
    """The object's outline as fractions of the picture, shape (n, 2), n at least 3; None if it has none."""
    corners = None if d.rle is None else masks.mask_to_polygon(masks.decode_mask(d.rle))
    if corners is None and d.points is not None and len(d.points) >= 3:
        corners = np.array([(p.x, p.y) for p in d.points])
    return None if corners is None else corners / (picture.width, picture.height)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidDataYaml(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict | None):
        raise InvalidDataYaml(f"{path}: a mapping with names is expected, not {type(content).__name__}")
    try:
        _names((content or {}).get("names"))
        _pose_shape((content or {}).get("kpt_shape"))
    except ValueError as error:
        raise InvalidDataYaml(f"{path}: {error}") from None
    return content or {}


def _names(value: object) -> dict[int, str]:
    if value is None:
        return {}
    try:
        pairs = enumerate(value) if isinstance(value, list) else value.items()  # type: ignore[attr-defined]  # AttributeError is handled
        names = {int(index): str(name) for index, name in pairs}
    except (AttributeError, TypeError, ValueError):
        raise ValueError("names: a list of class names, or a mapping from indices to them, is expected") from None
    if min(names, default=0) < 0:
        raise ValueError(f"names: the index {min(names)} is negative")
    return names


def _pose_shape(value: object) -> tuple[int, int] | None:
    if value is None:
        return None
    if isinstance(value, list) and len(value) == 2 and all(type(n) is int for n in value):
        count, dimensions = value
        if 1 <= count <= 1000 and dimensions in (2, 3):
            return count, dimensions
    raise ValueError(f"kpt_shape: [number of keypoints, 2 or 3] is expected, not {value!r}")

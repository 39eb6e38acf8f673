"""YOLO's label files, as Ultralytics' loaders read them.

A label line is `class x y w h` (centre and size), `class x1 y1 x2 y2 ...` (an outline of at least three points; one
polygon for all parts of an object, see `masks`) or `class x y w h` with `x y visibility` for each keypoint, all as
fractions of the picture. The loaders tell the kinds apart by the number of columns. So a picture with one outline has
outlines only, and a folder of poses keeps one number of keypoints: `kpt_shape` in data.yaml, set by the first picture
that is labelled. Keypoints beyond it, and all else that a label can't express, are in metadata.jsonl only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from framesift.prediction import masks
from framesift.prediction.prediction import Detection, Detections, Task

Points = NDArray[np.float64]

# Of the picture: a shorter side would be written as 0, and many programs stop at a box without an area.
_SHORTEST_SIDE = 1e-6

_SIDE = re.compile(r"left|right|Left|Right|LEFT|RIGHT|(?<![A-Za-z])[lrLR](?![A-Za-z])")
_OTHER_SIDE = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "l": "r", "L": "R"}
_OTHER_SIDE |= {other: side for side, other in _OTHER_SIDE.items()}


class LabelClasses(Protocol):
    """The classes of a dataset. keypoint_shape: as in DataYaml."""

    @property
    def keypoint_shape(self) -> tuple[int, int] | None: ...  # noqa: D102 - said above

    def index_of(self, class_name: str) -> int:
        """The index of a class."""
        ...


def flip_indices(names: Sequence[str]) -> list[int] | None:
    """The number of the keypoint that each becomes in a mirrored picture: `flip_idx` of data.yaml.

    names: of the keypoints, in their order. None where they don't tell: none says left or right, or one lacks its
    counterpart. The loaders mirror no pictures then, while a wrong answer would spoil what is learnt.
    """
    mirrored = [_SIDE.sub(lambda side: _OTHER_SIDE[side[0]], name) for name in names]
    is_told = len(names) == 1 or any(name != other for name, other in zip(names, mirrored, strict=True))
    if not is_told or len(set(names)) < len(names) or not set(mirrored) <= set(names):
        return None
    return [names.index(name) for name in mirrored]


def label_lines(prediction: Detections, classes: LabelClasses, *, outlines: bool = False) -> str:
    """The label file of a picture, of classes that `classes` has; empty where nothing was predicted.

    outlines: whether there are outlines only, also where this picture has none.
    """
    outlines |= prediction.task is Task.INSTANCE_SEGMENTATION or any(d.points or d.rle for d in prediction.objects)
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
    """Corners as fractions of the picture, cut to it; None if no area is left."""
    x1, x2 = (min(max((d.x + side * d.width / 2) / picture.width, 0.0), 1.0) for side in (-1, 1))
    y1, y2 = (min(max((d.y + side * d.height / 2) / picture.height, 0.0), 1.0) for side in (-1, 1))
    return (x1, y1, x2, y2) if min(x2 - x1, y2 - y1) >= _SHORTEST_SIDE else None


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

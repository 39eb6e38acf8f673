"""The boxes of chosen classes in a prediction, and where their objects may be between two frames."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from framesift.pictures.outgoing import Unmasked
from framesift.prediction.prediction import Detections, Prediction

# The boxes of each class: shape (n, 4), left, top, right and bottom in pixels of the frame.
FoundBoxes = dict[str, NDArray[np.float64]]


def boxes_of(prediction: Prediction, classes: Collection[str], width: int, height: int) -> FoundBoxes:
    """The boxes of these classes, of those that were found, with their outlines. width, height: of the frame in pixels.

    Raises Unmasked if the prediction has no boxes, is of a picture of another size, or leaves out objects that
    can't be read: they may be of these classes.
    """
    if (prediction.width, prediction.height) != (width, height):
        raise Unmasked(
            f"the prediction is of a picture of {prediction.width} x {prediction.height}, "
            f"the frame has {width} x {height} pixels"
        )
    if not isinstance(prediction, Detections):
        raise Unmasked(f"the prediction ({type(prediction).__name__}) has no boxes of objects")
    if prediction.dropped:
        raise Unmasked(
            f"parts of the prediction that could not be read, so that nobody knows where they are: {prediction.dropped}"
        )
    columns = prediction.columns
    wanted = [index for index, name in enumerate(columns.class_name) if name in classes]
    x, y, w, h = (
        np.array([column[index] for index in wanted], np.float64)
        for column in (columns.x, columns.y, columns.width, columns.height)
    )
    if not all(np.isfinite(column).all() for column in (x, y, w, h)):
        raise Unmasked("an object is at a place that is no number")
    if (w < 0).any() or (h < 0).any():
        raise Unmasked("an object has a negative size")
    boxes = np.stack((x - w / 2, y - h / 2, x + w / 2, y + h / 2), axis=1)
    outlines = columns.optional.get("points", ())
    for row, index in enumerate(wanted if outlines else ()):
        if outlines[index]:
            corners = np.array([(point.x, point.y) for point in outlines[index]], np.float64)
            if not np.isfinite(corners).all():
                raise Unmasked("the outline of an object is at a place that is no number")
            boxes[row, :2] = np.minimum(boxes[row, :2], corners.min(axis=0))
            boxes[row, 2:] = np.maximum(boxes[row, 2:], corners.max(axis=0))
    names = np.array([columns.class_name[index] for index in wanted], object)
    return {name: boxes[names == name] for name in dict.fromkeys(names.tolist())}


def join_boxes(parts: Iterable[FoundBoxes]) -> FoundBoxes:
    """All boxes of several answers."""
    found: dict[str, list[NDArray[np.float64]]] = {}
    for part in parts:
        for name, boxes in part.items():
            found.setdefault(name, []).append(boxes)
    return {name: np.concatenate(lists) for name, lists in found.items()}


def boxes_between(before: FoundBoxes, after: FoundBoxes) -> list[NDArray[np.float64]]:
    """Where objects may be between two frames: for each box of `before`, the box around it and all that it may become.

    Two boxes of a class may be one object if they overlap once each is widened by its own size on every side, or if one
    is the nearest of the other.
    """
    return [_hulls(boxes, after[name]) for name, boxes in before.items() if name in after]


def _hulls(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    wide_before, wide_after = _widened(before)[:, np.newaxis], _widened(after)[np.newaxis]
    may_be_one: NDArray[np.bool_] = np.asarray((wide_before[..., :2] <= wide_after[..., 2:]).all(axis=2))
    may_be_one &= (wide_after[..., :2] <= wide_before[..., 2:]).all(axis=2)
    between = (before[:, np.newaxis] - after[np.newaxis])[..., [0, 2, 1, 3]].reshape(len(before), len(after), 2, 2)
    distance = (between.sum(axis=3) ** 2).sum(axis=2)
    may_be_one[np.arange(len(before)), distance.argmin(axis=1)] = True
    may_be_one[distance.argmin(axis=0), np.arange(len(after))] = True
    chosen = may_be_one[:, :, np.newaxis]
    starts = np.where(chosen, after[np.newaxis, :, :2], np.inf).min(axis=1)
    ends = np.where(chosen, after[np.newaxis, :, 2:], -np.inf).max(axis=1)
    return np.concatenate((np.minimum(before[:, :2], starts), np.maximum(before[:, 2:], ends)), axis=1)


def _widened(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    sizes = boxes[:, 2:] - boxes[:, :2]
    return np.concatenate((boxes[:, :2] - sizes, boxes[:, 2:] + sizes), axis=1)

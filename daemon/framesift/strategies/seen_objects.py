"""What was seen of objects in one frame of a video, and which of them are the same in two frames.

For strategies that compare frames. All is numpy: a prediction has up to 1000 objects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from framesift.frame import Frame
from framesift.prediction.prediction import Detections, Prediction

# With more time than this between two frames, one says little of the other.
LONGEST_GAP_S = 1.0
_LEAST_AREA = np.finfo(np.float64).tiny  # in square pixels: no more than nothing

Boxes = NDArray[np.float64]


class Continuity:
    """Tells whether each frame of a stream continues the one before it: the same view, and little time between."""

    def __init__(self) -> None:
        self._view: tuple[int, int, int] | None = None
        self._boottime_s = 0.0
        self._media_s: float | None = None

    def continues(self, frame: Frame, prediction: Prediction) -> bool:
        """To be called for every frame, in order. The time is that of the file, or of the capture."""
        view = (frame.epoch, prediction.width, prediction.height)
        boottime_s = frame.captured.boottime_s
        if frame.media_s is None or self._media_s is None:
            passed_s = boottime_s - self._boottime_s
        else:
            passed_s = frame.media_s - self._media_s
        does = view == self._view and 0.0 <= passed_s <= LONGEST_GAP_S
        self._view, self._boottime_s, self._media_s = view, boottime_s, frame.media_s
        return does


@dataclass(eq=False, slots=True)
class BoxSet:
    """Boxes that are compared with several others. Nobody changes it.

    corners: left, top, right and bottom in pixels, each a row: shape (4, n). areas: in square pixels, shape (n,).
    A row lies in one piece of memory, as `take` makes it and an index does not: so comparing takes half the time.
    """

    corners: NDArray[np.float64]
    areas: NDArray[np.float64]

    @classmethod
    def of(cls, corners: NDArray[np.float64]) -> BoxSet:
        """corners: shape (4, n)."""
        sides = corners[2:] - corners[:2]
        np.maximum(sides, 0.0, out=sides)
        areas = sides[0] * sides[1]
        np.maximum(areas, _LEAST_AREA, out=areas)  # so that no IoU is 0 / 0
        return cls(corners, areas)

    def select(self, indices: NDArray[np.intp]) -> BoxSet:
        """Those at these indices, in this order."""
        return BoxSet(self.corners.take(indices, axis=1), self.areas[indices])

    def overlaps(self, other: BoxSet) -> NDArray[np.float64]:
        """See the function `overlaps`."""
        # Both axes at once, which is fast for few boxes, and in place, which is fast for many.
        corners, others = self.corners[:, :, np.newaxis], other.corners[:, np.newaxis]
        sides = np.minimum(corners[2:], others[2:])
        sides -= np.maximum(corners[:2], others[:2])
        np.maximum(sides, 0.0, out=sides)
        common, both = sides
        common *= both
        np.add(self.areas[:, np.newaxis], other.areas, out=both)
        both -= common
        common /= both
        return np.asarray(common)


@dataclass(eq=False, slots=True)
class SeenObjects:
    """The objects of one frame that count. Nobody changes them.

    classes: the hashes of their names, shape (n,). trackers: what the model calls each over time, as text, "" where it
    says nothing, shape (n,). size: width and height of the frame in pixels.
    """

    box_set: BoxSet
    classes: NDArray[np.int64]
    trackers: NDArray[np.object_]
    size: tuple[int, int]

    @property
    def boxes(self) -> Boxes:
        """The boxes, one a row: shape (n, 4), left, top, right and bottom in pixels."""
        return np.asarray(self.box_set.corners.T)

    @classmethod
    def of(cls, prediction: Detections, minimum_confidence: float) -> SeenObjects:
        """The objects of at least this confidence, at a place that is a number."""
        columns = prediction.columns
        counts = columns.rows[4] >= minimum_confidence
        corners = _corners(columns.rows.compress(counts, axis=1))
        if not math.isfinite(np.add.reduce(corners, axis=None)):  # mostly all of them are numbers
            counts &= np.isfinite(_corners(columns.rows)).all(axis=0)
            corners = _corners(columns.rows.compress(counts, axis=1))
        ids = columns.optional.get("tracker_id")
        if ids is None:
            trackers = _no_trackers(corners.shape[1])
        else:
            trackers = np.array(["" if id is None else str(id) for id in ids], object)[counts]
        return cls(
            BoxSet.of(corners),
            columns.class_hashes[counts],
            trackers,
            (prediction.width, prediction.height),
        )

    def __len__(self) -> int:
        """How many there are."""
        return len(self.classes)

    def select(self, indices: NDArray[np.intp]) -> SeenObjects:
        """Those at these indices, in this order."""
        return SeenObjects(self.box_set.select(indices), self.classes[indices], self.trackers[indices], self.size)

    def joined(self, others: SeenObjects) -> SeenObjects:
        """These, then others of a frame of the same size."""
        corners = np.concatenate((self.box_set.corners, others.box_set.corners), axis=1)
        classes = np.concatenate((self.classes, others.classes))
        return SeenObjects(BoxSet.of(corners), classes, np.concatenate((self.trackers, others.trackers)), self.size)

    def updated(self, at: NDArray[np.intp], others: SeenObjects, of: NDArray[np.intp]) -> SeenObjects:
        """These, but in the places `at` the others at the indices `of`."""
        corners, classes, trackers = self.box_set.corners.copy(), self.classes.copy(), self.trackers.copy()
        corners[:, at] = others.box_set.corners[:, of]
        classes[at], trackers[at] = others.classes[of], others.trackers[of]
        return SeenObjects(BoxSet.of(corners), classes, trackers, self.size)

    def has_match(self, other: SeenObjects, least_iou: float) -> NDArray[np.bool_]:
        """Whether each object overlaps one of its class in another frame so much: shape (n,)."""
        return np.asarray((_overlaps_of_a_class(self, other) >= least_iou).any(axis=1))


def _corners(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Left, top, right and bottom: shape (4, n). rows: x, y, width and height, shape (4 or more, n)."""
    centres, halves = rows[:2], rows[2:4] / 2
    return np.concatenate((centres - halves, centres + halves))


@lru_cache(maxsize=1024)
def _no_trackers(count: int) -> NDArray[np.object_]:
    """Of so many objects of a model that doesn't follow them. The same array at every call, which can't be changed."""
    made = np.full(count, "", object)
    made.flags.writeable = False
    return made


def overlaps(one: Boxes, other: Boxes) -> NDArray[np.float64]:
    """The IoU of each of n boxes with each of m: shape (n, m), 0 to 1."""
    return BoxSet.of(one.T).overlaps(BoxSet.of(other.T))


def linked(one: SeenObjects, other: SeenObjects, least_iou: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The objects that are the same in two frames: the indices in each, of the same length.

    They are of one class, each overlaps the other most, and their IoU is at least `least_iou`.
    """
    found = _overlaps_of_a_class(one, other)
    if not found.size:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    from_, to = (found >= least_iou).nonzero()
    if len(set(from_.tolist())) == len(from_) == len(set(to.tolist())):  # mostly none has two to choose from
        return from_, to
    to = found.argmax(axis=1)
    from_ = np.arange(len(to))
    is_mutual = (found[from_, to] >= least_iou) & (found.argmax(axis=0)[to] == from_)
    return from_[is_mutual], to[is_mutual]


def is_near_edge(seen: SeenObjects, border: float) -> NDArray[np.bool_]:
    """Whether each object reaches into the outer `border` (a share of the sides) of the picture: shape (n,)."""
    left, top, right, bottom = seen.box_set.corners
    width, height = seen.size
    return np.asarray(
        (left < width * border)
        | (top < height * border)
        | (right > width * (1 - border))
        | (bottom > height * (1 - border))
    )


def same_class(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each of n classes is each of m: shape (n, m)."""
    return np.asarray(one[:, np.newaxis] == other)


def _overlaps_of_a_class(one: SeenObjects, other: SeenObjects) -> NDArray[np.float64]:
    found = one.box_set.overlaps(other.box_set)
    found *= same_class(one.classes, other.classes)
    return found

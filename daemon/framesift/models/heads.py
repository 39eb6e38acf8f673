"""What the last layer of a network says, read into boxes and confidences: one function per family, and the suppression
of boxes that say the same twice.

Boxes are corners x1, y1, x2, y2 in pixels of the network's input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framesift.prediction import MOST_OBJECTS

Floats = NDArray[np.floating]

# Suppression is quadratic at worst; a picture with more candidates is noise, and its best ones tell as much.
MOST_CANDIDATES = 4000


@dataclass(frozen=True, slots=True)
class Candidates:
    """boxes: (n, 4); confidences, class_ids: (n,). dropped: how many had a number that is none."""

    boxes: NDArray[np.float64]
    confidences: NDArray[np.float64]
    class_ids: NDArray[np.int64]
    dropped: int = 0


Reader = Callable[[Floats, float], Candidates]


def yolov8(output: Floats, least: float) -> Candidates:
    """output: (4 + C, N), box centre and size, then a confidence per class. least: the lowest confidence wanted."""
    scores = output[4:]
    # The maximum runs along whole rows; which class it was is asked for the few that pass. NaN passes, to be counted.
    kept = np.flatnonzero(~(scores.max(axis=0) < least))
    return _sifted(_corners(output[:4, kept].T), scores[:, kept].T, least)


def yolov5(output: Floats, least: float) -> Candidates:
    """output: (N, 5 + C), box centre and size, objectness, and a confidence per class given an object."""
    rows = output[~(output[:, 4] < least)]
    return _sifted(_corners(rows[:, :4]), rows[:, 5:] * rows[:, 4:5], least)


def yolox(height: int, width: int, strides: tuple[int, ...]) -> Reader:
    """A reader of (N, 5 + C) as yolov5's, where the centre is relative to its cell and the size a logarithm, both in
    strides of the cell's level (Ge et al., YOLOX, 2021, section 2.1)."""
    levels = [(stride, *np.mgrid[0 : -(-height // stride), 0 : -(-width // stride)]) for stride in strides]
    cells = np.concatenate([np.stack((x.ravel(), y.ravel()), 1) for _stride, y, x in levels]).astype(np.float64)
    stride_of = np.concatenate([np.full(x.size, stride, np.float64) for stride, _y, x in levels])[:, None]

    def read(output: Floats, least: float) -> Candidates:
        kept = np.flatnonzero(~(output[:, 4] < least))
        rows = output[kept].astype(np.float64)
        centres = (rows[:, :2] + cells[kept]) * stride_of[kept]
        sizes = np.exp(rows[:, 2:4]) * stride_of[kept]
        return _sifted(_corners(np.hstack((centres, sizes))), rows[:, 5:] * rows[:, 4:5], least)

    return read


def end2end(output: Floats, least: float) -> Candidates:
    """output: (N, 6), corners, confidence, class; suppression has been done."""
    rows = output[~(output[:, 4] < least)].astype(np.float64)
    good = np.isfinite(rows).all(axis=1)
    boxes, confidences, class_ids = rows[good, :4], rows[good, 4], np.rint(rows[good, 5])
    return Candidates(boxes, confidences, class_ids.astype(np.int64), int((~good).sum()))


def suppressed(found: Candidates, iou: float) -> Candidates:
    """Greedy, most confident first: a box of the same class that overlaps a kept one by more than `iou` goes.

    No more than MOST_OBJECTS are kept.
    """
    order = np.argsort(-found.confidences, kind="stable")[:MOST_CANDIDATES]
    boxes, class_ids = found.boxes[order], found.class_ids[order]
    x1, y1, x2, y2 = np.ascontiguousarray(boxes.T)
    areas = (x2 - x1) * (y2 - y1)
    kept: list[int] = []
    left = np.arange(len(order))
    while left.size and len(kept) < MOST_OBJECTS:
        best, rest = left[0], left[1:]
        kept.append(int(best))
        across = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
        down = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
        shared = across.clip(0) * down.clip(0)
        # Multiplied out, so that boxes without area need no division.
        apart = shared <= iou * (areas[best] + areas[rest] - shared)
        left = rest[apart | (class_ids[rest] != class_ids[best])]
    chosen = order[kept]
    return Candidates(found.boxes[chosen], found.confidences[chosen], found.class_ids[chosen], found.dropped)


def softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    powers: NDArray[np.float64] = np.exp(values - values.max())
    shares: NDArray[np.float64] = powers / powers.sum()
    return shares


def sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # tanh never overflows, which exp(-x) does.
    return 0.5 * (1.0 + np.tanh(0.5 * values))


def _corners(boxes: Floats) -> NDArray[np.float64]:
    """(n, 4): centre x, y, width, height -> x1, y1, x2, y2."""
    boxes = boxes.astype(np.float64)
    half = boxes[:, 2:4] / 2
    return np.hstack((boxes[:, :2] - half, boxes[:, :2] + half))


def _sifted(boxes: NDArray[np.float64], scores: Floats, least: float) -> Candidates:
    """The best class of each box, where it is confident enough; what is not finite is left out and counted."""
    if not len(boxes):
        return Candidates(boxes, np.empty(0), np.empty(0, np.int64))
    class_ids = scores.argmax(axis=1)
    confidences = scores[np.arange(len(scores)), class_ids].astype(np.float64)
    good = np.isfinite(boxes).all(axis=1) & np.isfinite(confidences)
    enough = good & (confidences >= least)
    return Candidates(boxes[enough], confidences[enough], class_ids[enough].astype(np.int64), int((~good).sum()))

"""What the last layer of a network says, read into boxes and confidences: one function per family, and the suppression
of boxes that say the same twice.

Boxes are corners x1, y1, x2, y2 in pixels of the network's input. A reader is given the outputs that its family has, in
the family's order and without the batch's dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framesift.prediction.prediction import MAX_OBJECTS

Floats = NDArray[np.floating]

# Suppression is quadratic at worst; a picture with more candidates is noise, and its best ones tell as much.
MAX_CANDIDATES = 4000


@dataclass(frozen=True, slots=True)
class BoxCandidates:
    """boxes: (n, 4); confidences, class_ids: (n,). rows: (n,), where in the output each stood, to look up what else it
    says of them. dropped: how many had a number that is none.
    """

    boxes: NDArray[np.float64]
    confidences: NDArray[np.float64]
    class_ids: NDArray[np.int64]
    rows: NDArray[np.int64]
    dropped: int = 0

    def __getitem__(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> BoxCandidates:
        """The chosen ones, in that order."""
        return BoxCandidates(
            self.boxes[chosen], self.confidences[chosen], self.class_ids[chosen], self.rows[chosen], self.dropped
        )


HeadDecoder = Callable[[Sequence[Floats], float], BoxCandidates]


def yolov8(classes: int) -> HeadDecoder:
    """(4 + C + more, N): box centre and size, a confidence per class, and what else there is, which isn't read."""

    def read(outputs: Sequence[Floats], least: float) -> BoxCandidates:
        output = outputs[0]
        scores = output[4 : 4 + classes]
        # The maximum runs along whole rows; which class it was is asked for the few that pass. NaN passes.
        kept = np.flatnonzero(~(scores.max(axis=0) < least))
        return _sifted(_corners(output[:4, kept].T), scores[:, kept].T, kept, least)

    return read


def yolov5(outputs: Sequence[Floats], least: float) -> BoxCandidates:
    """(N, 5 + C): box centre and size, objectness, and a confidence per class given an object."""
    output = outputs[0]
    kept = np.flatnonzero(~(output[:, 4] < least))
    rows = output[kept]
    return _sifted(_corners(rows[:, :4]), rows[:, 5:] * rows[:, 4:5], kept, least)


def yolox(height: int, width: int, strides: tuple[int, ...]) -> HeadDecoder:
    """A reader of (N, 5 + C) as yolov5's, where the centre is relative to its cell and the size a logarithm, both in
    strides of the cell's level (Ge et al., YOLOX, 2021, section 2.1).
    """
    levels = [(stride, *np.mgrid[0 : -(-height // stride), 0 : -(-width // stride)]) for stride in strides]
    cells = np.concatenate([np.stack((x.ravel(), y.ravel()), 1) for _stride, y, x in levels]).astype(np.float64)
    stride_of = np.concatenate([np.full(x.size, stride, np.float64) for stride, _y, x in levels])[:, None]

    def read(outputs: Sequence[Floats], least: float) -> BoxCandidates:
        output = outputs[0]
        kept = np.flatnonzero(~(output[:, 4] < least))
        rows = output[kept].astype(np.float64)
        centres = (rows[:, :2] + cells[kept]) * stride_of[kept]
        sizes = np.exp(rows[:, 2:4]) * stride_of[kept]
        return _sifted(_corners(np.hstack((centres, sizes))), rows[:, 5:] * rows[:, 4:5], kept, least)

    return read


def end2end(outputs: Sequence[Floats], least: float) -> BoxCandidates:
    """(N, 6 + more): corners, confidence, class, and what else there is, which isn't read; suppressed already."""
    output = outputs[0][:, :6]
    kept = np.flatnonzero(~(output[:, 4] < least))
    rows = output[kept].astype(np.float64)
    return _finished(rows[:, :4], rows[:, 4], rows[:, 5], kept)


def rfdetr(height: int, width: int, classes: int) -> HeadDecoder:
    """(Q, 4): box centre and size as shares of the picture; (Q, C or more): a logit per class.

    Each class of a query is a candidate of its own, and as many of them count as there are queries: the sigmoids are
    independent, and nothing is suppressed (the post-processing of the rfdetr package, 1.11).
    """
    sides = np.array((width, height) * 2, np.float64)

    def read(outputs: Sequence[Floats], least: float) -> BoxCandidates:
        boxes, logits = outputs[0], outputs[1][:, :classes]
        if len(boxes) != len(logits):
            raise ValueError(f"{len(boxes)} boxes, but the classes of {len(logits)}")
        scores = sigmoid(logits.astype(np.float64))
        queries, class_ids = np.nonzero(~(scores < least))
        scores = scores[queries, class_ids]
        best = np.argsort(-scores, kind="stable")[: len(boxes)]
        return _finished(_corners(boxes[queries[best]]) * sides, scores[best], class_ids[best], queries[best])

    return read


def ssd(height: int, width: int, first_class_id: int) -> HeadDecoder:
    """(N, 4): top, left, bottom, right as shares of the picture; (N,): classes, from `first_class_id` on; (N,):
    confidences; and, where there is a fourth, how many of them count. Suppression has been done.
    """
    sides = np.array((width, height) * 2, np.float64)

    def read(outputs: Sequence[Floats], least: float) -> BoxCandidates:
        boxes, classes, scores = outputs[0], np.ravel(outputs[1]), np.ravel(outputs[2])
        if not len(boxes) == len(classes) == len(scores):
            raise ValueError(f"{len(boxes)} boxes, but {len(classes)} classes and {len(scores)} confidences")
        count = float(np.ravel(outputs[3])[0]) if len(outputs) > 3 else len(boxes)
        if not 0 <= count <= len(boxes):
            raise ValueError(f"it says that it found {count:g} of at most {len(boxes)} objects")
        kept = np.flatnonzero(~(scores[: int(count)] < least))
        corners = boxes[kept][:, [1, 0, 3, 2]].astype(np.float64) * sides
        return _finished(corners, scores[kept], classes[kept].astype(np.float64) - first_class_id, kept)

    return read


def suppress_overlaps(found: BoxCandidates, iou: float) -> BoxCandidates:
    """Greedy, most confident first: a box of the same class that overlaps a kept one by more than `iou` goes.

    No more than MOST_OBJECTS are kept.
    """
    order = np.argsort(-found.confidences, kind="stable")[:MAX_CANDIDATES]
    boxes, class_ids = found.boxes[order], found.class_ids[order]
    x1, y1, x2, y2 = np.ascontiguousarray(boxes.T)
    areas = (x2 - x1) * (y2 - y1)
    kept: list[int] = []
    left = np.arange(len(order))
    while left.size and len(kept) < MAX_OBJECTS:
        best, rest = left[0], left[1:]
        kept.append(int(best))
        across = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
        down = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
        shared = across.clip(0) * down.clip(0)
        # Multiplied out, so that boxes without area need no division.
        apart = shared <= iou * (areas[best] + areas[rest] - shared)
        left = rest[apart | (class_ids[rest] != class_ids[best])]
    return found[order[kept]]


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


def _sifted(boxes: NDArray[np.float64], scores: Floats, rows: NDArray[np.int64], least: float) -> BoxCandidates:
    """The best class of each box, where it is confident enough; what is not finite is left out and counted."""
    if not len(boxes):
        return BoxCandidates(boxes, np.empty(0), np.empty(0, np.int64), rows)
    class_ids = scores.argmax(axis=1)
    confidences = scores[np.arange(len(scores)), class_ids].astype(np.float64)
    good = np.isfinite(boxes).all(axis=1) & np.isfinite(confidences)
    enough = good & (confidences >= least)
    return BoxCandidates(boxes, confidences, class_ids.astype(np.int64), rows, int((~good).sum()))[enough]


def _finished(
    boxes: NDArray[np.float64], confidences: Floats, class_ids: NDArray[Any], rows: NDArray[np.int64]
) -> BoxCandidates:
    """Boxes that need no suppression; what is not finite is left out and counted."""
    good = np.isfinite(boxes).all(axis=1) & np.isfinite(confidences) & np.isfinite(class_ids)
    whole = np.rint(np.where(good, class_ids, 0.0)).astype(np.int64)
    return BoxCandidates(boxes, confidences.astype(np.float64), whole, rows, int((~good).sum()))[good]

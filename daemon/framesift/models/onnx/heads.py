"""Output heads: one function per family that reads a network's outputs into boxes and confidences, and suppression.

Boxes are corners x1, y1, x2, y2 in pixels of the network's input. A decoder gets the outputs of its family, in the
family's order and without the batch axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framesift.prediction.prediction import MAX_OBJECTS

Floats = NDArray[np.floating]

# Suppression takes quadratic time at worst; of a picture with more candidates (noise), the best are enough.
MAX_CANDIDATES = 4000


@dataclass(frozen=True, slots=True)
class BoxCandidates:
    """Boxes before suppression.

    boxes: (n, 4). confidences, class_ids: (n,). rows: (n,), the place of each in the output, to look up masks or
    keypoints. dropped: how many had numbers that are not finite.
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
    """A decoder of (4 + C + more, N): box centre and size, a confidence per class, and numbers not read here."""

    def read(outputs: Sequence[Floats], min_confidence: float) -> BoxCandidates:
        output = outputs[0]
        scores = output[4 : 4 + classes]
        # The maximum of whole rows is fast; the class is looked up for the few that pass. NaN passes: it is counted.
        kept = np.flatnonzero(~(scores.max(axis=0) < min_confidence))
        return _best_classes(_corners(output[:4, kept].T), scores[:, kept].T, kept, min_confidence)

    return read


def yolov5(outputs: Sequence[Floats], min_confidence: float) -> BoxCandidates:
    """Decodes (N, 5 + C): box centre and size, objectness, and a confidence per class given an object."""
    output = outputs[0]
    kept = np.flatnonzero(~(output[:, 4] < min_confidence))
    rows = output[kept]
    return _best_classes(_corners(rows[:, :4]), rows[:, 5:] * rows[:, 4:5], kept, min_confidence)


def yolox(height: int, width: int, strides: tuple[int, ...]) -> HeadDecoder:
    """A decoder of (N, 5 + C), like yolov5's, but with positions relative to a grid.

    The centre is relative to its cell and the size a logarithm, both in strides of the cell's level (Ge et al., YOLOX,
    2021, section 2.1).
    """
    levels = [(stride, *np.mgrid[0 : -(-height // stride), 0 : -(-width // stride)]) for stride in strides]
    cells = np.concatenate([np.stack((x.ravel(), y.ravel()), 1) for _stride, y, x in levels]).astype(np.float64)
    stride_of = np.concatenate([np.full(x.size, stride, np.float64) for stride, _y, x in levels])[:, None]

    def read(outputs: Sequence[Floats], min_confidence: float) -> BoxCandidates:
        output = outputs[0]
        kept = np.flatnonzero(~(output[:, 4] < min_confidence))
        rows = output[kept].astype(np.float64)
        centres = (rows[:, :2] + cells[kept]) * stride_of[kept]
        sizes = np.exp(rows[:, 2:4]) * stride_of[kept]
        return _best_classes(_corners(np.hstack((centres, sizes))), rows[:, 5:] * rows[:, 4:5], kept, min_confidence)

    return read


def end2end(outputs: Sequence[Floats], min_confidence: float) -> BoxCandidates:
    """Decodes (N, 6 + more): corners, confidence, class, and numbers that are not read here; suppressed already."""
    output = outputs[0][:, :6]
    kept = np.flatnonzero(~(output[:, 4] < min_confidence))
    rows = output[kept].astype(np.float64)
    return _finite(rows[:, :4], rows[:, 4], rows[:, 5], kept)


def end2end_rotated(outputs: Sequence[Floats], min_confidence: float) -> BoxCandidates:
    """Decodes (N, 7): box centre and size, confidence, class, and an angle that is not read here."""
    found = end2end(outputs, min_confidence)
    return replace(found, boxes=_corners(found.boxes))


def rfdetr(height: int, width: int, classes: int) -> HeadDecoder:
    """A decoder of (Q, 4): box centre and size as fractions of the picture; and (Q, C or more): a logit per class.

    Each class of a query is a candidate of its own, and as many of them count as there are queries: the sigmoids are
    independent, and nothing is suppressed (the post-processing of the rfdetr package, 1.11).
    """
    sides = np.array((width, height) * 2, np.float64)

    def read(outputs: Sequence[Floats], min_confidence: float) -> BoxCandidates:
        boxes, logits = outputs[0], outputs[1][:, :classes]
        if len(boxes) != len(logits):
            raise ValueError(f"{len(boxes)} boxes, but the classes of {len(logits)}")
        scores = sigmoid(logits.astype(np.float64))
        queries, class_ids = np.nonzero(~(scores < min_confidence))
        scores = scores[queries, class_ids]
        best = np.argsort(-scores, kind="stable")[: len(boxes)]
        return _finite(_corners(boxes[queries[best]]) * sides, scores[best], class_ids[best], queries[best])

    return read


def rtdetr_table(height: int, width: int) -> HeadDecoder:
    """A decoder of (N, 6) or (N, 4 + C): centre and size as fractions; then confidence and class, or C confidences.

    These are Ultralytics' exports: new ones have sorted the candidates and name the class of each, in whole numbers.
    """
    sides = np.array((width, height) * 2, np.float64)

    def read(outputs: Sequence[Floats], min_confidence: float) -> BoxCandidates:
        table = outputs[0].astype(np.float64)
        boxes, scores, rows = _corners(table[:, :4]) * sides, table[:, 4:], np.arange(len(table))
        is_sorted = scores.shape[1] == 2 and bool((np.diff(scores[:, 0]) <= 0).all())
        if is_sorted and (scores[:, 1] == np.rint(scores[:, 1])).all():
            kept = ~(scores[:, 0] < min_confidence)
            return _finite(boxes[kept], scores[kept, 0], scores[kept, 1], rows[kept])
        return _best_classes(boxes, scores, rows, min_confidence)

    return read


def rtdetr_finished(outputs: Sequence[Floats], min_confidence: float) -> BoxCandidates:
    """Decodes (N,): classes; (N, 4): corners in pixels of the input; (N,): confidences."""
    class_ids, boxes, scores = outputs
    kept = np.flatnonzero(~(scores < min_confidence))
    return _finite(boxes[kept].astype(np.float64), scores[kept], class_ids[kept], kept)


def detr(height: int, width: int) -> HeadDecoder:
    """A decoder of (Q, C + 1): logits, the last of no object; and (Q, 4): box centre and size as fractions.

    Each query is one candidate, of its best class (Carion et al., End-to-end object detection with transformers, 2020).
    """
    sides = np.array((width, height) * 2, np.float64)

    def read(outputs: Sequence[Floats], min_confidence: float) -> BoxCandidates:
        logits, boxes = outputs[0].astype(np.float64), outputs[1]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = (powers / powers.sum(axis=1, keepdims=True))[:, :-1]
        return _best_classes(_corners(boxes) * sides, scores, np.arange(len(boxes)), min_confidence)

    return read


def yolov7_end2end(outputs: Sequence[Floats], min_confidence: float) -> BoxCandidates:
    """Decodes (N, 7): which picture of the batch, corners, class, confidence; suppressed already. Reads the first's."""
    output = outputs[0]
    kept = np.flatnonzero((output[:, 0] == 0) & ~(output[:, 6] < min_confidence))
    rows = output[kept].astype(np.float64)
    return _finite(rows[:, 1:5], rows[:, 6], rows[:, 5], kept)


def torchvision(first_class_id: int) -> HeadDecoder:
    """A decoder of (N, 4): corners in pixels of the input; (N,): classes; (N,): confidences. Suppressed already.

    The first class has the number `first_class_id`; 0 is the background.
    """

    def read(outputs: Sequence[Floats], min_confidence: float) -> BoxCandidates:
        boxes, class_ids, scores = outputs[:3]
        kept = np.flatnonzero(~(scores < min_confidence))
        classes = class_ids[kept].astype(np.float64) - first_class_id
        return _finite(boxes[kept].astype(np.float64), scores[kept], classes, kept)

    return read


def ssd(height: int, width: int, first_class_id: int) -> HeadDecoder:
    """A decoder of (N, 4): top, left, bottom, right as fractions of the picture; (N,): classes; (N,): confidences.

    The first class has the number `first_class_id`. A fourth output is how many of them count. Suppressed already.
    """
    sides = np.array((width, height) * 2, np.float64)

    def read(outputs: Sequence[Floats], min_confidence: float) -> BoxCandidates:
        boxes, classes, scores = outputs[0], np.ravel(outputs[1]), np.ravel(outputs[2])
        if not len(boxes) == len(classes) == len(scores):
            raise ValueError(f"{len(boxes)} boxes, but {len(classes)} classes and {len(scores)} confidences")
        count = float(np.ravel(outputs[3])[0]) if len(outputs) > 3 else len(boxes)
        if not 0 <= count <= len(boxes):
            raise ValueError(f"its count output is {count:g}, but there are {len(boxes)} boxes")
        kept = np.flatnonzero(~(scores[: int(count)] < min_confidence))
        corners = boxes[kept][:, [1, 0, 3, 2]].astype(np.float64) * sides
        return _finite(corners, scores[kept], classes[kept].astype(np.float64) - first_class_id, kept)

    return read


def suppress_overlaps(candidates: BoxCandidates, iou: float) -> BoxCandidates:
    """Removes each box that overlaps a more confident one of the same class by more than `iou`.

    At most MAX_OBJECTS are kept.
    """
    order = np.argsort(-candidates.confidences, kind="stable")[:MAX_CANDIDATES]
    boxes, class_ids = candidates.boxes[order], candidates.class_ids[order]
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
        # Without a division, for boxes without area.
        apart = shared <= iou * (areas[best] + areas[rest] - shared)
        left = rest[apart | (class_ids[rest] != class_ids[best])]
    return candidates[order[kept]]


def softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The softmax of the values, shape (n,)."""
    powers: NDArray[np.float64] = np.exp(values - values.max())
    shares: NDArray[np.float64] = powers / powers.sum()
    return shares


def sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sigmoid of each value."""
    # tanh never overflows; exp(-x) would.
    return 0.5 * (1.0 + np.tanh(0.5 * values))


def _corners(boxes: Floats) -> NDArray[np.float64]:
    """(n, 4): centre x, y, width, height -> x1, y1, x2, y2."""
    boxes = boxes.astype(np.float64)
    half = boxes[:, 2:4] / 2
    return np.hstack((boxes[:, :2] - half, boxes[:, :2] + half))


def _best_classes(
    boxes: NDArray[np.float64], scores: Floats, rows: NDArray[np.int64], min_confidence: float
) -> BoxCandidates:
    """The best class of each box, if it is confident enough; what is not finite is left out and counted."""
    if not len(boxes):
        return BoxCandidates(boxes, np.empty(0), np.empty(0, np.int64), rows)
    class_ids = scores.argmax(axis=1)
    confidences = scores[np.arange(len(scores)), class_ids].astype(np.float64)
    good = np.isfinite(boxes).all(axis=1) & np.isfinite(confidences)
    enough = good & (confidences >= min_confidence)
    return BoxCandidates(boxes, confidences, class_ids.astype(np.int64), rows, int((~good).sum()))[enough]


def _finite(
    boxes: NDArray[np.float64], confidences: Floats, class_ids: NDArray[Any], rows: NDArray[np.int64]
) -> BoxCandidates:
    """Boxes that need no suppression; what is not finite is left out and counted."""
    good = np.isfinite(boxes).all(axis=1) & np.isfinite(confidences) & np.isfinite(class_ids)
    whole = np.rint(np.where(good, class_ids, 0.0)).astype(np.int64)
    return BoxCandidates(boxes, confidences.astype(np.float64), whole, rows, int((~good).sum()))[good]

"""What of a prediction is right, by the labels of its picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framesift.prediction.prediction import Detections, Prediction, count_classes
from framesift.strategies.seen_objects import overlaps

Box = tuple[float, float, float, float]  # x1, y1, x2, y2, as fractions of the picture
Boxes = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LabelledObject:
    """What a person marked in a picture. box: None where only the class was named."""

    class_name: str
    box: Box | None


@dataclass(frozen=True, slots=True)
class PictureCounts:
    """Of one picture, by class: objects of the model, those of them that are right, and objects of the labels.

    Of a classifier a label counts as an object.
    """

    predicted: Counter[str]
    right: Counter[str]
    actual: Counter[str]


def count_predicted(prediction: Prediction, confidence: float) -> Counter[str]:
    """How often each class was predicted: objects of at least this confidence, or the labels, whatever theirs is."""
    if not isinstance(prediction, Detections):
        return count_classes(prediction)
    columns = prediction.columns
    return Counter(n for n, c in zip(columns.class_name, columns.confidence, strict=True) if c >= confidence)


def compare(
    prediction: Prediction, labels: Collection[LabelledObject], *, confidence: float, iou: float
) -> PictureCounts:
    """Compares a prediction with the labels of its picture.

    The model's objects of at least this confidence are matched class by class, the most confident first: each with that
    object of the labels that no other one has yet and that its box overlaps most, if intersection over union is at
    least `iou`. Each object of the labels has a box, where the prediction has boxes.
    """
    predicted = count_predicted(prediction, confidence)
    if not isinstance(prediction, Detections):
        there = Counter(dict.fromkeys((label.class_name for label in labels), 1))
        return PictureCounts(predicted, predicted & there, there)
    actual = Counter(label.class_name for label in labels)
    right: Counter[str] = Counter()
    for class_name in predicted.keys() & actual.keys():
        found = _found_boxes(prediction, class_name, confidence)
        boxes = [label.box for label in labels if label.class_name == class_name and label.box is not None]
        right[class_name] = _matches(overlaps(found, np.array(boxes, np.float64)), iou)
    return PictureCounts(predicted, +right, actual)


def _found_boxes(prediction: Detections, class_name: str, confidence: float) -> Boxes:
    """The boxes of a class, shape (n, 4), cut to the picture, the most confident first."""
    c = prediction.columns
    chosen = [i for i in range(len(c)) if c.class_name[i] == class_name and c.confidence[i] >= confidence]
    chosen.sort(key=lambda i: -c.confidence[i])
    centre, size = (
        np.array([[xs[i] / prediction.width, ys[i] / prediction.height] for i in chosen])
        for xs, ys in ((c.x, c.y), (c.width, c.height))
    )
    return np.clip(np.hstack([centre - size / 2.0, centre + size / 2.0]), 0.0, 1.0)


def _matches(found_by_labelled: Boxes, iou: float) -> int:
    """How many rows find a column of their own, in the order of the rows, among those that overlap by `iou`."""
    is_free = np.ones(found_by_labelled.shape[1], bool)
    for row in found_by_labelled:
        best = int(np.argmax(np.where(is_free, row, -1.0)))
        if is_free[best] and row[best] >= iou:
            is_free[best] = False
    return int((~is_free).sum())

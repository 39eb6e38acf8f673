"""Prediction: the answer of a model for one frame. Immutable; coordinates are pixels of a picture of known size.

There are four kinds: Detections (boxes, with polygons, masks or keypoints), Classification (one label), MultiLabel (any
number of labels) and Stub (collected without a model). `wire_format.py` reads and writes them as JSON, in the format of
Roboflow's inference server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from framesift.prediction import masks
from framesift.prediction.masks import Rle

# A detector that reports more objects than this is broken; its answer must not fill memory or disk.
MAX_OBJECTS = 1000
MAX_CLASS_NAME_LENGTH = 128


class Task(str, Enum):
    """What a model does, in the platform's words. CLASSIFICATION stands for one label and for many labels."""

    OBJECT_DETECTION = "object-detection"
    INSTANCE_SEGMENTATION = "instance-segmentation"
    KEYPOINT_DETECTION = "keypoint-detection"
    CLASSIFICATION = "classification"
    SEMANTIC_SEGMENTATION = "semantic-segmentation"

    def __str__(self) -> str:
        return self.value


DETECTION_TASKS = frozenset({Task.OBJECT_DETECTION, Task.INSTANCE_SEGMENTATION, Task.KEYPOINT_DETECTION})


@dataclass(frozen=True, slots=True)
class Point:
    """A corner of a polygon, in pixels."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Keypoint:
    """A named point of an object. x, y: in pixels. confidence: 0 to 1. class_id: -1 if it is unknown."""

    x: float
    y: float
    confidence: float
    class_name: str
    class_id: int


@dataclass(frozen=True, slots=True)
class Detection:
    """One object. x, y: the CENTRE of its box; width, height: the size of the box; all in pixels. confidence: 0 to 1.

    class_id: -1 if the model gives only the name of the class. points: one polygon for all pieces of the object, see
    `masks.mask_to_polygon`. rle: a mask of the whole picture.
    """

    x: float
    y: float
    width: float
    height: float
    confidence: float
    class_name: str
    class_id: int
    points: tuple[Point, ...] | None = None
    rle: Rle | None = None
    keypoints: tuple[Keypoint, ...] | None = None
    detection_id: str | None = None
    class_confidence: float | None = None
    tracker_id: str | int | None = None
    parent_id: str | None = None


@dataclass(frozen=True, slots=True)
class ClassScore:
    """The confidence (0 to 1) of one class. class_id: -1 if it is unknown."""

    class_name: str
    class_id: int
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BasePrediction:
    """The fields of every prediction.

    width, height: size in pixels of the picture to which the coordinates refer. time_s: how long the model took.
    dropped: how many malformed or surplus parts were left out when the prediction was read.
    """

    width: int
    height: int
    model_id: str = ""
    inference_id: str | None = None
    time_s: float | None = None
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections(BasePrediction):
    """Any number of detected objects."""

    task: Task
    objects: tuple[Detection, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification(BasePrediction):
    """One label. top: the name of the best class ("" if no class passed), confidence: its confidence (0 to 1)."""

    top: str
    confidence: float
    scores: tuple[ClassScore, ...]
    parent_id: str | None = None

    @property
    def task(self) -> Task:
        """Always CLASSIFICATION."""
        return Task.CLASSIFICATION


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiLabel(BasePrediction):
    """Any number of labels. scores: of all classes; predicted: the classes that passed the model's threshold."""

    scores: tuple[ClassScore, ...]
    predicted: tuple[str, ...]

    @property
    def task(self) -> Task:
        """Always CLASSIFICATION."""
        return Task.CLASSIFICATION


@dataclass(frozen=True, slots=True, kw_only=True)
class Stub(BasePrediction):
    """The prediction of a picture that is collected without a model: only the task is known."""

    task: Task


Prediction = Detections | Classification | MultiLabel | Stub


def detections_from_arrays(
    boxes: NDArray[np.floating],
    confidences: NDArray[np.floating],
    class_ids: NDArray[np.integer],
    class_names: tuple[str, ...],
    *,
    width: int,
    height: int,
    model_id: str = "",
    time_s: float | None = None,
    task: Task = Task.OBJECT_DETECTION,
    points: Sequence[tuple[Point, ...]] | None = None,
    keypoints: Sequence[tuple[Keypoint, ...]] | None = None,
) -> Detections:
    """Makes Detections from a model's arrays.

    boxes: shape (n, 4), corners x1, y1, x2, y2 in pixels of the frame; they are clipped to the frame. confidences,
    class_ids: shape (n,). width, height: of the frame in pixels. points, keypoints: the outlines and the keypoints of
    the boxes, in the same order and pixels.

    Boxes are dropped and counted in `dropped` if they are not finite, empty after clipping, of a negative
    confidence or of an unknown class. Of more than MAX_OBJECTS boxes the most confident are kept.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    confidences = np.asarray(confidences, np.float64).reshape(-1)
    class_ids = np.asarray(class_ids).reshape(-1)
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(confidences)
    boxes = np.where(finite[:, None], boxes, 0.0)
    x1, x2 = np.clip(boxes[:, 0], 0, width), np.clip(boxes[:, 2], 0, width)
    y1, y2 = np.clip(boxes[:, 1], 0, height), np.clip(boxes[:, 3], 0, height)
    known = (class_ids >= 0) & (class_ids < len(class_names))
    good = np.flatnonzero(finite & known & (confidences >= 0) & (x2 > x1) & (y2 > y1))
    order = good[np.argsort(-confidences[good], kind="stable")][:MAX_OBJECTS]
    objects = tuple(
        Detection(
            x=float(x1[i] + x2[i]) / 2,
            y=float(y1[i] + y2[i]) / 2,
            width=float(x2[i] - x1[i]),
            height=float(y2[i] - y1[i]),
            confidence=float(confidences[i]),
            class_name=class_names[int(class_ids[i])],
            class_id=int(class_ids[i]),
            points=None if points is None else points[i],
            keypoints=None if keypoints is None else keypoints[i],
        )
        for i in order
    )
    return Detections(
        task=task,
        objects=objects,
        width=width,
        height=height,
        model_id=model_id,
        time_s=time_s,
        dropped=len(boxes) - len(objects),
    )


def scale_prediction(prediction: Prediction, width: int, height: int) -> Prediction:
    """The same prediction for the picture resized to `width` x `height` pixels. x and y have separate factors."""
    if (width, height) == (prediction.width, prediction.height):
        return prediction
    if not isinstance(prediction, Detections):
        return replace(prediction, width=width, height=height)
    sx, sy = width / prediction.width, height / prediction.height
    objects = tuple(
        replace(
            d,
            x=d.x * sx,
            y=d.y * sy,
            width=d.width * sx,
            height=d.height * sy,
            points=None if d.points is None else tuple(Point(p.x * sx, p.y * sy) for p in d.points),
            rle=None if d.rle is None else masks.resize_rle(d.rle, height, width),
            keypoints=None if d.keypoints is None else tuple(replace(k, x=k.x * sx, y=k.y * sy) for k in d.keypoints),
        )
        for d in prediction.objects
    )
    return replace(prediction, objects=objects, width=width, height=height)


def count_classes(prediction: Prediction) -> Counter[str]:
    """Counts how often each class was predicted: objects of a detector, the label or labels of a classifier."""
    if isinstance(prediction, Detections):
        return Counter(d.class_name for d in prediction.objects)
    if isinstance(prediction, Classification):
        return Counter([prediction.top] if prediction.top else [])
    if isinstance(prediction, MultiLabel):
        return Counter(prediction.predicted)
    return Counter()

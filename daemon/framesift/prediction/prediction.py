"""Prediction: the answer of a model for one frame. Immutable; coordinates are pixels of a picture of known size.

There are four kinds: Detections (boxes, with polygons, masks or keypoints), Classification (one label), MultiLabel (any
number of labels) and Stub (collected without a model). `wire_format.py` reads and writes them as JSON, in the format of
Roboflow's inference server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from enum import Enum
from itertools import compress, repeat
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from framesift.prediction import masks
from framesift.prediction.confidences import Confidences
from framesift.prediction.embedding import Embedding
from framesift.prediction.masks import Rle

# A detector that reports more objects than this is broken; its answer must not fill memory or disk.
MAX_OBJECTS = 1000
MAX_CLASS_NAME_LENGTH = 128
# Of a model's answer, where it counts as 1: half precision rounds.
MAX_CONFIDENCE = 1.001

# What a prediction or an object has under keys that we don't know: (key, value), in the order in which it came.
ExtraValue = str | int | float | bool | None
Extras = tuple[tuple[str, ExtraValue], ...]


class Task(str, Enum):
    """What a model does, in the platform's words. CLASSIFICATION stands for one label and for many labels."""

    OBJECT_DETECTION = "object-detection"
    INSTANCE_SEGMENTATION = "instance-segmentation"
    KEYPOINT_DETECTION = "keypoint-detection"
    CLASSIFICATION = "classification"
    SEMANTIC_SEGMENTATION = "semantic-segmentation"

    __hash__ = str.__hash__  # in C; that of Enum is a function in Python

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
    `masks.mask_to_polygon`. rle: a mask of the whole picture. extras: what the model says under keys of its own; their
    numbers are never scaled, since nobody knows which are pixels.
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
    extras: Extras | None = None


# The fields of a Detection that may be missing, in its order.
OPTIONAL_FIELDS = tuple(f.name for f in fields(Detection) if f.default is not MISSING)


_NO_CONFIDENCES = Confidences(())


@dataclass(frozen=True, slots=True, eq=False)
class ObjectColumns:
    """The objects of one prediction by field: for what reads a few fields of many objects.

    Each sequence has the values of one field of Detection, object after object. optional: those of the fields in
    OPTIONAL_FIELDS that some object has, None where another has none. Nobody changes a sequence.
    """

    x: Sequence[float]
    y: Sequence[float]
    width: Sequence[float]
    height: Sequence[float]
    confidence: Sequence[float]
    class_name: Sequence[str]
    class_id: Sequence[int]
    optional: Mapping[str, Sequence[Any]]
    _confidences: dict[frozenset[str] | None, Confidences] = field(init=False, repr=False, default_factory=dict)
    # Once they were asked for.
    _rows: list[NDArray[np.float64]] = field(init=False, repr=False, default_factory=list)
    _class_hashes: list[NDArray[np.int64]] = field(init=False, repr=False, default_factory=list)

    @classmethod
    def of(cls, objects: Sequence[Detection]) -> ObjectColumns:
        """The columns of objects that exist already."""
        every = {f.name: [getattr(d, f.name) for d in objects] for f in fields(Detection)}
        optional = {name: every.pop(name) for name in OPTIONAL_FIELDS}
        return cls(**every, optional={n: values for n, values in optional.items() if values.count(None) < len(values)})

    def __len__(self) -> int:
        """How many objects there are."""
        return len(self.x)

    def objects(self) -> tuple[Detection, ...]:
        """Each object as a Detection."""
        more = (self.optional.get(name, repeat(None)) for name in OPTIONAL_FIELDS)
        boxes = (self.x, self.y, self.width, self.height)
        return tuple(map(Detection, *boxes, self.confidence, self.class_name, self.class_id, *more))

    def keep_rows(self, rows: NDArray[np.float64]) -> None:
        """Keep what `rows` is to give, where whoever made the columns has it."""
        self._rows.append(rows)

    @property
    def rows(self) -> NDArray[np.float64]:
        """x, y, width, height and confidence as rows of numbers: shape (5, n). The same array at every call."""
        if not self._rows:
            self._rows.append(np.array((self.x, self.y, self.width, self.height, self.confidence), np.float64))
        return self._rows[0]

    @property
    def class_hashes(self) -> NDArray[np.int64]:
        """The hash of each class name, to compare many at once: shape (n,). The same array at every call."""
        if not self._class_hashes:
            self._class_hashes.append(np.array([hash(name) for name in self.class_name], np.int64))
        return self._class_hashes[0]

    def confidences_of(self, class_names: frozenset[str] | None) -> Confidences:
        """The confidences of the objects of these classes, or (None) of all. The same object at every call."""
        if not self.confidence:
            return _NO_CONFIDENCES
        found = self._confidences.get(class_names)
        if found is None:
            of: Sequence[float] = self.confidence
            if class_names is not None:
                of = list(compress(of, map(class_names.__contains__, self.class_name)))
            found = self._confidences[class_names] = Confidences(of)
        return found


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
    dropped: how many malformed or surplus parts were left out when the prediction was read. embedding: of the picture,
    None where the model gives none; it takes no part in comparisons, and is never delivered. extras: what the model
    says of the picture under keys of its own. dropped_extras: how many extras, of it and of its objects, could not be
    kept; that says nothing against the rest.
    """

    width: int
    height: int
    model_id: str = ""
    inference_id: str | None = None
    time_s: float | None = None
    dropped: int = 0
    embedding: Embedding | None = field(default=None, compare=False, repr=False)
    extras: Extras | None = None
    dropped_extras: int = 0

    @property
    def left_out(self) -> int:
        """How many parts and extras were left out together."""
        return self.dropped + self.dropped_extras


class _WithColumns(BasePrediction):
    """columns: the objects by field. No field of the prediction: it takes no part in comparisons and copies."""

    __slots__ = ("columns",)
    columns: ObjectColumns


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections(_WithColumns):
    """Any number of detected objects.

    objects: made when they are first asked for, where they came as columns: what decides on a frame needs only those.
    `columns`, which is for this package alone, is made of the objects in the same way.
    """

    task: Task
    objects: tuple[Detection, ...]

    @classmethod
    def from_columns(cls, columns: ObjectColumns, *, task: Task, **origin: Any) -> Detections:
        """Makes Detections from their columns. origin: the fields of BasePrediction."""
        made = cls(task=task, objects=(), **origin)
        object.__delattr__(made, "objects")
        object.__setattr__(made, "columns", columns)
        return made

    if not TYPE_CHECKING:  # or every name would seem to be an attribute

        def __getattr__(self, name: str) -> object:
            """Called where a slot is empty."""
            if name == "objects":
                made = self.columns.objects()
            elif name == "columns":
                made = ObjectColumns.of(self.objects)
            else:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            object.__setattr__(self, name, made)
            return made


_ORIGIN = tuple(f.name for f in fields(BasePrediction))


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
PredictionT = TypeVar("PredictionT", bound=Prediction)


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

    Boxes are dropped and counted in `dropped` if they are not finite, empty after clipping, of a confidence that is
    none or of an unknown class. Of more than MAX_OBJECTS boxes the most confident are kept.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    confidences = np.asarray(confidences, np.float64).reshape(-1)
    class_ids = np.asarray(class_ids).reshape(-1)
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(confidences)
    boxes = np.where(finite[:, None], boxes, 0.0)
    x1, x2 = np.clip(boxes[:, 0], 0, width), np.clip(boxes[:, 2], 0, width)
    y1, y2 = np.clip(boxes[:, 1], 0, height), np.clip(boxes[:, 3], 0, height)
    known = (class_ids >= 0) & (class_ids < len(class_names))
    good = np.flatnonzero(finite & known & (confidences >= 0) & (confidences <= MAX_CONFIDENCE) & (x2 > x1) & (y2 > y1))
    order = good[np.argsort(-confidences[good], kind="stable")][:MAX_OBJECTS]
    ids = class_ids[order].astype(np.int64).tolist()
    outlines = {"points": points, "keypoints": keypoints}
    columns = ObjectColumns(
        x=((x1[order] + x2[order]) / 2).tolist(),
        y=((y1[order] + y2[order]) / 2).tolist(),
        width=(x2[order] - x1[order]).tolist(),
        height=(y2[order] - y1[order]).tolist(),
        confidence=np.minimum(confidences[order], 1.0).tolist(),
        class_name=[class_names[id] for id in ids],
        class_id=ids,
        optional={name: [of[i] for i in order] for name, of in outlines.items() if of is not None},
    )
    return Detections.from_columns(
        columns,
        task=task,
        width=width,
        height=height,
        model_id=model_id,
        time_s=time_s,
        dropped=len(boxes) - len(columns),
    )


def with_origin(prediction: PredictionT, **changes: Any) -> PredictionT:
    """The same prediction with other fields of BasePrediction. `replace` would make every object."""
    if not isinstance(prediction, Detections):
        return replace(prediction, **changes)
    return with_columns(prediction, prediction.columns, **changes)  # type: ignore[return-value]  # the same kind


def with_columns(prediction: Detections, columns: ObjectColumns, **changes: Any) -> Detections:
    """The same prediction with other objects, and with other fields of BasePrediction."""
    origin = {name: getattr(prediction, name) for name in _ORIGIN} | changes
    return Detections.from_columns(columns, task=prediction.task, **origin)


def scale_prediction(prediction: Prediction, width: int, height: int) -> Prediction:
    """The same prediction for the picture resized to `width` x `height` pixels. x and y have separate factors."""
    if (width, height) == (prediction.width, prediction.height):
        return prediction
    if not isinstance(prediction, Detections):
        return replace(prediction, width=width, height=height)
    sx, sy = width / prediction.width, height / prediction.height
    scale: dict[str, Callable[[Any], object]] = {
        "points": lambda points: tuple(Point(p.x * sx, p.y * sy) for p in points),
        "rle": lambda rle: masks.resize_rle(rle, height, width),
        "keypoints": lambda keypoints: tuple(replace(k, x=k.x * sx, y=k.y * sy) for k in keypoints),
    }
    columns = prediction.columns
    optional = {
        name: [None if v is None else scale[name](v) for v in values] if name in scale else values
        for name, values in columns.optional.items()
    }
    scaled = replace(
        columns,
        x=[x * sx for x in columns.x],
        y=[y * sy for y in columns.y],
        width=[of_object * sx for of_object in columns.width],
        height=[of_object * sy for of_object in columns.height],
        optional=optional,
    )
    return with_columns(prediction, scaled, width=width, height=height)


def count_classes(prediction: Prediction) -> Counter[str]:
    """Counts how often each class was predicted: objects of a detector, the label or labels of a classifier."""
    if isinstance(prediction, Detections):
        return Counter(prediction.columns.class_name)
    if isinstance(prediction, Classification):
        return Counter([prediction.top] if prediction.top else [])
    if isinstance(prediction, MultiLabel):
        return Counter(prediction.predicted)
    return Counter()

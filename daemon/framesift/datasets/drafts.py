"""Drafts of labels: what of a prediction goes into a dataset, and which facts of all of them a format needs first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import Enum

from framesift.datasets.splits import Split
from framesift.prediction.prediction import (
    Classification,
    Detection,
    Detections,
    MultiLabel,
    Point,
    Prediction,
    Task,
    scale_prediction,
)
from framesift.sinks.collected_folder import CollectedPicture


class DatasetFormat(str, Enum):
    """The formats of `framesift export`."""

    YOLO = "yolo"
    COCO = "coco"
    CVAT = "cvat"
    CLASSIFY = "classify"

    def __str__(self) -> str:
        return self.value


_HAS = "picture has", "pictures have"
_OBJECT_HAS = "object has", "objects have"
# A side that is shorter could become 0 in a file, since CVAT's coordinates have two decimals, and many trainers stop
# at a box without an area.
_SHORTEST_SIDE_PX = 0.02


class LeftOut(Enum):
    """Why a picture, or a part of a prediction, is not in the dataset. Values: what it is, of one and several; why."""

    NO_PREDICTION = _HAS, "no prediction (there was no model yet, or persist_predictions is false)"
    MISSING = ("picture is", "pictures are"), "listed, but the file is gone"
    NO_LINE = (
        ("line of metadata.jsonl is", "lines of metadata.jsonl are"),
        "left out: no picture of framesift, or one for the second time",
    )
    BACKGROUND = _HAS, "nothing at this confidence, which --no-background leaves out"
    LABELS_ONLY = _HAS, "a classifier's labels, not objects: --format classify or cvat takes labels"
    OBJECTS_ONLY = _HAS, "a detector's objects, not labels: --format yolo, coco or cvat takes objects"
    NO_LABEL = _HAS, "no label at this confidence, and no class's folder to be in: --format cvat takes such"
    SEVERAL_LABELS = _HAS, "several labels at this confidence: --format cvat takes several"
    NO_CONFIDENCE = (
        ("label has", "labels have"),
        "no confidence in the prediction: left out",
    )
    OUTSIDE = _OBJECT_HAS, "no area within the picture"
    KEYPOINTS_OUTSIDE = ("keypoint is", "keypoints are"), "left out: outside of the picture, or of an object that is"
    OUTLINES = ("object loses its", "objects lose their"), "outline: a YOLO dataset with keypoints has none"
    KEYPOINTS = ("keypoint is", "keypoints are"), "left out, since the model gives no number (class_id) from 0 to 999"
    KEYPOINT_NAMES = _OBJECT_HAS, "keypoints without names: CVAT's points have none"

    def told(self, number: int) -> str:
        """How often, and why, for people."""
        (one, several), why = self.value
        return f"{number} {one if number == 1 else several} {why}"


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """A picture for a dataset. draft: of its labels; coordinates in pixels, all boxes within the picture."""

    picture: CollectedPicture
    split: Split
    draft: Prediction


@dataclass(slots=True)
class DatasetFacts:
    """What a format needs to know of all pictures before the first one is written.

    pictures: how many there are. class_names: in the order of their indices. has_outlines: whether the model gives
    outlines or masks. keypoint_names: by class, then by number. left_out: how often.
    """

    pictures: int = 0
    class_names: tuple[str, ...] = ()
    has_outlines: bool = False
    keypoint_names: dict[str, dict[int, str]] = field(default_factory=dict)
    left_out: Counter[LeftOut] = field(default_factory=Counter)

    @property
    def keypoints(self) -> int:
        """How many keypoints an object has."""
        return 1 + max((number for names in self.keypoint_names.values() for number in names), default=-1)

    def keypoints_of(self, class_name: str) -> list[str]:
        """The names of a class's keypoints in their order; none if it has no keypoints."""
        names = self.keypoint_names.get(class_name)
        return [names.get(n, f"keypoint {n}") for n in range(self.keypoints)] if names else []


def draft_labels(prediction: Prediction, one: CollectedPicture, confidence: float) -> Prediction:
    """What of a prediction is at least so sure, and lies in the picture: no format has a place outside of it."""
    if isinstance(prediction, Classification):
        return prediction if prediction.confidence >= confidence else replace(prediction, top="")
    if isinstance(prediction, MultiLabel):
        sure = {score.class_name for score in prediction.scores if score.confidence >= confidence}
        return replace(prediction, predicted=tuple(name for name in prediction.predicted if name in sure))
    if one.width and one.height:
        prediction = scale_prediction(prediction, one.width, one.height)
    assert isinstance(prediction, Detections)
    sure_objects = (d for d in prediction.objects if d.confidence >= confidence)
    boxes = (_within(d, prediction.width, prediction.height) for d in sure_objects)
    return replace(prediction, objects=tuple(d for d in boxes if d is not None))


def _within(d: Detection, width: int, height: int) -> Detection | None:
    """The part of the object that lies in the picture; None if that has no area."""
    x1, x2 = (min(max(d.x + side * d.width / 2, 0.0), float(width)) for side in (-1, 1))
    y1, y2 = (min(max(d.y + side * d.height / 2, 0.0), float(height)) for side in (-1, 1))
    if min(x2 - x1, y2 - y1) < _SHORTEST_SIDE_PX:
        return None
    outline = [Point(min(max(p.x, 0.0), float(width)), min(max(p.y, 0.0), float(height))) for p in d.points or ()]
    sides = [[p.x for p in outline], [p.y for p in outline]]
    has_area = outline and min(max(of) - min(of) for of in sides) >= _SHORTEST_SIDE_PX
    keypoints = (k for k in d.keypoints or () if 0.0 <= k.x <= width and 0.0 <= k.y <= height)
    return replace(
        d,
        x=(x1 + x2) / 2,
        y=(y1 + y2) / 2,
        width=x2 - x1,
        height=y2 - y1,
        points=tuple(outline) if has_area else None,
        keypoints=tuple(keypoints) or None,
    )


def refusal(draft: Prediction, format: DatasetFormat, *, background: bool) -> LeftOut | None:
    """Why a picture with this draft can't be in a dataset of this format; None if it can."""
    if isinstance(draft, Detections):
        if format is DatasetFormat.CLASSIFY:
            return LeftOut.OBJECTS_ONLY
        return None if draft.objects or background else LeftOut.BACKGROUND
    labels = labels_of(draft)
    if format in (DatasetFormat.YOLO, DatasetFormat.COCO):
        return LeftOut.LABELS_ONLY
    if format is DatasetFormat.CLASSIFY and len(labels) != 1:
        return LeftOut.SEVERAL_LABELS if labels else LeftOut.NO_LABEL
    return None if labels or background else LeftOut.BACKGROUND


def labels_of(draft: Prediction) -> tuple[str, ...]:
    """The labels of a classifier's draft; none for objects."""
    if isinstance(draft, Classification):
        return (draft.top,) if draft.top else ()
    return draft.predicted if isinstance(draft, MultiLabel) else ()


def note_facts(facts: DatasetFacts, draft: Prediction, found: Prediction, format: DatasetFormat) -> set[str]:
    """Adds what a format must know of a draft, and counts what it can't express. Returns the draft's classes.

    found: the whole prediction: which kind of labels a dataset has must not depend on the confidence.
    """
    if not isinstance(draft, Detections) or not isinstance(found, Detections):
        return set(labels_of(draft))
    facts.has_outlines |= found.task is Task.INSTANCE_SEGMENTATION
    for d in found.objects:
        facts.has_outlines |= bool(d.points or d.rle)
        numbered = {k.class_id: k.class_name for k in d.keypoints or () if k.class_id >= 0}
        if numbered:
            facts.keypoint_names.setdefault(d.class_name, {}).update(numbered)
    for d in draft.objects:
        if format is DatasetFormat.CVAT:
            facts.left_out[LeftOut.KEYPOINT_NAMES] += bool(d.keypoints)
        else:
            facts.left_out[LeftOut.KEYPOINTS] += sum(k.class_id < 0 for k in d.keypoints or ())
        if format is DatasetFormat.YOLO and (d.points or d.rle):
            facts.left_out[LeftOut.OUTLINES] += 1  # taken back where there are no keypoints
    return {d.class_name for d in draft.objects}

"""temporal_inconsistency: frames of a video that contradict those beside them, with a score of how often.

What a camera shows changes slowly. So an object that is missed in one frame of three, or found in one alone, and a
label that changes and changes back, are likely mistakes of the model, and frames where it errs are the ones to label.
The estimated number of false positives and false negatives as the criterion is from Bengar et al., Temporal Coherence
for Active Learning in Videos, 2019, arXiv:1908.11757. They track objects through a whole video and minimize an energy;
here three frames must do, since a camera's video has no end.

Objects, of three frames a, b and c: the score is the number of events in b, the middle one, which is the frame that is
wanted. An object of a and one of c are the same if they are of one class, each overlaps the other most, and their
IoU (intersection over union) is at least match_iou. Between them lies the mean of their boxes.
    hole    in b, no object has an IoU of match_iou with that mean: likely missed
    switch  in b, objects have it, but only of other classes: likely mistaken
    blip    an object of b that no object of its class in a or in c overlaps so much, nor the mean of any two of them,
            that is no switch, and that is farther than `border` (of the picture's sides) from the picture's edge,
            where objects come and go: likely a false alarm
Only objects of at least minimum_confidence count. One object of b may lie where two cross: that is no hole.

Labels: of the last `window` frames, the number of changes to a label that was seen before in the window (A B A has one,
A B none), divided by `window`. The newest frame is wanted. Of a prediction with several labels, all together are one.

Frames that score alike differ by 0.001 times their uncertainty (strategies/uncertainty.py, with its defaults). After
a new connection, another size of the picture, and more than 1 s between two frames, it begins anew.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from framesift.config.schema import Fraction
from framesift.decisions.measurement import ValueGauge
from framesift.frame import Frame
from framesift.prediction.prediction import (
    DETECTION_TASKS,
    Classification,
    Detections,
    MultiLabel,
    Prediction,
    Task,
)
from framesift.strategies.accepted_classes import AcceptedClasses
from framesift.strategies.seen_objects import (
    BoxSet,
    Continuity,
    SeenObjects,
    is_near_edge,
    linked,
    overlaps,
    same_class,
)
from framesift.strategies.strategy import CommonStrategyOptions, Match, ModelFacts, Strategy, task_problems
from framesift.strategies.uncertainty import Uncertainty, UncertaintyOptions

_TIE = 0.001
# A blip is compared with the means of these so many nearest objects before it, and all after it.
_NEAREST = 4


class TemporalInconsistencyOptions(CommonStrategyOptions):
    """Collects frames of a video that contradict the frames beside them, with a score."""

    type: Literal["temporal_inconsistency"]
    window: Annotated[int, Field(ge=3, le=1000, description="Labels: how many of the last frames count.")] = 8
    minimum_confidence: Annotated[Fraction, Field(description="Objects: only those of at least this count.")] = 0.3
    match_iou: Annotated[
        float, Field(gt=0, le=1, description="Objects: the least overlap (IoU) of one and the same in two frames.")
    ] = 0.3
    border: Annotated[
        float, Field(ge=0, le=0.5, description="Objects: the share of the picture's sides within which one may appear.")
    ] = 0.05
    minimum_events: Annotated[
        int, Field(ge=1, le=1000, description="Only frames with at least so many contradictions.")
    ] = 1

    @property
    def needs_video(self) -> bool:
        """It compares consecutive frames."""
        return True

    def frames_back(self, task: Task) -> int:
        """With objects, the frame before the newest one is wanted."""
        return 1 if task in DETECTION_TASKS else 0

    def create(self, rng: random.Random, accepted: AcceptedClasses) -> Strategy:
        """Creates the strategy for one stream."""
        uncertainty = Uncertainty(UncertaintyOptions(name=self.name, type="uncertainty"), rng, accepted)
        return TemporalInconsistency(self, uncertainty)

    def problems(self, model: ModelFacts) -> Iterator[str]:
        """Yields why the strategy can never match with this model."""
        yield from task_problems(model, DETECTION_TASKS | {Task.CLASSIFICATION})
        if model.task is Task.CLASSIFICATION and self.minimum_events > self.window - 2:
            yield f"can never match: minimum_events is {self.minimum_events}, and a window of {self.window} labels " + (
                f"has {self.window - 2} at most"
            )


class TemporalInconsistency:
    """Matches where there are enough events; it never draws."""

    def __init__(self, options: TemporalInconsistencyOptions, uncertainty: Uncertainty) -> None:
        """uncertainty: tells the uncertainty of a prediction."""
        self._options = options
        self._uncertainty = uncertainty
        self._continuity = Continuity()
        self._objects: deque[tuple[SeenObjects, Prediction]] = deque(maxlen=3)
        self._labels: deque[str | frozenset[str]] = deque(maxlen=options.window)
        self.gauge = ValueGauge("contradictions", ">=", options.minimum_events)

    def evaluate(self, frame: Frame, prediction: Prediction, /) -> Match | None:
        """Matches the frame before, by the objects of three frames, or this one, by its label."""
        self.gauge.value = None
        if not self._continuity.continues(frame, prediction):
            self._objects.clear()
            self._labels.clear()
        if isinstance(prediction, Detections) and prediction.task in DETECTION_TASKS:
            self._objects.append((SeenObjects.of(prediction, self._options.minimum_confidence), prediction))
            if len(self._objects) < 3:
                return None
            (before, _), (middle, scored), (after, _) = self._objects
            events = self._events(before, middle, after)
            return self._match(events, events, scored, frames_back=1)
        self._objects.clear()
        if isinstance(prediction, Classification | MultiLabel):
            self._labels.append(
                prediction.top if isinstance(prediction, Classification) else frozenset(prediction.predicted)
            )
            events = label_returns(self._labels)
            return self._match(events, events / self._options.window, prediction, frames_back=0)
        return None

    def _match(self, events: int, score: float, prediction: Prediction, *, frames_back: int) -> Match | None:
        self.gauge.value = events
        if events < self._options.minimum_events:
            return None
        return Match(self._options.name, score + _TIE * (self._uncertainty.score(prediction) or 0.0), frames_back)

    def _events(self, before: SeenObjects, middle: SeenObjects, after: SeenObjects) -> int:
        least = self._options.match_iou
        from_, to = linked(before, after, least)
        between = BoxSet.of((before.box_set.corners.take(from_, axis=1) + after.box_set.corners.take(to, axis=1)) / 2)
        near: NDArray[np.bool_] = np.asarray(between.overlaps(middle.box_set) >= least)
        same: NDArray[np.bool_] = np.asarray(near & same_class(before.classes[from_], middle.classes))
        is_there: NDArray[np.bool_] = np.asarray(np.logical_or.reduce(same, axis=1))
        holes = len(is_there) - int(np.count_nonzero(is_there))
        alone: NDArray[np.bool_] = np.asarray(~np.logical_or.reduce(same, axis=0))
        if not np.count_nonzero(alone):  # mostly all objects are where they were: nothing more has to be compared
            return holes
        if holes:  # one that has switched its class is counted already
            alone &= ~near[near.any(axis=1) & ~is_there].any(axis=0)
        blips = middle.select(alone.nonzero()[0])
        for other in (before, after):  # mostly all are in the one or the other
            blips = blips.select((~blips.has_match(other, least)).nonzero()[0])
            if not len(blips):
                return holes
        inside = (~is_near_edge(blips, self._options.border)).nonzero()[0].tolist()
        return holes + sum(not self._has_passed(blips, index, before, after) for index in inside)

    def _has_passed(self, middle: SeenObjects, index: int, before: SeenObjects, after: SeenObjects) -> bool:
        """Whether an object moved so fast that it overlaps itself in neither frame, but was there in both."""
        box, of = middle.boxes[index], middle.classes[index]
        starts, ends = before.boxes[before.classes == of], after.boxes[after.classes == of]
        if not len(starts) or not len(ends):
            return False
        distance: NDArray[np.float64] = np.abs(starts - box).sum(axis=1)
        nearest = starts[np.argsort(distance, kind="stable")[:_NEAREST]]
        means = ((nearest[:, np.newaxis] + ends[np.newaxis]) / 2).reshape(-1, 4)
        return bool((overlaps(means, box[np.newaxis]) >= self._options.match_iou).any())


def label_returns(labels: Iterable[str | frozenset[str]]) -> int:
    """How many of the labels, in order, differ from the one before and were seen earlier."""
    seen: set[str | frozenset[str]] = set()
    before: str | frozenset[str] | None = None
    returns = 0
    for label in labels:
        returns += label != before and label in seen
        seen.add(label)
        before = label
    return returns

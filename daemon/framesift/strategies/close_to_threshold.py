"""close_to_threshold: frames with confidences near a threshold.

A confidence c is near when |c - threshold| < epsilon, strictly. If enough of them are, one draw follows.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from framesift.config.schema import Fraction
from framesift.decisions.measurement import Draw, ValueGauge
from framesift.frame import Frame
from framesift.prediction.confidences import Confidences
from framesift.prediction.prediction import (
    DETECTION_TASKS,
    Classification,
    Detections,
    MultiLabel,
    Prediction,
    Stub,
    Task,
)
from framesift.strategies.accepted_classes import AcceptedClasses
from framesift.strategies.strategy import (
    ClassNames,
    CommonStrategyOptions,
    Match,
    ModelFacts,
    Strategy,
    is_selected,
    selection,
    task_problems,
    unknown_class_problems,
    zero_share_problem,
)

TASKS = DETECTION_TASKS | {Task.CLASSIFICATION}
_NEAREST = "distance from the threshold"


class CloseToThresholdOptions(CommonStrategyOptions):
    """Collects frames whose confidences lie near a threshold."""

    type: Literal["close_to_threshold"]
    threshold: Annotated[Fraction, Field(description="The confidence around which frames are collected.")]
    epsilon: Annotated[Fraction, Field(description="How far from it a confidence may lie; less than this, not equal.")]
    probability: Annotated[Fraction, Field(description="The share of matching frames that is collected.")]
    selected_class_names: Annotated[
        ClassNames, Field(description="Only these classes count; null: all, an empty list: none.")
    ] = None
    minimum_objects_close_to_threshold: Annotated[
        int, Field(ge=0, description="Detections: how many objects must be near; 0: every frame matches.")
    ] = 1
    only_top_classes: Annotated[
        bool, Field(description="Classification: only the top class counts, or the predicted classes; false: all.")
    ] = True

    def create(self, rng: random.Random, accepted: AcceptedClasses) -> Strategy:  # noqa: ARG002 - the signature of all
        """Creates the strategy for one stream."""
        return CloseToThreshold(self, rng)

    def problems(self, model: ModelFacts) -> Iterator[str]:
        """Yields why the strategy can never match with this model."""
        yield from task_problems(model, TASKS)
        yield from zero_share_problem("probability", self.probability)
        yield from unknown_class_problems(model, self.selected_class_names)
        if self.minimum_objects_close_to_threshold > 0 or model.task is Task.CLASSIFICATION:
            if self.epsilon == 0:
                yield "can never match: epsilon is 0, and no confidence is less than 0 away from the threshold"
            if self.selected_class_names == ():
                yield "can never match: selected_class_names is an empty list, which allows no class (null allows all)"


class CloseToThreshold:
    """Matches where enough objects, or the label, have a confidence near the threshold; then one draw."""

    def __init__(self, options: CloseToThresholdOptions, rng: random.Random) -> None:
        self._options = options
        self._selected = selection(options.selected_class_names)
        self._match = Match(options.name)
        self._draw = Draw(options.probability, rng)
        self._of_many = f"distance of {options.minimum_objects_close_to_threshold} objects from the threshold"
        self.gauge = ValueGauge(_NEAREST, "<", options.epsilon, self._draw)

    def evaluate(self, _frame: Frame, prediction: Prediction, /) -> Match | None:
        """Draws once where enough confidences are near."""
        if not self._holds(prediction):
            self._draw.skip()
            return None
        return self._match if self._draw.wins() else None

    def _holds(self, prediction: Prediction) -> bool:
        options, gauge = self._options, self.gauge
        gauge.value = None
        needed = 1  # confidences that have to be near
        if isinstance(prediction, Detections):
            if prediction.task not in DETECTION_TASKS:
                return False
            needed = options.minimum_objects_close_to_threshold
            confidences = prediction.columns.confidences_of(self._selected)
        elif isinstance(prediction, Stub):
            return False
        else:
            selected, only_top = options.selected_class_names, options.only_top_classes
            confidences = Confidences(considered_confidences(prediction, selected, only_top_classes=only_top))
        distance = confidences.distance_of_nearest(options.threshold, needed)  # of the farthest of these
        if distance < math.inf:
            gauge.value, gauge.what = distance, _NEAREST if needed == 1 else self._of_many
        return distance < options.epsilon or needed == 0


def any_class_near(
    prediction: Classification | MultiLabel,
    *,
    threshold: float,
    epsilon: float,
    selected_class_names: ClassNames,
    only_top_classes: bool,
) -> bool:
    """Whether a selected class has a confidence near the threshold.

    only_top_classes: consider only the top class, or the predicted ones of several labels; otherwise all scores.
    """
    confidences = considered_confidences(prediction, selected_class_names, only_top_classes=only_top_classes)
    return any(abs(confidence - threshold) < epsilon for confidence in confidences)


def considered_confidences(
    prediction: Classification | MultiLabel, selected_class_names: ClassNames, *, only_top_classes: bool
) -> list[float]:
    """The confidences of the selected classes. only_top_classes: see `any_class_near`."""
    if isinstance(prediction, Classification) and only_top_classes:
        return [prediction.confidence] if is_selected(prediction.top, selected_class_names) else []
    scores = prediction.scores
    if isinstance(prediction, MultiLabel) and only_top_classes:
        scores = tuple(score for score in scores if score.class_name in prediction.predicted)
    return [s.confidence for s in scores if is_selected(s.class_name, selected_class_names)]

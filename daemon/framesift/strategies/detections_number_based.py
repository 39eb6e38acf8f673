"""detections_number_based: frames with more, or fewer, objects than a number; both bounds are exclusive."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from framesift.config.schema import Fraction
from framesift.decisions.measurement import Draw, ValueGauge
from framesift.frame import Frame
from framesift.prediction.prediction import DETECTION_TASKS, Detections, Prediction
from framesift.strategies.accepted_classes import AcceptedClasses
from framesift.strategies.strategy import (
    ClassNames,
    CommonStrategyOptions,
    Match,
    ModelFacts,
    Strategy,
    selection,
    task_problems,
    unknown_class_problems,
    zero_share_problem,
)

# The platform's own rule: only confidences less than 1 away from 0.5 count. Every one from 0 to 1 does.
THRESHOLD, EPSILON = 0.5, 1.0


class DetectionsNumberBasedOptions(CommonStrategyOptions):
    """Collects frames by their number of objects."""

    type: Literal["detections_number_based"]
    probability: Annotated[Fraction, Field(description="The share of matching frames that is collected.")]
    selected_class_names: Annotated[
        ClassNames, Field(description="Only these classes count; null: all, an empty list: none.")
    ] = None
    more_than: Annotated[int, Field(ge=0)] | None = Field(None, description="More objects than this, exclusive.")
    less_than: Annotated[int, Field(ge=0)] | None = Field(None, description="Fewer objects than this, exclusive.")

    @model_validator(mode="after")
    def _ordered(self) -> DetectionsNumberBasedOptions:
        if self.more_than is not None and self.less_than is not None and self.more_than >= self.less_than:
            raise ValueError(f"more_than ({self.more_than}) must be less than less_than ({self.less_than})")
        return self

    def create(self, rng: random.Random, accepted: AcceptedClasses) -> Strategy:  # noqa: ARG002 - the signature of all
        """Creates the strategy for one stream."""
        return DetectionsNumberBased(self, rng)

    def problems(self, model: ModelFacts) -> Iterator[str]:
        """Yields why the strategy can never match with this model."""
        yield from task_problems(model, DETECTION_TASKS)
        yield from zero_share_problem("probability", self.probability)
        yield from unknown_class_problems(model, self.selected_class_names)
        least = 0 if self.more_than is None else self.more_than + 1
        if self.less_than is not None and least >= self.less_than:
            bounds = f"more than {self.more_than} and " if self.more_than is not None else ""
            yield f"can never match: no number of objects is {bounds}less than {self.less_than}, the bounds excluded"
        elif self.selected_class_names == () and least > 0:
            yield "can never match: selected_class_names is an empty list, which counts no object (null counts all)"


class DetectionsNumberBased:
    """Matches where the number of selected objects lies between the bounds; then one draw."""

    def __init__(self, options: DetectionsNumberBasedOptions, rng: random.Random) -> None:
        self._options = options
        self._selected = selection(options.selected_class_names)
        self._match = Match(options.name)
        self._draw = Draw(options.probability, rng)
        self.gauge = ValueGauge("number of objects", ">", 0, self._draw)

    def evaluate(self, _frame: Frame, prediction: Prediction, /) -> Match | None:
        """Draws once where the number lies between the bounds."""
        self.gauge.value = None
        self._draw.skip()
        if not isinstance(prediction, Detections) or prediction.task not in DETECTION_TASKS:
            return None
        count = prediction.columns.confidences_of(self._selected).count_near(THRESHOLD, EPSILON)
        self._show(count)
        if self._options.less_than is not None and count >= self._options.less_than:
            return None
        if self._options.more_than is not None and count <= self._options.more_than:
            return None
        return self._match if self._draw.wins() else None

    def _show(self, count: int) -> None:
        """Beside the bound that the number does not meet, or else the lower one."""
        gauge, more_than, less_than = self.gauge, self._options.more_than, self._options.less_than
        if less_than is not None and (more_than is None or count >= less_than):
            gauge.value, gauge.relation, gauge.bound = count, "<", less_than
        elif more_than is not None:
            gauge.value, gauge.relation, gauge.bound = count, ">", more_than

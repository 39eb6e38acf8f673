"""classes_based: frames that a classifier put in one of the selected classes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from framesift.config.schema import Fraction, Text
from framesift.decisions.measurement import Draw
from framesift.frame import Frame
from framesift.prediction.prediction import Classification, MultiLabel, Prediction, Task
from framesift.strategies.accepted_classes import AcceptedClasses
from framesift.strategies.close_to_threshold import any_class_near
from framesift.strategies.strategy import (
    CommonStrategyOptions,
    Match,
    ModelFacts,
    Strategy,
    task_problems,
    unknown_class_problems,
    zero_share_problem,
)

# The platform's own rule: less than 1 away from 0.5. Every confidence from 0 to 1 is.
THRESHOLD, EPSILON = 0.5, 1.0


class ClassesBasedOptions(CommonStrategyOptions):
    """Collects what a classifier put in one of the selected classes."""

    type: Literal["classes_based"]
    selected_class_names: Annotated[tuple[Text, ...], Field(description="The classes that are collected.")]
    probability: Annotated[Fraction, Field(description="The share of matching frames that is collected.")]

    def create(self, rng: random.Random, accepted: AcceptedClasses) -> Strategy:  # noqa: ARG002 - the signature of all
        """Creates the strategy for one stream."""
        return ClassesBased(self, rng)

    def problems(self, model: ModelFacts) -> Iterator[str]:
        """Yields why the strategy can never match with this model."""
        yield from task_problems(model, frozenset({Task.CLASSIFICATION}))
        yield from zero_share_problem("probability", self.probability)
        yield from unknown_class_problems(model, self.selected_class_names)
        if not self.selected_class_names:
            yield "can never match: selected_class_names is an empty list"


class ClassesBased:
    """Matches where the top class, or any predicted class of several labels, is selected; then one draw."""

    def __init__(self, options: ClassesBasedOptions, rng: random.Random) -> None:
        self._options = options
        self._match = Match(options.name)
        self.gauge = Draw(options.probability, rng)

    def evaluate(self, _frame: Frame, prediction: Prediction, /) -> Match | None:
        """Draws once where a selected class was predicted."""
        self.gauge.skip()
        if not isinstance(prediction, Classification | MultiLabel):
            return None
        selected = self._options.selected_class_names
        if not any_class_near(
            prediction, threshold=THRESHOLD, epsilon=EPSILON, selected_class_names=selected, only_top_classes=True
        ):
            return None
        return self._match if self.gauge.wins() else None

"""random: a share of all frames, whatever was predicted. The only strategy for the stub model.

With `zones`, it is a share of the frames that have an object in them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from framesift.config.schema import Fraction
from framesift.decisions.measurement import Draw
from framesift.frame import Frame
from framesift.prediction.prediction import Detections, Prediction
from framesift.strategies.accepted_classes import AcceptedClasses
from framesift.strategies.strategy import CommonStrategyOptions, Match, ModelFacts, Strategy, zero_share_problem


class RandomOptions(CommonStrategyOptions):
    """Collects a share of all frames."""

    type: Literal["random"]
    traffic_percentage: Annotated[Fraction, Field(description="The share of frames, 0 to 1 (1 is every frame).")]

    def create(self, rng: random.Random, accepted: AcceptedClasses) -> Strategy:  # noqa: ARG002 - the signature of all
        """Creates the strategy for one stream."""
        return Random(self, rng)

    def problems(self, model: ModelFacts) -> Iterator[str]:  # noqa: ARG002 - the signature of all
        """Yields why the strategy can never match with this model."""
        yield from zero_share_problem("traffic_percentage", self.traffic_percentage)


class Random:
    """Matches where a draw falls below the share; exactly one draw for every frame, also where its zones are empty."""

    def __init__(self, options: RandomOptions, rng: random.Random) -> None:
        self._match = Match(options.name)
        self._needs_object = options.zones is not None
        self.gauge = Draw(options.traffic_percentage, rng)

    def evaluate(self, _frame: Frame, prediction: Prediction, /) -> Match | None:
        """Draws once."""
        if not self.gauge.wins():
            return None
        is_empty = self._needs_object and isinstance(prediction, Detections) and not prediction.columns.x
        return None if is_empty else self._match

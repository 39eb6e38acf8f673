"""random: a share of all frames, whatever was predicted; the only strategy that suits the stub."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from framesift.config.schema import Fraction
from framesift.frame import Frame
from framesift.prediction.prediction import Prediction
from framesift.strategies.accepted_classes import AcceptedClasses
from framesift.strategies.strategy import Match, ModelFacts, SamplingOptions, Strategy, never_drawn


class RandomOptions(SamplingOptions):
    type: Literal["random"]
    traffic_percentage: Annotated[Fraction, Field(description="The share of frames, 0 to 1 (1 is every frame).")]

    def begin(self, chance: random.Random, accepted: AcceptedClasses) -> Strategy:  # noqa: ARG002 - the signature of all
        return Random(self, chance)

    def problems(self, model: ModelFacts) -> Iterator[str]:  # noqa: ARG002 - the signature of all
        yield from never_drawn("traffic_percentage", self.traffic_percentage)


class Random:
    """Exactly one draw for every frame."""

    def __init__(self, options: RandomOptions, chance: random.Random) -> None:
        self._match = Match(options.name)
        self._share = options.traffic_percentage
        self._chance = chance

    def consider(self, _frame: Frame, _prediction: Prediction, /) -> Match | None:
        return self._match if self._chance.random() < self._share else None

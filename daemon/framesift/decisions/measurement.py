"""Measurement: the number by which a strategy decided on a frame, and the bound that it had to meet."""

from __future__ import annotations

import random
from typing import Literal, NamedTuple

NEARLY = 0.1  # a measurement that misses its bound by at most this part of it was nearly enough

Relation = Literal["<", ">", ">="]


class Measurement(NamedTuple):
    """What a strategy measured of one frame.

    what: in a few words. value, relation, bound: the strategy wants the frame if this holds. draw: what was drawn where
    it holds, uniform in [0, 1); None where nothing was drawn. probability: below which the draw must lie.
    """

    what: str
    value: float
    relation: Relation
    bound: float
    draw: float | None = None
    probability: float = 1.0

    @property
    def is_met(self) -> bool:
        """Whether the value meets the bound, whatever was drawn."""
        if self.relation == "<":
            return self.value < self.bound
        return self.value > self.bound if self.relation == ">" else self.value >= self.bound

    @property
    def nearness(self) -> float:
        """How near the strategy was to wanting the frame.

        Negative: by which part of the bound, or, where that was met, of the probability, it was missed. 0 or more: it
        wants the frame, and the value is on the right side of the bound by so large a part of it.
        """
        _, value, relation, bound, draw, probability = self
        beyond = bound - value if relation == "<" else value - bound
        if draw is not None and draw >= probability and self.is_met:
            return (probability - draw) / (probability or 1.0)
        return beyond / (abs(bound) or 1.0)


class Draw:
    """The draws of one strategy on one stream. latest: the last one, None after a frame without one."""

    def __init__(self, probability: float, rng: random.Random) -> None:
        self.probability = probability
        self.latest: float | None = None
        self._rng = rng

    def wins(self) -> bool:
        """Draws once, and returns whether the strategy takes the frame."""
        self.latest = self._rng.random()
        return self.latest < self.probability

    def skip(self) -> None:
        """Nothing is drawn for this frame."""
        self.latest = None

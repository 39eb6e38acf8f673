"""Measurement: the number by which a strategy decided on a frame, and the bound that it had to meet.

A strategy has a gauge, which shows what it measured of the latest frame. Most frames are far from being taken: of them
only the nearness is asked, and no measurement is made.
"""

from __future__ import annotations

import math
import random
from typing import Literal, NamedTuple, Protocol

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


class Gauge(Protocol):
    """Shows what a strategy measured of the latest frame, until it evaluates the next one. For one thread at a time."""

    def nearness(self) -> float:
        """How near the strategy was to wanting the frame; -inf if it measured nothing.

        Negative: by which part of the bound, or, where that was met, of the probability, it was missed. 0 or more: it
        wants the frame, and the value is on the right side of the bound by so large a part of it.
        """

    def measurement(self) -> Measurement | None:
        """What was measured; None if that was nothing."""


class Draw:
    """The draws of one strategy on one stream, and the gauge of a strategy that measures nothing else.

    latest: the last one, None after a frame without one.
    """

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

    def nearness(self) -> float:
        """See Gauge."""
        return -math.inf if self.latest is None else (self.probability - self.latest) / (self.probability or 1.0)

    def measurement(self) -> Measurement | None:
        """See Gauge: there is nothing but the draw."""
        return None if self.latest is None else Measurement("draw", self.latest, "<", self.probability)


class ValueGauge:
    """The gauge of a strategy that compares a value with a bound. value: of the latest frame, None for none.

    Where a value can be compared with one of several bounds, all but the value and the draw may change with it.
    """

    def __init__(self, what: str, relation: Relation, bound: float, draw: Draw | None = None) -> None:
        """draw: where a met bound is not enough."""
        self.what = what
        self.relation = relation
        self.bound = bound
        self.value: float | None = None
        self._draw = draw

    def nearness(self) -> float:
        """See Gauge."""
        value, bound, draw = self.value, self.bound, self._draw
        if value is None:
            return -math.inf
        if draw is not None and draw.latest is not None and draw.latest >= draw.probability:  # drawn where it was met
            return draw.nearness()
        return (bound - value if self.relation == "<" else value - bound) / (abs(bound) or 1.0)

    def measurement(self) -> Measurement | None:
        """See Gauge."""
        if self.value is None:
            return None
        if self._draw is None:
            return Measurement(self.what, self.value, self.relation, self.bound)
        draw = self._draw
        return Measurement(self.what, self.value, self.relation, self.bound, draw.latest, draw.probability)

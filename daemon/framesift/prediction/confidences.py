"""Confidences: those of some objects of a prediction, and what several strategies ask of them."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence


class Confidences:
    """The confidences of some objects of a prediction: `values`, in the order of the objects.

    What several strategies ask is worked out once.
    """

    __slots__ = ("_ascending", "_near", "_uncertainties", "values")

    def __init__(self, values: Sequence[float]) -> None:
        self.values = values
        self._ascending: list[float] | None = None
        self._near: dict[tuple[float, float], int] = {}  # by threshold and epsilon: how many are near
        self._uncertainties: list[float] | None = None

    def count_near(self, threshold: float, epsilon: float) -> int:
        """How many confidences c there are with |c - threshold| < epsilon.

        They are sorted once; then a count is two searches. It is exact: with c, the rounded c - threshold grows or
        stays.
        """
        if not self.values:
            return 0
        found = self._near.get((threshold, epsilon))
        if found is None:
            found = self._near[threshold, epsilon] = self._count_near(threshold, epsilon)
        return found

    def _count_near(self, threshold: float, epsilon: float) -> int:
        ascending = self._sorted()

        def distance(confidence: float) -> float:
            return confidence - threshold

        below_upper = bisect_left(ascending, epsilon, key=distance)
        up_to_lower = bisect_right(ascending, -epsilon, key=distance)
        return max(0, below_upper - up_to_lower)  # with epsilon 0, the second one has those that are equal

    def distance_of_nearest(self, threshold: float, count: int = 1) -> float:
        """The largest |c - threshold| of the `count` nearest confidences; infinite where there are fewer."""
        ascending = self._sorted()
        if not 0 < count <= len(ascending):
            return math.inf
        if count > 1:
            return sorted(abs(c - threshold) for c in ascending)[count - 1]
        above = bisect_left(ascending, threshold)
        if above == 0:
            return ascending[0] - threshold
        below_by = threshold - ascending[above - 1]
        return below_by if above == len(ascending) else min(below_by, ascending[above] - threshold)

    def _sorted(self) -> list[float]:
        """In ascending order, without those that are not numbers."""
        if self._ascending is None:
            is_ordered = not math.isnan(sum(self.values))
            self._ascending = sorted(self.values if is_ordered else [c for c in self.values if not math.isnan(c)])
        return self._ascending

    def uncertainties(self) -> list[float]:
        """How unsure the model was of each: 1 - |2 c - 1|, 0 to 1; 0 for a c over 1, which no probability has."""
        if self._uncertainties is None:
            self._uncertainties = [u if (u := 1.0 - abs(2.0 * c - 1.0)) > 0.0 else 0.0 for c in self.values]
        return self._uncertainties

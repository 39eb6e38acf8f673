"""95 % intervals for what the baseline's pictures say of all frames.

A baseline picture is one of the n frames of its stratum, drawn uniformly, and has the weight n. So a sum over all
frames is estimated by the weighted sum over the pictures, without bias. Everything here is a ratio of two such sums: a
share of frames (the sum below is then known), a mean for each frame, precision, recall.

*The variance.* One picture for each stratum can't show how much the frames of a stratum differ. Neighbouring strata
can: half the squared difference of the residuals of two pictures that follow each other (the collapsed strata of
Cochran, Sampling Techniques, 5A.12, in the form of Wolter, Introduction to Variance Estimation, 2.5 and 8.2: with the
ratio's residual numerator - ratio x denominator, and the weights known). Where a scene stands still for longer than a
stratum this is up to three times too much, since two pictures of neighbouring strata lie further apart than two frames
of one stratum do. The same over two strata shows by how much: where half the squared difference grows as a + b d with
the distance d, frames of one stratum are 1/3 stratum apart, pictures of the next one 1, of the next but one 2; so what
is wanted is D1 - 2/3 (D2 - D1), between D1 / 3 and D1.

*The interval.* Wilson's for a share, and the same for a mean (where the variance grows with the mean), for as many
independent pictures as would give this variance, with Student's t. Where all pictures agree, the variance is 0 and says
nothing: then as many as there are, by their weights (Kish). `benchmarks/estimate.py` shows that 93 to 97 of 100 such
intervals hold the truth, and from how many pictures on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

CONFIDENCE_LEVEL = 0.95
# Below these the intervals are wrong too often: see benchmarks/estimate.py.
FEWEST_PICTURES = 30  # for shares of frames and means
FEWEST_WITH_OBJECTS = 10  # pictures in which the model, or a label, has an object: for precision and recall

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A ratio and its 95 % interval.

    value: None where the sum below the line is 0: no picture says anything of it. low, high: None where there are too
    few pictures for an interval. pictures: in how many of them the value below the line is not 0.
    """

    value: float | None
    low: float | None
    high: float | None
    pictures: int


def estimate_ratio(
    numerators: Values, denominators: Values, weights: Values, *, is_share: bool, fewest: int, answered: float = 1.0
) -> Estimate:
    """Estimates sum(numerators) / sum(denominators) over all frames from those of the pictures.

    All arrays: shape (pictures,), in the order in which the pictures were captured. weights: at least 1. is_share:
    whether the ratio is at most 1. fewest: pictures with a denominator, below which there is no interval. answered:
    which share of all pictures of the sample these are (0 to 1), where some have no label; a random part is assumed.
    """
    total = float(np.dot(weights, denominators))
    counted = denominators > 0.0
    pictures = int(counted.sum())
    if total <= 0.0:
        return Estimate(None, None, None, pictures)
    value = float(np.dot(weights, numerators)) / total
    if pictures < max(fewest, 3):
        return Estimate(value, None, None, pictures)
    residuals = numerators - value * denominators
    variance = answered * _within_strata(residuals, weights)
    if answered < 1.0:  # whole strata are missing, so that differences between strata count too
        variance += (1.0 - answered) * _between_all(residuals, weights)
    by_weight = weights[counted]
    size = float(by_weight.sum() ** 2 / np.dot(by_weight, by_weight))
    t = _student_t(max((size - 1.0) / 1.5, 2.0))  # successive differences overlap: Wolter 8.2
    return Estimate(value, *_score_interval(value, variance / total**2, size, t, is_share), pictures)


def _within_strata(residuals: Values, weights: Values) -> float:
    """The variance of the weighted sum of the residuals, where each is one of `weight` frames of its stratum."""
    of_next, of_next_but_one = (_from_neighbours(residuals, weights, lag) for lag in (1, 2))
    extrapolated = of_next - 2.0 / 3.0 * (of_next_but_one - of_next)
    return min(max(extrapolated, of_next / 3.0), of_next)


def _from_neighbours(residuals: Values, weights: Values, lag: int) -> float:
    """The same from the differences of pictures that are `lag` strata apart, as if they were of one stratum."""
    half_squares = (residuals[lag:] - residuals[:-lag]) ** 2 / 2.0
    sums, counts = np.zeros(len(residuals)), np.zeros(len(residuals))
    for side in (slice(lag, None), slice(None, -lag)):
        sums[side] += half_squares
        counts[side] += 1.0
    return float(np.dot(weights * (weights - 1.0), sums / np.maximum(counts, 1.0)))


def _between_all(residuals: Values, weights: Values) -> float:
    """The same for pictures of frames from anywhere, without strata."""
    count = len(residuals)
    return float(np.dot(weights**2, residuals**2)) * count / (count - 1)


def _score_interval(value: float, variance: float, size: float, t: float, is_share: bool) -> tuple[float, float]:
    """Wilson's interval for a share, or the same for a mean. size: how many pictures where the variance is 0."""
    of_one = value * (1.0 - value) if is_share else value  # the variance of one picture is this, or in proportion
    at_the_edge = value <= 0.0 or of_one <= 0.0
    independent = size if at_the_edge or variance <= 0.0 else of_one / variance
    shrunk = t * t / independent
    half = t * math.sqrt(of_one / independent + shrunk / (4.0 * independent)) if not at_the_edge else shrunk / 2.0
    middle, divisor = value + shrunk / 2.0, 1.0 + shrunk if is_share else 1.0
    low = 0.0 if value <= 0.0 else (middle - half) / divisor
    high = 1.0 if is_share and value >= 1.0 else (middle + half) / divisor
    return low, high


def _student_t(degrees: float) -> float:
    """The quantile of Student's t for the interval (Abramowitz and Stegun 26.7.5; for 2 or more degrees)."""
    z = NormalDist().inv_cdf((1.0 + CONFIDENCE_LEVEL) / 2.0)
    terms = (
        (z**3 + z) / 4.0,
        (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0,
        (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / 384.0,
    )
    return z + sum(term / degrees**power for power, term in enumerate(terms, 1))

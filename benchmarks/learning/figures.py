"""What is read off the curves: labels needed, gains, and how sure both are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from learning.policies import RANDOM, REFERENCE
from learning.protocol import Curve

Unit = Literal["frames", "boxes"]
Numbers = NDArray[np.float64]
# By strategy, then by seed.
Curves = Mapping[str, Mapping[int, Curve]]

_RESAMPLINGS = 2000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure over all seeds, and its 95 % interval: from resampling the seeds, with replacement."""

    value: float
    low: float
    high: float


def labels_needed(labels: Sequence[float] | Numbers, scores: Sequence[float] | Numbers, score: float) -> float:
    """How many labels a curve has where it first reaches the score, between two nights in a straight line.

    labels, scores: night by night. Infinite where it never does.
    """
    if scores[0] >= score:
        return float(labels[0])
    for night in range(1, len(scores)):
        if scores[night] >= score:
            part = (score - scores[night - 1]) / (scores[night] - scores[night - 1])
            return float(labels[night - 1] + part * (labels[night] - labels[night - 1]))
    return np.inf


def needed_share(curves: Curves, strategy: str, unit: Unit) -> Estimate:
    """The labels that a strategy needs to reach what random reaches at last, as a part of random's labels.

    Both curves are means over the seeds. Infinite where the strategy doesn't reach it.
    """
    seeds = common_seeds(curves, strategy, RANDOM)
    random, of = _resampled(curves[RANDOM], seeds), _resampled(curves[strategy], seeds)
    column = 0 if unit == "frames" else 1
    return _estimate(
        [
            labels_needed(one[:, column], one[:, 2], base[-1, 2]) / base[-1, column]
            for one, base in zip(of, random, strict=True)
        ]
    )


def gain(curves: Curves, strategy: str, over: str) -> Estimate:
    """By how much the last score of a strategy is above another's: the mean of the seeds' differences."""
    seeds = common_seeds(curves, strategy, over)
    of, base = _resampled(curves[strategy], seeds), _resampled(curves[over], seeds)
    return _estimate(list(of[:, -1, 2] - base[:, -1, 2]))


def best_reference(curves: Curves) -> str:
    """Roboflow's strategy with the hourly limit that is best after the last day."""
    return max((name for name in REFERENCE if name in curves), key=lambda name: gain(curves, name, RANDOM).value)


def common_seeds(curves: Curves, *strategies: str) -> list[int]:
    """The seeds with which all of these were run."""
    return sorted(set.intersection(*(set(curves[strategy]) for strategy in strategies)))


def mean_nights(curves: Curves, strategy: str) -> Numbers:
    """The mean over the seeds, of shape (nights, 3): frames, boxes, score."""
    return np.asarray(_nights(curves[strategy], sorted(curves[strategy])).mean(axis=0))


def _nights(of_seeds: Mapping[int, Curve], seeds: Sequence[int]) -> Numbers:
    return np.array([[(n.frames, n.boxes, n.score) for n in of_seeds[seed]] for seed in seeds], np.float64)


def _resampled(of_seeds: Mapping[int, Curve], seeds: Sequence[int]) -> Numbers:
    """The mean curve of all seeds, then those of the resamplings: shape (resamplings + 1, nights, 3).

    The same seeds are drawn for each strategy.
    """
    nights = _nights(of_seeds, seeds)
    drawn = np.random.default_rng(0).integers(len(seeds), size=(_RESAMPLINGS, len(seeds)))
    return np.concatenate([nights.mean(axis=0, keepdims=True), nights[drawn].mean(axis=1)])


def _estimate(found: Sequence[float]) -> Estimate:
    """found: the value, then those of the resamplings, of which some may be infinite."""
    ordered = np.sort(found[1:])
    last = len(ordered) - 1
    return Estimate(found[0], float(ordered[int(np.floor(0.025 * last))]), float(ordered[int(np.ceil(0.975 * last))]))

"""The trend of a measure over hours, robust against steps and outliers: Theil-Sen, with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DRAWS = 400
_MOST_PAIRS = 40_000
_BLOCKS = 12  # of each life: what lies side by side in time is alike, so it is drawn together

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Trend:
    """An amount an hour, with the interval in which it is with 95 %. points: how many were measured."""

    an_hour: float
    low: float
    high: float
    points: int


def trend(lives: Sequence[Sequence[tuple[float, float]]], seed: int = 1) -> Trend | None:
    """The common slope of several lives, each a list of (hours, value). None where no life has ten points.

    Within each life the slopes of all pairs count, or of many drawn pairs; the median of all is the trend. The interval
    is that of the medians where blocks of the residuals are drawn again.
    """
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(life, np.float64) for life in lives if len(life) >= 10]
    if not arrays:
        return None
    slope = _median_slope(arrays, rng)
    medians = np.array([_median_slope([_redrawn(life, slope, rng) for life in arrays], rng) for _ in range(_DRAWS)])
    low, high = np.quantile(medians, (0.025, 0.975))
    return Trend(slope, float(low), float(high), sum(map(len, arrays)))


def _median_slope(lives: Sequence[Numbers], rng: np.random.Generator) -> float:
    slopes = []
    for life in lives:
        pairs = rng.integers(0, len(life), (min(_MOST_PAIRS // len(lives), len(life) ** 2), 2))
        first, second = life[pairs[:, 0]], life[pairs[:, 1]]
        apart = second[:, 0] != first[:, 0]
        slopes.append((second[apart, 1] - first[apart, 1]) / (second[apart, 0] - first[apart, 0]))
    return float(np.median(np.concatenate(slopes)))


def _redrawn(life: Numbers, slope: float, rng: np.random.Generator) -> Numbers:
    """The life with the same trend, and blocks of its residuals in another order, some twice and some not at all."""
    residuals = life[:, 1] - slope * life[:, 0]
    length = max(2, len(life) // _BLOCKS)
    starts = rng.integers(0, len(life) - length + 1, -(-len(life) // length))
    drawn = np.concatenate([residuals[start : start + length] for start in starts])[: len(life)]
    return np.column_stack([life[:, 0], drawn + slope * life[:, 0]])

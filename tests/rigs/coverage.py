"""Whether intervals hold the truth: what the baseline of a simulated day says beside what is so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from framesift.estimation.intervals import FEWEST_PICTURES, FEWEST_WITH_OBJECTS, Estimate, estimate_ratio
from rigs.simulated_days import SimulatedDay


@dataclass
class Coverage:
    """The intervals of one measure over many days. too_few: days without one."""

    measure: str
    too_few: int = 0
    _days: list[tuple[bool, bool, float]] = field(default_factory=list)

    def add(self, truth: float, estimate: Estimate) -> None:
        if estimate.low is None or estimate.high is None:
            self.too_few += 1
        else:
            self._days.append((estimate.high < truth, estimate.low > truth, estimate.high - estimate.low))

    @property
    def below(self) -> float:
        """In how many of 100 days the whole interval lies below the truth."""
        return 100.0 * float(np.mean([below for below, _, _ in self._days]))

    @property
    def above(self) -> float:
        return 100.0 * float(np.mean([above for _, above, _ in self._days]))

    @property
    def held(self) -> float:
        return 100.0 - self.below - self.above

    @property
    def mean_width(self) -> float:
        return float(np.mean([width for _, _, width in self._days]))


def estimate_day(
    rng: np.random.Generator, day: SimulatedDay, strata: int, labelled: float = 1.0
) -> Iterator[tuple[str, float, Estimate]]:
    """Each measure of a day, its truth over all frames, and the estimate from the baseline's pictures.

    labelled: the share of pictures that have a label. Left out are measures whose truth is a share of exactly 0 or 1
    on that day: every interval holds those.
    """
    picked, weights = day.draw(rng, strata)
    has_label = rng.random(len(picked)) < labelled
    everywhere = np.ones(len(day.at_s), np.int64)
    measures = {
        "frames": (day.predicted > 0, everywhere, True),
        "objects": (day.predicted, everywhere, False),
        "precision": (day.found, day.predicted, True),
        "recall": (day.found, day.actual, True),
    }
    for measure, (numerators, denominators, is_share) in measures.items():
        needs_labels = denominators is not everywhere
        if not denominators.any():
            continue
        truth = numerators.sum() / denominators.sum()
        if truth == 0.0 or (is_share and truth == 1.0):
            continue
        used = has_label if needs_labels else np.ones(len(picked), bool)
        estimate = estimate_ratio(
            numerators[picked][used].astype(np.float64),
            denominators[picked][used].astype(np.float64),
            weights[used],
            is_share=is_share,
            fewest=FEWEST_WITH_OBJECTS if needs_labels else FEWEST_PICTURES,
            answered=float(used.mean()),
        )
        yield measure, truth, estimate

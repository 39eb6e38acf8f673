"""Intervals hold the truth as often as they say, on simulated days; benchmarks/estimate.py has the long form."""

from __future__ import annotations

import numpy as np
import pytest

from framesift.estimation.intervals import FEWEST_PICTURES, Estimate, Values, estimate_ratio
from rigs.coverage import Coverage, estimate_day
from rigs.simulated_days import DayKind, simulate_day

DAYS = 60


def estimate(values: list[float] | Values, *, weight: float = 100.0, answered: float = 1.0) -> Estimate:
    """A share from so many pictures of the same weight."""
    numerators = np.array(values, np.float64)
    weights = np.full(len(numerators), weight)
    ones = np.ones(len(numerators))
    return estimate_ratio(numerators, ones, weights, is_share=True, fewest=FEWEST_PICTURES, answered=answered)


def width(found: Estimate) -> float:
    assert found.low is not None
    assert found.high is not None
    return found.high - found.low


@pytest.mark.parametrize("kind", DayKind)
def test_the_intervals_hold_the_truth_of_the_day(kind: DayKind) -> None:
    of_all: dict[str, Coverage] = {}
    of_half: dict[str, Coverage] = {}
    for number in range(DAYS):
        rng = np.random.default_rng([7, number])
        day = simulate_day(rng, kind, least=0.3)
        for measures, labelled in ((of_all, 1.0), (of_half, 0.5)):
            for measure, truth, found in estimate_day(rng, day, 96, labelled):
                measures.setdefault(measure, Coverage(measure)).add(truth, found)
    for measures in (of_all, of_half):
        assert set(measures) == {"frames", "objects", "precision", "recall"}
        assert {name: c.held for name, c in measures.items() if c.held < 86.5} == {}  # 95 less three standard errors
        assert sum(c.held for c in measures.values()) / 4 < 99.5  # nor so wide that they say nothing


def test_the_interval_of_a_share_of_none_is_wilsons_with_students_t() -> None:
    found = estimate([0.0] * 31)
    t = 2.086  # Student's t for (31 - 1) / 1.5 = 20 degrees, from a table
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(t**2 / (31 + t**2), rel=2e-3)
    of_all = estimate([1.0] * 31)
    assert (of_all.value, of_all.high) == (1.0, 1.0)
    assert of_all.low == pytest.approx(1.0 - t**2 / (31 + t**2), rel=2e-3)


def test_a_mean_of_none_has_an_upper_end_too() -> None:
    zeros, ones = np.zeros(31), np.ones(31)
    found = estimate_ratio(zeros, ones, ones * 50.0, is_share=False, fewest=FEWEST_PICTURES)
    assert found.low == 0.0
    assert found.high == pytest.approx(2.086**2 / 31, rel=2e-3)


def test_a_picture_of_more_frames_counts_for_more() -> None:
    values, weights = np.array([1.0] * 20 + [0.0] * 20), np.array([30.0] * 20 + [10.0] * 20)
    found = estimate_ratio(values, np.ones(40), weights, is_share=True, fewest=FEWEST_PICTURES)
    assert found.value == 0.75


def test_scenes_that_stand_still_make_a_narrower_interval() -> None:
    still = [float(number // 8 % 2) for number in range(96)]
    restless = [float(number % 2) for number in range(96)]
    pairs = [float(number // 2 % 2) for number in range(96)]
    assert estimate(still).value == estimate(restless).value == 0.5
    # Neighbours differ in 11 of 95 places, over two strata in 22 of 94: a third of the first is what is left.
    assert width(estimate(still)) < width(estimate(restless)) * np.sqrt(11 / 95 / 3 * 1.2)
    assert width(estimate(pairs)) < width(estimate(restless))


def test_pictures_without_a_label_make_it_wider_again() -> None:
    still = [float(number // 8 % 2) for number in range(96)]
    assert width(estimate(still, answered=0.5)) > 2.0 * width(estimate(still))


def test_of_strata_of_two_frames_half_is_known() -> None:
    restless = [float(number % 2) for number in range(96)]
    assert width(estimate(restless, weight=2.0)) == pytest.approx(width(estimate(restless)) * np.sqrt(0.5), rel=0.04)


def test_too_few_pictures_give_a_value_without_an_interval() -> None:
    found = estimate([1.0, 0.0] * (FEWEST_PICTURES // 2 - 1))
    assert found == Estimate(0.5, None, None, FEWEST_PICTURES - 2)


def test_without_anything_below_the_line_there_is_no_value() -> None:
    nothing = np.zeros(40)
    assert estimate_ratio(nothing, nothing, np.ones(40), is_share=True, fewest=10) == Estimate(None, None, None, 0)

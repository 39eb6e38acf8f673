"""AdaptiveThreshold: as many frames are accepted as the budget allows, and they are the best."""

from __future__ import annotations

import random
from datetime import timezone

import pytest

from clocks import NOON_S
from framesift.limits import Limit, Window
from framesift.sampling.adaptive_threshold import LEAST_SCORES, AdaptiveThreshold, turns_of

HOUR = Window.HOURLY


def run(limit: int, scores: list[float], every_s: float = 1.0, used: int = 0) -> list[int]:
    """The numbers of the frames that are accepted, of an hour that begins at noon."""
    threshold = AdaptiveThreshold(Limit(HOUR, limit), timezone.utc)
    threshold.set_used(used, NOON_S)
    taken = []
    for number, score in enumerate(scores):
        if threshold.accepts(score, NOON_S + number * every_s):
            threshold.record_used(NOON_S + number * every_s)
            taken.append(number)
    return taken


def test_nothing_is_accepted_before_fifty_scores_were_seen() -> None:
    assert run(1000, [0.5] * LEAST_SCORES) == []
    assert run(1000, [0.5] * (LEAST_SCORES + 1)) == [LEAST_SCORES]


def test_the_budget_is_spent_over_the_whole_hour_on_the_best_frames() -> None:
    rng = random.Random(7)
    scores = [rng.random() for _ in range(3600)]
    taken = run(60, scores)
    assert 45 <= len(taken) <= 75
    assert sum(number < 1800 for number in taken) == pytest.approx(len(taken) / 2, abs=9)
    best = sorted(range(3600), key=lambda number: -scores[number])[:120]
    assert len(set(taken) & set(best)) >= 0.8 * len(taken)


def test_what_others_have_used_is_not_there_to_be_spent() -> None:
    rng = random.Random(7)
    scores = [rng.random() for _ in range(3600)]
    assert len(run(60, scores, used=40)) < 0.6 * len(run(60, scores))
    assert run(60, scores, used=60) == []


def test_where_the_budget_is_larger_than_what_comes_everything_is_accepted() -> None:
    assert len(run(10_000, [0.5] * 300)) == 300 - LEAST_SCORES


def test_a_new_window_has_its_whole_budget_and_knows_the_scores() -> None:
    threshold = AdaptiveThreshold(Limit(HOUR, 10), timezone.utc)
    for number in range(100):
        threshold.accepts(number / 100, NOON_S + number)
    threshold.set_used(10, NOON_S + 100)
    assert not threshold.accepts(1.0, NOON_S + 101)
    assert threshold.accepts(1.0, NOON_S + 3600)


def test_it_may_run_ahead_of_an_even_use_by_two_or_by_a_24th() -> None:
    few, many = turns_of(Limit(Window.DAILY, 10)), turns_of(Limit(Window.DAILY, 240))
    assert [few.is_due(used, 0.0, 86400.0) for used in (0, 2, 3)] == [True, True, False]
    assert [many.is_due(used, 43200.0, 86400.0) for used in (130, 131)] == [True, False]

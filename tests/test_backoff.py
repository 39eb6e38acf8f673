"""Backoff: growing pauses with jitter and a cap, which start again after a success."""

from __future__ import annotations

import random

import pytest

from framesift.backoff import Backoff, BackoffSchedule


def test_pauses_double_up_to_the_cap_without_jitter() -> None:
    schedule = BackoffSchedule(first_s=0.5, max_s=5.0)
    assert [schedule.pause_s(failures) for failures in range(1, 7)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert schedule.pause_s(100_000) == 5.0


@pytest.mark.parametrize(
    ("schedule", "failures", "shortest_s", "longest_s"),
    [
        (BackoffSchedule(first_s=2.0, max_s=300.0), 4, 8.0, 16.0),
        (BackoffSchedule(first_s=2.0, max_s=300.0, min_fraction=0.0), 4, 0.0, 16.0),
        (BackoffSchedule(first_s=2.0, max_s=300.0, min_fraction=0.0, min_s=1.0), 4, 1.0, 16.0),
        (BackoffSchedule(first_s=0.5, max_s=300.0, min_s=3.0), 1, 0.5, 0.5),
        (BackoffSchedule(first_s=2.0, max_s=300.0, min_fraction=1.0), 4, 16.0, 16.0),
    ],
)
def test_jitter_stays_within_its_bounds_and_uses_all_of_them(
    schedule: BackoffSchedule, failures: int, shortest_s: float, longest_s: float
) -> None:
    rng = random.Random(7)
    pauses = [schedule.pause_s(failures, rng) for _ in range(500)]
    assert shortest_s <= min(pauses) <= shortest_s + 0.05 * (longest_s - shortest_s)
    assert longest_s - 0.05 * (longest_s - shortest_s) <= max(pauses) <= longest_s


def test_the_cap_is_higher_after_failing_for_long_and_a_success_starts_again() -> None:
    backoff = Backoff(BackoffSchedule(first_s=0.5, max_s=5.0, later_after_s=600.0, later_max_s=30.0), None)
    now_s, pauses = 100.0, []
    while now_s < 900.0:
        pauses.append(backoff.fail(now_s))
        now_s += pauses[-1]
    assert pauses[:6] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert pauses[-1] == 30.0
    backoff.reset()
    assert (backoff.failures, backoff.remaining_s(now_s)) == (0, 0.0)
    assert backoff.fail(now_s) == 0.5
    assert backoff.failures == 1


def test_the_other_side_may_ask_for_a_longer_pause_but_not_for_a_shorter_one() -> None:
    backoff = Backoff(BackoffSchedule(first_s=10.0, max_s=60.0), None)
    assert backoff.fail(0.0, at_least_s=3.0) == 10.0
    assert backoff.fail(10.0, at_least_s=100.0) == 100.0
    assert (backoff.retry_at_s, backoff.remaining_s(30.0), backoff.remaining_s(110.0)) == (110.0, 80.0, 0.0)


def test_a_backoff_that_never_failed_allows_a_try_at_once() -> None:
    assert Backoff(BackoffSchedule(first_s=1.0, max_s=2.0), random.Random(1)).remaining_s(0.0) == 0.0

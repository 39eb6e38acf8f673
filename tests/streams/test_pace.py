"""The pauses before a lost source is tried again."""

from __future__ import annotations

import random

from framesift.backoff import Backoff
from framesift.streams.stream import RETRY_SCHEDULE


def waits(backoff: Backoff, count: int, now_s: float = 0.0) -> list[float]:
    found = []
    for _ in range(count):
        found.append(backoff.fail(now_s))
        now_s += found[-1]
    return found


def test_waits_double_up_to_five_seconds() -> None:
    for seed in range(50):
        found = waits(Backoff(RETRY_SCHEDULE, random.Random(seed)), 8)
        for wait_s, most_s in zip(found, [0.5, 1, 2, 4, 5, 5, 5, 5], strict=True):
            assert most_s / 2 <= wait_s <= most_s


def test_after_ten_minutes_waits_grow_to_half_of_the_time_in_which_a_camera_must_be_back() -> None:
    backoff = Backoff(RETRY_SCHEDULE, random.Random(1))
    before: list[float] = []
    after: list[float] = []
    now_s = 100.0
    for _ in range(400):
        wait_s = backoff.fail(now_s)
        (before if now_s < 700.0 else after).append(wait_s)
        now_s += wait_s
    assert max(before) <= 5.0
    assert 12.0 < max(after) <= 15.0


def test_cameras_that_return_together_do_not_retry_together() -> None:
    firsts = {round(Backoff(RETRY_SCHEDULE, random.Random(seed)).fail(0.0), 3) for seed in range(40)}
    assert len(firsts) > 20


def test_a_reset_begins_anew() -> None:
    backoff = Backoff(RETRY_SCHEDULE, random.Random(1))
    waits(backoff, 300)
    backoff.reset()
    assert backoff.fail(9999.0) <= 0.5
    assert max(waits(backoff, 50, 9999.0)) <= 5.0

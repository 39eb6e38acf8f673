"""The pauses before a lost source is tried again, and how long a picture has been unchanged."""

from __future__ import annotations

import random

import numpy as np

from framesift.backoff import Backoff
from framesift.streams.freeze_detector import FreezeDetector
from framesift.streams.stream import RETRY_SCHEDULE

PICTURE = np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8)


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


def test_the_same_picture_is_unchanged_since_it_was_repeated_first() -> None:
    detector = FreezeDetector()
    assert [detector.unchanged_s(PICTURE.copy(), now_s) for now_s in (0.0, 1.0, 5.0, 61.0)] == [0.0, 0.0, 4.0, 60.0]


def test_one_value_that_differs_is_movement_wherever_it_is() -> None:
    for row, column in ((0, 0), (7, 9), (119, 159)):
        detector = FreezeDetector()
        detector.unchanged_s(PICTURE, 0.0)
        detector.unchanged_s(PICTURE, 1.0)
        other = PICTURE.copy()
        other[row, column, 2] ^= 1
        assert detector.unchanged_s(other, 50.0) == 0.0


def test_a_picture_that_returns_is_not_counted_through_the_time_between() -> None:
    detector = FreezeDetector()
    other = PICTURE.copy()
    other[3, 3] ^= 255  # outside of the sample
    for now_s, shown in ((0.0, PICTURE), (1.0, PICTURE), (30.0, other), (31.0, PICTURE), (32.0, PICTURE)):
        last_s = detector.unchanged_s(shown, now_s)
    assert last_s == 1.0


def test_another_size_is_movement() -> None:
    detector = FreezeDetector()
    detector.unchanged_s(PICTURE, 0.0)
    detector.unchanged_s(PICTURE, 1.0)
    assert detector.unchanged_s(np.zeros((90, 160, 3), np.uint8), 99.0) == 0.0


def test_memory_that_is_reused_does_not_count_as_the_same_picture() -> None:
    detector = FreezeDetector()
    shared = PICTURE.copy()
    detector.unchanged_s(shared, 0.0)
    detector.unchanged_s(shared, 1.0)
    shared[:] = 255 - shared
    assert detector.unchanged_s(shared, 2.0) == 0.0

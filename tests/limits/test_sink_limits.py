"""The sink's limits count arrivals: a delivery that is on its way over the end of a window counts in both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clocks import NOON_S, ManualClock
from framesift.limits import Limit, Window
from framesift.spool import Spool
from rigs.spools import make_spool, put

TWO_A_MINUTE = (Limit(Window.MINUTELY, 2),)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON_S)


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock) -> Iterator[Spool]:
    spool = make_spool(tmp_path, clock)
    spool.open()
    for _ in range(10):
        put(spool, clock)
    yield spool
    spool.close()


def _claim(spool: Spool) -> list[str]:
    return [item.id for item in spool.claim(10, TWO_A_MINUTE).items]


def test_a_send_that_is_still_running_counts_in_the_next_window(spool: Spool, clock: ManualClock) -> None:
    clock.advance(59.0)
    first = _claim(spool)
    assert len(first) == 2
    clock.advance(2.0)
    assert _claim(spool) == []
    spool.complete(first[0])
    assert _claim(spool) == []  # it may have arrived in this minute
    spool.complete(first[1])
    clock.advance(60.0)
    assert len(_claim(spool)) == 2


def test_a_send_that_ended_before_the_window_does_not_count_in_the_next_one(spool: Spool, clock: ManualClock) -> None:
    clock.advance(59.0)
    for id in _claim(spool):
        spool.complete(id)
    clock.advance(2.0)
    assert len(_claim(spool)) == 2


def test_a_cancelled_send_does_not_count(spool: Spool, clock: ManualClock) -> None:
    clock.advance(59.0)
    first = _claim(spool)
    clock.advance(2.0)
    spool.release(first)
    assert len(_claim(spool)) == 2


def test_a_sink_that_is_away_uses_none_of_its_limits(spool: Spool) -> None:
    for _ in range(5):
        for id in _claim(spool):
            spool.retry_later(id, None, "the disk is full", costs_attempt=False, arrived=False)
    assert len(_claim(spool)) == 2

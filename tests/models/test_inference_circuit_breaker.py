"""The circuit breaker of the inference server: when nobody asks, and who asks first."""

from __future__ import annotations

import random

import pytest

from clocks import ManualClock
from framesift.models.inference_circuit_breaker import BreakerOpen, InferenceCircuitBreaker, RequestPermit

PATIENCE_S = 5.0


class Bench:
    """A breaker, and a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.breaker = InferenceCircuitBreaker(PATIENCE_S, now_s=self.clock.monotonic, rng=random.Random(7))

    def turn(self) -> RequestPermit:
        turn = self.breaker.acquire()
        assert isinstance(turn, RequestPermit)
        return turn

    def open_breaker(self) -> BreakerOpen:
        turn = self.breaker.acquire()
        assert isinstance(turn, BreakerOpen)
        return turn

    def fail(self, come_again_s: float | None = None, why: str = "gone") -> float:
        return self.breaker.record_failure(self.turn(), why, come_again_s)

    def shuts_at_last(self) -> float:
        """Fails until the breaker opens. Returns for how long."""
        while True:
            wait_s = self.fail()
            if isinstance(self.breaker.acquire(), BreakerOpen):
                return wait_s


def test_the_third_failure_in_a_row_shuts_it() -> None:
    bench = Bench()
    assert [bench.fail(), bench.fail()] == [0.5, 0.5]
    bench.turn()
    wait_s = bench.fail(why="no route")
    assert 0.25 <= wait_s <= 0.5
    refusal = bench.open_breaker()
    assert refusal.why == "no route"
    assert refusal.wait_s == pytest.approx(wait_s)


def test_an_answer_in_between_begins_the_count_anew() -> None:
    bench = Bench()
    for _ in range(5):
        bench.fail()
        bench.fail()
        bench.turn()
        bench.breaker.record_success()
    bench.turn()


def test_at_the_date_one_asks_and_the_others_wait_for_what_it_hears() -> None:
    bench = Bench()
    wait_s = bench.shuts_at_last()
    bench.clock.advance(wait_s - 0.001)
    bench.open_breaker()
    bench.clock.advance(0.001)
    bench.turn()
    assert bench.open_breaker().wait_s == pytest.approx(PATIENCE_S)
    bench.breaker.record_success()
    assert [type(bench.breaker.acquire()) for _ in range(3)] == [RequestPermit] * 3


def test_a_permit_that_is_never_returned_blocks_only_for_the_probe_timeout() -> None:
    bench = Bench()
    bench.clock.advance(bench.shuts_at_last())
    lost = bench.turn()
    bench.clock.advance(PATIENCE_S)
    second = bench.turn()
    bench.open_breaker()
    wait_s = bench.breaker.record_failure(second, "still gone", None)
    assert bench.breaker.record_failure(lost, "late", None) == pytest.approx(wait_s)
    assert bench.open_breaker().why == "still gone"


def test_the_dates_grow_apart_up_to_10_s_with_jitter_and_begin_anew_after_an_answer() -> None:
    bench = Bench()
    waits_s = [bench.shuts_at_last()]
    for _ in range(8):
        bench.clock.advance(waits_s[-1])
        waits_s.append(bench.fail())
    for wait_s, full_s in zip(waits_s, (0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0, 10.0), strict=True):
        assert full_s / 2 <= wait_s <= full_s
    assert len({wait_s / waits_s[-1] for wait_s in waits_s[-3:]}) == 3
    bench.clock.advance(waits_s[-1])
    bench.turn()
    bench.breaker.record_success()
    assert bench.shuts_at_last() <= 0.5


def test_those_that_were_under_way_when_it_shut_shut_it_only_once() -> None:
    bench = Bench()
    turns = [bench.turn() for _ in range(8)]
    waits_s = [bench.breaker.record_failure(turn, "gone", None) for turn in turns]
    assert waits_s[:2] == [0.5, 0.5]
    assert len(set(waits_s[2:])) == 1
    bench.clock.advance(waits_s[-1])
    assert 0.5 <= bench.fail() <= 1.0  # the second time, not the seventh


def test_an_answer_to_one_that_was_under_way_when_it_shut_opens_it() -> None:
    bench = Bench()
    bench.shuts_at_last()
    bench.breaker.record_success()
    bench.turn()


@pytest.mark.parametrize(("said_s", "waited_s"), [(7.0, 7.0), (3600.0, 60.0)])
def test_a_retry_after_is_respected_up_to_a_minute(said_s: float, waited_s: float) -> None:
    bench = Bench()
    assert bench.fail(said_s, "busy") == waited_s
    assert bench.open_breaker() == BreakerOpen("busy", waited_s)
    bench.clock.advance(waited_s)
    assert bench.fail() >= 0.5  # the first failure after that opens it again
    bench.open_breaker()


def test_a_retry_after_of_zero_does_not_shorten_the_pause() -> None:
    bench = Bench()
    bench.clock.advance(bench.shuts_at_last())
    for _ in range(6):
        wait_s = bench.fail(0.0)
        bench.clock.advance(wait_s)
    assert wait_s >= 5.0

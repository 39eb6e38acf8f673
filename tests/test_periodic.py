"""Rounds: when a thread that looks now and then looks, by a clock that moves on as soon as it waits."""

from __future__ import annotations

import threading
from collections.abc import Callable

from clocks import ManualClock
from framesift.periodic import NextRun, PeriodicTask


class Watch:
    """Rounds that rest as they are told, and end after the last rest. looked_s: when they looked, since the start."""

    def __init__(self, *rests: NextRun, during: Callable[[int], None] = lambda _: None) -> None:
        clock = ManualClock(waiters=1)
        begun_s = clock.monotonic()
        self.looked_s: list[float] = []
        self.bugs: list[BaseException] = []
        self._over = threading.Event()

        def look() -> NextRun:
            self.looked_s.append(clock.monotonic() - begun_s)
            number = len(self.looked_s)
            during(number)
            if number <= len(rests):
                return rests[number - 1]
            self._over.set()
            return NextRun(1e9)

        def failed(error: BaseException) -> None:
            self.bugs.append(error)
            self._over.set()

        self.rounds = PeriodicTask("watch", look, clock, on_failure=failed)

    def run(self) -> list[float]:
        self.rounds.start()
        assert self._over.wait(30.0)
        assert self.rounds.wait_for_first_run(0.0) or self.bugs
        assert self.rounds.stop(30.0)
        return self.looked_s


def test_it_looks_at_once_and_again_when_each_rest_is_over() -> None:
    watch = Watch(NextRun(15.0), NextRun(0.0), NextRun(3000.0))
    assert not watch.rounds.wait_for_first_run(0.0)
    assert watch.run() == [0.0, 15.0, 15.0, 3015.0]
    assert watch.bugs == []


def test_woken_it_looks_at_once_and_then_as_before() -> None:
    watch = Watch(NextRun(15.0), NextRun(15.0), during=lambda look: watch.rounds.wake() if look == 1 else None)
    assert watch.run() == [0.0, 0.0, 15.0]


def test_woken_it_looks_when_the_least_rest_is_over_and_unwoken_when_the_whole_is() -> None:
    rest = NextRun(50.0, min_s=30.0)
    watch = Watch(rest, rest, during=lambda look: watch.rounds.wake() if look == 1 else None)
    assert watch.run() == [0.0, 30.0, 80.0]


def test_it_can_be_stopped_before_it_began_and_within_a_look() -> None:
    watch = Watch(during=lambda _: watch.rounds.wake())
    assert watch.rounds.idle_s() == 0.0
    assert watch.rounds.stop(0.0)
    assert watch.rounds.is_stopping
    looking, going_on = threading.Event(), threading.Event()

    def slow() -> NextRun:
        looking.set()
        assert going_on.wait(30.0)
        return NextRun(1e9, min_s=1e9)

    rounds = PeriodicTask("slow", slow, ManualClock(), on_failure=watch.bugs.append)
    rounds.start()
    assert looking.wait(30.0)
    assert not rounds.stop(0.0)
    going_on.set()
    assert rounds.stop(30.0)
    assert watch.bugs == []


def test_a_bug_ends_it_loudly() -> None:
    watch = Watch(NextRun(1.0), during=lambda look: [][look] if look > 1 else None)
    assert watch.run() == [0.0, 1.0]
    assert [type(bug) for bug in watch.bugs] == [IndexError]
    assert watch.rounds.idle_s() == 0.0

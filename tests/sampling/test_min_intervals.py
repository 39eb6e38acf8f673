"""MinIntervals: between two frames of a strategy lies its interval, whichever streams they come from."""

from __future__ import annotations

from framesift.clock.moment import Moment
from framesift.sampling.min_intervals import IntervalRule, MinIntervals

HALF = IntervalRule("half", 30.0)


def at(second: float) -> Moment:
    return Moment(1e9 + second, second, "boot")


def test_a_frame_within_the_interval_of_the_last_one_is_not_collected() -> None:
    intervals, open_ = MinIntervals(), []
    for second in (0, 29, 30, 31, 59, 60):
        (is_open,) = intervals.reserve(str(second), [HALF], at(second))
        intervals.settle(str(second), "half" if is_open else None)
        open_.append(is_open)
    assert open_ == [True, False, True, False, False, True]


def test_a_frame_that_is_on_its_way_keeps_the_interval_closed_until_it_is_known_what_became_of_it() -> None:
    intervals = MinIntervals()
    assert intervals.reserve("a", [HALF], at(0)) == [True]
    assert intervals.reserve("b", [HALF], at(1)) == [False]
    intervals.settle("b", None)
    intervals.settle("a", None)  # it could not be stored
    assert intervals.reserve("c", [HALF], at(2)) == [True]


def test_of_several_strategies_only_the_one_that_collected_has_to_wait() -> None:
    intervals, other = MinIntervals(), IntervalRule("other", 10.0)
    assert intervals.reserve("a", [HALF, other], at(0)) == [True, True]
    intervals.settle("a", "other")
    assert intervals.reserve("b", [HALF, other], at(1)) == [True, False]


def test_a_frame_that_comes_late_is_as_far_from_the_last_one_in_time() -> None:
    intervals = MinIntervals()
    intervals.reserve("a", [HALF], at(100))
    intervals.settle("a", "half")
    assert intervals.reserve("b", [HALF], at(90)) == [False]
    assert intervals.reserve("c", [HALF], at(70)) == [True]

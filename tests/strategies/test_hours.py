"""Hours and days: by the clock on the wall, over midnight, and where a time change leaves out an hour or repeats it."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framesift.strategies.hours import Day, Schedule

UTC, BERLIN, ADELAIDE = (ZoneInfo(name) for name in ("UTC", "Europe/Berlin", "Australia/Adelaide"))
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
BEGIN_S, END_S = 1_767_225_600, 1_861_920_000  # 2026 to 2028


def at(text: str) -> float:
    """The Unix time of an ISO 8601 text."""
    return datetime.fromisoformat(text).timestamp()


def is_open(hours: list[str] | None, days: list[Day] | None, text: str, zone: ZoneInfo = UTC) -> bool:
    return Schedule(hours, days, zone).is_open(at(text))


@pytest.mark.parametrize(
    ("time", "expected"),
    [("05:59:59.900", False), ("06:00:00", True), ("13:00:00", True), ("21:59:59.900", True), ("22:00:00", False)],
)
def test_a_span_has_its_first_minute_and_not_its_last(time: str, expected: bool) -> None:
    assert is_open(["06:00-22:00"], None, f"2026-09-10T{time}+00:00") is expected


@pytest.mark.parametrize(
    ("day", "time", "expected"),
    [
        (10, "23:00", False),  # a Thursday
        (11, "05:59", False),
        (11, "22:00", True),  # Friday
        (11, "23:59", True),
        (12, "00:00", True),
        (12, "05:59", True),
        (12, "06:00", False),
        (12, "22:00", False),
        (13, "00:00", False),
    ],
)
def test_a_span_over_midnight_belongs_to_the_day_on_which_it_begins(day: int, time: str, expected: bool) -> None:
    assert is_open(["22:00-06:00"], ["fri"], f"2026-09-{day}T{time}:00+00:00") is expected


def test_the_night_of_sunday_ends_on_monday() -> None:
    assert is_open(["22:00-06:00"], ["sun"], "2026-09-14T03:00:00+00:00")
    assert not is_open(["22:00-06:00"], ["mon"], "2026-09-14T03:00:00+00:00")


def test_days_alone_are_whole_days_of_the_zone() -> None:
    # In Berlin, the Thursday of that week is from 22:00 on Wednesday to 22:00 on Thursday, in UTC.
    times = ["2026-09-09T21:59:00+00:00", "2026-09-09T22:00:00+00:00", "2026-09-10T21:59:00+00:00"]
    assert [is_open(None, ["thu"], time, BERLIN) for time in times] == [False, True, True]
    assert not is_open(None, ["thu"], "2026-09-10T22:00:00+00:00", BERLIN)


def test_any_of_several_spans_is_enough() -> None:
    hours = ["06:00-08:00", "23:00-24:00", "12:00-12:01"]
    found = [h for h in range(24) if is_open(hours, None, f"2026-09-10T{h:02}:00:00+00:00")]
    assert found == [6, 7, 12, 23]


def test_a_span_may_end_with_the_day_in_two_ways() -> None:
    for hours in (["22:00-24:00"], ["22:00-00:00"]):
        assert is_open(hours, ["thu"], "2026-09-10T23:59:59+00:00")
        assert not is_open(hours, ["thu"], "2026-09-11T00:00:00+00:00")


def test_an_hour_that_the_clock_leaves_out_is_missing_and_the_rest_stays_where_it_is() -> None:
    # In Berlin, 2026-03-29 has no time from 02:00 to 03:00: 01:00 UTC is 03:00.
    one = Schedule(["02:00-04:00"], None, BERLIN)
    minutes = [m for m in range(24 * 60) if one.is_open(at("2026-03-28T23:00:00+00:00") + 60 * m)]
    assert minutes == list(range(120, 180))


def test_an_hour_that_comes_twice_is_open_twice() -> None:
    # In Berlin, 2026-10-25 has 02:00 to 03:00 twice: from 00:00 and from 01:00 UTC.
    one = Schedule(["02:30-03:00"], None, BERLIN)
    minutes = [m for m in range(25 * 60) if one.is_open(at("2026-10-24T22:00:00+00:00") + 60 * m)]
    assert minutes == [*range(150, 180), *range(210, 240)]


def test_a_night_with_a_time_change_is_one_night() -> None:
    one = Schedule(["22:00-06:00"], ["sat"], BERLIN)
    begin_s = at("2026-10-24T00:00:00+02:00")
    minutes = [m for m in range(60 * 60) if one.is_open(begin_s + 60 * m)]
    assert minutes == list(range(22 * 60, 31 * 60))  # nine hours


@given(
    st.integers(0, 1439),
    st.integers(1, 1439),
    st.sets(st.sampled_from(DAYS), min_size=1),
    st.lists(st.integers(BEGIN_S, END_S), min_size=1, max_size=20),
    st.sampled_from([UTC, BERLIN, ADELAIDE]),
)
def test_a_time_is_open_if_some_span_that_began_on_one_of_the_days_reaches_it(
    begin: int, length: int, days: set[Day], times_s: list[int], zone: ZoneInfo
) -> None:
    end = (begin + length) % 1440
    one = Schedule([f"{begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}"], sorted(days), zone)
    for time_s in times_s:
        local = datetime.fromtimestamp(time_s, zone).replace(tzinfo=None, fold=0)
        midnights = [local.replace(hour=0, minute=0, second=0) - timedelta(days=n) for n in (0, 1)]
        began = [(DAYS[midnight.weekday()], midnight + timedelta(minutes=begin)) for midnight in midnights]
        expected = any(day in days and t <= local < t + timedelta(minutes=length) for day, t in began)
        assert one.is_open(time_s + 0.5) is expected

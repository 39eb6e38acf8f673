"""Windows are calendar windows of a zone: they follow each other without gap or overlap, through every time change."""

from datetime import datetime, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framesift.limits import Limit, Window, window_end, window_start

UTC = timezone.utc
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",  # changes at midnight
    "Australia/Lord_Howe",  # changes by half an hour
    "Asia/Kathmandu",  # 5:45 ahead
    "Africa/Cairo",  # midnight is skipped in spring
]


def at(text: str, zone: str = "UTC", fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def test_a_minute_an_hour_and_a_day_of_utc() -> None:
    noon = at("2026-03-05T12:34:56.700")
    assert window_start(Window.MINUTELY, noon) == at("2026-03-05T12:34:00")
    assert window_end(Window.MINUTELY, noon) == at("2026-03-05T12:35:00")
    assert window_start(Window.HOURLY, noon) == at("2026-03-05T12:00:00")
    assert window_end(Window.HOURLY, noon) == at("2026-03-05T13:00:00")
    assert window_start(Window.DAILY, noon) == at("2026-03-05T00:00:00")
    assert window_end(Window.DAILY, noon) == at("2026-03-06T00:00:00")


def test_a_day_of_the_zone_begins_at_its_own_midnight() -> None:
    evening = at("2026-01-10T23:30:00", "America/New_York")
    assert window_start(Window.DAILY, evening, ZoneInfo("America/New_York")) == at("2026-01-10T05:00:00")


def test_an_hour_of_a_zone_off_by_three_quarters_begins_at_its_own_full_hour() -> None:
    zone = ZoneInfo("Asia/Kathmandu")
    assert window_start(Window.HOURLY, at("2026-01-10T10:20:00", "Asia/Kathmandu"), zone) == at("2026-01-10T04:15:00")


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-07-01", 24)])
def test_a_day_of_a_time_change_is_one_window_of_its_real_length(day: str, hours: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    noon = at(f"{day}T12:00:00", "Europe/Berlin")
    assert window_end(Window.DAILY, noon, zone) - window_start(Window.DAILY, noon, zone) == hours * 3600


def test_an_hour_that_comes_twice_is_two_windows() -> None:
    zone = ZoneInfo("Europe/Berlin")
    first, second = (at("2026-10-25T02:30:00", "Europe/Berlin", fold) for fold in (0, 1))
    assert window_start(Window.HOURLY, second, zone) - window_start(Window.HOURLY, first, zone) == 3600


def test_a_day_whose_midnight_is_skipped_begins_with_the_skip() -> None:
    zone = ZoneInfo("Africa/Cairo")
    noon = at("2026-04-24T12:00:00", "Africa/Cairo")
    start = window_start(Window.DAILY, noon, zone)
    assert datetime.fromtimestamp(start, zone).isoformat() == "2026-04-24T01:00:00+03:00"
    assert window_end(Window.DAILY, start - 1, zone) == start


def test_half_an_hour_of_change_makes_a_short_hour_not_an_overlap() -> None:
    zone = ZoneInfo("Australia/Lord_Howe")
    change = int(at("2026-04-05T01:59:59", "Australia/Lord_Howe")) + 1
    assert window_end(Window.HOURLY, change - 1, zone) == change
    assert (window_start(Window.HOURLY, change, zone), window_end(Window.HOURLY, change, zone)) == (
        change,
        change + 1800,
    )


@given(
    wall_s=st.integers(int(at("2024-01-01T00:00:00")), int(at("2037-12-01T00:00:00"))),
    zone=st.sampled_from(ZONES),
    window=st.sampled_from(Window),
)
def test_every_instant_lies_in_its_window_and_its_neighbours_touch(wall_s: int, zone: str, window: Window) -> None:
    tz = ZoneInfo(zone)
    start, end = window_start(window, wall_s, tz), window_end(window, wall_s, tz)
    assert start <= wall_s < end
    assert window_start(window, end - 1, tz) == start
    assert window_end(window, start, tz) == end
    assert window_start(window, end, tz) == end
    assert window_end(window, start - 1, tz) == start


@pytest.mark.parametrize("zone", ZONES)
def test_a_year_of_hours_is_gapless(zone: str) -> None:
    tz = ZoneInfo(zone)
    edges: list[float] = [int(at("2026-01-01T00:00:00", zone))]
    while edges[-1] < at("2027-01-01T00:00:00", zone):
        edges.append(window_end(Window.HOURLY, edges[-1], tz))
    assert all(window_start(Window.HOURLY, (a + b) / 2, tz) == a for a, b in pairwise(edges))
    assert len(edges) in (8761, 8762)  # half an hour's change makes one more hour, a shorter one


def test_a_negative_limit_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match="hourly limit must be 0 or more, not -1"):
        Limit(Window.HOURLY, -1)

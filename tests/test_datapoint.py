"""Datapoints: the platform's picture sizes, batch names with their first day, ages that survive clock steps."""

from __future__ import annotations

import threading
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from clocks import ManualClock
from framesift.clock.clock import HeartbeatClock
from framesift.clock.moment import CLOCK_SET_AFTER_S, Moment
from framesift.datapoint import BatchInterval, batch_name
from framesift.pictures.outgoing import fit_size

BERLIN = ZoneInfo("Europe/Berlin")
UTC = ZoneInfo("UTC")


@pytest.mark.parametrize(
    ("width", "height", "max_size", "expected"),
    [
        (1920, 1080, None, (1920, 1080)),
        (1920, 1080, (1080, 1920), (1920, 1080)),  # exactly as large: untouched
        (640, 480, (1080, 1920), (640, 480)),  # never enlarged
        (1920, 1080, (1200, 1200), (1200, 675)),
        (1080, 1920, (1200, 1200), (675, 1200)),
        (1920, 1080, (1080, 1919), (1919, 1079)),  # 1079.4 is cut, not rounded
        (1000, 333, (100, 100), (100, 33)),
        (1000, 1000, (50, 100), (50, 50)),
        (10_000, 3, (100, 100), (100, 1)),  # at least one pixel
        (3, 10_000, (100, 100), (1, 100)),
    ],
)
def test_a_picture_fits_with_its_aspect_kept_and_its_sides_cut(
    width: int, height: int, max_size: tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    assert fit_size(width, height, max_size) == expected


@pytest.mark.parametrize(
    ("interval", "when", "zone", "expected"),
    [
        (BatchInterval.NEVER, "2026-09-10T12:00:00+00:00", UTC, "b"),
        (BatchInterval.DAILY, "2026-09-10T23:59:59+00:00", UTC, "b_2026_09_10"),
        (BatchInterval.DAILY, "2026-09-11T00:00:00+00:00", UTC, "b_2026_09_11"),
        (BatchInterval.DAILY, "2026-09-10T22:30:00+00:00", BERLIN, "b_2026_09_11"),  # half past midnight there
        (BatchInterval.DAILY, "2026-10-25T00:30:00+00:00", BERLIN, "b_2026_10_25"),  # the hour that comes twice
        (BatchInterval.WEEKLY, "2026-09-13T23:59:59+00:00", UTC, "b_2026_09_07"),  # a Sunday belongs to its Monday
        (BatchInterval.WEEKLY, "2026-09-14T00:00:00+00:00", UTC, "b_2026_09_14"),
        (BatchInterval.WEEKLY, "2027-01-01T12:00:00+00:00", UTC, "b_2026_12_28"),  # a week over the end of a year
        (BatchInterval.MONTHLY, "2028-02-29T12:00:00+00:00", UTC, "b_2028_02_01"),
        (BatchInterval.MONTHLY, "2026-12-31T23:30:00+00:00", BERLIN, "b_2027_01_01"),
    ],
)
def test_a_batch_is_named_after_its_first_day(
    interval: BatchInterval, when: str, zone: ZoneInfo, expected: str
) -> None:
    assert batch_name("b", interval, datetime.fromisoformat(when).timestamp(), zone) == expected


def test_within_a_boot_age_is_boot_time_whatever_the_wall_clock_does() -> None:
    then = Moment(wall_s=1_800_000_000.0, boottime_s=100.0, boot_id="a")
    stepped = Moment(wall_s=1_800_003_700.0, boottime_s=160.0, boot_id="a")
    assert then.age_s(stepped) == 60.0
    assert then.wall_s_as_of(stepped) == 1_800_003_640.0


def test_across_boots_age_is_the_wall_clocks_and_never_negative() -> None:
    then = Moment(wall_s=1_800_000_000.0, boottime_s=100.0, boot_id="a")
    assert then.age_s(Moment(1_800_000_500.0, 5.0, "b")) == 500.0
    assert then.age_s(Moment(1_799_000_000.0, 5.0, "b")) == 0.0


def test_across_boots_a_clock_that_was_not_set_has_no_age() -> None:
    unset = Moment(wall_s=12.0, boottime_s=12.0, boot_id="a")
    now = Moment(1_800_000_000.0, 5.0, "b")
    assert not unset.clock_is_set
    assert Moment(CLOCK_SET_AFTER_S, 0.0, "a").clock_is_set
    assert unset.wall_s_as_of(now) == now.wall_s


def test_a_thread_is_not_idle_while_it_uses_its_clock() -> None:
    clock = ManualClock()
    pulse = HeartbeatClock(clock)
    clock.advance(30.0)
    assert pulse.idle_s() == 30.0
    pulse.monotonic()
    assert pulse.idle_s() == 0.0
    clock.advance(5.0)
    pulse.now()
    assert pulse.idle_s() == 0.0
    clock.advance(7.0)
    done = threading.Event()
    done.set()
    pulse.wait(done, 10.0)
    assert pulse.idle_s() == 0.0

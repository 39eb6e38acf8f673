"""The clock is set forward and back, within a boot and between boots. This creates no extra quota, and withholds none
for longer than one window's length."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clocks import NOON_S, ManualClock
from exhaustive import examples
from framesift.limits import Limit, Quota, QuotaGranted, QuotaRefused, QuotaUnknown, SharedCharge, Window, window_start
from framesift.limits import clock_steps as steps
from framesift.limits.by_hand import grant_manually
from framesift.limits.local import LocalLimits
from framesift.limits.shared import pending as late
from framesift.spool import Accepted
from rigs.local_limits import LimitsClient, quota, tables
from rigs.spools import make_spool, put

MINUTE, HOUR, DAY = Window.MINUTELY, Window.HOURLY, Window.DAILY
LENGTH_S = {MINUTE: 60.0, HOUR: 3600.0, DAY: 86400.0}
DAY_S = 86400.0
YEAR_S = 365 * DAY_S
MIDNIGHT_S = NOON_S + DAY_S / 2


@pytest.fixture
def cursor(tmp_path: Path) -> Iterator[sqlite3.Cursor]:
    with closing(tables(tmp_path / "limits.db")) as connection:
        yield connection.cursor()


@pytest.fixture
def desk(cursor: sqlite3.Cursor) -> LimitsClient:
    return LimitsClient(cursor, ManualClock())


def set_clock(desk: LimitsClient, wall_s: float) -> None:
    desk.clock.step_wall(wall_s - desk.clock.now().wall_s)


def reboot(desk: LimitsClient, boot_id: str, *, wall_s: float, boottime_s: float = 10.0) -> None:
    """Restarts the machine with a clock that shows this time, and the program with it."""
    desk.clock.reboot(boot_id, boottime_s)
    set_clock(desk, wall_s)
    desk.limits = LocalLimits()


def housekeeping(desk: LimitsClient, seconds: float) -> None:
    """Lets time pass, with the regular pruning of the program."""
    for _ in range(10):
        desk.clock.advance(seconds / 10)
        desk.limits.prune(desk.cursor, desk.clock.now())


# --- forward ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_s", [10.0, 3600.0, 86400.0, 10 * 365 * 86400.0])
def test_a_step_forward_creates_no_extra_quota(desk: LimitsClient, step_s: float) -> None:
    q = quota("a", (MINUTE, 2), (HOUR, 3), (DAY, 4))
    desk.clock.advance(55)
    assert desk.granted(q) == 2
    desk.clock.step_wall(step_s)
    assert desk.granted(q) == 0


def test_a_step_forward_carries_charges_only_into_windows_that_it_opened(desk: LimitsClient) -> None:
    q = quota("a", (MINUTE, 2), (DAY, 5))
    assert desk.granted(q) == 2
    desk.clock.step_wall(60)  # another minute, the same day
    assert desk.granted(q) == 0
    desk.clock.advance(60)
    assert desk.granted(q) == 2
    desk.clock.advance(60)
    assert desk.granted(q) == 1


def test_after_a_step_forward_the_next_windows_are_free(desk: LimitsClient) -> None:
    q = quota("a", (MINUTE, 2))
    desk.granted(q)
    desk.clock.step_wall(3600)
    assert desk.granted(q) == 0
    desk.clock.advance(60)
    assert desk.granted(q) == 2


def test_repeated_steps_forward_create_no_extra_quota(desk: LimitsClient) -> None:
    q = quota("a", (DAY, 3))
    desk.granted(q)
    for _ in range(5):
        desk.clock.step_wall(3 * 86400)
        assert desk.granted(q) == 0


def test_a_step_forward_while_the_program_was_killed_creates_no_extra_quota(desk: LimitsClient) -> None:
    q = quota("a", (HOUR, 3))
    desk.granted(q)
    desk.clock.advance(100)
    desk.clock.step_wall(7200)
    again = LimitsClient(desk.cursor, desk.clock)
    again.number = 500
    assert again.granted(q) == 0


def test_a_clock_that_is_set_for_the_first_time_creates_no_extra_quota(cursor: sqlite3.Cursor) -> None:
    clock = ManualClock(wall_s=1000.0)
    desk = LimitsClient(cursor, clock)
    q = quota("a", (DAY, 3))
    assert desk.granted(q) == 3
    clock.step_wall(NOON_S)
    assert desk.granted(q) == 0


def test_a_small_correction_of_the_clock_carries_nothing(desk: LimitsClient) -> None:
    q = quota("a", (MINUTE, 2))
    desk.clock.advance(58)
    desk.granted(q)
    desk.clock.step_wall(4)
    assert desk.granted(q) == 2


# --- back -------------------------------------------------------------------------------------------------------------


def test_after_a_step_back_the_earlier_charges_of_that_time_count(desk: LimitsClient) -> None:
    q = quota("a", (HOUR, 2))
    desk.granted(q)
    desk.clock.advance(3600)
    desk.granted(q)
    desk.clock.step_wall(-3600)
    assert desk.granted(q) == 0


@pytest.mark.parametrize("step_s", [-30.0, -3600.0, -2 * DAY_S, 30.0 - MIDNIGHT_S], ids=["30s", "1h", "2d", "unset"])
def test_a_step_back_creates_no_extra_quota(desk: LimitsClient, step_s: float) -> None:
    q = quota("a", (MINUTE, 2), (HOUR, 3), (DAY, 4))
    set_clock(desk, MIDNIGHT_S + 20)  # just after a minute, an hour and a day began
    assert desk.granted(q) == 2
    desk.clock.step_wall(step_s)
    assert desk.granted(q) == 0
    desk.clock.advance(60)
    assert desk.granted(q) == 1


def test_charges_that_a_step_moves_back_over_midnight_count_until_they_are_a_day_old(desk: LimitsClient) -> None:
    q = quota("a", (DAY, 5))
    set_clock(desk, MIDNIGHT_S + 1800)
    assert desk.granted(q) == 5
    desk.clock.step_wall(-3600)
    desk.clock.advance(3600)  # midnight again, and it is another day than that of the charges
    assert desk.granted(q) == 0
    desk.clock.advance(DAY_S - 3600)
    assert desk.granted(q) == 5


@pytest.mark.parametrize("step_s", [-3600.0, -2 * DAY_S, -10 * YEAR_S, 3600.0, 10 * YEAR_S])
@pytest.mark.parametrize("stay_s", [1.0, 600.0])
def test_a_clock_that_steps_forward_and_back_creates_no_extra_quota(
    desk: LimitsClient, step_s: float, stay_s: float
) -> None:
    q = quota("a", (DAY, 5))
    set_clock(desk, MIDNIGHT_S - 1)
    granted = 0
    for n in range(20):
        granted += desk.granted(q, tries=10)
        desk.clock.advance(stay_s)
        desk.clock.step_wall(step_s if n % 2 == 0 else -step_s)
    assert granted == 5
    desk.clock.advance(DAY_S)
    assert desk.granted(q) == 5


def test_a_clock_set_repeatedly_to_just_before_midnight_grants_one_day_at_most(desk: LimitsClient) -> None:
    q = quota("a", (DAY, 5))
    granted = desk.granted(q)
    for day in (9, -9, 5, 6, -400, 0):
        set_clock(desk, MIDNIGHT_S + day * DAY_S - 1)
        granted += desk.granted(q)
        desk.clock.advance(2)
        granted += desk.granted(q)
    assert granted == 5


def test_a_clock_that_was_ahead_by_years_for_an_hour_withholds_quota_for_one_day(desk: LimitsClient) -> None:
    q = quota("a", (DAY, 5))
    desk.clock.step_wall(10 * YEAR_S)
    assert desk.granted(q) == 5
    desk.clock.advance(3600)
    desk.clock.step_wall(-10 * YEAR_S)
    assert desk.granted(q) == 0
    desk.clock.advance(DAY_S)
    assert desk.granted(q) == 5
    housekeeping(desk, 4 * DAY_S)
    assert desk.cursor.execute("SELECT count(*) FROM charge").fetchone() == (0,)
    assert desk.cursor.execute("SELECT count(*) FROM carried").fetchone() == (0,)


def test_a_small_step_back_within_the_window_keeps_its_usage(desk: LimitsClient) -> None:
    q = quota("a", (DAY, 5))
    assert desk.granted(q, tries=3) == 3
    desk.clock.step_wall(-10)
    assert desk.granted(q) == 2


def test_a_step_back_while_the_program_was_killed_creates_no_extra_quota(desk: LimitsClient) -> None:
    q = quota("a", (DAY, 5))
    set_clock(desk, MIDNIGHT_S + 20)
    assert desk.granted(q) == 5
    desk.clock.step_wall(-3600)
    desk.limits = LocalLimits()
    assert desk.granted(q) == 0
    desk.limits = LocalLimits()
    desk.clock.advance(3600)
    assert desk.granted(q) == 0


def test_charges_that_a_step_has_moved_count_also_after_a_reboot(desk: LimitsClient) -> None:
    q = quota("a", (DAY, 5))
    set_clock(desk, MIDNIGHT_S + 20)
    assert desk.granted(q) == 5
    desk.clock.step_wall(-3600)
    assert desk.granted(q) == 0
    desk.clock.advance(4000)
    reboot(desk, "boot-2", wall_s=desk.clock.now().wall_s + 30)
    assert desk.granted(q) == 0
    desk.clock.advance(DAY_S)
    assert desk.granted(q) == 5


def test_a_frame_captured_before_a_step_back_is_charged_by_the_clock_after_it(desk: LimitsClient) -> None:
    q = quota("a", (HOUR, 2))
    set_clock(desk, MIDNIGHT_S + 20)
    captured = desk.clock.now()
    assert desk.granted(q) == 2
    desk.clock.step_wall(-3600)
    assert desk.charge(q, captured=captured) == QuotaRefused(False)


def test_charges_of_the_shared_ledger_keep_their_age_too(desk: LimitsClient, cursor: sqlite3.Cursor) -> None:
    q = quota("a", (DAY, 3))
    set_clock(desk, MIDNIGHT_S + 20)
    now = desk.clock.now()
    desk.limits.record_charge(cursor, "shared", q, now, now, "shared", SharedCharge(7.0, "g"))
    desk.clock.step_wall(-3600)
    grant_manually(cursor, "hand", "a", "b", None, desk.clock.now())
    assert desk.granted(q) == 1
    desk.clock.step_wall(3600)
    assert desk.granted(q) == 0


def test_an_hour_whose_usage_is_unknown_stays_exhausted_when_the_clock_is_set_back(desk: LimitsClient) -> None:
    set_clock(desk, MIDNIGHT_S + 20)
    desk.limits.exhaust_open_windows(desk.cursor, desk.clock.now())
    desk.clock.step_wall(-3600)
    assert desk.granted(quota("a", (HOUR, 9))) == 0
    desk.clock.advance(3600)
    assert desk.granted(quota("a", (HOUR, 9))) == 9


# --- asking -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_s", [-3600.0, -30.0, 30.0, 3600.0])
def test_a_cached_refusal_is_not_used_after_the_clock_was_set(desk: LimitsClient, step_s: float) -> None:
    q = [quota("a", (DAY, 1))]
    desk.charge(*q)
    now = desk.clock.now()
    assert desk.limits.check(desk.cursor, q, now, now) == desk.limits.check(None, q, now, now) == QuotaRefused(False)
    desk.clock.step_wall(step_s)
    now = desk.clock.now()
    assert desk.limits.check(None, q, now, now) == QuotaUnknown()
    assert desk.limits.check(desk.cursor, q, now, now) == QuotaUnknown()
    assert desk.charge(*q) == QuotaRefused(False)
    assert desk.limits.check(desk.cursor, q, now, now) == desk.limits.check(None, q, now, now) == QuotaRefused(False)


def test_a_refusal_after_a_step_is_cached_no_longer_than_it_is_valid(desk: LimitsClient) -> None:
    q = [quota("a", (HOUR, 1))]
    set_clock(desk, MIDNIGHT_S - 1800)
    desk.charge(*q)
    desk.clock.advance(1900)
    desk.clock.step_wall(-100)
    desk.charge(*q)
    desk.clock.advance(1699)
    now = desk.clock.now()
    assert desk.limits.check(desk.cursor, q, now, now) == desk.limits.check(None, q, now, now) == QuotaRefused(False)
    desk.clock.advance(2)  # the charge is an hour old
    now = desk.clock.now()
    assert desk.limits.check(None, q, now, now) == QuotaUnknown()
    assert desk.limits.check(desk.cursor, q, now, now) == QuotaGranted("a")
    assert desk.charge(*q) == QuotaGranted("a")


def test_check_cannot_decide_while_the_clock_is_behind_the_last_charge(desk: LimitsClient) -> None:
    q = [quota("a", (DAY, 5))]
    desk.charge(*q)
    reboot(desk, "boot-2", wall_s=NOON_S - 3 * DAY_S)
    now = desk.clock.now()
    assert desk.limits.check(desk.cursor, q, now, now) == QuotaUnknown()
    assert desk.charge(*q) == QuotaRefused(False)
    assert desk.limits.check(desk.cursor, q, now, now) == QuotaRefused(False)
    set_clock(desk, NOON_S + 60)
    assert desk.charge(*q) == QuotaGranted("a")


# --- reboots ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wall_s", [30.0, NOON_S - 2 * DAY_S, NOON_S - 3600.0], ids=["unset", "2d", "1h"])
@pytest.mark.parametrize("window", [MINUTE, HOUR, DAY])
def test_a_reboot_behind_the_last_charge_grants_nothing_for_one_windows_length(
    desk: LimitsClient, wall_s: float, window: Window
) -> None:
    q = quota("a", (window, 5))
    assert desk.granted(q, tries=1) == 1
    reboot(desk, "boot-2", wall_s=wall_s)
    while desk.clock.now().boottime_s < 10.0 + LENGTH_S[window] and desk.clock.now().wall_s < NOON_S:
        assert desk.granted(q, tries=1) == 0
        desk.limits = LocalLimits()
        desk.clock.advance(LENGTH_S[window] / 10)
    assert desk.granted(q) >= 4


def test_a_clock_that_is_corrected_after_each_reboot_gives_each_day_its_own_quota(desk: LimitsClient) -> None:
    """A board without a battery, which is switched on each morning: the network sets its clock after a minute."""
    q = quota("a", (DAY, 5))
    for morning in range(1, 5):
        reboot(desk, f"boot-{morning + 1}", wall_s=3.0, boottime_s=3.0)
        assert desk.granted(q) == (5 if morning == 1 else 0)
        desk.clock.advance(57)
        set_clock(desk, NOON_S + morning * DAY_S)
        assert desk.granted(q) == (0 if morning == 1 else 5)
        housekeeping(desk, 7200)


def test_a_clock_that_passes_the_last_charge_and_is_set_back_behind_it_is_behind_again(desk: LimitsClient) -> None:
    q = quota("a", (DAY, 5))
    set_clock(desk, MIDNIGHT_S + 20)
    assert desk.granted(q) == 5
    reboot(desk, "boot-2", wall_s=30.0)
    assert desk.granted(q) == 0
    set_clock(desk, MIDNIGHT_S + 100)
    housekeeping(desk, 600)
    assert desk.granted(q) == 0  # it is the day of the charges
    set_clock(desk, MIDNIGHT_S - 100)
    assert desk.granted(q) == 0
    desk.clock.advance(DAY_S / 2)
    assert desk.granted(q) == 0  # the day of the charges has come again, with its charges
    desk.clock.advance(DAY_S / 2 - 600)
    assert desk.granted(q) == 5  # nobody knows how old they are, but it is more than a day


def test_a_reboot_behind_is_not_forgotten_when_another_strategy_is_charged(desk: LimitsClient) -> None:
    assert desk.granted(quota("a", (DAY, 5)), tries=1) == 1
    reboot(desk, "boot-2", wall_s=NOON_S - 3 * DAY_S)
    assert desk.granted(quota("free"), tries=3) == 3
    desk.limits = LocalLimits()
    assert desk.granted(quota("a", (DAY, 5))) == 0
    reboot(desk, "boot-3", wall_s=NOON_S - 2 * DAY_S)
    assert desk.granted(quota("a", (DAY, 5))) == 0


def test_an_earlier_boot_that_was_ahead_by_years_withholds_nothing_for_ever(desk: LimitsClient) -> None:
    """Its clock is right since, but it never runs for a whole day."""
    q = quota("a", (DAY, 5))
    desk.clock.step_wall(10 * YEAR_S)
    assert desk.granted(q, tries=1) == 1
    desk.limits.record_send_start(desk.cursor, "id-1", desk.clock.now())
    desk.limits.record_send_end(desk.cursor, "id-1", desk.clock.now())
    granted = []
    for day in range(4):
        reboot(desk, f"boot-{day + 2}", wall_s=NOON_S + day * DAY_S)
        granted.append(desk.granted(q))
        housekeeping(desk, 10 * 3600)
    assert granted == [0, 0, 0, 5]
    housekeeping(desk, 4 * DAY_S)
    for table in ("charge", "send", "carried"):
        assert desk.cursor.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


# --- charges of earlier boots -----------------------------------------------------------------------------------------


def dates(desk: LimitsClient) -> dict[str, float]:
    """The times of all charges, by id."""
    return {id: steps.original_time_s(at_s) for id, at_s in desk.cursor.execute("SELECT id, at_s FROM charge")}


def per_hour(desk: LimitsClient, hours: int, *quotas: Quota) -> list[int]:
    """How many charges each hour grants, with a request every five minutes."""
    found = []
    for _ in range(hours):
        found.append(0)
        for _ in range(12):
            found[-1] += desk.granted(*quotas, tries=1)
            desk.limits.prune(desk.cursor, desk.clock.now())
            desk.clock.advance(300)
    return found


def test_a_clock_that_is_set_right_leaves_the_charges_of_an_earlier_boot_on_their_day(desk: LimitsClient) -> None:
    q = quota("a", (DAY, 5))
    for _ in range(5):
        assert desk.granted(q, tries=1) == 1
        desk.clock.advance(600)
    before = dates(desk)
    reboot(desk, "boot-2", wall_s=NOON_S - 300, boottime_s=30.0)  # and it is 10:00 of the next day
    assert desk.granted(q) == 0
    desk.clock.advance(3600)  # the clock has passed them
    assert desk.granted(q) == 0
    set_clock(desk, NOON_S + DAY_S - 3600)
    assert desk.granted(q) == 5
    assert dates(desk).items() >= before.items()


@pytest.mark.parametrize("program", ["runs all the time", "is killed", "starts late"])
def test_a_clock_that_is_set_back_leaves_the_charges_of_an_earlier_boot_on_their_day(
    desk: LimitsClient, program: str
) -> None:
    q = quota("a", (DAY, 5))
    assert desk.granted(q) == 5
    before = dates(desk)
    reboot(desk, "boot-2", wall_s=NOON_S - 3600)
    if program != "starts late":
        assert desk.granted(q) == 0
    desk.clock.advance(2.5 * 3600)  # the clock has passed them
    assert desk.granted(q) == 0
    desk.limits = LocalLimits() if program == "is killed" else desk.limits
    desk.clock.step_wall(-DAY_S)
    assert desk.granted(q) == 0
    reboot(desk, "boot-3", wall_s=NOON_S + 5 * 3600)
    assert desk.granted(q) == 0
    assert dates(desk) == before


def test_a_clock_that_was_ahead_and_is_set_far_back_leaves_the_charges_of_an_earlier_boot_on_their_day(
    desk: LimitsClient,
) -> None:
    q = quota("a", (DAY, 5))
    assert desk.granted(q, tries=2) == 2
    reboot(desk, "boot-2", wall_s=NOON_S + DAY_S)
    assert desk.granted(q, tries=1) == 1
    for wall_s in (NOON_S - DAY_S, NOON_S + 60, NOON_S - 10, NOON_S + 2 * DAY_S, NOON_S + 120):
        set_clock(desk, wall_s)
        granted = desk.granted(q, tries=1)
        assert granted == 0 or wall_s > NOON_S
    assert desk.granted(q) == 0  # it is the day of all five
    assert [dates(desk)[id] for id in ("id-1", "id-2")] == [NOON_S, NOON_S]


def test_hours_that_repeat_after_a_reboot_are_exhausted_for_one_hour_only(desk: LimitsClient) -> None:
    q = quota("a", (HOUR, 5))
    assert per_hour(desk, 6, q) == [5] * 6
    reboot(desk, "boot-2", wall_s=NOON_S, boottime_s=100.0)
    assert per_hour(desk, 8, q) == [0, 5, 5, 5, 5, 5, 5, 5]


def test_a_board_that_starts_at_the_same_date_each_day_has_the_quota_of_all_hours_but_the_first(
    desk: LimitsClient,
) -> None:
    hourly, daily = quota("hourly", (HOUR, 5)), quota("daily", (DAY, 5))
    desk.charge(daily)
    days = []
    for day in range(1, 8):
        reboot(desk, f"day-{day}", wall_s=MIDNIGHT_S - 100 * DAY_S, boottime_s=5.0)
        desk.number += 1000
        assert per_hour(desk, 9, hourly) == ([5] * 9 if day == 1 else [0] + [5] * 8)
        days.append(desk.granted(daily))
    assert days == [0, 0, 5, 0, 0, 5, 0]  # it has to run for a day in all, not in one go
    for table in ("charge", "carried"):
        rows = desk.cursor.execute(f"SELECT count(*) FROM {table} WHERE at_s > ?", (2 * MIDNIGHT_S,)).fetchone()[0]
        assert rows <= 200  # those of the last days


@pytest.mark.parametrize("nodes", [["node-2"], ["node-2", "node-3"]])
def test_charges_that_come_from_another_machine_are_not_as_old_as_this_boot(
    desk: LimitsClient, nodes: list[str]
) -> None:
    """A volume that moves between nodes which have run for weeks. All clocks are right."""
    q = quota("a", (DAY, 5))
    assert desk.granted(q) == 5
    for node in nodes:
        desk.clock.advance(60)
        reboot(desk, node, wall_s=desk.clock.now().wall_s, boottime_s=50 * DAY_S)
        assert desk.granted(q) == 0
    desk.clock.advance(MIDNIGHT_S - 60 - desk.clock.now().wall_s)
    assert desk.granted(q) == 0
    desk.clock.advance(60)
    assert desk.granted(q) == 5


def test_what_a_step_has_moved_over_midnight_counts_after_a_reboot_behind_it_too(desk: LimitsClient) -> None:
    q = quota("a", (DAY, 5))
    set_clock(desk, MIDNIGHT_S + 20)
    assert desk.granted(q) == 5
    desk.clock.step_wall(-3600)
    assert desk.granted(q) == 0
    reboot(desk, "boot-2", wall_s=MIDNIGHT_S - 7200)
    for _ in range(10):
        assert desk.granted(q) == 0
        desk.clock.advance(DAY_S / 10)
    assert desk.granted(q) == 5


def test_a_quarantined_charge_is_reported_to_the_ledger_with_its_original_time(
    desk: LimitsClient, cursor: sqlite3.Cursor
) -> None:
    desk.charge(quota("a", (DAY, 5)))
    for boot in ("boot-2", "boot-3"):
        reboot(desk, boot, wall_s=30.0)
        assert isinstance(desk.charge(quota("free")), QuotaGranted)
    assert [one.at_s for one in late.unreported_charges(cursor, "", "g", 0.0, 9)] == [NOON_S, 30.0, 30.0]


def test_a_send_that_a_boot_began_and_another_ended_counts_once(desk: LimitsClient) -> None:
    for id in "ab":
        desk.limits.record_send_start(desk.cursor, id, desk.clock.now())
    reboot(desk, "boot-2", wall_s=NOON_S - 3600)
    desk.limits.record_send_end(desk.cursor, None, desk.clock.now())
    assert desk.limits.send_allowance(desk.cursor, [Limit(DAY, 5)], desk.clock.now(), 9).count == 0
    set_clock(desk, NOON_S + 60)
    assert desk.limits.send_allowance(desk.cursor, [Limit(DAY, 5)], desk.clock.now(), 9).count == 3


# --- the sink's brake -------------------------------------------------------------------------------------------------


def test_a_step_forward_gives_the_sink_no_extra_sends(desk: LimitsClient, cursor: sqlite3.Cursor) -> None:
    for _ in range(3):
        desk.limits.record_send_start(cursor, "x", desk.clock.now())
    desk.clock.step_wall(7200)
    assert desk.limits.send_allowance(cursor, [Limit(HOUR, 3)], desk.clock.now(), 9).count == 0


@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize("step_s", [-3600.0, -2 * DAY_S])
def test_a_step_back_gives_the_sink_no_extra_sends(desk: LimitsClient, arrived: bool, step_s: float) -> None:
    limits = [Limit(HOUR, 3)]
    set_clock(desk, MIDNIGHT_S + 20)
    for id in "abc":
        desk.limits.record_send_start(desk.cursor, id, desk.clock.now())
    desk.clock.step_wall(step_s)
    if arrived:
        desk.limits.record_send_end(desk.cursor, None, desk.clock.now())
    assert desk.limits.send_allowance(desk.cursor, limits, desk.clock.now(), 9).count == 0
    desk.clock.advance(3595)  # it is another hour for some time
    assert desk.limits.send_allowance(desk.cursor, limits, desk.clock.now(), 9).count == 0
    desk.limits.record_send_end(desk.cursor, None, desk.clock.now())
    desk.clock.advance(3600)
    assert desk.limits.send_allowance(desk.cursor, limits, desk.clock.now(), 9).count == 3


def test_after_a_step_the_sink_knows_when_it_may_send_again(desk: LimitsClient) -> None:
    desk.limits.record_send_start(desk.cursor, "a", desk.clock.now())
    desk.limits.record_send_end(desk.cursor, "a", desk.clock.now())
    desk.clock.step_wall(-3600)
    waits = 0
    while (room := desk.limits.send_allowance(desk.cursor, [Limit(MINUTE, 1)], desk.clock.now(), 1)).count == 0:
        assert room.until_s is not None
        desk.clock.advance(room.until_s - desk.clock.now().wall_s)
        waits += 1
    assert desk.clock.now().boottime_s == 1060.0
    assert waits <= 60


def test_a_reboot_behind_the_last_send_gives_the_sink_no_extra_sends(desk: LimitsClient) -> None:
    desk.limits.record_send_start(desk.cursor, "a", desk.clock.now())
    reboot(desk, "boot-2", wall_s=NOON_S - DAY_S)
    desk.limits.record_send_end(desk.cursor, None, desk.clock.now())
    assert desk.limits.send_allowance(desk.cursor, [Limit(HOUR, 3)], desk.clock.now(), 9).count == 0
    desk.clock.advance(3600)
    assert desk.limits.send_allowance(desk.cursor, [Limit(HOUR, 3)], desk.clock.now(), 9).count == 3


# --- in the spool -----------------------------------------------------------------------------------------------------


def test_a_spool_holds_its_limits_when_the_clock_is_set_back_and_it_is_opened_again(tmp_path: Path) -> None:
    clock = ManualClock(MIDNIGHT_S + 20)
    q = [quota("a", (DAY, 5))]
    sink = [Limit(DAY, 3)]
    accepted = claimed = 0
    for step_s in (-3600.0, 3600.0, -30.0, -2 * DAY_S, 2 * DAY_S):
        spool = make_spool(tmp_path, clock)
        spool.open()
        for _ in range(9):
            if isinstance(spool.check_quota(q, clock.now()), QuotaGranted | QuotaUnknown):
                accepted += isinstance(put(spool, clock, q), Accepted)
            claimed += len(spool.claim(1, sink).items)
        assert spool.check_quota(q, clock.now()) == QuotaRefused(False)
        clock.step_wall(step_s)
        spool.close()
    assert (accepted, claimed) == (5, 3)


# --- housekeeping -----------------------------------------------------------------------------------------------------


def test_windows_of_unknown_usage_count_as_exhausted_until_they_close(
    desk: LimitsClient, cursor: sqlite3.Cursor
) -> None:
    desk.limits.exhaust_open_windows(cursor, desk.clock.now())
    q = quota("a", (MINUTE, 2), (HOUR, 1000))
    assert desk.granted(q, tries=3) == 0
    assert desk.granted(quota("unlimited"), tries=3) == 3
    desk.clock.advance(3600)
    assert desk.granted(q) == 2
    desk.limits.exhaust_open_windows(cursor, desk.clock.now())
    desk.clock.step_wall(3600)
    assert desk.granted(q) == 0


def test_nothing_is_pruned_while_the_clock_may_be_wrong(desk: LimitsClient, cursor: sqlite3.Cursor) -> None:
    q = quota("a", (DAY, 1))
    desk.charge(q)
    desk.clock.advance(7200)
    desk.clock.step_wall(400 * 86400)
    assert desk.limits.prune(cursor, desk.clock.now()) == 0
    desk.clock.step_wall(-400 * 86400)
    assert desk.charge(q) == QuotaRefused(False)


# --- any sequence of events -------------------------------------------------------------------------------------------

VALUES = {MINUTE: 2, HOUR: 4, DAY: 5}
QUOTAS = {window: Quota(window.value, (Limit(window, VALUES[window]),), "b") for window in Window}
# Multiples of ten seconds, as all waits: so that two steps make none, or one that is large enough to be noticed.
STEPS_S = st.sampled_from([10.0, 60.0, 3590.0, 3600.0, DAY_S - 10, DAY_S, 9 * DAY_S, YEAR_S])
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("charge"), st.integers(1, 6)),
        st.tuples(st.just("wait"), st.sampled_from([10.0, 20.0, 50.0, 600.0, 3600.0, 7 * 3600.0, DAY_S])),
        st.tuples(st.just("forward"), STEPS_S),
        st.tuples(st.just("back"), STEPS_S),
        st.tuples(st.just("before midnight"), st.integers(-3, 3)),  # of another day
        st.tuples(st.just("kill"), st.just(0)),
        st.tuples(st.just("prune"), st.just(0)),
    ),
    max_size=60,
)


@examples(100)
@given(events=EVENTS)
@example(events=[("charge", 9), ("before midnight", 2), ("wait", 10.0), ("charge", 9)] * 5)
@example(events=[("charge", 9), ("back", 3600.0), ("wait", 3600.0)] * 30)
@example(
    events=[
        ("charge", 9),
        ("before midnight", 0),
        ("charge", 9),
        ("wait", 600.0),
        ("charge", 2),
        ("wait", 10.0),
        ("charge", 1),
    ]
)
def test_within_a_boot_no_period_of_a_windows_length_has_more_charges_than_a_calendar_allows(
    events: list[tuple[str, float]],
) -> None:
    """Twice the limit, where a window ended within it; once, where the clock was set within it. And one window's length
    after the clock was set for the last time there is room again."""
    with closing(tables(":memory:")) as connection:
        desk = LimitsClient(connection.cursor(), ManualClock(MIDNIGHT_S - 30))
        charged: dict[Window, list[float]] = {window: [] for window in Window}  # at which boot times
        stepped: list[float] = []
        reading: float | None = None  # of the clock at boot time 0, when something was last charged, or it was set

        def check(window: Window) -> None:
            at_s = charged[window][-1]
            recent = [s for s in charged[window] if s > at_s - LENGTH_S[window]]
            is_stepped = any(s > at_s - LENGTH_S[window] for s in stepped)
            assert len(recent) <= VALUES[window] * (1 if is_stepped else 2)

        for kind, number in events:
            now = desk.clock.now()
            if kind == "wait":
                desk.clock.advance(number)
            elif kind == "kill":
                desk.limits = LocalLimits()
            elif kind == "prune":
                desk.limits.prune(desk.cursor, now)
            elif kind == "charge":
                if reading is not None and reading != now.wall_s - now.boottime_s:
                    stepped.append(now.boottime_s)
                    reading = now.wall_s - now.boottime_s
                for window in Window:
                    for _ in range(int(number)):
                        if isinstance(desk.charge(QUOTAS[window]), QuotaGranted):
                            reading = now.wall_s - now.boottime_s
                            charged[window].append(now.boottime_s)
                            check(window)
            else:
                before_s = MIDNIGHT_S + number * DAY_S - 10 - now.wall_s
                desk.clock.step_wall({"forward": number, "back": -number, "before midnight": before_s}[kind])
        for window in Window:
            desk.clock.advance(LENGTH_S[window])
            assert desk.granted(QUOTAS[window]) == VALUES[window]


@examples(100)
@given(
    events=st.lists(
        st.one_of(
            st.tuples(st.just("charge"), st.integers(1, 6)),
            st.tuples(st.just("wait"), st.sampled_from([1.0, 59.0, 600.0, 3600.0, 7 * 3600.0, DAY_S])),
            st.tuples(st.just("reboot"), st.sampled_from([-YEAR_S, -DAY_S, -3600.0, -60.0, 0.0, 60.0])),
            st.tuples(st.just("kill"), st.just(0)),
            st.tuples(st.just("prune"), st.just(0)),
        ),
        max_size=60,
    )
)
def test_a_boot_behind_the_last_charge_grants_nothing_before_that_is_passed_or_a_windows_length_old(
    events: list[tuple[str, float]],
) -> None:
    with closing(tables(":memory:")) as connection:
        desk = LimitsClient(connection.cursor(), ManualClock(MIDNIGHT_S - 30))
        ran_s = 0.0  # in all boots
        newest: list[tuple[float, float]] = []  # of each boot: wall time, and ran_s
        last: tuple[float, float] | None = None
        for number, (kind, seconds) in enumerate(events):
            now = desk.clock.now()
            newest = [one for one in newest if one[0] > now.wall_s + 5.0]  # what is passed
            if kind == "wait":
                housekeeping(desk, seconds)
                ran_s += seconds
            elif kind == "kill":
                desk.limits = LocalLimits()
            elif kind == "prune":
                desk.limits.prune(desk.cursor, now)
            elif kind == "reboot":
                newest += [last] if last is not None else []
                last = None
                reboot(desk, f"boot-{number + 2}", wall_s=now.wall_s + seconds, boottime_s=0.5)
            else:
                for window in Window:
                    granted = desk.granted(QUOTAS[window], tries=int(seconds))
                    recent = [one for one in newest if ran_s + 0.5 - one[1] < LENGTH_S[window]]
                    assert granted == 0 or not recent
                    last = (now.wall_s, ran_s) if granted else last
        # And nothing is withheld for ever.
        housekeeping(desk, 27 * 3600.0)
        desk.clock.advance(DAY_S)
        for window in Window:
            assert desk.granted(QUOTAS[window]) == VALUES[window]


@examples(200)
@given(
    events=st.lists(
        st.one_of(
            st.tuples(st.just("charge"), st.integers(1, 6)),
            st.tuples(st.just("wait"), st.sampled_from([10.0, 50.0, 600.0, 3600.0, 7 * 3600.0, DAY_S])),
            # By how much the clock is wrong from then on.
            st.tuples(st.just("reboot"), st.sampled_from([-YEAR_S, -DAY_S, -3600.0, -60.0, 0.0, 60.0, DAY_S])),
            st.tuples(st.just("set"), st.sampled_from([-YEAR_S, -DAY_S, -3600.0, -60.0, 0.0, 0.0, 60.0, DAY_S])),
            st.tuples(st.just("kill"), st.just(0)),
            st.tuples(st.just("prune"), st.just(0)),
        ),
        max_size=60,
    )
)
def test_over_all_boots_a_real_window_keeps_its_limit_and_times_of_earlier_boots_do_not_change(
    events: list[tuple[str, float]],
) -> None:
    """Only for charges granted while the clock is right, in a boot that does not end with a clock that is behind:
    the other cases cannot be distinguished."""
    with closing(tables(":memory:")) as connection:
        desk = LimitsClient(connection.cursor(), ManualClock(MIDNIGHT_S - 7000))
        wrong_s = 0.0
        earlier: dict[str, float] = {}  # dates of the charges of earlier boots
        over: list[tuple[Window, int]] = []  # windows of credits of earlier boots
        running: list[tuple[Window, int]] = []  # of this one
        for number, (kind, value) in enumerate(events):
            if kind == "wait":
                desk.clock.advance(value)
            elif kind == "kill":
                desk.limits = LocalLimits()
            elif kind == "prune":
                desk.limits.prune(desk.cursor, desk.clock.now())
            elif kind == "set":
                desk.clock.step_wall(value - wrong_s)
                wrong_s = value
                desk.limits.apply_clock_step(desk.cursor, desk.clock.now())  # or nobody would know after a reboot
            elif kind == "reboot":
                earlier = dates(desk)
                over += running if wrong_s >= 0.0 else []
                running = []
                reboot(desk, f"boot-{number + 2}", wall_s=desk.clock.now().wall_s + 30 - wrong_s + value)
                wrong_s = value
            else:
                for window in Window:
                    granted = desk.granted(QUOTAS[window], tries=int(value))
                    if wrong_s == 0.0:
                        running += [(window, window_start(window, desk.clock.now().wall_s))] * granted
            found = dates(desk)
            assert all(found.get(id, at_s) == at_s for id, at_s in earlier.items())
            held = over + running
            assert all(held.count(one) <= VALUES[one[0]] for one in set(held))
        # And whatever has been, after one window's length there is room again.
        desk.limits.prune(desk.cursor, desk.clock.now())
        for window in Window:
            desk.clock.advance(LENGTH_S[window])
            assert desk.granted(QUOTAS[window]) == VALUES[window]

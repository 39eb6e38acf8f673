"""Limits of one device: never exceeded in any window, whatever the clock, the zone or a restart does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clocks import NOON_S, ManualClock
from exhaustive import examples
from framesift.clock.moment import Moment
from framesift.limits import Limit, Quota, QuotaGranted, QuotaRefused, QuotaUnknown, Window, window_start
from framesift.limits import batch_size as batch
from framesift.limits.local import LocalLimits
from rigs.local_limits import LimitsClient, quota, tables

MINUTE, HOUR, DAY = Window.MINUTELY, Window.HOURLY, Window.DAILY


@pytest.fixture
def cursor(tmp_path: Path) -> Iterator[sqlite3.Cursor]:
    with closing(tables(tmp_path / "limits.db")) as connection:
        yield connection.cursor()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def desk(cursor: sqlite3.Cursor, clock: ManualClock) -> LimitsClient:
    return LimitsClient(cursor, clock)


def test_each_window_grants_its_limit_and_no_more(desk: LimitsClient) -> None:
    q = quota("a", (MINUTE, 5), (HOUR, 12), (DAY, 20))
    per_minute = []
    for _ in range(130):
        per_minute.append(desk.granted(q, tries=10))
        desk.clock.advance(60)
    assert per_minute[:4] == [5, 5, 2, 0]
    assert sum(per_minute[:60]) == 12
    assert sum(per_minute) == 20


def test_the_first_strategy_with_room_in_all_its_windows_is_charged_or_none(desk: LimitsClient) -> None:
    first, second = quota("first", (MINUTE, 1), (DAY, 5)), quota("second", (MINUTE, 1))
    assert [desk.charge(first, second) for _ in range(3)] == [
        QuotaGranted("first"),
        QuotaGranted("second"),
        QuotaRefused(False),
    ]
    # The third took nothing from the day of the first either.
    desk.clock.advance(60)
    assert desk.charge(first, second) == QuotaGranted("first")
    assert desk.cursor.execute("SELECT count(*) FROM charge WHERE account = 'first'").fetchone() == (2,)


def test_strategies_have_windows_of_their_own(desk: LimitsClient) -> None:
    assert desk.charge(quota("a", (DAY, 1))) == QuotaGranted("a")
    assert desk.charge(quota("every", (DAY, 1))) == QuotaGranted("every")
    assert desk.charge(quota("sink", (DAY, 1))) == QuotaGranted("sink")


def test_the_same_name_in_two_policies_is_two_strategies(desk: LimitsClient) -> None:
    day = (Limit(DAY, 1),)
    yard, gate = Quota("a", day, "b", scope="yard"), Quota("a", day, "b", scope="gate")
    for one in (yard, gate):
        assert [desk.charge(one), desk.charge(one)] == [QuotaGranted("a"), QuotaRefused(False)]
    now = desk.clock.now()
    assert desk.limits.check(desk.cursor, [yard], now, now) == QuotaRefused(False)
    assert desk.limits.check(None, [Quota("a", day, "b", scope="road")], now, now) == QuotaUnknown()


def test_without_limits_everything_is_granted(desk: LimitsClient) -> None:
    assert desk.granted(quota("a"), tries=50) == 50


def test_without_candidates_nothing_is_granted(desk: LimitsClient) -> None:
    assert desk.charge() == QuotaRefused(False)


def test_a_batch_is_one_more_window_that_all_strategies_fill(desk: LimitsClient) -> None:
    a, b = quota("a", most=2), quota("b", most=2)
    assert [desk.charge(a), desk.charge(b), desk.charge(a, b)] == [
        QuotaGranted("a"),
        QuotaGranted("b"),
        QuotaRefused(True),
    ]
    desk.clock.advance(40 * 86400)
    assert desk.charge(a) == QuotaRefused(True)
    assert desk.charge(quota("a", most=2, batch="next")) == QuotaGranted("a")


def test_a_full_batch_of_one_strategy_is_reported_even_if_the_other_reached_its_limit(desk: LimitsClient) -> None:
    desk.charge(quota("a", most=1))
    assert desk.charge(quota("poor", (DAY, 0)), quota("a", most=1)) == QuotaRefused(True)
    assert desk.charge(quota("poor", (DAY, 0), most=1)) == QuotaRefused(False)


def test_the_same_id_is_charged_once(desk: LimitsClient, cursor: sqlite3.Cursor) -> None:
    now = desk.clock.now()
    q = quota("a", (DAY, 1))
    for _ in range(3):
        assert desk.limits.charge(cursor, "same", [q], now, now) == QuotaGranted("a")


def test_a_refund_makes_room_for_one(desk: LimitsClient, cursor: sqlite3.Cursor) -> None:
    q = quota("a", (DAY, 3), most=3)
    assert desk.granted(q) == 3
    desk.limits.refund(cursor, "id-2")
    desk.limits.refund(cursor, "id-2")
    assert desk.granted(q) == 1


def test_a_late_frame_is_charged_to_the_minute_of_its_capture(desk: LimitsClient) -> None:
    q = quota("a", (MINUTE, 1))
    captured = desk.clock.now()
    desk.clock.advance(120)
    assert desk.charge(q, captured=captured) == QuotaGranted("a")
    assert desk.charge(q, captured=captured) == QuotaRefused(False)
    assert desk.charge(q) == QuotaGranted("a")


def test_a_frame_of_an_earlier_boot_is_charged_by_its_wall_time(desk: LimitsClient) -> None:
    q = quota("a", (HOUR, 1))
    captured = desk.clock.now()
    desk.clock.advance(3600)
    desk.clock.reboot("boot-2")
    desk.charge(q, captured=captured)
    assert desk.charge(q) == QuotaGranted("a")


def test_a_frame_whose_clock_was_never_set_is_charged_to_now(desk: LimitsClient) -> None:
    q = quota("a", (HOUR, 1))
    desk.charge(q, captured=Moment(1000.0, 5.0, "an older boot"))
    assert desk.charge(q) == QuotaRefused(False)


def test_days_are_those_of_the_zone(cursor: sqlite3.Cursor) -> None:
    # Noon in UTC is midnight twelve hours east.
    clock = ManualClock(NOON_S - 1)
    desk = LimitsClient(cursor, clock, LocalLimits(timezone(timedelta(hours=12))))
    q = quota("a", (DAY, 1))
    assert [desk.charge(q), desk.charge(q)] == [QuotaGranted("a"), QuotaRefused(False)]
    clock.advance(1)
    assert desk.charge(q) == QuotaGranted("a")


# --- asking -----------------------------------------------------------------------------------------------------------


def test_check_agrees_with_charge(desk: LimitsClient, cursor: sqlite3.Cursor) -> None:
    q = [quota("a", (MINUTE, 2)), quota("b", most=1)]
    for _ in range(5):
        now = desk.clock.now()
        asked = desk.limits.check(cursor, q, now, now)
        assert asked == desk.charge(*q)


def test_an_exhausted_window_is_cached_until_it_closes(desk: LimitsClient, cursor: sqlite3.Cursor) -> None:
    q = [quota("a", (MINUTE, 1))]
    desk.charge(*q)
    now = desk.clock.now()
    assert desk.limits.check(None, q, now, now) == QuotaUnknown()
    assert desk.limits.check(cursor, q, now, now) == QuotaRefused(False)
    assert desk.limits.check(None, q, now, now) == QuotaRefused(False)
    desk.clock.advance(60)
    later = desk.clock.now()
    assert desk.limits.check(None, q, later, later) == QuotaUnknown()


def test_the_cache_is_separate_for_each_limit(desk: LimitsClient, cursor: sqlite3.Cursor) -> None:
    desk.charge(quota("a", (DAY, 1)))
    now = desk.clock.now()
    assert desk.limits.check(cursor, [quota("a", (DAY, 1))], now, now) == QuotaRefused(False)
    assert desk.limits.check(None, [quota("a", (DAY, 2))], now, now) == QuotaUnknown()
    assert desk.limits.check(None, [quota("b", (DAY, 1))], now, now) == QuotaUnknown()


def test_a_full_batch_is_cached_until_a_refund(desk: LimitsClient, cursor: sqlite3.Cursor) -> None:
    q = [quota("a", most=1)]
    desk.charge(*q)
    now = desk.clock.now()
    desk.limits.check(cursor, q, now, now)
    assert desk.limits.check(None, q, now, now) == QuotaRefused(True)
    desk.limits.refund(cursor, "id-1")
    desk.limits.clear_cache()
    assert desk.limits.check(None, q, now, now) == QuotaUnknown()
    assert desk.limits.check(cursor, q, now, now) == QuotaGranted("a")


def test_a_refund_during_the_query_is_not_hidden_by_the_cache(desk: LimitsClient, cursor: sqlite3.Cursor) -> None:
    q = [quota("a", (DAY, 1))]
    desk.charge(*q)
    now = desk.clock.now()
    cursor.connection.set_trace_callback(
        lambda _: desk.limits.clear_cache()
    )  # as another thread would, at this instant
    assert desk.limits.check(cursor, q, now, now) == QuotaRefused(False)
    cursor.connection.set_trace_callback(None)
    assert desk.limits.check(None, q, now, now) == QuotaUnknown()


# --- housekeeping -----------------------------------------------------------------------------------------------------


def test_old_charges_are_pruned_and_a_batch_remembers_them(desk: LimitsClient, cursor: sqlite3.Cursor) -> None:
    q = quota("a", (DAY, 9), most=10)
    assert desk.granted(q, tries=6) == 6
    desk.limits.record_send_start(cursor, "id-1", desk.clock.now())
    cursor.execute("INSERT INTO datapoint VALUES ('id-3', NULL)")
    desk.clock.advance(4 * 86400)
    assert desk.limits.prune(cursor, desk.clock.now()) == 5
    assert cursor.execute("SELECT id FROM charge").fetchall() == [("id-3",)]
    assert cursor.execute("SELECT count(*) FROM send").fetchone() == (0,)
    assert desk.granted(q) == 4


def test_a_batch_that_the_platform_counts_stays_as_full_when_charges_are_pruned(
    desk: LimitsClient, cursor: sqlite3.Cursor
) -> None:
    q = quota("a", most=10)
    assert desk.granted(q, tries=4) == 4
    batch.record_platform_size(cursor, "b", 7, batch.left_spool_count(cursor, "b"), desk.clock.now().wall_s)
    assert desk.granted(q, tries=1) == 1
    desk.clock.advance(4 * 86400)
    assert desk.limits.prune(cursor, desk.clock.now()) == 5
    assert batch.left_spool_count(cursor, "b") == 5
    assert desk.granted(q) == 2


def test_the_platforms_answer_for_a_batch_is_pruned_after_some_months(
    desk: LimitsClient, cursor: sqlite3.Cursor
) -> None:
    desk.charge(quota("a"))
    for name in ("old", "new"):
        batch.record_platform_size(cursor, name, 7, 0, desk.clock.now().wall_s)
        desk.clock.advance(batch.RETENTION_S / 2 + 3600)
    desk.limits.prune(cursor, desk.clock.now())
    assert cursor.execute("SELECT batch FROM batch_there").fetchall() == [("new",)]


def test_nothing_that_a_window_may_need_is_pruned(desk: LimitsClient, cursor: sqlite3.Cursor) -> None:
    desk.charge(quota("a", (DAY, 1)))
    desk.clock.advance(2 * 86400)
    assert desk.limits.prune(cursor, desk.clock.now()) == 0


def test_nothing_is_pruned_in_the_first_hour_of_a_program(desk: LimitsClient, cursor: sqlite3.Cursor) -> None:
    desk.charge(quota("a", (DAY, 1)))
    desk.clock.advance(4 * 86400)
    fresh = LocalLimits()
    assert fresh.prune(cursor, desk.clock.now()) == 0
    desk.clock.advance(3600)
    assert fresh.prune(cursor, desk.clock.now()) == 1


# --- the sink's brake -------------------------------------------------------------------------------------------------


def test_the_send_allowance_shrinks_with_each_send_and_says_until_when(
    desk: LimitsClient, cursor: sqlite3.Cursor
) -> None:
    limits = [Limit(MINUTE, 2), Limit(HOUR, 3)]
    now = desk.clock.now()
    assert desk.limits.send_allowance(cursor, limits, now, 1).count == 1
    assert (
        desk.limits.send_allowance(cursor, limits, now, 9).count,
        desk.limits.send_allowance(cursor, [], now, 9).count,
    ) == (2, 9)
    desk.limits.record_send_start(cursor, "x", now)
    desk.limits.record_send_start(cursor, "x", now)
    room = desk.limits.send_allowance(cursor, limits, now, 9)
    assert (room.count, room.until_s) == (0, NOON_S + 60)
    desk.limits.cancel_send(cursor, "x")
    assert desk.limits.send_allowance(cursor, limits, now, 9).count == 1


def test_usage_is_reported_for_the_open_windows(desk: LimitsClient, cursor: sqlite3.Cursor) -> None:
    desk.granted(quota("a"), tries=2)
    desk.clock.advance(60)
    desk.granted(quota("a"), tries=1)
    used = {(u.account, u.window): u.count for u in desk.limits.usage(cursor, desk.clock.now())}
    assert used == {("a", MINUTE): 1, ("a", HOUR): 3, ("a", DAY): 3}


# --- any sequence of events -------------------------------------------------------------------------------------------


@examples(60)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("wait"), st.sampled_from([1.0, 20.0, 59.0, 3600.0])),
            st.tuples(st.just("jump"), st.sampled_from([6.0, 61.0, 3599.0, 86400.0])),
            st.tuples(st.just("late"), st.sampled_from([0.0, 5.0, 30.0])),
        ),
        max_size=60,
    ),
    value=st.integers(0, 4),
)
@example(steps=[("late", 0.0), ("jump", 61.0), ("late", 5.0)], value=1)
def test_no_window_of_the_calendar_ever_holds_more_than_its_limit(steps: list[tuple[str, float]], value: int) -> None:
    connection = tables(":memory:")
    clock = ManualClock()
    desk = LimitsClient(connection.cursor(), clock)
    q = quota("a", (MINUTE, value), (HOUR, value + 2), (DAY, value + 5))
    seen: dict[tuple[Window, int], int] = {}
    for kind, seconds in steps:
        if kind == "wait":
            clock.advance(seconds)
        elif kind == "jump":
            clock.step_wall(seconds)
        else:
            now = clock.now()
            captured = Moment(now.wall_s - seconds, now.boottime_s - seconds, now.boot_id)
            if isinstance(desk.charge(q, captured=captured), QuotaGranted):
                for window in Window:
                    key = (window, window_start(window, now.wall_s - seconds))
                    seen[key] = seen.get(key, 0) + 1
    connection.close()
    assert all(count <= {MINUTE: value, HOUR: value + 2, DAY: value + 5}[window] for (window, _), count in seen.items())

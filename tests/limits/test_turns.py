"""Turns: a paced strategy earns its limit evenly over the window, whoever counts it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from clocks import NOON_S, ManualClock
from framesift.limits import Limit, Quota, QuotaGranted, QuotaRefused, Turns, Window
from framesift.limits.shared.ledger import Ledger
from framesift.limits.shared.ledgers import SharedLedgers
from framesift.limits.shared.requests import UTC_CALENDAR, Calendar, ChargeRequest
from framesift.limits.shared.server import RedisAddress
from rigs.local_limits import LimitsClient, tables
from rigs.redis_server import redis_server

HOUR = Window.HOURLY
SIX = Turns(Limit(HOUR, 6))


def paced(turns: Turns = SIX, **fields: object) -> Quota:
    return replace(Quota("best", (turns.limit,), "b", turns=turns), **fields)  # type: ignore[arg-type]


def test_a_turn_is_due_once_its_part_of_the_window_is_over_and_stays_due_until_it_is_used() -> None:
    due = [[SIX.is_due(used, elapsed_s, 3600.0) for used in range(3)] for elapsed_s in (0, 599, 600, 1199, 1200)]
    assert due == [
        [False, False, False],
        [False, False, False],
        [True, False, False],
        [True, False, False],
        [True, True, False],
    ]


def test_all_turns_of_a_window_are_earned_at_its_end_and_no_more_later() -> None:
    for elapsed_s in (3600.0, 9999.0):
        assert SIX.is_due(5, elapsed_s, 3600.0)
        assert not SIX.is_due(6, elapsed_s, 3600.0)


@pytest.mark.parametrize("limit", [1, 3, 7, 13, 97, 1000])
def test_every_turn_is_due_at_the_time_at_which_it_is_earned(limit: int) -> None:
    turns, elapsed_s = Turns(Limit(HOUR, limit)), 0.0
    for used in range(limit):
        elapsed_s = turns.next_earned_s(elapsed_s, 3600.0)
        assert elapsed_s == pytest.approx((used + 1) * 3600 / limit)
        assert turns.is_due(used, elapsed_s, 3600.0)
        assert not turns.is_due(used, elapsed_s - 0.001, 3600.0)
    assert turns.next_earned_s(elapsed_s, 3600.0) == math.inf


def test_a_limit_of_zero_earns_nothing() -> None:
    none = Turns(Limit(HOUR, 0))
    assert not none.is_due(0, 3600.0, 3600.0)
    assert none.next_earned_s(0.0, 3600.0) == math.inf


# --- counted by one device --------------------------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[LimitsClient]:
    with closing(tables(tmp_path / "limits.db")) as connection:
        yield LimitsClient(connection.cursor(), ManualClock(NOON_S))


def test_a_device_grants_one_for_each_turn(desk: LimitsClient) -> None:
    granted = []
    for _ in range(13):
        granted.append(desk.granted(paced(), tries=3))
        desk.clock.advance(300)
    assert granted == [0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0]


def test_turns_that_nobody_used_carry_over_inside_the_window_and_lapse_at_its_end(desk: LimitsClient) -> None:
    desk.clock.advance(3 * 600)
    assert desk.granted(paced(), tries=9) == 3
    desk.clock.advance(3600)  # three more were earned in the first hour, and three in the second
    assert desk.granted(paced(), tries=9) == 3


def test_what_was_captured_in_a_window_that_is_over_has_all_its_turns(desk: LimitsClient) -> None:
    captured = desk.clock.now()
    desk.clock.advance(3600)
    assert [isinstance(desk.charge(paced(), captured=captured), QuotaGranted) for _ in range(7)] == [True] * 6 + [False]


def test_a_refusal_says_that_no_turn_is_due_and_is_not_remembered(desk: LimitsClient) -> None:
    refused = QuotaRefused(batch_full=False, no_turn=True)
    assert desk.charge(paced()) == refused
    now = desk.clock.now()
    assert desk.limits.check(desk.cursor, [paced()], now, now) == refused
    desk.clock.advance(600)
    now = desk.clock.now()
    assert desk.limits.check(desk.cursor, [paced()], now, now) == QuotaGranted("best")
    full = Quota("best", (Limit(HOUR, 0),), "b", turns=SIX)
    assert desk.charge(full) == QuotaRefused(batch_full=False)


def test_ahead_is_how_many_more_than_earned_may_be_used(desk: LimitsClient) -> None:
    assert desk.granted(paced(Turns(Limit(HOUR, 6), ahead=3.0)), tries=9) == 3


# --- counted by the fleet ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisAddress]:
    with redis_server(tmp_path_factory.mktemp("redis")) as found:
        yield found.server


def hour_that_began(elapsed_s: float) -> Calendar:
    """Windows of 3600 s, one of which began so long ago by the machine's clock; all three kinds are the same."""
    first_s = math.floor(time.time() - elapsed_s) % 3600

    def start(_: Window, at_s: float) -> int:
        return math.floor((at_s - first_s) // 3600) * 3600 + first_s

    return Calendar(start, lambda kind, at_s: start(kind, at_s) + 3600)


def devices(server: RedisAddress, key: str, elapsed_s: float) -> list[Ledger]:
    calendar = hour_that_began(elapsed_s)
    found = [Ledger(server, f"turns:{{{key}}}", name, name, calendar=calendar, restore_s=0.0) for name in ("a", "b")]
    for ledger in found:
        ledger.set_synced(ledger.connect(ManualClock().now()).generation)
        ledger.set_available()
    return found


def granted(ledgers: list[Ledger], tries: int, age_s: float = 0.0) -> list[int]:
    """How many each device is granted when they ask in turn."""
    clock = ManualClock()
    captured = clock.now()
    clock.advance(age_s)
    found = [0 for _ in ledgers]
    for number in range(tries):
        for place, ledger in enumerate(ledgers):
            request = ChargeRequest(f"{place}-{number}-{age_s}", (paced(project="p"),), captured)
            found[place] += isinstance(ledger.charge(request, clock.now()), QuotaGranted)
    return found


def test_a_fleet_earns_its_turns_together_and_not_once_per_device(server: RedisAddress) -> None:
    ledgers = devices(server, "together", elapsed_s=1500.0)  # two turns were earned
    assert granted(ledgers, tries=3) == [1, 1]


def test_the_fleet_uses_all_turns_of_a_window_that_is_over(server: RedisAddress) -> None:
    ledgers = devices(server, "over", elapsed_s=100.0)
    assert granted(ledgers, tries=5, age_s=1800.0) == [3, 3]


def test_a_fleets_refusal_says_that_no_turn_is_due_and_is_not_remembered(server: RedisAddress) -> None:
    (ledger, _) = devices(server, "soon", elapsed_s=0.0)
    now = ManualClock().now()
    refused = ledger.charge(ChargeRequest("x", (paced(project="p"),), now), now)
    assert isinstance(refused, QuotaRefused)
    assert refused.no_turn
    free = replace(paced(project="p"), turns=None)
    assert isinstance(ledger.charge(ChargeRequest("y", (free,), now), now), QuotaGranted)


def test_a_device_that_cannot_ask_counts_the_turns_of_its_own_share() -> None:
    nowhere = RedisAddress("127.0.0.1", 1)
    ledgers = SharedLedgers(nowhere, prefix="p", calendar=UTC_CALENDAR, local_ceiling=0.5)
    now = ManualClock().now()
    answer = ledgers.charge("x", [paced(project="p")], now, now)
    (local,) = answer.local_quotas  # type: ignore[union-attr]
    assert local.turns == Turns(Limit(HOUR, 3))

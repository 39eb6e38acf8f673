"""The ledger that a fleet shares, against a real server: every decision, and every way in which the server fails."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import canaries
from clocks import ManualClock
from framesift.clock.moment import Moment
from framesift.limits import Limit, LimitsUnavailable, Quota, QuotaGranted, QuotaRefused, SharedCharge, Window
from framesift.limits.shared.ledger import REFUSAL_CACHE_S, Ledger
from framesift.limits.shared.requests import (
    LEASE_S,
    MAX_PENDING_S,
    BatchReport,
    Calendar,
    ChargeRequest,
    DeviceCharge,
    LedgerRequest,
    PlatformBatchSize,
)
from framesift.limits.shared.server import RedisAddress
from rigs.fault_proxy import fault_proxy
from rigs.raw_http_server import make_certificate
from rigs.redis_server import RedisServer, SentinelServer, free_port, hash_of, redis_server

KEY = "framesift:{parking}"
# How long the frame path may wait, with what a shared machine adds.
SOON_S = 0.4


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis(shared: RedisServer) -> RedisServer:
    """A server without any data."""
    shared.client.flushall()
    shared.client.config_resetstat()
    return shared


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server for this test alone, which may break it."""
    with redis_server(tmp_path_factory.mktemp("own")) as server:
        yield server


def grid(now_s: float) -> Calendar:
    """Windows so long that no test crosses the end of one: 1000 s, 3000 s and 9000 s, `now_s` in the middle of each."""
    begin = math.floor(now_s) - 1500
    sizes = {Window.MINUTELY: (begin, 1000), Window.HOURLY: (begin, 3000), Window.DAILY: (begin - 3000, 9000)}

    def start(kind: Window, at_s: float) -> int:
        first, size = sizes[kind]
        return first + math.floor((at_s - first) / size) * size

    return Calendar(start, lambda kind, at_s: start(kind, at_s) + sizes[kind][1])


_grids: list[Calendar] = []


@pytest.fixture(autouse=True)
def _one_grid() -> None:
    """All devices of a test have the same windows, though they are made at two sides of a second's end."""
    _grids[:] = [grid(time.time())]


@dataclass
class Device:
    """A device of the fleet, whose clock is a test's."""

    server: RedisAddress
    name: str = "gate"
    place: str = "here"
    calendar: Calendar = field(default_factory=lambda: _grids[0])
    clock: ManualClock = field(default_factory=ManualClock)
    restore_s: float = 0.0
    looks: int = 0

    def __post_init__(self) -> None:
        self.ledger = Ledger(
            self.server, KEY, self.name, self.place, calendar=self.calendar, restore_s=self.restore_s, wake=self._look
        )
        self.number = 0

    def _look(self) -> None:
        self.looks += 1

    def open(self) -> Device:
        answers = self.ledger.connect(self.clock.now())
        self.ledger.set_synced(answers.generation)
        self.ledger.set_available()
        return self

    def charge(
        self, *quotas: Quota, id: str | None = None, age_s: float = 0.0, captured: Moment | None = None
    ) -> QuotaGranted | QuotaRefused | None:
        self.number += 1
        now = self.clock.now()
        before = Moment(now.wall_s - age_s, now.boottime_s - age_s, now.boot_id)
        id = id or f"{self.name}-{self.number}"
        return self.ledger.charge(ChargeRequest(id, quotas, captured or before), now)

    def ask(self, **requests: object) -> Any:
        (name,) = requests
        answer = self.ledger.send(LedgerRequest(**requests), self.clock.now())  # type: ignore[arg-type]
        return getattr(answer, {"audit_days": "charged_ids"}.get(name, name), None)

    def used(self, account: str = "hard", window: Window = Window.DAILY) -> int:
        (count,) = self.ledger.send(LedgerRequest(usage=[(account, window)]), self.clock.now()).usage
        return count


def quota(
    strategy: str = "hard",
    *limits: tuple[Window, int],
    batch: str = "b",
    most: int | None = None,
) -> Quota:
    return Quota(strategy, tuple(Limit(*limit) for limit in limits), batch, most, project="parking")


def strategy(answer: QuotaGranted | QuotaRefused | None) -> str:
    assert isinstance(answer, QuotaGranted), answer
    return answer.strategy


def granted(device: Device, tries: int, *quotas: Quota, **how: float) -> int:
    return sum(isinstance(device.charge(*quotas, **how), QuotaGranted) for _ in range(tries))  # type: ignore[arg-type]


# --- decisions --------------------------------------------------------------------------------------------------------


def test_two_devices_share_a_limit(redis: RedisServer) -> None:
    gate, hall = Device(redis.server, "gate").open(), Device(redis.server, "hall").open()
    limit = quota("hard", (Window.MINUTELY, 3))
    assert [strategy(device.charge(limit)) for device in (gate, hall, gate)] == ["hard"] * 3
    assert isinstance(hall.charge(limit), QuotaRefused)
    assert isinstance(gate.charge(limit), QuotaRefused)
    assert gate.used() == hall.used() == 3


def test_the_first_strategy_with_room_in_all_its_windows_is_charged_in_all_of_them(redis: RedisServer) -> None:
    device = Device(redis.server).open()
    first = quota("first", (Window.MINUTELY, 5), (Window.DAILY, 1))
    second = quota("second", (Window.HOURLY, 1))
    assert [strategy(device.charge(first, second)) for _ in range(2)] == ["first", "second"]
    assert isinstance(device.charge(first, second), QuotaRefused)
    for account in ("first", "second"):
        assert [device.used(account, window) for window in Window] == [1, 1, 1]


def test_a_limit_of_zero_grants_nothing_and_no_limit_grants_everything(redis: RedisServer) -> None:
    device = Device(redis.server).open()
    assert isinstance(device.charge(quota("hard", (Window.DAILY, 0))), QuotaRefused)
    assert granted(device, 20, quota("free")) == 20


def test_an_id_is_charged_once_however_often_it_is_requested(redis: RedisServer) -> None:
    device = Device(redis.server).open()
    limit = quota("hard", (Window.DAILY, 1))
    first = device.charge(limit, id="a")
    assert device.charge(limit, id="a") == first
    assert isinstance(device.charge(limit, id="b"), QuotaRefused)
    assert device.used() == 1


def test_an_id_that_was_charged_stays_with_its_strategy(redis: RedisServer) -> None:
    device = Device(redis.server).open()
    assert strategy(device.charge(quota("second"), id="a")) == "second"
    assert strategy(device.charge(quota("first"), quota("second"), id="a")) == "second"


def test_the_same_id_of_another_device_is_another_datapoint(redis: RedisServer) -> None:
    gate, hall = Device(redis.server, "gate").open(), Device(redis.server, "hall").open()
    for device in (gate, hall):
        device.charge(quota(), id="a")
    assert gate.used() == 2


def test_a_frame_is_charged_to_the_windows_in_which_it_was_captured(redis: RedisServer) -> None:
    device = Device(redis.server).open()
    limit = quota("hard", (Window.MINUTELY, 2))
    assert granted(device, 4, limit) == 2
    assert granted(device, 4, limit, age_s=1000.0) == 2
    assert device.used("hard", Window.MINUTELY) == 2
    assert device.used("hard", Window.HOURLY) == 4


def test_an_id_at_the_edge_of_a_day_is_found_on_the_other_side(redis: RedisServer) -> None:
    device = Device(redis.server).open()
    first = device.charge(quota(), id="a", age_s=4000.0)
    again = device.charge(
        quota(), id="a", age_s=5000.0
    )  # as if it had been asked for a little later, in the day before
    assert isinstance(first, QuotaGranted)
    assert again == first
    assert device.used() == 1


@pytest.mark.parametrize("years", [-30, -1, 1, 10])
def test_the_devices_own_clock_does_not_matter(redis: RedisServer, years: int) -> None:
    device = Device(redis.server, clock=ManualClock(time.time() + years * 365 * 86400.0)).open()
    answer = device.charge(quota())
    assert isinstance(answer, QuotaGranted)
    assert answer.shared is not None
    assert abs(answer.shared.at_s - time.time()) < 30
    assert device.used() == 1


def test_a_clock_that_steps_while_the_device_runs_does_not_matter(redis: RedisServer) -> None:
    device = Device(redis.server).open()
    limit = quota("hard", (Window.DAILY, 2))
    device.charge(limit)
    captured = device.clock.now()
    device.clock.step_wall(365 * 86400.0)
    assert isinstance(device.charge(limit, captured=captured), QuotaGranted)
    assert isinstance(device.charge(limit), QuotaRefused)
    assert device.used() == 2


def test_a_frame_of_another_boot_whose_clock_was_not_set_is_charged_to_now(redis: RedisServer) -> None:
    device = Device(redis.server, clock=ManualClock(time.time())).open()
    answer = device.charge(quota(), captured=Moment(3600.0, 60.0, "another boot"))
    assert isinstance(answer, QuotaGranted)
    assert answer.shared is not None
    assert abs(answer.shared.at_s - time.time()) < 30


def test_a_wrong_estimate_of_the_servers_time_is_corrected_within_the_same_decision(
    redis: RedisServer,
) -> None:
    device = Device(redis.server, clock=ManualClock(86400.0)).open()
    device.ledger._clock_offset = None  # it has not heard of the server's time in this boot
    assert isinstance(device.charge(quota()), QuotaGranted)
    assert redis.client.info("commandstats")["cmdstat_evalsha"]["calls"] <= 2 + 2 + 1


def test_days_follow_the_zone(redis: RedisServer) -> None:
    zone = ZoneInfo("Asia/Kolkata")
    device = Device(redis.server, calendar=Calendar.for_zone(zone)).open()
    answer = device.charge(quota())
    assert isinstance(answer, QuotaGranted)
    assert answer.shared is not None
    midnight = datetime.fromtimestamp(answer.shared.at_s, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    assert f"{KEY}:day:{int(midnight.timestamp())}" in redis.client.scan_iter()


def test_each_decision_is_one_round_trip(redis: RedisServer) -> None:
    device = Device(redis.server).open()
    redis.client.config_resetstat()
    limits = ((Window.MINUTELY, 10), (Window.HOURLY, 100), (Window.DAILY, 1000))
    assert granted(device, 11, quota("a", *limits, most=1000), quota("b", *limits), quota("c", *limits)) == 11
    stats = redis.client.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 11
    assert not {"cmdstat_eval", "cmdstat_auth", "cmdstat_ping", "cmdstat_select"} & set(stats)


def test_a_refusal_is_cached_for_a_while(redis: RedisServer) -> None:
    gate, hall = Device(redis.server, "gate").open(), Device(redis.server, "hall").open()
    limit = quota("hard", (Window.DAILY, 1))
    hall.charge(limit, id="a")
    assert isinstance(gate.charge(limit), QuotaRefused)
    redis.client.config_resetstat()
    assert all(isinstance(gate.charge(limit), QuotaRefused) for _ in range(100))
    assert "cmdstat_evalsha" not in redis.client.info("commandstats")
    # Another strategy, or another window, is not meant.
    assert strategy(gate.charge(limit, quota("other"))) == "other"
    assert isinstance(gate.charge(limit, age_s=9000.0), QuotaGranted)
    # Somebody gives a credit back: it is noticed soon.
    day = int(grid_day(hall))
    hall.ask(refund=[("a", day)])
    gate.clock.advance(REFUSAL_CACHE_S)
    assert isinstance(gate.charge(limit), QuotaGranted)


def grid_day(device: Device) -> int:
    return device.calendar.start(Window.DAILY, time.time())


def test_four_threads_of_two_devices_never_exceed_a_limit_and_reach_it(redis: RedisServer) -> None:
    devices = [Device(redis.server, name).open() for name in ("gate", "hall")]
    limit = quota("hard", (Window.DAILY, 100))
    won: list[int] = []

    def hammer(device: Device, name: str) -> None:
        answers = [device.charge(limit, id=f"{name}-{number}") for number in range(60)]
        won.append(sum(isinstance(answer, QuotaGranted) for answer in answers))

    threads = [threading.Thread(target=hammer, args=(d, f"{d.name}-{n}")) for d in devices for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # On a busy machine a thread may have waited too long for its turn: its quota is pending.
    assert sum(won) == devices[0].open().used() <= 100
    assert granted(devices[0], 150, limit) == 100 - sum(won)


# --- batches ----------------------------------------------------------------------------------------------------------


def test_a_batch_is_one_more_window_whichever_strategies_fill_it(redis: RedisServer) -> None:
    gate, hall = Device(redis.server, "gate").open(), Device(redis.server, "hall").open()
    assert granted(gate, 2, quota("a", most=3)) == 2
    assert granted(hall, 2, quota("b", most=3)) == 1
    assert hall.charge(quota("b", most=3)) == QuotaRefused(batch_full=True)
    assert isinstance(hall.charge(quota("b", batch="another", most=3)), QuotaGranted)


def test_a_refund_makes_room_in_the_batch(redis: RedisServer) -> None:
    device = Device(redis.server).open()
    device.charge(quota("a", most=1), id="a")
    device.ask(refund=[("a", grid_day(device))])
    assert isinstance(device.charge(quota("a", most=1)), QuotaGranted)


def test_the_platforms_count_replaces_the_charges_that_have_left_the_spool(redis: RedisServer) -> None:
    gate, hall = Device(redis.server, "gate").open(), Device(redis.server, "hall").open()
    assert granted(gate, 2, quota("a", most=10)) == 2
    assert granted(hall, 2, quota("a", most=10)) == 2
    # Of these four three have arrived, and the platform has four of other people's beside them.
    gate.ask(batch_reports=[BatchReport("b", 2, 2, False)])
    hall.ask(batch_reports=[BatchReport("b", 2, 1, False)])
    (mark,) = gate.ask(left_spool=["b"])
    assert mark == 3
    gate.ask(platform_sizes=[PlatformBatchSize("b", 7, mark)])
    assert granted(hall, 5, quota("a", most=10)) == 2


def test_only_one_device_asks_the_platform(redis: RedisServer) -> None:
    gate, hall = Device(redis.server, "gate").open(), Device(redis.server, "hall").open()
    assert gate.ask(left_spool=["b"]) == (0,)
    assert hall.ask(left_spool=["b", "another"]) == (None, 0)


def test_a_lost_batch_count_is_reported_again_and_never_becomes_smaller(redis: RedisServer) -> None:
    device = Device(redis.server).open()
    device.ask(batch_reports=[BatchReport("b", 4, 0, False)])
    assert granted(device, 5, quota("a", most=5)) == 1
    device.ask(batch_reports=[BatchReport("b", 4, 0, False)])  # read from the spool before the last charge was in it
    device.clock.advance(REFUSAL_CACHE_S)
    assert isinstance(device.charge(quota("a", most=5)), QuotaRefused)
    device.clock.advance(REFUSAL_CACHE_S)
    device.ask(batch_reports=[BatchReport("b", 3, 0, True)])  # at a start, when nothing is on its way
    assert granted(device, 5, quota("a", most=5)) == 2


# --- refunds, and what a device holds ---------------------------------------------------------------------------------


def test_a_refund_goes_to_the_windows_that_were_charged_and_only_once(redis: RedisServer) -> None:
    device = Device(redis.server).open()
    device.charge(quota(), id="old", age_s=1000.0)
    device.charge(quota(), id="new")
    for _ in range(2):
        device.ask(refund=[("old", grid_day(device))])
    assert device.used("hard", Window.MINUTELY) == 1
    assert device.used("hard", Window.HOURLY) == 1
    assert device.ask(audit_days=[grid_day(device)]) == (("new", grid_day(device)),)


def test_a_refund_of_what_was_never_charged_changes_nothing(redis: RedisServer) -> None:
    gate, hall = Device(redis.server, "gate").open(), Device(redis.server, "hall").open()
    gate.charge(quota(), id="a")
    hall.ask(refund=[("a", grid_day(hall)), ("b", grid_day(hall))])
    assert gate.used() == 1


def test_a_restored_charge_counts_once_in_the_windows_of_its_capture(redis: RedisServer) -> None:
    device = Device(redis.server).open()
    now_s = time.time()
    held = [DeviceCharge("a", "hard", "b", now_s), DeviceCharge("b", "hard", "b", now_s - 1000.0)]
    for _ in range(2):
        device.ask(restore=held)
    assert [device.used("hard", window) for window in Window] == [1, 2, 2]
    assert isinstance(device.charge(quota("hard", (Window.DAILY, 2))), QuotaRefused)


def test_a_charge_that_is_too_old_is_not_restored(redis: RedisServer) -> None:
    device = Device(redis.server).open()
    device.ask(restore=[DeviceCharge("a", "hard", "b", time.time() - MAX_PENDING_S - 4 * 86400.0)])
    assert [key for key in redis.client.scan_iter() if ":day:" in key] == []


def test_every_key_expires(redis: RedisServer) -> None:
    device = Device(redis.server).open()
    device.charge(quota("a", most=5))
    device.ask(batch_reports=[BatchReport("c", 1, 0, False)])
    device.ask(platform_sizes=[PlatformBatchSize("d", 1, 0)])
    device.ask(left_spool=["e"])
    keys = redis.client.keys()
    assert len(keys) == 1 + 1 + 2 + 4
    assert all(0 < redis.client.ttl(key) <= 40 * 86400 for key in keys)


def test_all_keys_of_a_project_lie_in_one_slot_of_a_cluster(redis: RedisServer) -> None:
    device = Device(redis.server).open()
    device.charge(quota("a", most=5))
    assert all(key.startswith("framesift:{parking}") for key in redis.client.scan_iter())


# --- its memory -------------------------------------------------------------------------------------------------------


def test_a_new_generation_grants_nothing_until_its_devices_have_had_time(redis: RedisServer) -> None:
    device = Device(redis.server, restore_s=60.0).open()
    assert device.charge(quota()) is None
    assert device.ledger.problem is not None
    assert device.looks == 1
    assert 50 < device.ledger.connect(device.clock.now()).restoring_s <= 60
    redis.client.hset(KEY, "born", time.time() - 61)
    assert isinstance(device.open().charge(quota()), QuotaGranted)


def test_a_device_that_has_not_reported_its_charges_is_granted_nothing(redis: RedisServer) -> None:
    device = Device(redis.server)
    device.ledger.connect(device.clock.now())
    device.ledger.set_available()
    assert device.charge(quota()) is None
    assert device.open().used() == 0


@pytest.mark.parametrize("how", ["flushed", "restarted", "lost its key"])
def test_lost_data_begins_a_new_generation(own: RedisServer, how: str) -> None:
    device = Device(own.server, restore_s=0.0).open()
    device.charge(quota(), id="a")
    before = device.ledger.synced_generation
    if how == "flushed":
        own.client.flushall()
    elif how == "restarted":
        own.stop()
        own.start()
    else:
        own.client.delete(KEY)
    assert device.charge(quota()) is None
    assert device.looks == 1
    assert device.ledger.connect(device.clock.now()).generation != before


def test_a_server_that_was_restarted_with_its_data_keeps_the_charges(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with redis_server(tmp_path_factory.mktemp("kept"), appendonly="yes", appendfsync="always") as server:
        device = Device(server.server).open()
        device.charge(quota(), id="a")
        before = device.ledger.synced_generation
        server.stop()
        server.start()
        assert device.open().used() == 1
        assert device.ledger.synced_generation != before  # whether it has forgotten the last second, nobody knows


def test_a_server_clock_that_was_set_back_does_not_lengthen_the_restoring(redis: RedisServer) -> None:
    device = Device(redis.server, restore_s=60.0).open()
    redis.client.hset(KEY, "born", time.time() + 365 * 86400)
    assert device.ledger.connect(device.clock.now()).restoring_s <= 60


def test_scripts_that_were_flushed_are_sent_again_within_the_decision(redis: RedisServer) -> None:
    device = Device(redis.server).open()
    redis.client.script_flush()
    assert isinstance(device.charge(quota()), QuotaGranted)
    assert isinstance(device.charge(quota()), QuotaGranted)
    stats = redis.client.info("commandstats")
    assert stats["cmdstat_eval"]["calls"] <= 2


def test_a_device_id_belongs_to_one_instance_until_its_lease_ends(redis: RedisServer) -> None:
    here, there = Device(redis.server, place="here").open(), Device(redis.server, place="there").open()
    now = here.clock.now()
    assert isinstance(here.charge(quota(), id="a"), QuotaGranted)
    audit = LedgerRequest(audit_days=there.ledger.audit_days(now), lease=True)
    answers = there.ledger.send(audit, now)
    assert (answers.is_only_instance, answers.charged_ids) == (False, ())
    answers = here.ledger.send(audit, now)
    assert (answers.is_only_instance, [id for id, _ in answers.charged_ids]) == (True, ["a"])
    lease = f"{KEY}:run:gate"
    assert 0 < float(hash_of(redis.client, lease)["until"]) - time.time() <= LEASE_S + 1
    redis.client.hset(lease, "until", time.time() - 1)
    assert there.ledger.send(audit, now).is_only_instance
    assert not here.ledger.send(audit, now).is_only_instance
    assert (
        Device(redis.server, "hall", place="here").open().ledger.send(LedgerRequest(lease=True), now).is_only_instance
    )


def test_a_server_clock_that_was_set_back_does_not_lengthen_the_lease(redis: RedisServer) -> None:
    Device(redis.server, place="here").open()
    redis.client.hset(f"{KEY}:run:gate", "until", time.time() + 3600.0)
    there = Device(redis.server, place="there")
    assert there.ledger.connect(there.clock.now()).is_only_instance


# --- failures ---------------------------------------------------------------------------------------------------------


def took_s(work: Callable[[], object]) -> float:
    began_s = time.monotonic()
    work()
    return time.monotonic() - began_s


def test_a_frozen_server_costs_each_frame_path_a_tenth_of_a_second_once(own: RedisServer) -> None:
    device = Device(own.server).open()
    own.freeze()
    try:
        answers: list[object] = []
        waits: list[float] = []

        def frame() -> None:
            waits.append(took_s(lambda: answers.append(device.charge(quota("hard", (Window.DAILY, 9))))))

        threads = [threading.Thread(target=frame) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [None] * 4
        assert max(waits) < SOON_S
        assert took_s(lambda: [device.charge(quota(), id=f"x{n}") for n in range(1000)]) < SOON_S
        assert device.ledger.problem is not None
    finally:
        own.thaw()
    # The four may or may not have been charged: whoever asks again for the same ids pays nothing twice.
    device.open()
    charged = device.ask(audit_days=device.ledger.audit_days(device.clock.now()))
    assert {id for id, _ in charged} <= device.ledger.unconfirmed_ids()


def test_no_frame_waits_for_a_connection(own: RedisServer) -> None:
    device = Device(own.server).open()
    own.stop()
    assert device.charge(quota()) is None
    own.start()
    assert device.charge(quota()) is None
    assert own.client.info("stats")["total_connections_received"] <= 2  # the test's own
    assert isinstance(device.open().charge(quota()), QuotaGranted)


def test_an_idle_connection_is_kept_alive(redis: RedisServer) -> None:
    device = Device(redis.server).open()
    for connection in (device.ledger._frame_connection, device.ledger._worker_connection):
        assert connection._connection is not None
        wire: Any = connection._connection._sock
        assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30


@pytest.mark.parametrize("mode", ["swallow", "cut", "half"])
def test_a_charge_whose_answer_is_lost_is_charged_once(redis: RedisServer, mode: str) -> None:
    with fault_proxy(redis.port) as proxy:
        device = Device(RedisAddress("127.0.0.1", proxy.port)).open()
        limit = quota("hard", (Window.DAILY, 1))
        proxy.mode = mode
        waited_s = took_s(lambda: device.charge(limit, id="a"))
        assert waited_s < SOON_S
        assert device.ledger.problem is not None
        proxy.mode = "pass"
        device.open()
        assert device.used() == 1
        assert isinstance(device.charge(limit, id="a"), QuotaGranted)
        assert isinstance(device.charge(limit, id="b"), QuotaRefused)
        device.ledger.close()


def test_a_server_that_is_too_slow_for_frames_is_not_used_by_frames(redis: RedisServer) -> None:
    with fault_proxy(redis.port) as proxy:
        device = Device(RedisAddress("127.0.0.1", proxy.port)).open()
        proxy.delay_s = 0.15
        assert device.charge(quota()) is None
        with pytest.raises(LimitsUnavailable, match="in time"):
            device.ledger.connect(device.clock.now())
        proxy.delay_s = 0.0
        assert isinstance(device.open().charge(quota()), QuotaGranted)
        device.ledger.close()


def test_a_server_that_became_a_replica_is_unavailable_and_charges_nothing(own: RedisServer) -> None:
    device = Device(own.server).open()
    own.client.replicaof("127.0.0.1", "1")
    assert device.charge(quota(), id="a") is None
    assert "replica" in str(device.ledger.problem).lower()
    with pytest.raises(LimitsUnavailable):
        device.open()
    own.client.replicaof("NO", "ONE")
    assert device.open().used() == 0
    assert isinstance(device.charge(quota(), id="a"), QuotaGranted)


def test_a_server_that_is_out_of_memory_is_unavailable_and_charges_nothing_partly(own: RedisServer) -> None:
    device = Device(own.server).open()
    device.charge(quota("hard", most=10), id="a")
    before = {key: own.client.hgetall(key) for key in own.client.scan_iter()}
    own.client.config_set("maxmemory", 1)
    assert device.charge(quota("hard", most=10), id="b") is None
    assert "memory" in str(device.ledger.problem)
    assert {key: own.client.hgetall(key) for key in own.client.scan_iter()} == before
    own.client.config_set("maxmemory", 0)
    assert isinstance(device.open().charge(quota("hard", most=10), id="b"), QuotaGranted)


def test_a_request_to_a_server_that_does_not_answer_ends_after_a_second(own: RedisServer) -> None:
    device = Device(own.server).open()
    own.freeze()
    try:
        with pytest.raises(LimitsUnavailable):
            device.ask(left_spool=["b"])
        assert took_s(lambda: _is_unavailable(device)) < 3.0
    finally:
        own.thaw()


def _is_unavailable(device: Device) -> None:
    with pytest.raises(LimitsUnavailable):
        device.ledger.connect(device.clock.now())


@pytest.mark.parametrize(
    "answer", [b"$2\r\n{}\r\n", b"$4\r\nnull\r\n", b":7\r\n", b"+OK\r\n", b"*0\r\n", b"garbage\r\n"]
)
def test_an_invalid_answer_grants_nothing(answer: bytes) -> None:
    with speaking(answer) as port:
        device = Device(RedisAddress("127.0.0.1", port))
        with pytest.raises(LimitsUnavailable):
            device.open()
        assert device.charge(quota()) is None
        device.ledger.close()


@contextlib.contextmanager
def speaking(answer: bytes) -> Iterator[int]:
    """A server that answers everything with this."""
    place = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = place.accept()
                with contextlib.suppress(OSError):
                    while peer.recv(1 << 16):
                        peer.sendall(answer)
                peer.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(place.getsockname()[1])
    finally:
        place.shutdown(socket.SHUT_RDWR)
        place.close()
        thread.join(10)


# --- who may ask ------------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_reported_without_the_password(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with redis_server(tmp_path_factory.mktemp("locked"), requirepass="right") as server:
        for password in (None, canaries.PASSWORD):
            device = Device(RedisAddress("127.0.0.1", server.port, password=password))
            with pytest.raises(LimitsUnavailable) as error:
                device.open()
            assert (
                "auth" in str(error.value).lower() or "WRONGPASS" in str(error.value) or "invalid" in str(error.value)
            )
            assert canaries.PASSWORD not in repr(device.server)
        assert isinstance(
            Device(RedisAddress("127.0.0.1", server.port, password="right")).open().charge(quota()), QuotaGranted
        )


def test_certificates_are_verified(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> None:
    certificate = make_certificate(tmp_path_factory.mktemp("certificate"))
    with fault_proxy(redis.port, certificate) as proxy:
        trusting = Device(RedisAddress("127.0.0.1", proxy.port, tls=True, ca_file=certificate[0])).open()
        assert isinstance(trusting.charge(quota()), QuotaGranted)
        trusting.ledger.close()
        with pytest.raises(LimitsUnavailable, match=r"(?i)certificate"):
            Device(RedisAddress("127.0.0.1", proxy.port, tls=True)).open()


def test_the_account_that_the_manual_describes_may_do_all_that_is_needed_and_no_more(own: RedisServer) -> None:
    own.command("ACL", "SETUSER", "gate", *acl_of_the_manual("geheim"))
    device = Device(RedisAddress("127.0.0.1", own.port, username="gate", password="geheim")).open()
    assert isinstance(device.charge(quota("a", most=5), id="a"), QuotaGranted)
    device.ask(batch_reports=[BatchReport("b", 1, 1, False)])
    device.ask(left_spool=["b"])
    device.ask(platform_sizes=[PlatformBatchSize("b", 1, 1)])
    device.ask(restore=[DeviceCharge("r", "hard", "b", time.time())])
    device.ask(refund=[("a", grid_day(device))])
    assert device.ask(audit_days=[grid_day(device)]) == (("r", grid_day(device)),)
    assert device.used() == 1
    client = own.client_as("gate", "geheim")
    for words in (("FLUSHALL",), ("CONFIG", "GET", "*"), ("SET", "other", "1"), ("KEYS", "*"), ("DEL", KEY)):
        with pytest.raises(Exception, match=r"(?i)no permissions|can't access"):
            client.execute_command(*words)  # type: ignore[no-untyped-call]


def acl_of_the_manual(password: str) -> list[str]:
    """The words after the user's name in the ACL line of docs/fleet.md."""
    lines = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text().splitlines()
    line = next(line for line in lines if "ACL SETUSER" in line)
    return [word.replace("PASSWORD", password) for word in line.split("SETUSER")[1].split()[1:]]


def test_a_file_of_certificates_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LimitsUnavailable, match=r"elsewhere\.pem"):
        Device(RedisAddress("127.0.0.1", 1, tls=True, ca_file=tmp_path / "elsewhere.pem")).open()
    with pytest.raises(LimitsUnavailable, match="is a folder, and no file"):
        Device(RedisAddress("127.0.0.1", 1, tls=True, ca_file=tmp_path)).open()


def test_a_sentinel_in_the_place_of_the_server_is_named_with_the_way_out(tmp_path: Path) -> None:
    sentinel = SentinelServer(tmp_path)
    sentinel.start()
    try:
        with pytest.raises(LimitsUnavailable, match=r"Sentinel.*redis://host:6379/0"):
            Device(sentinel.server).open()
    finally:
        sentinel.stop()


def test_on_a_cluster_the_server_that_has_the_key_is_found(tmp_path_factory: pytest.TempPathFactory) -> None:
    buses = [free_port(), free_port()]
    with contextlib.ExitStack() as house:
        nodes = [
            house.enter_context(
                redis_server(tmp_path_factory.mktemp("node"), cluster_enabled="yes", cluster_port=str(bus))
            )
            for bus in buses
        ]
        here, there = (node.client for node in nodes)
        nodes[1].command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        nodes[1].command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, buses[0])
        pause = threading.Event()
        for _ in range(1000):
            if all("cluster_state:ok" in str(node.command("CLUSTER", "INFO")) for node in nodes):
                break
            pause.wait(0.02)
        device = Device(nodes[0].server).open()
        assert isinstance(device.charge(quota()), QuotaGranted)
        assert there.hget(KEY, "id") == device.ledger.synced_generation
        # Both die, and at the address that the device was given another takes their place.
        for node in nodes:
            node.stop()
        another = RedisServer(nodes[0].folder)
        another.port = nodes[0].port
        another.start()
        house.callback(another.stop)
        assert isinstance(device.open().charge(quota()), QuotaGranted)
        assert here.hget(KEY, "id") == device.ledger.synced_generation


def test_a_charge_says_when_and_by_which_generation_it_was_granted(redis: RedisServer) -> None:
    device = Device(redis.server).open()
    answer = device.charge(quota(), id="a", age_s=100.0)
    assert isinstance(answer, QuotaGranted)
    assert answer.shared is not None
    assert answer.shared == SharedCharge(answer.shared.at_s, str(device.ledger.synced_generation))
    assert abs(time.time() - 100.0 - answer.shared.at_s) < 30


def test_a_ledger_is_closed_while_a_thread_is_still_connecting(redis: RedisServer) -> None:
    device = Device(redis.server).open()
    with device.ledger._worker_lock:  # as whoever waits for a name to be resolved holds it
        assert took_s(device.ledger.close) < 2.0


def test_frames_that_queue_for_a_slow_ledger_do_not_mark_it_unavailable(redis: RedisServer) -> None:
    with fault_proxy(redis.port) as wire:
        wire.delay_s = 0.03
        device = Device(RedisAddress("127.0.0.1", wire.port)).open()
        answers: list[QuotaGranted | QuotaRefused | None] = []
        threads = [threading.Thread(target=lambda: answers.append(device.charge(quota()))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (device.looks, device.ledger.problem) == (0, None)
        assert any(isinstance(answer, QuotaGranted) for answer in answers)
        assert len(answers) == 8

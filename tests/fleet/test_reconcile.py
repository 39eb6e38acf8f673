"""Spool and shared ledger agree, whatever is interrupted at any moment; against a real server."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from clocks import ManualClock
from framesift.datapoint import Candidate
from framesift.fleet.platform_batches import LeftSpoolCounts
from framesift.fleet.reconcile import (
    AUDIT_INTERVAL_S,
    FIRST_PAUSE_S,
    MAX_PAUSE_S,
    RECONCILE_INTERVAL_S,
    RESTORING,
    RUNS_ELSEWHERE,
    SPOOL_COPIED,
    STABLE_AFTER_S,
)
from framesift.fleet.shared_limits import PROBLEM_HOLDS_S, FleetBatchCounts, SharedLimits
from framesift.frame import Frame, RefusalReason
from framesift.limits import AccountLimit, Limit, QuotaGranted, QuotaPending, QuotaRefused, Window
from framesift.limits.local import LocalLimits
from framesift.limits.shared.requests import LEASE_S, ChargeRequest, LedgerRequest
from framesift.limits.shared.server import RedisAddress
from framesift.pictures.encoded_picture import BadPicture, LazyEncodedPicture, parse_picture
from framesift.policy.policy import Policy
from framesift.privacy.privacy_settings import PrivacySettings
from framesift.privacy.stream_privacy import StreamPrivacy
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.admission import Admission
from framesift.sampling.candidates import CollectionOrigin
from framesift.sampling.intake import Intake
from framesift.sampling.intake_decision import IntakeDecision
from framesift.settings import LimitsSettings
from framesift.spool import Accepted, FinalOutcome, WhenFull
from framesift.spool import admin as by_hand
from framesift.telemetry import Telemetry
from rigs.fault_proxy import fault_proxy
from rigs.fleet import PROJECT, FleetDevice, quota, strategy_of
from rigs.hostile_pictures import spoilt
from rigs.listeners import Style, picture, policy
from rigs.redis_server import RedisServer, hash_of, redis_server
from rigs.spools import datapoint, make_spool, prediction, put

KEY = f"framesift:{{{PROJECT}}}"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis(shared: RedisServer) -> Iterator[RedisServer]:
    shared.client.flushall()
    yield shared
    if not shared.is_running:
        shared.start()


@pytest.fixture
def device(tmp_path: Path, redis: RedisServer) -> Iterator[FleetDevice]:
    with FleetDevice(tmp_path / "gate", redis.server) as made:
        yield made


def held(redis: RedisServer) -> dict[str, list[str]]:
    """The charged ids of each device, as the server has them."""
    keys = redis.client.scan_iter(f"{KEY}:held:*")
    return {key.rpartition(":")[2]: sorted(hash_of(redis.client, key)) for key in keys}


def with_quota(device: FleetDevice) -> list[str]:
    """The ids that have quota, by the spool of the device."""
    with sqlite3.connect(device.spool.path) as connection:
        return sorted(id for (id,) in connection.execute("SELECT id FROM charge WHERE granted_by <> 'nobody'"))


def agree(redis: RedisServer, *devices: FleetDevice) -> bool:
    books = {name: ids for name, ids in held(redis).items() if ids}
    return books == {d.spool.shared_quota.device_id(): with_quota(d) for d in devices if with_quota(d)}


# --- while the ledger can be asked -----------------------------------------------------------------------------------


def test_a_granted_charge_is_recorded_on_both_sides(device: FleetDevice, redis: RedisServer) -> None:
    ids = device.accepted(5, quota("hard", (Window.DAILY, 3)))
    assert len(ids) == 3
    assert agree(redis, device)
    assert sorted(device.leave()) == sorted(ids)
    assert device.waiting == 0


def test_devices_of_a_fleet_share_a_limit(tmp_path: Path, redis: RedisServer) -> None:
    limit = quota("hard", (Window.DAILY, 5))
    with FleetDevice(tmp_path / "a", redis.server) as a, FleetDevice(tmp_path / "b", redis.server) as b:
        assert len(a.accepted(3, limit)) == 3
        assert len(b.accepted(9, limit)) == 2
        assert isinstance(a.offer(limit), QuotaRefused)
        assert agree(redis, a, b)


def test_a_datapoint_that_did_not_reach_the_spool_is_refunded(tmp_path: Path, redis: RedisServer) -> None:
    limit = quota("hard", (Window.DAILY, 1))
    with FleetDevice(tmp_path / "a", redis.server, max_bytes=2**20, when_full=WhenFull.REFUSE) as device:
        assert device.offer(limit, jpeg=bytes(2**21)) == "spool_full"
        assert device.wakes == 1
        device.reconcile()
        assert isinstance(device.offer(limit), Accepted)
        assert agree(redis, device)


def test_a_refund_in_the_spool_is_refunded_in_the_ledger(device: FleetDevice, redis: RedisServer) -> None:
    limit = quota("hard", (Window.DAILY, 1))
    device.offer(limit)
    (item,) = device.spool.claim(1).items
    device.spool.complete(item.id, FinalOutcome.DUPLICATE)
    assert device.wakes == 1
    device.reconcile()
    assert device.used() == 0
    assert agree(redis, device)


def test_a_delivery_refunds_nothing_and_requests_no_audit(device: FleetDevice, redis: RedisServer) -> None:
    device.accepted(3, quota())
    device.reconcile()
    wakes = device.wakes
    redis.client.config_resetstat()
    assert len(device.leave()) == 3
    device.reconcile()
    assert device.wakes == wakes
    assert "cmdstat_hkeys" not in redis.client.info("commandstats")


def test_a_charge_on_its_way_from_the_ledger_to_the_spool_is_not_refunded(
    device: FleetDevice, redis: RedisServer
) -> None:
    now = device.clock.now()
    assert isinstance(device.fleet.charge("a", [quota()], now, now), QuotaGranted)
    device.fleet.request_audit()
    device.reconcile()
    assert list(held(redis).values()) == [["a"]]
    device.fleet.report_stored(PROJECT, "a", is_stored=False)
    device.reconcile()
    assert not any(held(redis).values())


def test_the_fleets_usage_of_each_limit_is_reported(tmp_path: Path, redis: RedisServer) -> None:
    account = AccountLimit(PROJECT, "hard", Limit(Window.DAILY, 5))
    a = FleetDevice(tmp_path / "a", redis.server, accounts=[account])
    with a, FleetDevice(tmp_path / "b", redis.server) as b:
        a.accepted(1, quota("hard", (Window.DAILY, 5)))
        b.accepted(2, quota("hard", (Window.DAILY, 5)))
        a.reconcile()
        (use,) = a.reconciler.usage
        assert (use.account_limit, use.count) == (account, 3)
        assert a.reconciler.usage_at_s == a.clock.now().wall_s


# --- while it can't --------------------------------------------------------------------------------------------------


def test_frames_are_accepted_with_pending_quota_and_leave_once_it_is_granted(
    device: FleetDevice, redis: RedisServer
) -> None:
    redis.stop()
    ids = device.accepted(3, quota("hard", (Window.DAILY, 5)))
    assert len(ids) == 3
    assert device.waiting == 3
    assert {listed.why for listed in by_hand.list_rows(device.spool.path)} == {"it waits for quota"}
    assert device.leave() == []
    device.reconcile()
    assert device.waiting == 3
    redis.start()
    device.clock.advance(60)
    device.recover()
    assert device.grants == 1
    assert sorted(device.leave()) == sorted(ids)
    assert agree(redis, device)


def test_pending_quota_is_requested_by_score_and_refused_ones_leave_with_outcome_limit(
    tmp_path: Path, redis: RedisServer
) -> None:
    limit = quota("hard", (Window.DAILY, 3))
    with FleetDevice(tmp_path / "a", redis.server) as a, FleetDevice(tmp_path / "b", redis.server) as b:
        redis.stop()
        scores = [0.1, 0.9, 0.5]
        by_score = {score: a.accepted(1, limit, score=score)[0] for score in scores}
        assert len(b.accepted(2, limit)) == 2
        redis.start()
        b.recover()
        assert b.waiting == 0
        a.reconcile()
        assert a.leave() == [by_score[0.9]]
        assert a.outcomes("limit") == 2
        assert a.spool.counts().ready == 0
        assert agree(redis, a, b)


@pytest.mark.parametrize(("ceiling", "count"), [(1.0, 4), (0.5, 2), (0.0, 0)])
def test_without_a_ledger_a_device_accepts_no_more_than_its_local_ceiling(
    tmp_path: Path, redis: RedisServer, ceiling: float, count: int
) -> None:
    with FleetDevice(tmp_path / "a", redis.server, ceiling=ceiling) as device:
        redis.stop()
        limit = quota("hard", (Window.DAILY, 4))
        assert len(device.accepted(9, limit)) == count
        assert device.offer(limit) == "limit"
        assert device.waiting == count


def test_earlier_grants_count_against_the_local_ceiling(device: FleetDevice, redis: RedisServer) -> None:
    limit = quota("hard", (Window.DAILY, 4))
    assert len(device.accepted(3, limit)) == 3
    redis.stop()
    assert len(device.accepted(9, limit)) == 1


def test_the_local_ceiling_applies_to_batches_too(device: FleetDevice, redis: RedisServer) -> None:
    redis.stop()
    assert len(device.accepted(9, quota("hard", most=2))) == 2
    assert device.offer(quota("hard", most=2)) == "limit"


def test_a_window_that_opens_meanwhile_has_its_own_local_ceiling(device: FleetDevice, redis: RedisServer) -> None:
    redis.stop()
    limit = quota("hard", (Window.MINUTELY, 2))
    assert len(device.accepted(5, limit)) == 2
    device.clock.advance(60)
    assert len(device.accepted(5, limit)) == 2


def test_pending_quota_is_charged_to_the_windows_of_the_capture(device: FleetDevice, redis: RedisServer) -> None:
    limit = quota("hard", (Window.MINUTELY, 2))
    redis.stop()
    for _ in range(3):
        assert len(device.accepted(2, limit)) == 2
        device.clock.advance(60)
    redis.start()
    device.recover()
    assert len(device.leave()) == 6
    day = {k: v for key in redis.client.scan_iter(f"{KEY}:day:*") for k, v in hash_of(redis.client, key).items()}
    assert sorted(v for k, v in day.items() if k.startswith("1|")) == ["2", "2", "2"]


def test_quota_of_a_datapoint_that_is_too_old_is_not_requested(tmp_path: Path, redis: RedisServer) -> None:
    with FleetDevice(tmp_path / "a", redis.server, late_s=3600.0) as device:
        redis.stop()
        device.accepted(1, quota())
        device.clock.advance(1800)
        young = device.accepted(1, quota())
        device.clock.advance(1801)
        redis.start()
        device.recover()
        assert device.leave() == young
        assert device.outcomes("limit") == 1


def test_the_strategy_that_has_room_at_the_request_is_charged(tmp_path: Path, redis: RedisServer) -> None:
    first, second = quota("first", (Window.DAILY, 1)), quota("second")
    with FleetDevice(tmp_path / "a", redis.server) as a, FleetDevice(tmp_path / "b", redis.server) as b:
        redis.stop()
        assert strategy_of(a.offer(first, second, score=0.5)) == "first"
        redis.start()
        b.recover()
        b.accepted(1, first)
        a.reconcile()
        (item,) = a.spool.claim(1).items
        assert (item.strategy, item.tags, item.score) == ("second", ("of-second",), 0.5)
        assert agree(redis, a, b)


def test_an_evicted_pending_datapoint_needs_no_quota_and_frees_the_local_ceiling(
    tmp_path: Path, redis: RedisServer
) -> None:
    limit = quota("hard", (Window.DAILY, 8))
    with FleetDevice(tmp_path / "a", redis.server, max_bytes=2**20) as device:
        redis.stop()
        assert len(device.accepted(40, limit, jpeg=bytes(150_000))) > 8
        assert device.outcomes("evicted") > 0
        assert device.waiting == device.spool.counts().ready
        redis.start()
        device.recover()
        assert agree(redis, device)


def test_a_datapoint_dropped_during_the_request_is_refunded(device: FleetDevice, redis: RedisServer) -> None:
    redis.stop()
    (id,) = device.accepted(1, quota())
    redis.start()
    device.reconcile_until_open()
    # The ledger has granted it, and before the spool hears of that, somebody drops it.
    ledger = device.fleet.ledger_for(PROJECT)
    assert ledger is not None
    ledger.send(LedgerRequest(charge=device.spool.shared_quota.pending(PROJECT, 9)), device.clock.now())
    by_hand.drop(device.spool.path, [id])
    device.fleet.request_audit()
    device.reconcile()
    assert device.used() == 0
    assert agree(redis, device)


@pytest.mark.parametrize("charged", ["when the ledger went away", "when it was back"])
def test_a_datapoint_that_left_during_the_request_is_refunded(tmp_path: Path, redis: RedisServer, charged: str) -> None:
    with fault_proxy(redis.port) as wire, FleetDevice(tmp_path / "a", RedisAddress("127.0.0.1", wire.port)) as device:
        if charged == "when it was back":
            redis.stop()
        wire.mode = "cut"
        (id,) = device.accepted(1, quota())
        if charged == "when it was back":
            redis.start()
        wire.mode = "pass"

        def drop_what_was_charged() -> None:
            if any(held(redis).values()):
                by_hand.drop(device.spool.path, [id])

        wire.before_answer = drop_what_was_charged
        device.recover()
        device.reconcile()
        assert device.outcomes("dropped") == 1
        assert device.used() == 0
        assert agree(redis, device)


def test_an_available_ledger_is_not_connected_again(device: FleetDevice, redis: RedisServer) -> None:
    connections = redis.client.info("stats")["total_connections_received"]
    for _ in range(3):
        device.reconcile()
    assert redis.client.info("stats")["total_connections_received"] <= connections + 1  # the test's own


# --- crashes ---------------------------------------------------------------------------------------------------------


def test_a_device_killed_between_charge_and_spool_refunds_the_charge_at_its_start(
    tmp_path: Path, redis: RedisServer
) -> None:
    first = FleetDevice(tmp_path / "a", redis.server)
    first.reconcile()
    first.accepted(1, quota())
    assert isinstance(first.fleet.charge("lost", [quota()], first.clock.now(), first.clock.now()), QuotaGranted)
    first.crash()
    assert [len(ids) for ids in held(redis).values()] == [2]
    with FleetDevice(tmp_path / "a", redis.server) as again:
        assert again.used() == 1
        assert agree(redis, again)


def test_a_device_killed_between_a_pending_grant_and_its_spool_is_granted_it_once(
    tmp_path: Path, redis: RedisServer
) -> None:
    limit = quota("hard", (Window.DAILY, 1))
    first = FleetDevice(tmp_path / "a", redis.server)
    (id,) = first.accepted(1, limit)
    first.reconcile_until_open()
    ledger = first.fleet.ledger_for(PROJECT)
    assert ledger is not None
    ledger.send(LedgerRequest(charge=first.spool.shared_quota.pending(PROJECT, 9)), first.clock.now())
    first.crash()
    with FleetDevice(tmp_path / "a", redis.server) as again:
        assert again.used() == 1
        assert again.leave() == [id]
        assert agree(redis, again)


def test_charges_of_a_batch_from_before_a_kill_stay(tmp_path: Path, redis: RedisServer) -> None:
    limit = quota("hard", most=4)
    first = FleetDevice(tmp_path / "a", redis.server)
    assert len(first.accepted(3, limit)) == 3
    first.reconcile_until_open()
    ledger = first.fleet.ledger_for(PROJECT)
    assert ledger is not None
    ledger.send(LedgerRequest(charge=first.spool.shared_quota.pending(PROJECT, 9)), first.clock.now())
    first.crash()
    with FleetDevice(tmp_path / "a", redis.server) as again:
        assert len(again.leave()) == 3
        assert len(again.accepted(5, limit)) == 1


def test_a_device_killed_after_a_refund_in_its_spool_refunds_it_in_the_ledger_at_its_start(
    tmp_path: Path, redis: RedisServer
) -> None:
    with FleetDevice(tmp_path / "a", redis.server) as first:
        first.accepted(1, quota())
        (item,) = first.spool.claim(1).items
        first.spool.complete(item.id, FinalOutcome.DUPLICATE)
    with FleetDevice(tmp_path / "a", redis.server) as again:
        assert again.used() == 0


def test_an_audit_keeps_the_charges_of_other_devices(tmp_path: Path, redis: RedisServer) -> None:
    with FleetDevice(tmp_path / "a", redis.server) as a:
        a.accepted(3, quota())
        with FleetDevice(tmp_path / "b", redis.server) as b:
            b.reconcile()
        assert a.used() == 3


def _lapse(redis: RedisServer) -> None:
    """The lease of the instance that had the device id has ended."""
    for key in redis.client.scan_iter(f"{KEY}:run:*"):
        redis.client.hset(key, "until", time.time() - 1.0)


def test_a_copy_of_a_spool_that_runs_at_the_same_time_refunds_nothing_of_it(tmp_path: Path, redis: RedisServer) -> None:
    limit = quota("hard", (Window.DAILY, 3))
    with FleetDevice(tmp_path / "a", redis.server) as a:
        a.accepted(1, limit)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with FleetDevice(tmp_path / "a", redis.server) as a, FleetDevice(tmp_path / "b", redis.server) as b:
        a.accepted(1, limit)
        assert b.reconciler.problem == RUNS_ELSEWHERE
        assert len(b.accepted(9, limit)) == 2  # as if there were no ledger
        for _ in range(3):
            b.clock.advance(LEASE_S)
            b.reconcile()
            a.reconcile()
        assert b.reports == [RUNS_ELSEWHERE, SPOOL_COPIED]
        assert (b.waiting, a.reconciler.problem, a.used()) == (2, None, 2)
        _lapse(redis)  # the other one is away for a while
        b.reconcile()
        assert (b.reconciler.problem, b.waiting) == (SPOOL_COPIED, 2)
        a.reconcile()
        assert len(a.accepted(9, limit)) == 1
        assert agree(redis, a)


def test_a_copied_spool_has_a_log_line_of_its_own(device: FleetDevice) -> None:
    out = io.StringIO()
    telemetry = Telemetry(device.clock, Style(), out=out)
    shared_limits = SharedLimits(LimitsSettings(), LocalLimits(), None, telemetry, device.clock)  # type: ignore[arg-type]
    for problem in ("connection refused", RUNS_ELSEWHERE, SPOOL_COPIED, None):
        shared_limits._report_problem(problem)
        device.clock.advance(PROBLEM_HOLDS_S)
        telemetry.tick()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["state"] for line in lines] == ["degraded", "degraded", "failed", "ok"]
    assert lines[2]["why"] == SPOOL_COPIED


def test_a_limit_of_unknown_usage_is_reported_as_used_up(device: FleetDevice) -> None:
    assert isinstance(device.offer(quota("hard", (Window.DAILY, 5))), Accepted)
    device.clock.reboot("another boot")
    device.clock.step_wall(-3600.0)
    put(device.spool, device.clock, [quota("hard", (Window.DAILY, 5))])
    policies = SimpleNamespace(accounts=lambda: [AccountLimit(PROJECT, "hard", Limit(Window.DAILY, 5))])
    telemetry = Telemetry(device.clock, Style(), out=io.StringIO())
    shared_limits = SharedLimits(LimitsSettings(), LocalLimits(), policies, telemetry, device.clock)
    assert [(use.used, use.left) for use in shared_limits._quota_report(device.spool).used] == [(5, 0)]


def test_a_moved_spool_takes_the_device_id_over_when_the_lease_has_ended(tmp_path: Path, redis: RedisServer) -> None:
    with FleetDevice(tmp_path / "a", redis.server) as a:
        a.accepted(2, quota())
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with FleetDevice(tmp_path / "b", redis.server) as b:
        b.accepted(1, quota())
        assert (b.reconciler.problem, b.waiting) == (RUNS_ELSEWHERE, 1)
        _lapse(redis)
        assert b.reconcile() == RECONCILE_INTERVAL_S
        assert (b.reconciler.problem, b.waiting, b.used()) == (None, 0, 3)
        assert agree(redis, b)
        assert b.reports == [RUNS_ELSEWHERE, None]


def test_another_boot_is_another_instance(device: FleetDevice) -> None:
    device.clock.reboot("boot-2")
    device.reconcile()
    assert device.reconciler.problem == RUNS_ELSEWHERE


def test_a_new_spool_keeps_the_charges_of_the_old_one_in_the_ledger(tmp_path: Path, redis: RedisServer) -> None:
    with FleetDevice(tmp_path / "a", redis.server) as first:
        first.accepted(3, quota())
    for path in (tmp_path / "a").iterdir():
        path.unlink()
    with FleetDevice(tmp_path / "a", redis.server) as again:
        again.accepted(1, quota())
        assert again.used() == 4


# --- a memory that is new --------------------------------------------------------------------------------------------


def test_a_ledger_that_lost_its_data_is_restored_by_its_devices(tmp_path: Path, redis: RedisServer) -> None:
    limit = quota("hard", (Window.DAILY, 5))
    with FleetDevice(tmp_path / "a", redis.server) as a, FleetDevice(tmp_path / "b", redis.server) as b:
        assert len(a.accepted(2, limit)) + len(b.accepted(2, limit)) == 4
        redis.client.flushall()
        assert len(a.accepted(1, limit)) == 1  # not known to whom: it waits
        assert a.waiting == 1
        for one in (b, a):
            one.reconcile()
        assert agree(redis, a, b)
        assert a.waiting == 0
        assert a.used() == 5
        assert isinstance(b.offer(limit), QuotaRefused)


def test_during_the_restoring_nothing_is_granted_and_nothing_is_lost(tmp_path: Path, redis: RedisServer) -> None:
    with FleetDevice(tmp_path / "a", redis.server, restore_s=60.0) as device:
        problem = device.reconciler.problem
        assert problem == RESTORING
        ids = device.accepted(2, quota("hard", (Window.DAILY, 5)))
        assert device.waiting == 2
        assert device.reconcile() <= RECONCILE_INTERVAL_S
        redis.client.hset(KEY, "born", time.time() - 61)
        device.reconcile()
        assert device.reconciler.problem is None
        assert sorted(device.leave()) == sorted(ids)
    assert device.reports == [RESTORING, None]


def test_a_restoring_that_is_interrupted_by_another_loss_begins_again(device: FleetDevice, redis: RedisServer) -> None:
    device.accepted(3, quota())
    redis.client.flushall()
    ledger = device.fleet.ledger_for(PROJECT)
    assert ledger is not None
    generation = ledger.connect(device.clock.now()).generation
    untold = device.spool.shared_quota.unreported(PROJECT, generation, 0.0, 2)
    ledger.send(LedgerRequest(restore=[one.charge for one in untold]), device.clock.now())
    device.spool.shared_quota.mark_reported([one.charge for one in untold], generation)
    redis.client.flushall()
    ledger.set_unavailable("it forgot again")
    device.reconcile()
    assert agree(redis, device)


def test_a_charge_of_the_old_generation_that_reaches_the_spool_late_is_reported_to_the_new_one(
    device: FleetDevice, redis: RedisServer
) -> None:
    made = datapoint(device.clock)
    grant = device.fleet.charge(made.id, [quota()], made.captured, device.clock.now())
    assert isinstance(grant, QuotaGranted)
    redis.client.flushall()
    ledger = device.fleet.ledger_for(PROJECT)
    assert ledger is not None
    ledger.set_unavailable("it forgot")
    device.reconcile()
    device.spool.put(made, [Candidate("hard", None, (), "b")], [quota()], grant)
    device.fleet.report_stored(PROJECT, made.id, is_stored=True)
    device.reconcile()
    assert agree(redis, device)


def test_charges_are_reported_before_the_new_generation_grants_anything(tmp_path: Path, redis: RedisServer) -> None:
    with FleetDevice(tmp_path / "gate", redis.server, restore_s=60.0) as device:
        redis.client.hset(KEY, "born", 0)
        device.recover()
        made = datapoint(device.clock)
        grant = device.fleet.charge(made.id, [quota()], made.captured, device.clock.now())
        assert isinstance(grant, QuotaGranted)
        redis.client.flushall()
        device.reconcile()
        device.spool.put(made, [Candidate("hard", None, (), "b")], [quota()], grant)
        device.fleet.report_stored(PROJECT, made.id, is_stored=True)
        device.reconcile()
        assert device.reconciler.problem == RESTORING
        assert agree(redis, device)


def test_batch_counts_are_restored_too(tmp_path: Path, redis: RedisServer) -> None:
    limit = quota("hard", most=4)
    with FleetDevice(tmp_path / "a", redis.server) as a, FleetDevice(tmp_path / "b", redis.server) as b:
        assert len(a.accepted(2, limit)) + len(b.accepted(1, limit)) == 3
        redis.client.flushall()
        for one in (a, b):
            one.forget_and_reconcile()
        assert len(a.accepted(5, limit)) == 1


# --- quota from elsewhere --------------------------------------------------------------------------------------------


def test_a_datapoint_released_by_the_operator_is_charged_in_the_ledger_too(
    device: FleetDevice, redis: RedisServer
) -> None:
    device.accepted(1, quota("hard", (Window.DAILY, 1)))
    (item,) = device.spool.claim(1).items
    device.spool.bury(item.id, "refused", refund=True)
    device.reconcile()
    assert device.used() == 0
    by_hand.retry(device.spool.path, [item.id], device.clock.now())
    device.reconcile()
    assert device.used() == 1
    assert agree(redis, device)


def test_charges_of_a_device_that_counted_alone_are_shared_when_it_begins_to_share(
    tmp_path: Path, redis: RedisServer
) -> None:
    clock = ManualClock(time.time())
    folder = tmp_path / "a"
    folder.mkdir()
    spool = make_spool(folder, clock)
    spool.open()
    for _ in range(3):
        put(spool, clock, [quota("hard", (Window.DAILY, 5))])
    spool.close()
    with FleetDevice(folder, redis.server, clock) as device:
        assert device.used() == 3
        assert len(device.accepted(9, quota("hard", (Window.DAILY, 5)))) == 2
        assert agree(redis, device)


def test_pending_quota_is_granted_when_the_device_no_longer_shares(device: FleetDevice, redis: RedisServer) -> None:
    redis.stop()
    ids = device.accepted(2, quota("hard", (Window.DAILY, 5)))
    assert device.spool.shared_quota.grant_pending_locally() == 2
    assert device.waiting == 0
    assert sorted(device.leave()) == sorted(ids)


def test_one_device_asks_the_platform_for_all(tmp_path: Path, redis: RedisServer) -> None:
    limit = quota("hard", most=10)
    with FleetDevice(tmp_path / "a", redis.server) as a, FleetDevice(tmp_path / "b", redis.server) as b:
        here, there = (FleetBatchCounts(d.spool, d.fleet, d.clock) for d in (a, b))
        a.accepted(2, limit)
        b.accepted(3, limit)
        assert len(a.leave()) == 2  # these have arrived
        mark = here.left_spool_counts(PROJECT, "b")
        assert mark is not None
        assert (mark.own, mark.fleet) == (2, 2)
        assert there.left_spool_counts(PROJECT, "b") is None
        here.record_platform_size(PROJECT, "b", 6, mark)  # two of ours, and four of somebody else's
        assert len(b.accepted(9, limit)) == 10 - 6 - 3


def test_while_the_ledger_is_unavailable_each_device_asks_the_platform(device: FleetDevice, redis: RedisServer) -> None:
    redis.stop()
    counts = FleetBatchCounts(device.spool, device.fleet, device.clock)
    mark = counts.left_spool_counts(PROJECT, "b")
    assert mark is not None
    assert mark.fleet is None
    counts.record_platform_size(PROJECT, "b", 6, mark)
    assert len(device.accepted(9, quota("hard", most=7))) == 1


# --- looking ---------------------------------------------------------------------------------------------------------


def test_an_unavailable_ledger_has_growing_pauses_even_if_another_one_answers(
    tmp_path: Path, redis: RedisServer
) -> None:
    redis.command("ACL", "SETUSER", "one", "on", ">pass", f"~{KEY}*", "+@all")
    account = RedisAddress("127.0.0.1", redis.port, username="one", password="pass")
    with FleetDevice(tmp_path / "gate", account) as device:
        device.accepted(1, replace(quota(), project="elsewhere"))
        pauses = [device.reconcile() for _ in range(8)]
        assert pauses[0] <= 0.5 < pauses[3] < pauses[-1]


def test_a_ledger_that_a_frame_lost_during_a_run_is_tried_again_at_once(tmp_path: Path, redis: RedisServer) -> None:
    with (
        fault_proxy(redis.port) as wire,
        FleetDevice(tmp_path / "gate", RedisAddress("127.0.0.1", wire.port)) as device,
    ):
        ledger = device.fleet.ledger_for(PROJECT)
        assert ledger is not None
        answers = 0

        def answered() -> None:
            nonlocal answers
            answers += 1
            if answers == 1:
                ledger._mark_unavailable("no answer in time")

        wire.before_answer = answered
        assert device.reconciler.reconcile_once() == 0.0
        assert device.reconcile() == RECONCILE_INTERVAL_S
        assert ledger.problem is None
        assert device.reports == [None]


def test_a_ledger_that_frames_lose_repeatedly_has_growing_pauses(tmp_path: Path, redis: RedisServer) -> None:
    with (
        fault_proxy(redis.port) as wire,
        FleetDevice(tmp_path / "gate", RedisAddress("127.0.0.1", wire.port)) as device,
    ):
        device.reconcile()

        def lost_after(seconds: float) -> float:
            """The seconds until frames may use the ledger again."""
            device.clock.advance(seconds)
            wire.mode = "swallow"
            device.offer(quota())
            wire.mode = "pass"
            waited_s = 0.0
            while (wait_s := device.reconcile()) < RECONCILE_INTERVAL_S or device.reconciler.problem is not None:
                device.clock.advance(wait_s)
                waited_s += wait_s
            return waited_s

        pauses = [lost_after(STABLE_AFTER_S / 2) for _ in range(10)]
        assert pauses[0] == 0.0
        assert pauses[1] <= FIRST_PAUSE_S < pauses[4] < pauses[7]
        assert MAX_PAUSE_S / 2 <= pauses[9] <= MAX_PAUSE_S
        assert lost_after(STABLE_AFTER_S) == 0.0
        assert sum(why is not None for why in device.reports) == sum(pause > 0 for pause in pauses)


def test_a_loss_outside_of_frames_is_reported_with_its_reason(tmp_path: Path, redis: RedisServer) -> None:
    with (
        fault_proxy(redis.port) as wire,
        FleetDevice(tmp_path / "gate", RedisAddress("127.0.0.1", wire.port)) as device,
    ):
        wakes = device.wakes
        wire.mode = "half"
        counts = FleetBatchCounts(device.spool, device.fleet, device.clock)
        assert counts.left_spool_counts(PROJECT, "b") == LeftSpoolCounts(0, None)
        assert device.wakes == wakes + 1
        wire.mode = "pass"
        assert device.reconcile() == RECONCILE_INTERVAL_S
        assert device.reports == [None]


def test_an_unavailable_server_is_reported_once_and_tried_with_growing_pauses(
    device: FleetDevice, redis: RedisServer
) -> None:
    redis.stop()
    device.accepted(1, quota())
    pauses = [device.reconcile() for _ in range(12)]
    assert all(pause <= 30.0 for pause in pauses)
    assert pauses[0] <= 0.5 < pauses[3] < pauses[-1]
    assert len([why for why in device.reports if why is not None]) <= 2
    redis.start()
    device.recover()
    assert device.reports[-1] is None


def test_a_device_whose_spool_cannot_be_read_has_no_id_and_its_quota_is_pending(
    tmp_path: Path, redis: RedisServer
) -> None:
    device = FleetDevice(tmp_path / "a", redis.server)
    now = device.clock.now()
    answer = device.fleet.charge("a", [quota("hard", (Window.DAILY, 5))], now, now)
    assert isinstance(answer, QuotaPending)
    assert answer.local_quotas == (quota("hard", (Window.DAILY, 5)),)
    device.crash()


def test_a_replaced_spool_file_is_another_device(tmp_path: Path) -> None:
    clock = ManualClock()
    names = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        spool = make_spool(folder, clock, limits=LocalLimits())
        spool.open()
        names.append(spool.shared_quota.device_id())
        spool.close()
    assert len({*names}) == 2
    assert all(len(name) == 32 for name in names)


# --- the intake ------------------------------------------------------------------------------------------------------


def shared_limits(device: FleetDevice, what: Policy, privacy: StreamPrivacy | None = None) -> Intake:
    """An intake with the limits of the fleet."""
    return Intake(
        "gate",
        CollectionOrigin("gate-7", (), (), seed=0, project=PROJECT),
        policy=what,
        accepted=AcceptedFrames(),
        admission=Admission(device.spool, device.clock, device.fleet),
        telemetry=Telemetry(device.clock, Style(), out=io.StringIO()),
        on_accepted=lambda: None,
        privacy=privacy,
    )


def test_a_frame_is_refused_before_it_is_encoded_and_one_that_cannot_be_encoded_is_refunded(
    tmp_path: Path, redis: RedisServer
) -> None:
    strategy = {"name": "hard", "type": "random", "traffic_percentage": 1.0, "limits": [{"type": "daily", "value": 1}]}
    with FleetDevice(tmp_path / "a", redis.server) as device:
        intake = shared_limits(device, policy(strategy))

        def offer(width: int) -> RefusalReason | None:
            frame = Frame("gate", 0, np.zeros((1, width, 3), np.uint8), device.clock.now())
            return intake.offer(frame, prediction("car")).refusal

        too_wide = 70_000
        assert offer(too_wide) is RefusalReason.UNENCODABLE
        device.reconcile()
        assert offer(64) is None
        assert offer(too_wide) is RefusalReason.LIMIT
        assert device.used() == 1
        assert agree(redis, device)


def test_a_frame_that_can_not_be_masked_is_refunded(tmp_path: Path, redis: RedisServer) -> None:
    once = {"name": "hard", "type": "random", "traffic_percentage": 1.0, "limits": [{"type": "daily", "value": 1}]}
    with FleetDevice(tmp_path / "a", redis.server) as device:
        intake = shared_limits(device, policy(once), StreamPrivacy(PrivacySettings(classes=("car",))))

        def offer(size: int) -> RefusalReason | None:
            frame = Frame("gate", 0, np.zeros((48, size, 3), np.uint8), device.clock.now())
            return intake.offer(frame, prediction("car")).refusal

        assert offer(65) is RefusalReason.UNMASKED  # the prediction is of 64 x 48 pixels
        device.reconcile()
        assert device.used() == 0
        assert agree(redis, device)
        assert offer(64) is None


def test_a_frame_that_waits_for_its_picture_keeps_its_quota_until_it_is_refused(
    tmp_path: Path, redis: RedisServer
) -> None:
    twice = {"name": "hard", "type": "random", "traffic_percentage": 1.0, "limits": [{"type": "daily", "value": 2}]}
    with FleetDevice(tmp_path / "a", redis.server) as device:
        privacy = StreamPrivacy(PrivacySettings(classes=("car",)), is_video=True)
        intake = shared_limits(device, policy(twice), privacy)

        def offer(number: int, said_width: int) -> IntakeDecision:
            frame = Frame("gate", number, np.zeros((48, 64, 3), np.uint8), device.clock.now())
            return intake.offer(frame, replace(prediction("car"), width=said_width))

        first = offer(0, 64)
        assert (first.accepted, first.refusal) == (None, None)
        device.fleet.request_audit()
        device.reconcile()
        assert device.used() == 1  # it is charged, and in no spool yet
        assert offer(1, 65).refusal is RefusalReason.UNMASKED  # and the first one with it
        intake.end_stream()
        device.reconcile()
        assert device.used() == 0
        assert agree(redis, device)


def test_a_frame_whose_pixels_turn_out_to_be_broken_is_refunded(tmp_path: Path, redis: RedisServer) -> None:
    once = {"name": "hard", "type": "random", "traffic_percentage": 1.0, "limits": [{"type": "daily", "value": 1}]}
    with FleetDevice(tmp_path / "a", redis.server) as device:
        intake = shared_limits(device, policy(once))

        def offer(jpeg: bytes) -> RefusalReason | None:
            frame = Frame("gate", 0, LazyEncodedPicture(parse_picture(jpeg)), device.clock.now())
            return intake.offer(frame, prediction("car")).refusal

        with pytest.raises(BadPicture):
            offer(spoilt(picture()))
        device.reconcile()
        assert device.used() == 0
        assert agree(redis, device)
        assert offer(picture()) is None
        assert offer(spoilt(picture())) is RefusalReason.LIMIT  # and is not even decoded


def test_a_request_that_was_delayed_in_the_network_is_found_by_the_periodic_audit(device: FleetDevice) -> None:
    ledger = device.fleet.ledger_for(PROJECT)
    assert ledger is not None
    now = device.clock.now()
    ledger.send(LedgerRequest(charge=[ChargeRequest("stray", (quota(),), now)]), now)
    device.reconcile()
    assert device.used() == 1
    device.clock.advance(AUDIT_INTERVAL_S)
    device.reconcile()
    assert device.used() == 0


def test_a_batch_counts_charges_from_before_it_had_a_maximum(tmp_path: Path, redis: RedisServer) -> None:
    with FleetDevice(tmp_path / "a", redis.server) as a, FleetDevice(tmp_path / "b", redis.server) as b:
        assert len(a.accepted(4, quota("free"))) == 4
        assert len(b.accepted(9, quota("hard", most=6))) == 2


def test_a_full_spool_costs_a_refund_for_each_frame_and_no_audit(tmp_path: Path, redis: RedisServer) -> None:
    with FleetDevice(tmp_path / "a", redis.server, max_bytes=2**20, when_full=WhenFull.REFUSE) as device:
        device.reconcile()
        redis.client.config_resetstat()
        for _ in range(5):
            assert device.offer(quota("hard", (Window.DAILY, 1)), jpeg=bytes(2**21)) == "spool_full"
            device.reconcile()
        assert "cmdstat_hkeys" not in redis.client.info("commandstats")
        assert device.used() == 0

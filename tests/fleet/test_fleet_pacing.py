"""Four devices with one budget: turns are earned once, and each whole hour has as many images as its limit."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from clocks import ManualClock
from framesift.fleet.reconcile import instance_id_of
from framesift.limits.shared.ledgers import SharedLedgers
from framesift.limits.shared.requests import UTC_CALENDAR, LedgerRequest
from rigs.fleet import PROJECT
from rigs.paced_device import UNSURE, PacedDevice, policy, unsure
from rigs.redis_server import RedisServer, redis_server

TURNS = 6
LONG = {**UNSURE, "pacing": {"mode": "hold_queue", "max_hold_s": 86_400}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as found:
        yield found


def join(folder: Path, server: RedisServer) -> PacedDevice:
    """A device whose clock shows what the server's does."""
    folder.mkdir()
    fleet = SharedLedgers(server.server, prefix="framesift", calendar=UTC_CALENDAR, restore_s=0.0)
    device = PacedDevice(folder, policy(LONG), ManualClock(time.time()), fleet=fleet, project=PROJECT)
    fleet.set_identity(device.spool.shared_quota.device_id(), instance_id_of(device.spool, device.clock.now()))
    ledger = fleet.ledger_for(PROJECT)
    assert ledger is not None
    ledger.set_synced(ledger.connect(device.clock.now()).generation)
    ledger.set_available()
    return device


def test_each_whole_hour_of_a_fleet_has_as_many_images_as_its_limit(tmp_path: Path, server: RedisServer) -> None:
    rng = random.Random(5)
    hours: Counter[int] = Counter()
    with ExitStack() as stack:
        devices = [join(tmp_path / name, server) for name in ("a", "b", "c", "d")]
        for device in devices:
            stack.callback(device.close)
        into_hour_s = time.time() % 3600
        ages_s = [into_hour_s + 60 + 10700 * part / 200 for part in range(200)]  # the three whole hours before this one
        for age_s in sorted(ages_s, reverse=True):
            for device in rng.sample(devices, 2):
                device.offer(unsure(rng.random()), age_s=age_s)
            for device in devices:
                device.holds.advance()
        for device in devices:
            for item in device.spool.claim(100).items:
                hours[int(item.captured_at_s // 3600)] += 1
            assert device.holds.counts() == {"unsure": 0}
    assert sorted(hours.values()) == [TURNS, TURNS, TURNS]


def test_the_ledger_has_what_the_spools_have(tmp_path: Path, server: RedisServer) -> None:
    server.client.flushall()
    device = join(tmp_path / "e", server)
    into_hour_s = time.time() % 3600
    for number in range(20):
        device.offer(unsure(number / 20), age_s=into_hour_s + 100 + number)
        device.holds.advance()
    assert device.fleet is not None
    ledger = device.fleet.ledger_for(PROJECT)
    assert ledger is not None
    now = device.clock.now()
    answer = ledger.send(LedgerRequest(audit_days=ledger.audit_days(now)), now)
    assert {id for id, _ in answer.charged_ids} == {item.id for item in device.spool.claim(100).items}
    assert len(answer.charged_ids) == TURNS
    device.holds.advance()
    assert [project for project, _ in device.fleet.ledgers()] == [PROJECT]  # none for an empty queue
    device.close()

"""Charges with times of the ledger's clock are not lost if the device's clock was wrong; against a real server."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from clocks import NOON_S, ManualClock
from framesift.limits import Window
from rigs.fleet import PROJECT, FleetDevice, quota
from rigs.redis_server import RedisServer, redis_server

YEAR_S = 365 * 86400.0
HARD = quota("hard", (Window.DAILY, 5))


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


def charges(device: FleetDevice) -> int:
    with closing(sqlite3.connect(device.spool.path)) as file:
        return int(file.execute("SELECT count(*) FROM charge").fetchone()[0])


def collected(device: FleetDevice, frames: int) -> list[str]:
    """Offers so many frames, and returns the ids of those that were accepted and delivered."""
    device.accepted(frames, HARD)
    device.recover()  # on a busy machine an answer may have come too late
    return device.leave()


def an_hour_passes(device: FleetDevice) -> None:
    """Long enough for the clock to count as stable, so that old rows are pruned."""
    for _ in range(2):
        device.clock.advance(3700.0)
        device.accepted(1, quota("other"))
        device.leave()
        device.reconcile()


@pytest.mark.parametrize("wrong_s", [-YEAR_S, YEAR_S, 30.0 - NOON_S], ids=["behind", "ahead", "unset"])
@pytest.mark.parametrize("is_wrong", ["at first", "later"])
def test_used_quota_stays_used_when_the_clock_steps(
    tmp_path: Path, redis: RedisServer, wrong_s: float, is_wrong: str
) -> None:
    redis.client.flushall()
    first_s = wrong_s if is_wrong == "at first" else 0.0
    with FleetDevice(tmp_path, redis.server, ManualClock(NOON_S + first_s)) as device:
        assert len(collected(device, 9)) == 5
        device.clock.step_wall(-wrong_s if is_wrong == "at first" else wrong_s)
        an_hour_passes(device)
        device.fleet.request_audit()
        device.reconcile()
        assert device.used() == 5
        redis.client.flushall()
        device.recover()
        assert device.used() == 5


def test_charges_that_no_audit_needs_are_pruned_and_still_count_in_their_batch(
    tmp_path: Path, redis: RedisServer
) -> None:
    redis.client.flushall()
    with FleetDevice(tmp_path, redis.server) as device:
        ids = collected(device, 4)
        with closing(sqlite3.connect(device.spool.path, isolation_level=None)) as file:
            file.execute("UPDATE charge SET shared_at_s = shared_at_s - 5 * 86400 WHERE id IN (?, ?)", ids[:2])
        device.reconcile()
        assert charges(device) == 2
        assert device.spool.shared_quota.batch_counts(HARD.batch) == (4, 4)


def test_charges_of_a_ledger_age_by_the_device_clock_once_the_device_no_longer_shares(
    tmp_path: Path, redis: RedisServer
) -> None:
    redis.client.flushall()
    with FleetDevice(tmp_path, redis.server) as device:
        assert len(collected(device, 2)) == 2
        device.spool.shared_quota.grant_pending_locally()
        device.clock.advance(5 * 86400.0)
        for _ in range(2):
            device.clock.advance(3700.0)
            for _ in range(2):  # the second waits until what follows the first is done
                device.spool.claim(1)
        assert charges(device) == 0
        assert device.spool.shared_quota.unreported(PROJECT, "any", 0.0, 10) == []

"""SharedLimits as a component: it starts and stops in time, whether or not the server answers."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clocks import ManualClock
from framesift.clock.clock import SystemClock
from framesift.datapoint import Candidate
from framesift.fleet.reconcile import NOT_CONNECTED
from framesift.fleet.shared_limits import FIRST_RUN_TIMEOUT_S, PROBLEM_HOLDS_S, STOP_TIMEOUT_S, SharedLimits
from framesift.limits import AccountLimit, Quota, QuotaPending
from framesift.limits.local import LocalLimits
from framesift.settings import LimitsSettings
from framesift.spool import Spool
from framesift.telemetry import Telemetry
from rigs.fault_proxy import fault_proxy
from rigs.listeners import Style
from rigs.redis_server import free_port
from rigs.spools import datapoint, make_spool


class Policies:
    """Policies without limits, for one unnamed project."""

    def projects(self) -> tuple[str, ...]:
        return ("",)

    def accounts(self) -> tuple[AccountLimit, ...]:
        return ()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock) -> Iterator[Spool]:
    opened = make_spool(tmp_path, clock)
    opened.open()
    yield opened
    opened.close()


def shared_limits(
    spool: Spool, limits: LimitsSettings, out: io.StringIO, telemetry: Telemetry | None = None
) -> SharedLimits:
    clock = SystemClock()
    telemetry = Telemetry(clock, Style(), out=out) if telemetry is None else telemetry
    made = SharedLimits(limits, LocalLimits(), Policies(), telemetry, clock)
    made.attach(spool, on_granted=lambda: None, on_failure=lambda error: pytest.fail(f"it failed: {error!r}"))
    return made


def with_server(port: int) -> LimitsSettings:
    return LimitsSettings.model_validate_json(json.dumps({"redis": {"url": f"redis://127.0.0.1:{port}"}}))


def test_local_limits_run_nothing_and_grant_the_quota_that_is_pending(spool: Spool, clock: ManualClock) -> None:
    quota = Quota("any", (), "b")
    spool.put(datapoint(clock), [Candidate("any", None, (), "b")], [quota], QuotaPending((quota,)))
    assert spool.counts().pending_quota == 1
    out = io.StringIO()
    component = shared_limits(spool, LimitsSettings(), out)
    component.start()
    assert (component.threads, component.idle_s()) == ((), 0.0)
    assert spool.counts().pending_quota == 0
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["event"], line["datapoints"]) for line in lines] == [("pending_quota_granted", 1)]
    assert component.stop(1.0)


def test_it_starts_and_stops_in_time_though_the_server_does_not_answer(spool: Spool) -> None:
    with fault_proxy(free_port()) as proxy:
        proxy.mode = "swallow"
        component = shared_limits(spool, with_server(proxy.port), io.StringIO())
        begun_s = time.monotonic()
        component.start()
        assert time.monotonic() - begun_s < FIRST_RUN_TIMEOUT_S + 2.0
        (thread,) = component.threads
        assert thread.name == component.name == "shared limits"
        begun_s = time.monotonic()
        assert component.stop(10.0)
        assert time.monotonic() - begun_s < STOP_TIMEOUT_S + 2.0
        assert not thread.thread.is_alive()


def test_a_server_that_stays_away_is_a_problem_of_the_limits(spool: Spool, clock: ManualClock) -> None:
    out = io.StringIO()
    telemetry = Telemetry(clock, Style(), out=out)
    component = shared_limits(spool, with_server(free_port()), out, telemetry)
    component.start()
    component.stop(10.0)
    telemetry.tick()
    assert out.getvalue() == ""  # one answer that comes late is no problem yet
    clock.advance(PROBLEM_HOLDS_S)
    telemetry.tick()
    (line,) = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (line["event"], line["component"], line["state"]) == ("health", "limits", "degraded")
    assert NOT_CONNECTED not in line["why"]

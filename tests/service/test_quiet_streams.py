"""A stream that runs and from which nothing is accepted is named once, with the reasons, until something is."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import pytest

from clocks import ManualClock
from framesift.frame import RefusalReason
from framesift.service.quiet_streams import QuietStreams
from framesift.telemetry import Condition, Telemetry

HOUR_S = 3600.0


@dataclass(frozen=True)
class Style:
    format: str = "json"
    level: str = "info"


class Rig:
    """One stream that runs, and whatever is said of it."""

    def __init__(self, quiet_after_s: float | None = 24 * HOUR_S) -> None:
        self.clock, self.out = ManualClock(), io.StringIO()
        self.telemetry = Telemetry(self.clock, Style(), out=self.out)
        self.quiet = QuietStreams(self.telemetry, self.clock, ["gate"], quiet_after_s)
        self.telemetry.set_stream_up("gate", True)

    def pass_time(self, seconds: float, *refusals: RefusalReason, step_s: float = 60.0) -> None:
        for _ in range(round(seconds / step_s)):
            for reason in refusals:
                self.telemetry.count_refused("gate", reason)
            self.clock.advance(step_s)
            self.quiet.check()
            self.telemetry.tick()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]

    def why(self) -> str | None:
        found = [c for c in self.telemetry.health.components() if c.name == "collection of gate"]
        assert all(c.condition is Condition.DEGRADED for c in found)
        return found[0].why if found else None


def test_a_stream_of_which_nothing_is_accepted_for_a_day_is_named_once_with_the_reasons() -> None:
    rig = Rig()
    rig.pass_time(24 * HOUR_S, RefusalReason.NO_MATCH, RefusalReason.NO_MATCH, RefusalReason.LIMIT)
    assert rig.lines() == []
    rig.pass_time(60.0)
    assert rig.why() == (
        "nothing was accepted for 24.0 h, although it runs: of 4317 frames most were refused as no_match (2878),"
        " limit (1439)"
    )
    rig.pass_time(48 * HOUR_S, RefusalReason.NO_MATCH)
    (line,) = rig.lines()
    assert (line["level"], line["component"]) == ("warning", "collection of gate")


def test_it_is_well_again_when_something_is_accepted() -> None:
    rig = Rig()
    rig.pass_time(25 * HOUR_S, RefusalReason.NO_MATCH)
    rig.telemetry.count_accepted("gate", "night")
    rig.pass_time(60.0)
    assert rig.why() is None
    assert [line["state"] for line in rig.lines()] == ["degraded", "ok"]
    rig.pass_time(23 * HOUR_S, RefusalReason.NO_MATCH)
    assert rig.why() is None


def test_a_stream_that_is_accepted_from_now_and_then_is_not_quiet() -> None:
    rig = Rig()
    for _ in range(10):
        rig.pass_time(20 * HOUR_S, RefusalReason.NO_MATCH)
        rig.telemetry.count_accepted("gate", "night")
    assert rig.lines() == []


def test_only_the_time_counts_in_which_the_stream_runs() -> None:
    rig = Rig()
    rig.pass_time(23 * HOUR_S, RefusalReason.NO_MATCH)
    rig.telemetry.set_stream_up("gate", False)
    rig.pass_time(100 * HOUR_S)
    assert rig.why() is None
    rig.telemetry.set_stream_up("gate", True)
    rig.pass_time(1.1 * HOUR_S)
    assert rig.why() is not None


@pytest.mark.parametrize("reason", [RefusalReason.DISABLED, RefusalReason.PAUSED])
def test_a_policy_that_is_switched_off_is_meant_so_and_a_pause_too(reason: RefusalReason) -> None:
    rig = Rig()
    rig.pass_time(50 * HOUR_S, reason)
    assert rig.why() is None


def test_a_stream_that_gives_no_frame_to_decide_on_is_named_too() -> None:
    rig = Rig(HOUR_S)
    rig.pass_time(1.1 * HOUR_S)
    assert rig.why() == "nothing was accepted for 1.0 h, although it runs: no frame reached a decision"


def test_the_time_can_be_changed_and_switched_off() -> None:
    for never in (None, 0.0):
        rig = Rig(never)
        rig.pass_time(100 * HOUR_S, RefusalReason.NO_MATCH)
        assert rig.why() is None
    rig = Rig(HOUR_S)
    rig.pass_time(1.1 * HOUR_S, RefusalReason.NO_MATCH)
    assert rig.why() is not None
    rig.quiet.quiet_after_s = None
    rig.pass_time(60.0)
    assert rig.why() is None


def test_streams_of_listeners_are_not_watched() -> None:
    rig = Rig()
    rig.telemetry.set_stream_up("listener", True)
    rig.pass_time(25 * HOUR_S)
    assert [c.name for c in rig.telemetry.health.components() if c.condition is not Condition.OK] == [
        "collection of gate"
    ]

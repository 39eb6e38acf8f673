"""Health: each state and each reason is logged once, a component that comes and goes is not well in between, and what
the log, the report and the metrics say is the same."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families

from clocks import ManualClock
from framesift.telemetry import ComponentHealth, Condition, HealthRegistry, Telemetry
from framesift.telemetry.health import HealthLine

OK, DEGRADED, FAILED = Condition.OK, Condition.DEGRADED, Condition.FAILED


class Rig:
    """A registry, its clock, and what it said: name, condition and reason."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.said: list[tuple[str, str, str]] = []
        self.unlogged: list[int] = []  # beside `said`: the number of changes between a line and the one before
        self.health = HealthRegistry(self.clock, self._note)

    def _note(self, line: HealthLine) -> None:
        self.said.append((line.component.name, str(line.component.condition), line.component.why))
        self.unlogged.append(line.unlogged)

    def pass_time(self, seconds: float) -> None:
        """As the main loop does: a tick every second."""
        for _ in range(round(seconds)):
            self.clock.advance(1.0)
            self.health.tick()

    def shown(self, name: str) -> tuple[Condition, str]:
        (component,) = (c for c in self.health.components() if c.name == name)
        return component.condition, component.why

    def states(self) -> list[str]:
        return [state for _, state, _ in self.said]


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_each_change_is_said_once(rig: Rig) -> None:
    rig.health.set_ok("spool")
    rig.health.set("spool", DEGRADED, "disk full")
    rig.health.set("spool", DEGRADED, "disk full")
    rig.pass_time(200)
    rig.health.set_ok("spool")
    rig.health.set_ok("spool")
    rig.health.set("sink", FAILED, "no such folder")
    rig.pass_time(200)
    assert rig.said == [
        ("spool", "degraded", "disk full"),
        ("spool", "ok", ""),
        ("sink", "failed", "no such folder"),
    ]


def test_a_change_that_its_cause_has_logged_already_is_not_said_again(rig: Rig) -> None:
    rig.health.set("stream gate", DEGRADED, "lost", quietly=True)
    rig.pass_time(100)
    rig.health.set_ok("stream gate", quietly=True)
    assert rig.said == []
    assert rig.shown("stream gate") == (OK, "")


def test_another_reason_is_said_and_the_first_does_not_stick(rig: Rig) -> None:
    rig.health.set("sink", DEGRADED, "no answer")
    rig.pass_time(5)
    rig.health.set("sink", DEGRADED, "the key is not valid (401)")
    assert rig.said[1:] == [("sink", "degraded", "the key is not valid (401)")]
    assert rig.shown("sink") == (DEGRADED, "the key is not valid (401)")


def test_a_reason_with_other_numbers_is_no_other_reason_but_is_shown(rig: Rig) -> None:
    for n in range(300):
        rig.health.set("model", DEGRADED, f"failures in a row: {n}, the last after {n / 7} s")
        rig.pass_time(1)
    assert len(rig.said) == 1
    assert rig.shown("model")[1].startswith("failures in a row: 299")


def test_two_reasons_by_turns_are_said_once_each_and_the_one_that_stays_is_said_at_last(rig: Rig) -> None:
    for n in range(400):
        rig.health.set("model", DEGRADED, "stream gate fails" if n % 2 else "stream yard fails")
        rig.pass_time(1)
    assert [why for _, _, why in rig.said] == ["stream yard fails", "stream gate fails"]
    rig.health.set("model", DEGRADED, "stream yard fails")
    rig.pass_time(61)
    assert rig.said[2:] == [("model", "degraded", "stream yard fails")]


def test_endlessly_many_reasons_are_few_lines_and_the_present_one_is_the_last(rig: Rig) -> None:
    for n in range(500):
        rig.health.set("listener", DEGRADED, "a request failed: " + "x" * n)
    assert len(rig.said) == 8
    rig.pass_time(60)
    assert rig.said[-1][2] == "a request failed: " + "x" * 499


def test_the_first_two_recoveries_are_believed_at_once(rig: Rig) -> None:
    for _ in range(2):
        rig.health.set("sink", DEGRADED, "no answer")
        rig.pass_time(10)
        rig.health.set_ok("sink")
        assert rig.shown("sink") == (OK, "")
        rig.pass_time(10)
    assert rig.states() == ["degraded", "ok", "degraded", "ok"]


def test_what_comes_and_goes_stays_degraded_until_it_has_worked_for_a_while(rig: Rig) -> None:
    for _ in range(3):
        rig.health.set("limits", DEGRADED, "no answer")
        rig.pass_time(10)
        rig.health.set_ok("limits")
    condition, why = rig.shown("limits")
    assert condition is DEGRADED
    assert why == (
        "it works again, but has failed 3 times within an hour: well when it has worked for 30 s;"
        " it failed last with: no answer"
    )
    rig.pass_time(29)
    assert rig.shown("limits")[0] is DEGRADED
    rig.pass_time(1)
    assert rig.shown("limits") == (OK, "")
    assert rig.states() == ["degraded", "ok"] * 3


def test_the_doubt_grows_with_each_recovery_and_not_beyond_five_minutes(rig: Rig) -> None:
    waits: list[int] = []
    for _ in range(8):
        rig.health.set("limits", DEGRADED, "no answer")
        rig.pass_time(1)
        rig.health.set_ok("limits")
        waited = 0
        while rig.shown("limits")[0] is not OK:
            rig.pass_time(1)
            waited += 1
        waits.append(waited)
    assert waits == [0, 0, 30, 60, 120, 240, 300, 300]


def test_a_redis_that_is_away_every_minute_for_two_hours_is_a_handful_of_lines(rig: Rig) -> None:
    for _ in range(120):
        rig.health.set("limits", DEGRADED, "redis: connection refused after 3 tries")
        rig.pass_time(5)
        rig.health.set_ok("limits")
        rig.pass_time(55)
    assert len(rig.said) <= 10
    rig.pass_time(300)
    assert rig.said[-1] == ("limits", "ok", "")


def test_changes_that_are_not_logged_are_counted_in_the_next_line_and_said_within_an_hour(rig: Rig) -> None:
    for _ in range(3):
        rig.health.set("limits", DEGRADED, "no answer")
        rig.health.set_ok("limits")
    assert rig.states() == ["degraded", "ok", "degraded", "ok", "degraded"]
    for _ in range(20):  # each: the recovery that was not believed, and the failure after it
        rig.health.set("limits", DEGRADED, "no answer")
        rig.health.set_ok("limits")
    rig.pass_time(301)
    assert rig.states()[5:] == ["ok"]
    assert rig.unlogged == [0, 0, 0, 0, 0, 40]
    rig.said.clear()
    rig.unlogged.clear()
    changes = 0
    for n in range(4 * 3600):
        if n % 20 == 0:
            rig.health.set("limits", DEGRADED, "no answer")
            changes += 1
        elif n % 20 == 10:
            rig.health.set_ok("limits")
            changes += 1
        rig.pass_time(1)
    assert len(rig.said) <= 10
    rig.pass_time(301)
    assert rig.states()[-1] == "ok"
    believed = 1  # the last recovery has two lines: while it is watched, and when it is believed
    assert len(rig.said) + sum(rig.unlogged) == changes + believed


def test_an_hour_later_a_recovery_is_believed_again(rig: Rig) -> None:
    for _ in range(3):
        rig.health.set("limits", DEGRADED, "no answer")
        rig.health.set_ok("limits")
    rig.pass_time(3700)
    rig.health.set("limits", DEGRADED, "no answer")
    rig.health.set_ok("limits")
    assert rig.shown("limits")[0] is OK


def test_what_fails_while_it_is_watched_is_failed_at_once(rig: Rig) -> None:
    for _ in range(3):
        rig.health.set("spool", FAILED, "read-only")
        rig.pass_time(1)
        rig.health.set_ok("spool")
    assert rig.shown("spool")[0] is DEGRADED
    assert rig.states()[-1] == "degraded"
    rig.health.set("spool", FAILED, "the disk is full")
    assert rig.shown("spool") == (FAILED, "the disk is full")
    assert rig.said[-1] == ("spool", "failed", "the disk is full")
    rig.pass_time(120)
    assert rig.shown("spool")[0] is FAILED


def test_a_recovery_is_seen_by_a_reader_before_the_next_tick(rig: Rig) -> None:
    for _ in range(3):
        rig.health.set("sink", DEGRADED, "no answer")
        rig.health.set_ok("sink")
    rig.clock.advance(30.0)
    assert rig.shown("sink") == (OK, "")
    assert rig.states()[-1] == "ok"


def test_what_is_to_be_forgotten_is_said_to_be_ok_and_then_not_listed(rig: Rig) -> None:
    rig.health.set("strategy odd of gate", DEGRADED, "ZeroDivisionError")
    rig.health.set_ok("strategy odd of gate", forget=True)
    assert rig.health.components() == ()
    assert rig.states() == ["degraded", "ok"]


def test_removing_and_coming_back_does_not_hide_that_it_comes_and_goes(rig: Rig) -> None:
    for _ in range(40):
        rig.health.set("strategy odd of gate", DEGRADED, "ZeroDivisionError")
        rig.health.set_ok("strategy odd of gate", forget=True)
    assert rig.shown("strategy odd of gate")[0] is DEGRADED
    assert len(rig.said) == 5
    rig.pass_time(300)
    assert rig.health.components() == ()


def test_endlessly_many_names_are_not_kept(rig: Rig) -> None:
    for n in range(2000):
        rig.health.set(f"strategy {n}", DEGRADED, "it fails")
        rig.health.remove(f"strategy {n}")
    assert rig.health.components() == ()
    assert len(rig.health._components) <= 257


def test_health_knows_since_when_and_the_latest_reason(rig: Rig) -> None:
    rig.health.set("spool", DEGRADED, "disk full")
    began_s = rig.clock.now().wall_s
    rig.clock.advance(30.0)
    rig.health.set("spool", DEGRADED, "read-only")
    assert rig.health.components() == (ComponentHealth("spool", DEGRADED, "read-only", began_s),)


def test_the_worst_component_is_the_health_of_all(rig: Rig) -> None:
    health = rig.health
    assert health.worst() is OK
    health.set("stream gate", DEGRADED, "lost")
    health.set_ok("sink")
    assert health.worst() is DEGRADED
    health.set("spool", FAILED, "broken")
    assert health.worst() is FAILED
    health.remove("spool")
    health.remove("never heard of")
    assert health.worst() is DEGRADED


@dataclass(frozen=True)
class Style:
    format: str = "json"
    level: str = "info"


def test_log_report_and_metrics_say_the_same_of_each_component() -> None:
    out = io.StringIO()
    telemetry = Telemetry(ManualClock(), Style(), out=out)
    telemetry.health.set_ok("sink")
    telemetry.health.set("spool", FAILED, "read-only")
    telemetry.health.set("stream gate", DEGRADED, "lost")
    said = {line["component"]: line["state"] for line in map(json.loads, out.getvalue().splitlines())}
    assert {c.name: str(c.condition) for c in telemetry.report().health} == {"sink": "ok", **said}
    families = {f.name: f for f in text_string_to_metric_families(telemetry.metrics_text().decode())}
    samples = families["framesift_health"].samples
    assert {s.labels["component"]: s.labels["condition"] for s in samples if s.value == 1.0} == {"sink": "ok", **said}
    assert len(samples) == 9


def test_the_metric_has_a_bounded_number_of_components_and_shows_the_worst_of_the_others() -> None:
    telemetry = Telemetry(ManualClock(), Style(), out=io.StringIO())
    for n in range(600):
        telemetry.health.set_ok(f"stream {n}")
    telemetry.health.set("stream 599", FAILED, "lost")
    samples = next(
        f.samples
        for f in text_string_to_metric_families(telemetry.metrics_text().decode())
        if f.name == "framesift_health"
    )
    assert len({s.labels["component"] for s in samples}) == 257
    assert {s.labels["condition"] for s in samples if s.value == 1.0 and s.labels["component"] == "other"} == {"failed"}


def test_what_is_over_in_a_moment_is_no_problem_where_it_need_not_be_one(rig: Rig) -> None:
    rig.health.set_ok("limits")
    for _ in range(20):
        rig.health.set("limits", DEGRADED, "it has not answered for 100 ms", after_s=2.0)
        rig.pass_time(1)
        rig.health.set_ok("limits")
        rig.pass_time(60)
    assert rig.said == []
    assert rig.shown("limits") == (OK, "")


def test_what_holds_for_long_enough_is_said_with_its_present_reason(rig: Rig) -> None:
    rig.health.set_ok("limits")
    rig.health.set("limits", DEGRADED, "it has not answered for 100 ms", after_s=2.0)
    rig.pass_time(1)
    assert rig.shown("limits") == (OK, "")
    rig.health.set("limits", DEGRADED, "connection refused", after_s=2.0)
    rig.pass_time(1)
    assert rig.shown("limits") == (DEGRADED, "connection refused")
    assert rig.said == [("limits", "degraded", "connection refused")]
    rig.health.set("limits", DEGRADED, "no route", after_s=2.0)  # what is degraded already shows the new reason at once
    assert rig.shown("limits") == (DEGRADED, "no route")


def test_a_failure_that_counts_at_once_ends_the_wait(rig: Rig) -> None:
    rig.health.set("limits", DEGRADED, "slow", after_s=2.0)
    rig.health.set("limits", FAILED, "the spool was copied")
    rig.pass_time(5)
    assert rig.said == [("limits", "failed", "the spool was copied")]


def test_a_component_that_is_removed_meanwhile_does_not_come_back(rig: Rig) -> None:
    rig.health.set("limits", DEGRADED, "slow", after_s=2.0)
    rig.health.remove("limits")
    rig.pass_time(5)
    assert rig.said == []
    assert rig.health.components() == ()

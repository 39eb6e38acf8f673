"""The intake of a stream whose policy has code from outside: its failures are in the log and in the health."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from clocks import ManualClock
from framesift.policy.policy import NO_POLICY_YET, Policy, parse
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.admission import Admission
from framesift.sampling.candidates import CollectionOrigin
from framesift.sampling.intake import Intake
from framesift.sampling.strategy_health import MAX_FAILING_STRATEGIES
from framesift.telemetry import Condition, Telemetry
from rigs.spools import make_spool
from sampling_data import frame, objects

FAULTY = str(Path(__file__).parents[1] / "rigs" / "faulty")


@dataclass(frozen=True)
class _Style:
    format: str = "json"
    level: str = "debug"


class Rig:
    """Intakes of streams whose policy has a strategy that fails where a prediction has objects."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.spool = make_spool(folder, self.clock)
        self.spool.open()
        self.out = io.StringIO()
        self.telemetry = Telemetry(self.clock, _Style(), out=self.out)

    def intake(self, stream: str = "gate") -> Intake:
        return Intake(
            stream,
            CollectionOrigin("gate-7", (), (), seed=0),
            policy=policy("mine"),
            accepted=AcceptedFrames(),
            admission=Admission(self.spool, self.clock),
            telemetry=self.telemetry,
            on_accepted=lambda: None,
        )

    @property
    def health(self) -> list[tuple[str, Condition]]:
        return [(component.name, component.condition) for component in self.telemetry.health.components()]


def policy(failing: str) -> Policy:
    fails = {"name": failing, "type": "python", "factory": "faulty_rules:FailsOnObjects", "path": FAULTY}
    whole = {
        "enabled": True,
        "persist_predictions": True,
        "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "never"},
        "sampling_strategies": [fails, {"name": "all", "type": "random", "traffic_percentage": 1}],
    }
    return parse(json.dumps(whole), "policy.json")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.spool.close(5.0)
    rig.telemetry.close()


def test_a_failing_strategy_is_reported_degrades_the_health_and_recovers(rig: Rig) -> None:
    intake = rig.intake()
    decision = intake.offer(frame(), objects(("car", 0.5)))
    assert decision.matched == ("all",)
    assert [(c.name, c.condition, c.why) for c in rig.telemetry.health.components()] == [
        ("strategy mine of gate", Condition.DEGRADED, "LookupError: no such object")
    ]
    assert intake.offer(frame(number=1), objects()).matched == ("mine", "all")
    assert rig.health == []
    rig.telemetry.close()
    events = [json.loads(line) for line in rig.out.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["strategy_failed", "health", "health"]
    assert "ok" in events[-1].values()


def test_a_failing_strategy_leaves_the_health_with_its_policy(rig: Rig) -> None:
    intake = rig.intake()
    for new in (NO_POLICY_YET, policy("another")):
        intake.set_policy(policy("mine"))
        intake.offer(frame(), objects(("car", 0.5)))
        intake.set_policy(policy("mine"))  # it may still fail
        assert rig.health == [("strategy mine of gate", Condition.DEGRADED)]
        intake.set_policy(new)
        assert rig.health == []


def test_a_failing_strategy_leaves_the_health_with_its_stream(rig: Rig) -> None:
    intake, other = rig.intake(), rig.intake("yard")
    for one in (intake, other):
        one.offer(frame(), objects(("car", 0.5)))
    intake.end_stream()
    assert rig.health == [("strategy mine of yard", Condition.DEGRADED)]


def test_the_health_lists_a_limited_number_of_failing_strategies(rig: Rig) -> None:
    intakes = [rig.intake(f"stream-{i}") for i in range(MAX_FAILING_STRATEGIES + 5)]
    for intake in intakes:
        intake.offer(frame(), objects(("car", 0.5)))
    assert len(rig.health) == MAX_FAILING_STRATEGIES
    intakes[0].offer(frame(number=1), objects())
    intakes[-1].offer(frame(number=1), objects(("car", 0.5)))
    assert len(rig.health) == MAX_FAILING_STRATEGIES
    assert rig.health[-1][0] == f"strategy mine of stream-{MAX_FAILING_STRATEGIES + 4}"

"""The intake of a stream whose policy has code from outside: its failures are in the log and in the health."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

from clocks import ManualClock
from framesift.policy.policy import parse
from framesift.sampling.candidates import CollectionOrigin
from framesift.sampling.intake import Intake
from framesift.strategies import AcceptedClasses
from framesift.telemetry import Condition, Telemetry
from rigs.spools import make_spool
from sampling_data import frame, objects

FAULTY = str(Path(__file__).parents[1] / "rigs" / "faulty")


@dataclass(frozen=True)
class _Style:
    format: str = "json"
    level: str = "debug"


def test_a_failing_strategy_is_reported_degrades_the_health_and_recovers(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = make_spool(tmp_path, clock)
    spool.open()
    out = io.StringIO()
    telemetry = Telemetry(clock, _Style(), out=out)
    fails = {"name": "mine", "type": "python", "factory": "faulty_rules:FailsOnObjects", "path": FAULTY}
    whole = {
        "enabled": True,
        "persist_predictions": True,
        "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "never"},
        "sampling_strategies": [fails, {"name": "all", "type": "random", "traffic_percentage": 1}],
    }
    intake = Intake(
        "gate",
        CollectionOrigin("gate-7", (), (), seed=0),
        policy=parse(json.dumps(whole), "policy.json"),
        accepted_classes=AcceptedClasses(),
        spool=spool,
        telemetry=telemetry,
        clock=clock,
        on_accepted=lambda: None,
    )
    try:
        decision = intake.offer(frame(), objects(("car", 0.5)))
        assert decision.matched == ("all",)
        assert [(c.name, c.condition, c.why) for c in telemetry.health.components()] == [
            ("strategy mine of gate", Condition.DEGRADED, "LookupError: no such object")
        ]
        assert intake.offer(frame(number=1), objects()).matched == ("mine", "all")
        assert telemetry.health.worst() is Condition.OK
    finally:
        spool.close(5.0)
        telemetry.close()
    assert '"event": "strategy_failed"' in out.getvalue()

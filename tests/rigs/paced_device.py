"""A device whose strategies are paced: its spool, hold queues and intakes, on a test's clock."""

from __future__ import annotations

import io
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clocks import NOON_S, ManualClock
from framesift.clock.moment import Moment
from framesift.coverage import CoverageCounts
from framesift.decisions import DecisionObserver
from framesift.frame import Frame, Pixels
from framesift.limits.shared.ledgers import SharedLedgers
from framesift.policy.policy import Policy, parse
from framesift.prediction.prediction import Prediction
from framesift.privacy.stream_privacy import StreamPrivacy
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.admission import Admission
from framesift.sampling.candidates import CollectionOrigin
from framesift.sampling.hold_queues import HoldQueues
from framesift.sampling.intake import Intake
from framesift.sampling.intake_decision import IntakeDecision
from framesift.sampling.pacing import Pacing
from framesift.spool import ClaimedDatapoint, HeldFrames, Spool
from framesift.telemetry import Telemetry
from rigs.spools import make_spool
from sampling_data import objects

HELD: dict[str, Any] = {"mode": "hold_queue"}
SIX = [{"type": "hourly", "value": 6}]  # one turn each 600 s
UNSURE: dict[str, Any] = {"name": "unsure", "type": "uncertainty", "aggregation": "max", "limits": SIX, "pacing": HELD}
EVERY_S = 20.0  # between the frames of the child that is killed
ALL: dict[str, Any] = {"name": "all", "type": "random", "traffic_percentage": 1}


@dataclass(frozen=True)
class _Style:
    format: str = "json"
    level: str = "debug"


class PacedDevice:
    """Turns are given when the test calls `holds.advance`."""

    def __init__(
        self,
        folder: Path,
        policy: Policy,
        clock: ManualClock | None = None,
        *,
        fleet: SharedLedgers | None = None,
        project: str | None = None,
        held: type[HeldFrames] = HeldFrames,
        decisions: DecisionObserver | None = None,
        coverage: CoverageCounts | None = None,
        privacy: StreamPrivacy | None = None,
        **spool: Any,
    ) -> None:
        """fleet, project: of the limits that it shares. held: of the spool's held frames.

        decisions, coverage: what is told of its frames. privacy: what is covered on them.
        """
        self.clock = clock or ManualClock(NOON_S)
        self.spool: Spool = make_spool(folder, self.clock, **spool)
        self.spool.held = held(self.spool._read, self.spool._write)
        self.spool.open()
        self._project = project
        self._privacy = privacy
        self.fleet = fleet
        self.telemetry = Telemetry(self.clock, _Style(), out=io.StringIO())
        self.telemetry.decisions = decisions
        self.telemetry.coverage = coverage
        self.admission = Admission(self.spool, self.clock, fleet, Pacing())
        self.holds = HoldQueues(
            self.admission, self.telemetry, self.clock, seed=0, on_accepted=lambda: None, on_failure=lambda _: None
        )
        self.holds._restore()  # without the thread: the test says when turns are looked for
        self.admission.pacing.holds = self.holds
        self.accepted = AcceptedFrames()
        self.policy = policy
        self.intakes: dict[str, Intake] = {}
        self.number = 0
        self.intake()

    def intake(self, stream: str = "gate") -> Intake:
        if stream not in self.intakes:
            intake = self.intakes[stream] = Intake(
                stream,
                CollectionOrigin("gate-7", ("north",), (), seed=0, project=self._project),
                policy=self.policy,
                accepted=self.accepted,
                admission=self.admission,
                telemetry=self.telemetry,
                on_accepted=lambda: None,
                privacy=self._privacy,
            )
            intake.set_policy(self.policy)
        return self.intakes[stream]

    def offer(
        self, prediction: Prediction, *, shade: int | None = None, stream: str = "gate", age_s: float = 0.0
    ) -> IntakeDecision:
        """Offers the next frame. shade: of the left half of its picture; by chance unless it is given.

        age_s: how long ago it was captured.
        """
        pixels: Pixels = np.zeros((96, 128, 3), np.uint8)
        rng = random.Random(self.number)
        pixels[:, 64:] = 255
        for row in range(6):
            pixels[16 * row : 16 * row + 16, :64] = rng.randrange(256) if shade is None else (shade + 20 * row) % 256
        now = self.clock.now()
        captured = Moment(now.wall_s - age_s, now.boottime_s - age_s, now.boot_id)
        frame = Frame(stream, self.number, pixels, captured)
        self.number += 1
        return self.intake(stream).offer(frame, prediction)

    def delivered(self) -> list[ClaimedDatapoint]:
        return sorted(self.spool.claim(1000).items, key=lambda item: item.frame)

    @property
    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """Accepted by strategy and refused by reason, over all streams."""
        report = self.telemetry.report()
        return dict(report.accepted), dict(report.refused)

    def close(self) -> None:
        self.spool.close(5.0)
        self.telemetry.close()


class PacedDevices:
    """Devices with one folder and one clock, each made when a test asks for it; `close` ends all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock(NOON_S)
        self.devices: list[PacedDevice] = []

    def add(self, policy: Policy, **told: Any) -> PacedDevice:
        """told: what PacedDevice takes, such as who is told of its frames."""
        made = PacedDevice(self.folder, policy, self.clock, **told)
        self.devices.append(made)
        return made

    def close(self) -> None:
        for device in self.devices:
            device.close()


def policy(*strategies: dict[str, Any], **fields: Any) -> Policy:
    whole = {
        "enabled": True,
        "persist_predictions": True,
        "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "never"},
        "sampling_strategies": list(strategies),
        **fields,
    }
    return parse(json.dumps(whole), "policy.json")


def unsure(score: float) -> Prediction:
    """A prediction whose uncertainty is `score`."""
    return objects(("car", score / 2))

"""Registrations: what a policy makes of frames, all the way to the platform.

Everything is real but the clock, which the test moves, and the model, whose answers the test gives in the wire format.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from canaries import KEY
from clocks import ManualClock
from framesift.clock.moment import Moment
from framesift.datapoint import encode_datapoint, new_datapoint_id
from framesift.frame import Frame, Pixels
from framesift.http_client.client import HttpClient
from framesift.limits import QuotaRefused
from framesift.limits.local import LocalLimits
from framesift.pictures.outgoing import NO_MASK
from framesift.policy.policy import Policy, parse
from framesift.prediction import wire_format as wire
from framesift.roboflow import RoboflowClient
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.candidates import CollectionOrigin, candidates_for
from framesift.sampling.pacing_rules import rules_of
from framesift.sampling.sampler import Sampler
from framesift.sinks import RoboflowSink, RoboflowSinkSettings
from framesift.spool import Accepted, Spool
from rigs.platform import Platform
from rigs.spools import make_spool
from rigs.uploads import running

PROJECT = "parking"
IMAGE = {"width": 64, "height": 48}
STUB = {"is_stub": True, "model_id": "parking/0", "task_type": "object-detection"}


def policy(*strategies: dict[str, Any], batching: dict[str, Any] | None = None, **fields: Any) -> Policy:
    """A policy of strategies called a, b, ... in this order; each matches always unless it says otherwise."""
    always = {"type": "random", "traffic_percentage": 1}
    whole = {
        "enabled": True,
        "persist_predictions": True,
        "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "never", **(batching or {})},
        "sampling_strategies": [
            {"name": chr(ord("a") + i), **({} if "type" in fields_ else always), **fields_}
            for i, fields_ in enumerate(strategies or ({},))
        ],
        **fields,
    }
    return parse(json.dumps(whole), "policy.json")


def limits(**values: int) -> dict[str, Any]:
    """The limits of a strategy, as in limits(minutely=1)."""
    return {"limits": [{"type": kind, "value": value} for kind, value in values.items()]}


def found(*confidences: float, **more: Any) -> dict[str, Any]:
    """A detector's answer."""
    boxes = [{"x": 32, "y": 24, "width": 16, "height": 8, "class": "car", "confidence": c} for c in confidences]
    return {"image": IMAGE, "predictions": boxes, **more}


def at(text: str, zone: str = "UTC") -> float:
    """Unix time of a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


class Registrations:
    """One stream, one policy at a time, one spool."""

    def __init__(self, spool: Spool, clock: ManualClock, followed: Policy, tags: tuple[str, ...] = ()) -> None:
        """tags: the machine's, as from ACTIVE_LEARNING_TAGS."""
        self.spool = spool
        self.clock = clock
        self._tags = tags
        self._number = 0
        self.follow(followed)

    def follow(self, followed: Policy) -> None:
        """From now on this policy."""
        self._policy = followed
        self._sampler = Sampler("gate", followed, seed=0, accepted=AcceptedFrames())

    def go_to(self, wall_s: float) -> None:
        """Time passes until then."""
        self.clock.advance(wall_s - self.clock.now().wall_s)

    def offer(
        self, answer: dict[str, Any] | None = None, *, pixels: Pixels | None = None, captured: Moment | None = None
    ) -> str:
        """One frame: the name of the strategy that it is accepted for, or of the refusal. As in a run, the limits are
        asked before there is a JPEG."""
        captured = captured or self.clock.now()
        if pixels is None:
            pixels = np.full((IMAGE["height"], IMAGE["width"], 3), self._number % 200, np.uint8)
        frame = Frame("gate", self._number, pixels, captured)
        self._number += 1
        prediction = wire.parse_prediction(
            found(0.5) if answer is None else answer, width=frame.width, height=frame.height
        )
        decision = self._sampler.decide(frame, prediction)
        if decision.refusal is not None:
            return decision.refusal.value
        origin = CollectionOrigin("gate-7", self._tags, ("north",), seed=0)
        candidates, quotas = candidates_for(
            self._policy,
            decision.matches,
            prediction,
            origin,
            captured,
            self.clock.now(),
            rules_of(self._policy, "", "gate"),
        )
        grant = self.spool.check_quota(quotas, captured)
        if isinstance(grant, QuotaRefused):
            return "batch_full" if grant.batch_full else "limit"
        datapoint = encode_datapoint(
            frame,
            prediction,
            id=new_datapoint_id(),
            device="gate-7",
            mask=NO_MASK,
            max_size=self._policy.max_image_size,
            jpeg_quality=self._policy.jpeg_compression_level,
        )
        accepted = self.spool.put(datapoint, candidates, quotas)
        return accepted.strategy if isinstance(accepted, Accepted) else accepted.refusal.value

    def batches(self) -> list[str]:
        """Of what waits, in the order of acceptance."""
        return [item.batch for item in self.spool.list_rows()]

    def upload_to(self, platform: Platform) -> None:
        """Delivers all that waits."""
        web = HttpClient()
        client = RoboflowClient(web, api_key=KEY, api_url=platform.url)
        sink = RoboflowSink(RoboflowSinkSettings(type="roboflow", project=PROJECT), client)
        try:
            with running(self.spool, sink, self.clock) as rig:
                rig.until_drained()
        finally:
            web.close()


@contextmanager
def registering(
    folder: Path, followed: Policy, *, wall_s: float | None = None, tags: tuple[str, ...] = ()
) -> Iterator[Registrations]:
    """Registrations of a device with an empty spool. wall_s: what its clock says."""
    clock = ManualClock() if wall_s is None else ManualClock(wall_s)
    spool = make_spool(folder, clock, limits=LocalLimits(ZoneInfo(followed.time_zone)))
    spool.open()
    try:
        yield Registrations(spool, clock, followed, tags)
    finally:
        spool.close()

"""What the decision record costs for a frame: the same frames through an intake with and without it, in turn.

    PYTHONPATH=benchmarks .venv/bin/python benchmarks/decisions.py [--rounds 7] [--frames 5000]

A frame has 20 objects, the policy five strategies with near_duplicate. Every tenth frame ends a second, and every
fiftieth is followed by a write, as with a camera of ten frames a second. CPU time of the whole process, medians of the
rounds.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import tempfile
import time
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from framesift.clock.clock import SystemClock
from framesift.decisions import DecisionRecord, RecordFiles
from framesift.decisions.decision_record import WRITE_EVERY
from framesift.frame import Frame
from framesift.limits.local import LocalLimits
from framesift.prediction.prediction import Detection, Detections, Task
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.admission import Admission
from framesift.sampling.candidates import CollectionOrigin
from framesift.sampling.intake import Intake
from framesift.spool import Spool, WhenFull
from framesift.telemetry import Telemetry
from learning.collecting import policy_of_strategies

EVERY = 10
_LIMITS = [{"type": "hourly", "value": 20}, {"type": "daily", "value": 100}]
_COMMON: dict[str, Any] = {"limits": _LIMITS, "near_duplicate": {"threshold": "auto"}}
STRATEGIES: tuple[dict[str, Any], ...] = (
    {"name": "unsure", "type": "uncertainty", "minimum_score": 0.95, "aggregation": "mean", **_COMMON},
    {"name": "near", "type": "close_to_threshold", "threshold": 0.5, "epsilon": 0.001, "probability": 0.5, **_COMMON},
    {"name": "crowd", "type": "detections_number_based", "more_than": 21, "probability": 1.0, **_COMMON},
    {"name": "sure", "type": "close_to_threshold", "threshold": 0.9, "epsilon": 0.0005, "probability": 1.0, **_COMMON},
    {"name": "now-and-then", "type": "random", "traffic_percentage": 0.001, **_COMMON},
)


@dataclass(frozen=True)
class _Style:
    format: str = "json"
    level: str = "warning"


def predictions(count: int) -> list[Detections]:
    """As many predictions of 20 objects each."""
    rng = random.Random(1)
    return [
        Detections(
            task=Task.OBJECT_DETECTION,
            objects=tuple(
                Detection(rng.uniform(0, 640), rng.uniform(0, 360), 40.0, 30.0, rng.random(), f"class-{i % 5}", i % 5)
                for i in range(20)
            ),
            width=640,
            height=360,
        )
        for _ in range(count)
    ]


def cost_s(folder: Path, frames: list[Detections], *, recorded: bool) -> float:
    """CPU seconds for all frames."""
    clock = SystemClock()
    telemetry = Telemetry(clock, _Style(), out=StringIO())
    spool = Spool(
        folder / "spool.db",
        max_bytes=1 << 30,
        min_free_bytes=0,
        when_full=WhenFull.EVICT_LOWEST,
        clock=clock,
        limits=LocalLimits(),
    )
    spool.open()
    record = DecisionRecord(RecordFiles(folder / "decisions", 32 << 20), clock, on_problem=lambda _: None)
    telemetry.decisions = record if recorded else None
    intake = Intake(
        "gate",
        CollectionOrigin("gate-7", (), (), seed=0),
        policy=policy_of_strategies(STRATEGIES),
        accepted=AcceptedFrames(),
        admission=Admission(spool, clock),
        telemetry=telemetry,
        on_accepted=lambda: None,
    )
    pixels = np.random.default_rng(0).integers(0, 256, (36, 64, 3), np.uint8)
    began_s = time.process_time()
    for number, prediction in enumerate(frames):
        intake.offer(Frame("gate", number, pixels, clock.now()), prediction)
        if recorded and number % EVERY == 0:
            record.end_second()
        if recorded and number % (EVERY * WRITE_EVERY) == 0:
            record.flush()
    took_s = time.process_time() - began_s
    spool.close(5.0)
    return took_s


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, default=5000)
    given = parser.parse_args()
    frames = predictions(given.frames)
    gc.collect()
    gc.freeze()  # a daemon has none of these frames before they come, and its imports are frozen, too
    without, added = [], []
    for _ in range(given.rounds):
        took_s = []
        for recorded in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                took_s.append(cost_s(Path(folder), frames, recorded=recorded))
        without.append(1e6 * took_s[0] / len(frames))
        added.append(1e6 * (took_s[1] - took_s[0]) / len(frames))
    print(f"the record adds {statistics.median(added):.1f} us to the {statistics.median(without):.1f} us of a frame")


if __name__ == "__main__":
    main()

"""What a simulation costs after the model pass: an hour at ten frames a second, three policies of five strategies.

    .venv/bin/python benchmarks/simulate.py [--minutes 60]

Each frame has twenty objects that move a little from one frame to the next. Printed are the seconds of the processor
for reading and deciding, and how much memory the process had at most, for the whole and for a tenth of it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from framesift.policy.policy import parse
from framesift.sampling.recorder import format_signature
from framesift.simulation.footage import Footage, FootageSource
from framesift.simulation.simulate import NamedPolicy, simulate

FPS, OBJECTS = 10, 20
_BEGIN_S = 1_788_739_200.0  # a Monday, 0 o'clock UTC
_CLASSES = ("car", "person", "bus", "bicycle")
_UNSURE: dict[str, Any] = {"type": "close_to_threshold", "threshold": 0.5, "epsilon": 0.1, "probability": 0.3}
_FULL: dict[str, Any] = {"type": "detections_number_based", "more_than": 15, "probability": 0.2}


def _limits(hourly: int, daily: int) -> list[dict[str, Any]]:
    return [{"type": "hourly", "value": hourly}, {"type": "daily", "value": daily}]


POLICIES: dict[str, list[dict[str, Any]]] = {
    "first come": [
        {**_UNSURE, "limits": _limits(20, 100)},
        {**_FULL, "limits": _limits(10, 50)},
        {"type": "uncertainty", "minimum_score": 6.0, "limits": _limits(20, 100)},
        {"type": "random", "traffic_percentage": 0.01, "limits": _limits(10, 50)},
        {**_UNSURE, "selected_class_names": ["bus"], "limits": _limits(5, 50)},
    ],
    "paced": [
        {"type": "uncertainty", "limits": _limits(20, 100), "pacing": {"mode": "hold_queue"}},
        {
            "type": "uncertainty",
            "aggregation": "max",
            "limits": _limits(20, 100),
            "pacing": {"mode": "adaptive_threshold"},
        },
        {**_FULL, "min_interval_s": 60, "limits": _limits(10, 50)},
        {**_UNSURE, "limits": _limits(5, 50)},
        {"type": "random", "traffic_percentage": 0.01, "limits": _limits(10, 50)},
    ],
    "video": [
        {"type": "temporal_inconsistency", "class_balance": True, "limits": _limits(20, 100)},
        {"type": "uncertainty", "class_balance": True, "limits": _limits(20, 100), "pacing": {"mode": "hold_queue"}},
        {**_UNSURE, "before_s": 2, "after_s": 2, "limits": _limits(20, 100)},
        {**_FULL, "zones": [[[0, 0.5], [1, 0.5], [1, 1], [0, 1]]], "limits": _limits(10, 50)},
        {"type": "random", "traffic_percentage": 0.01, "limits": _limits(10, 50)},
    ],
}


def named_policies() -> list[NamedPolicy]:
    """The policies, each with near_duplicate for all of its strategies."""
    return [NamedPolicy(name, parse(json.dumps(_policy(strategies)), name)) for name, strategies in POLICIES.items()]


def _policy(strategies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "enabled": True,
        "persist_predictions": True,
        "near_duplicate": {"threshold": "auto", "memory": 256},
        "batching_strategy": {"batches_name_prefix": "benchmark", "recreation_interval": "daily"},
        "sampling_strategies": [{"name": f"s{number}", **one} for number, one in enumerate(strategies)],
    }


def write_recording(path: Path, frames: int) -> None:
    """Frames as `run --record` writes them: a scene of three minutes after the other."""
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        for number in range(frames):
            if number % (180 * FPS) == 0:
                scene = rng.normal(0, 0.1, 192)
                places = rng.uniform((100, 100), (1820, 980), (OBJECTS, 2))
                sizes = rng.uniform(40, 200, (OBJECTS, 2))
                sure = rng.beta(1.2, 1.2, OBJECTS)
                names = rng.integers(0, len(_CLASSES), OBJECTS)
            places = np.clip(places + rng.normal(0, 2, places.shape), 0, (1920, 1080))
            seen = np.clip(sure + rng.normal(0, 0.05, OBJECTS), 0.01, 1)
            boxes = [
                {
                    "x": round(float(x), 2),
                    "y": round(float(y), 2),
                    "width": round(float(width), 2),
                    "height": round(float(height), 2),
                    "confidence": round(float(confidence), 4),
                    "class": _CLASSES[name],
                    "class_id": int(name),
                }
                for (x, y), (width, height), confidence, name in zip(places, sizes, seen, names, strict=True)
            ]
            line = {
                "stream": "gate",
                "frame": number,
                "epoch": 0,
                "captured_at": _BEGIN_S + number / FPS,
                "seed": 0,
                "signature": format_signature((scene + rng.normal(0, 0.001, 192)).astype(np.float32)),
                "task_type": "object-detection",
                "media_s": number / FPS,
                "image": {"width": 1920, "height": 1080},
                "predictions": boxes,
            }
            file.write(json.dumps(line) + "\n")


def measure(recording: Path) -> dict[str, Any]:
    """Seconds of the processor, the most memory in MiB, and how many images each policy would collect."""
    footage = Footage([FootageSource(recording)], None)
    began_s = time.process_time()
    outcomes = simulate(named_policies(), footage.frames(), seed=None)
    return {
        "cpu_s": time.process_time() - began_s,
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "images": {outcome.name: outcome.images for outcome in outcomes},
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure is not None:
        print(json.dumps(measure(given.measure)))
        return
    with tempfile.TemporaryDirectory() as folder:
        for minutes in (max(1, given.minutes // 10), given.minutes):
            frames = minutes * 60 * FPS
            recording = Path(folder) / f"{minutes}.jsonl"
            write_recording(recording, frames)
            command = [sys.executable, __file__, "--measure", str(recording)]  # its memory alone
            found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            print(
                f"{frames:,} frames of {OBJECTS} objects, {len(POLICIES)} policies of 5 strategies: "
                f"{found['cpu_s']:.1f} s of the processor, {found['memory_mib']:.0f} MiB; images {found['images']}"
            )


if __name__ == "__main__":
    main()

"""What becomes of a day's budget: how many of the day's best scenes are kept, and from how many of its hours.

    PYTHONPATH=benchmarks .venv/bin/python benchmarks/budget.py [--days 4]

A day has a frame every five seconds and about 400 scenes, each with an uncertain object for a while; between them the
picture is empty. Every rule may keep 100 frames a day. The best scenes are the 100 with the highest score. A scene is
kept if one of its frames is; an hour is covered if a frame of it is kept, and counts if there was a scene in it. All
runs are dry runs, with the product's own strategies, near_duplicate, limits and pacing. Last, what pacing costs for a
frame: the same dry run with and without it, in turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framesift.sampling.dry_run import DryRun
from framesift.sampling.recorder import format_signature
from learning.collecting import collect, policy_with

BUDGET = 100
FRAMES = 17_280
FRAME_S = 86_400 / FRAMES
_SCENES = 400
_BEGIN_S = 1_788_739_200.0  # a Monday, 0 o'clock UTC
_NEAR: dict[str, Any] = {"threshold": "auto", "memory": 256}
_DAILY = {"type": "daily", "value": BUDGET}
_FIRST: dict[str, Any] = {"type": "close_to_threshold", "threshold": 0.5, "epsilon": 0.5, "probability": 1.0}
_UNCERTAIN: dict[str, Any] = {"type": "uncertainty", "near_duplicate": _NEAR, "limits": [_DAILY]}
_HOLD = {"mode": "hold_queue", "max_hold_s": 3600, "max_held": 64}
RULES: dict[str, dict[str, Any]] = {
    "first come, daily limit": {**_FIRST, "limits": [_DAILY]},
    "first come, hourly limit too": {**_FIRST, "limits": [{"type": "hourly", "value": 5}, _DAILY]},
    "uniform random": _FIRST,  # with the probability that gives the budget
    "first come, hourly limit + near_duplicate": {
        **_FIRST,
        "near_duplicate": _NEAR,
        "limits": [{"type": "hourly", "value": 5}, _DAILY],
    },
}
PACED: dict[str, dict[str, Any]] = {
    "adaptive threshold + near_duplicate": {**_UNCERTAIN, "pacing": {"mode": "adaptive_threshold"}},
    "hold queue 1 h + near_duplicate": {**_UNCERTAIN, "pacing": _HOLD},
    "hold queue 3 h + near_duplicate": {**_UNCERTAIN, "pacing": {**_HOLD, "max_hold_s": 10_800}},
}
KINDS = ("flat", "diurnal", "bursty", "parked car", "harsh bursts")
_OUTSIDE = {"bursty": 1.0, "harsh bursts": 0.15}  # the rate outside of bursts, in which it is 4 more


@dataclass(frozen=True, eq=False)
class SimulatedDay:
    """A day's frames as `run --record` writes them. scene: of each frame, -1 where the picture is empty.

    best: the scenes with the highest scores. active: the hours with scenes.
    """

    lines: Sequence[Mapping[str, Any]]
    scene: Sequence[int]
    best: frozenset[int]
    active: frozenset[int]


def simulated_day(kind: str, seed: int) -> SimulatedDay:
    """A day of one of KINDS. The same arguments give the same day."""
    rng = np.random.default_rng((seed, KINDS.index(kind)))
    scene = np.full(FRAMES, -1)
    starts = np.sort(rng.choice(FRAMES, _SCENES, p=_rate(kind, rng)))
    if kind == "parked car":
        begin = int(rng.integers(FRAMES // 2))
        scene[begin : begin + int(rng.integers(2, 6)) * FRAMES // 24] = _SCENES
    for number, start in enumerate(starts):
        scene[start : start + 1 + int(rng.exponential(5))] = number
    scores = np.append(rng.beta(1.5, 3, _SCENES), 0.9)
    signatures = rng.normal(0, 0.1, (_SCENES + 2, 192))  # the last one is that of the empty picture
    lines, best_of = [], np.zeros(_SCENES + 1)
    for frame, of in enumerate(scene):
        score = float(np.clip(scores[of] + rng.normal(0, 0.05), 0.01, 1)) if of >= 0 else 0.0
        if of >= 0:
            best_of[of] = max(best_of[of], score)
        lines.append(_line(frame, score, signatures[of] + rng.normal(0, 0.001, 192)))
    shown = np.unique(scene[scene >= 0])
    best = frozenset(map(int, shown[np.argsort(-best_of[shown])][:BUDGET]))
    active = frozenset(map(int, np.unique(np.flatnonzero(scene >= 0) * 24 // FRAMES)))
    return SimulatedDay(lines, list(map(int, scene)), best, active)


def _rate(kind: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """How likely a scene begins in each frame."""
    hour = np.arange(FRAMES) * 24 / FRAMES
    rate = np.ones(FRAMES)
    if kind == "diurnal":
        rate = 0.05 + np.exp(-(((hour - 8.5) / 2.5) ** 2)) + np.exp(-(((hour - 17.5) / 3) ** 2))
    elif kind in _OUTSIDE:
        rate = np.full(FRAMES, _OUTSIDE[kind])
        for middle in rng.uniform(0, 24, 12):
            rate += 4 * (np.abs(hour - middle) < 1 / 6)
    return np.asarray(rate / rate.sum())


def _line(frame: int, score: float, signature: NDArray[np.float64]) -> dict[str, Any]:
    box = {"x": 50, "y": 50, "width": 20, "height": 20, "class": "car", "class_id": 0}
    return {
        "stream": "gate",
        "frame": frame,
        "captured_at": _BEGIN_S + FRAME_S * frame,
        "signature": format_signature(signature.astype(np.float32)),
        "task_type": "object-detection",
        "image": {"width": 100, "height": 100},
        "predictions": [{**box, "confidence": score / 2}] if score else [],
    }


def kept_of(day: SimulatedDay, strategy: Mapping[str, Any], seed: int) -> list[int]:
    """The frames that a strategy keeps."""
    dry_run = DryRun(policy_with(strategy), seed=seed, stream=None, started_s=_BEGIN_S)
    kept = collect(dry_run, day.lines)
    dry_run.close()
    return kept


def shares(day: SimulatedDay, kept: Sequence[int]) -> tuple[float, float]:
    """Which part of the best scenes is kept, and which part of the active hours covered."""
    scenes = {day.scene[frame] for frame in kept}
    hours = {frame * 24 // FRAMES for frame in kept}
    return len(scenes & day.best) / len(day.best), len(hours & day.active) / len(day.active)


def pacing_cost_us(day: SimulatedDay, rounds: int) -> tuple[float, float]:
    """Microseconds for a frame in a dry run without pacing, and what pacing adds: medians."""
    plain, added = [], []
    for _ in range(rounds):
        took_s = []
        for strategy in (_UNCERTAIN, PACED["hold queue 1 h + near_duplicate"]):
            began_s = time.process_time()
            kept_of(day, strategy, 0)
            took_s.append(time.process_time() - began_s)
        plain.append(1e6 * took_s[0] / FRAMES)
        added.append(1e6 * (took_s[1] - took_s[0]) / FRAMES)
    return statistics.median(plain), statistics.median(added)


def main() -> None:
    """Measures and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=4, help="of each kind, whose mean is printed")
    given = parser.parse_args()
    days = {kind: [simulated_day(kind, seed) for seed in range(given.days)] for kind in KINDS}
    print(f"| rule | best scenes kept: {' / '.join(KINDS)} | hours covered |\n|---|---|---|")
    for rule, strategy in (RULES | PACED).items():
        found = []
        for of_kind in days.values():
            of_days = []
            for seed, day in enumerate(of_kind):
                eligible = sum(scene >= 0 for scene in day.scene)
                chosen = {**strategy, "probability": BUDGET / eligible} if rule == "uniform random" else strategy
                of_days.append(shares(day, kept_of(day, chosen, seed)))
            found.append(np.mean(of_days, axis=0))
        scenes, hours = (" / ".join(f"{one[part]:.2f}" for one in found) for part in (0, 1))
        print(f"| {rule} | {scenes} | {hours} |", flush=True)
    plain_us, added_us = pacing_cost_us(days["flat"][0], 5)
    print(f"\npacing adds {added_us:.1f} us to the {plain_us:.1f} us of a frame in a dry run")


if __name__ == "__main__":
    main()

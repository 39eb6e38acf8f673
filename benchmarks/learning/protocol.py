"""One strategy on one camera, over some days: what it collects, and what a model learns from that.

The model is frozen by day. All strategies see the same frames, once and in order. At night the model is trained anew
from its start and all frames that were collected until then, and is scored on the test.
"""

from __future__ import annotations

from dataclasses import dataclass

from framesift.sampling.dry_run import DryRun
from learning.camera import BEGIN_S, Camera, Learner
from learning.collecting import collect
from learning.policies import AGAIN, RANDOM, policy_of

_RANDOM_RUNS = 2  # whose mean is what others are compared with


@dataclass(frozen=True, slots=True)
class Night:
    """After a day: how many frames and objects were labelled until then, and the model's score."""

    frames: float
    boxes: float
    score: float


Curve = tuple[Night, ...]


def curve_of(strategy: str, camera: Camera, learner: Learner, seed: int) -> Curve:
    """What the strategy reaches, night by night, the start at first. learner: of this camera. seed: of its draws."""
    if strategy == AGAIN:
        return _collected(strategy, camera, learner, (seed, _RANDOM_RUNS))
    if strategy != RANDOM:
        return _collected(strategy, camera, learner, (seed, 0))
    runs = [_collected(strategy, camera, learner, (seed, run)) for run in range(_RANDOM_RUNS)]
    return _mean(runs)


def _mean(curves: list[Curve]) -> Curve:
    """The mean of equally long curves, night by night."""
    return tuple(
        Night(
            sum(night.frames for night in nights) / len(nights),
            sum(night.boxes for night in nights) / len(nights),
            sum(night.score for night in nights) / len(nights),
        )
        for nights in zip(*curves, strict=True)
    )


def _collected(strategy: str, camera: Camera, learner: Learner, seed: tuple[int, int]) -> Curve:
    dry_run = DryRun(
        policy_of(strategy, camera.frames_a_day), seed=100 * seed[0] + seed[1], stream=None, started_s=BEGIN_S
    )
    collected: list[int] = []
    learner.learn(collected)
    curve = [Night(0, 0, learner.score())]
    for day in range(camera.days):
        collected += collect(dry_run, learner.recorded(day))
        learner.learn(collected)
        curve.append(Night(len(collected), learner.boxes(collected), learner.score()))
    dry_run.close()
    return tuple(curve)

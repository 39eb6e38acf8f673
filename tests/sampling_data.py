"""Frames and predictions made by hand, and a random generator whose draws are known and counted."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from framesift.clock.moment import Moment
from framesift.frame import Frame, Pixels
from framesift.prediction.prediction import (
    Classification,
    ClassScore,
    Detection,
    Detections,
    MultiLabel,
    Prediction,
    Stub,
    Task,
)
from framesift.strategies import AcceptedClasses, Match, StrategyOptions

_OPTIONS: TypeAdapter[StrategyOptions] = TypeAdapter(StrategyOptions)


class FixedRandom(random.Random):
    """Draws `values`, then their last one for ever, and counts."""

    def __new__(cls, *_values: float) -> FixedRandom:
        return super().__new__(cls)  # Python 3.10's takes no more than one

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = list(values) or [0.0]
        self.drawn = 0

    def random(self) -> float:
        self.drawn += 1
        return self.values[min(self.drawn, len(self.values)) - 1]


def options(**fields: Any) -> StrategyOptions:
    return _OPTIONS.validate_json(json.dumps({"name": "it", **fields}))


def consider(
    prediction: Prediction, *draws: float, accepted: AcceptedClasses | None = None, **fields: Any
) -> tuple[Match | None, int]:
    """What a strategy with these options decides on one frame, and how often it drew."""
    rng = FixedRandom(*draws)
    strategy = options(**fields).create(rng, accepted or AcceptedClasses())
    return strategy.evaluate(frame(), prediction), rng.drawn


def frame(pixels: Pixels | None = None, *, stream: str = "gate", number: int = 0, epoch: int = 0) -> Frame:
    if pixels is None:
        pixels = np.zeros((24, 32, 3), np.uint8)
    return Frame(stream, number, pixels, Moment(1_800_000_000.0 + number, 100.0 + number, "boot"), epoch)


def objects(*found: tuple[str, float], task: Task = Task.OBJECT_DETECTION) -> Detections:
    """Detections of these classes and confidences."""
    parts = tuple(Detection(10.0, 10.0, 5.0, 5.0, confidence, name, 0) for name, confidence in found)
    return Detections(task=task, objects=parts, width=32, height=24)


def label(top: str, confidence: float, others: Iterable[tuple[str, float]] = ()) -> Classification:
    """One label; others: the scores beside the top one."""
    scores = ((top, confidence), *others) if top else tuple(others)
    return Classification(top=top, confidence=confidence, scores=_scores(scores), width=32, height=24)


def labels(*scores: tuple[str, float], predicted: tuple[str, ...] = ()) -> MultiLabel:
    return MultiLabel(scores=_scores(scores), predicted=predicted, width=32, height=24)


def stub(task: Task = Task.OBJECT_DETECTION) -> Stub:
    return Stub(task=task, width=32, height=24)


def _scores(scores: Iterable[tuple[str, float]]) -> tuple[ClassScore, ...]:
    return tuple(ClassScore(name, i, confidence) for i, (name, confidence) in enumerate(scores))

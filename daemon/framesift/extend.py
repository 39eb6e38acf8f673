"""The interface for strategies and sinks outside of this package. docs/extending.md shows how to write them.

The names in here keep their meaning within one EXTEND_VERSION; everything else in framesift may change in any release.
A module with factories says for which version it is written, with a line `FRAMESIFT_EXTEND = 1`.
"""

from __future__ import annotations

from typing import Protocol

from framesift.config.factory import EXTEND_VERSION
from framesift.frame import Frame, Pixels
from framesift.prediction.prediction import (
    Classification,
    ClassScore,
    Detection,
    Detections,
    Keypoint,
    MultiLabel,
    Point,
    Prediction,
    Stub,
    Task,
)
from framesift.sinks.sink import (
    Delivered,
    Delivery,
    DeliveryResult,
    Duplicate,
    FailureScope,
    Registered,
    Rejected,
    RetryLater,
)
from framesift.strategies.strategy import ModelFacts

__all__ = [
    "EXTEND_VERSION",
    "ClassScore",
    "Classification",
    "Delivered",
    "Delivery",
    "DeliveryResult",
    "Detection",
    "Detections",
    "Duplicate",
    "FailureScope",
    "Frame",
    "Keypoint",
    "ModelFacts",
    "MultiLabel",
    "Pixels",
    "Point",
    "Prediction",
    "Registered",
    "Rejected",
    "RetryLater",
    "SinkExtension",
    "StrategyExtension",
    "Stub",
    "Task",
]


class StrategyExtension(Protocol):
    """What the factory of a strategy returns: one object per stream, called by one thread for every frame in order.

    It may also have `needs_pixels` (True if it reads `frame.pixels`), `tasks` (a list of the tasks that it is for, as
    texts) and `problems(model: ModelFacts)`, which returns sentences: why it can't do what the policy's author expects.
    """

    def evaluate(self, frame: Frame, prediction: Prediction, /) -> float | bool | None:
        """Whether the frame is wanted.

        None or False: no. True: yes. A number: yes, with this score; higher is more worth a label. Must be quick, and
        must not wait for anything. `frame.pixels` is read-only, and valid until this method returns. An exception
        counts as no, and is reported.
        """


class SinkExtension(Protocol):
    """What the factory of a sink returns: one object, called by several threads at once (`upload.workers`).

    It may also have `check() -> str | None`, which says in one line what prevents deliveries, for `framesift check`,
    and `close()`, which is called at the end.
    """

    def deliver(self, delivery: Delivery, *, now_s: float, within_s: float) -> DeliveryResult:
        """Tries once to deliver, and answers within `within_s` seconds. now_s: Unix time.

        The same `delivery.id` may come again, after a crash or a lost answer: it must not be stored twice. An exception
        counts as `RetryLater` with `FailureScope.UNSURE`.
        """

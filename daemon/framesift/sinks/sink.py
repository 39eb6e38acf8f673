"""What a sink is: it is handed one datapoint at a time and answers what became of it.

    Done               it is there, and it was this delivery, or an earlier one of the same id, that brought it
    Registered         the image is there under `image_id`; deliver the same datapoint again for what is missing
    Duplicate       the sink had the same image before; whether it was ours, the caller knows
    Later              not now: at `at_s`, or when the caller thinks fit
    Never              the sink has refused this datapoint, and would refuse it again

A sink sleeps nowhere and retries nothing: a retry is a date in the spool.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from framesift.prediction.prediction import Prediction


@dataclass(frozen=True, slots=True)
class Delivery:
    """A datapoint on its way out.

    captured_at_s: Unix time of the capture. width, height: the JPEG's, in pixels; `prediction` refers to them.
    annotate: whether the prediction is delivered with the image. project: where a sink that has several is to put it,
    None for its own. tried: how often it may have reached the sink, this time included: at 1, nothing there is ours.
    image_id: what an earlier attempt was answered with Registered.
    """

    id: str
    device: str
    stream: str
    frame: int
    captured_at_s: float
    strategy: str
    score: float | None
    tags: tuple[str, ...]
    batch: str
    annotate: bool
    width: int
    height: int
    prediction: Prediction
    jpeg: bytes
    project: str | None = None
    attempt_number: int = 1
    image_id: str | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    pass


@dataclass(frozen=True, slots=True)
class Duplicate:
    pass


@dataclass(frozen=True, slots=True)
class Registered:
    image_id: str


class FailureScope(Enum):
    """Whose trouble it is that a datapoint wasn't delivered."""

    ITEM = "item"  # this datapoint's alone: the attempt counts towards giving it up
    SINK = "sink"  # nothing else would get through either
    UNSURE = "unsure"  # the sink failed; whether others get through tells whose trouble it is


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Not now. at_s: Unix time before which asking again is useless, None where the sink doesn't know. arrived: False
    where the sink surely doesn't have what was delivered now."""

    retry_at_s: float | None
    reason: str
    scope: FailureScope = FailureScope.ITEM
    may_have_arrived: bool = True


@dataclass(frozen=True, slots=True)
class Rejected:
    reason: str


DeliveryResult = Delivered | Duplicate | Registered | RetryLater | Rejected


class Sink(Protocol):
    """Used by several threads at once."""

    def deliver(self, delivery: Delivery, *, now_s: float, within_s: float) -> DeliveryResult:
        """Tries once and answers within `within_s` seconds. now_s: Unix time. Raises nothing that can be expected."""

    def check(self) -> str | None:
        """What stands in the way of deliveries, and what to do about it; None if nothing does."""

    def close(self) -> None:
        """Lets go of what it holds. A delivery that comes afterwards takes it up again."""

"""What a sink is: it takes one datapoint at a time and answers with a DeliveryResult.

    Delivered     the datapoint is there; this delivery, or an earlier one of the same id, brought it
    Registered    the image is there under `image_id`; deliver the same datapoint again for its prediction
    Duplicate     the sink had the same image before; the caller knows whether it may be its own
    RetryLater    not now: at `retry_at_s`, or when the caller chooses
    Rejected      the sink refused this datapoint, and would refuse it again

A sink never sleeps and never retries: a retry is a date in the spool.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, ClassVar, Protocol

from pydantic import Field

from framesift.config.schema import StrictModel, WindowLimits
from framesift.datapoint import Selection
from framesift.prediction.prediction import Prediction
from framesift.roboflow import RoboflowClient


@dataclass(frozen=True, slots=True)
class Delivery:
    """A datapoint on its way to the sink.

    frame: the frame's number in its stream. captured_at_s: Unix time of the capture. width, height: of the JPEG, in
    pixels; `prediction` refers to them. annotate: whether the prediction is delivered with the image. project: where a
    sink that has several puts it; None for its own. attempt_number: how often it may have reached the sink, this time
    included; at 1, nothing that is there is ours. image_id: from an earlier attempt that was answered with Registered.
    prediction_json: the prediction as it was written when it was accepted, in the wire format; None where it was not.
    facts: what is recorded of the picture besides, see `framesift.datapoint.PictureFacts`; only what is known.
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
    prediction_json: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The datapoint is in the sink."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The sink has had the same image before this delivery."""


@dataclass(frozen=True, slots=True)
class Registered:
    """The image is in the sink under `image_id`, its prediction is not yet."""

    image_id: str


@dataclass(frozen=True, slots=True)
class ForgottenPictures:
    """pictures: how many were removed, or would be. elsewhere: what is not on this machine; "" if all of it is."""

    pictures: int
    elsewhere: str = ""


class FailureScope(Enum):
    """What a failed delivery says about the other datapoints."""

    ITEM = "item"  # it concerns this datapoint alone: the attempt counts, and after the last one it is given up
    SINK = "sink"  # nothing else would be delivered either
    UNSURE = "unsure"  # not known: whether other datapoints are delivered will show it


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The datapoint was not delivered, and may be tried again.

    retry_at_s: Unix time before which a retry is useless; None where the sink does not know. may_have_arrived: False
    where the sink surely does not have what was sent this time.
    """

    retry_at_s: float | None
    reason: str
    scope: FailureScope = FailureScope.ITEM
    may_have_arrived: bool = True


@dataclass(frozen=True, slots=True)
class Rejected:
    """The sink refuses this datapoint for good."""

    reason: str


DeliveryResult = Delivered | Duplicate | Registered | RetryLater | Rejected


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """What a sink keeps on this machine, and its bounds.

    size_bytes: None while it is still being measured. oldest_s: Unix time of the oldest capture, None if it has none.
    max_bytes, max_age_s: None for no bound. removed: pictures removed since the start, by bound ("age", "size").
    """

    pictures: int
    size_bytes: int | None
    oldest_s: float | None
    max_bytes: int | None
    max_age_s: float | None
    removed: Mapping[str, int]


class Retention(Protocol):
    """Keeps what a sink has on this machine within bounds. Thread-safe."""

    def apply_retention(self, *, now_s: float, monotonic_s: float) -> bool:
        """Removes what is beyond the bounds, and returns whether it wants to be called again at once.

        now_s: Unix time. monotonic_s: of a clock that never steps. Raises RetentionFailed.
        """

    def retention_report(self, *, measured: bool = False) -> RetentionReport:
        """What is kept, as of the last delivery or pass; never removes anything.

        measured: measure now what is still to be measured, and raise RetentionFailed if that is impossible.
        """


class RetentionFailed(Exception):
    """Nothing could be removed at this moment. str(error) says why."""


class Sink(Protocol):
    """A place where datapoints go. Several threads use it at once."""

    def deliver(self, delivery: Delivery, *, now_s: float, within_s: float) -> DeliveryResult:
        """Tries once, and answers within `within_s` seconds. now_s: Unix time. Expected failures are no exceptions."""

    def check(self) -> str | None:
        """What prevents deliveries, in one line; None if nothing does. For `framesift check`."""

    def close(self) -> None:
        """Releases what the sink holds. A later delivery may take it again."""


class CommonSinkSettings(StrictModel):
    """The settings that every sink has, and what the rest of the program asks about a sink before it is opened."""

    # Whether datapoints go to projects of the Roboflow platform: it needs the API key, and a datapoint needs a project.
    uses_platform: ClassVar[bool] = False
    # Whether the platform's labelling batches are watched, so that `max_batch_images` counts what lies in them.
    watches_batches: ClassVar[bool] = False
    # While nothing gets through: the longest pause until the next try.
    probe_at_most_s: ClassVar[float] = 60.0
    # What `framesift check` advises where the sink's own check found a problem.
    check_advice: ClassVar[str] = "see the documentation of the sink"

    # Where a sink that keeps nothing on this machine has what it got, for `framesift forget`.
    elsewhere: ClassVar[str] = "what the sink has already stays there"

    limits: Annotated[
        WindowLimits,
        Field(
            description="How many datapoints may be delivered per minute, hour and day.",
            examples=[[{"type": "minutely", "value": 60}]],
        ),
    ] = ()

    @property
    def default_project(self) -> str | None:
        """The platform's project for datapoints whose policy names none; None if these settings name none either."""
        return None

    def for_project(self, project: str) -> CommonSinkSettings:  # noqa: ARG002 - a sink without projects has none
        """These settings for datapoints of a project that they don't name; the same where projects don't matter."""
        return self

    @property
    def locked_folder(self) -> Path | None:
        """The folder that an open sink locks with a file `.lock`; None if it locks none."""
        return None

    def retention(self, sink: Sink) -> Retention | None:  # noqa: ARG002 - for those that have bounds
        """What keeps the opened sink within its bounds; None where these settings bound nothing."""
        return None

    def picture_of(self, id: str) -> Path | None:  # noqa: ARG002 - for those that keep pictures here
        """Where the picture of a delivered datapoint is on this machine; None if it isn't. Raises OSError."""
        return None

    def forget(self, selection: Selection, *, dry_run: bool) -> ForgottenPictures:  # noqa: ARG002 - for those that keep pictures here
        """Removes a selection from what this sink keeps on this machine, while a daemon runs or not.

        dry_run: only counts. Raises OSError.
        """
        return ForgottenPictures(0, f"{self.elsewhere}; framesift removes nothing there")

    @abstractmethod
    def open(self, *, class_names: tuple[str, ...] | None, platform: RoboflowClient | None) -> Sink:
        """Creates the sink, without use of disk or network.

        class_names: of the model, in the order of its indices; None if unknown. platform: the client of the Roboflow
        platform, None without an API key. Raises ConfigError where these settings can't work.
        """

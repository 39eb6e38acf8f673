"""Where datapoints go. One sink is one file, a member of the union, and a line in `open_sink`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from framesift.roboflow import RoboflowClient
from framesift.sinks.folder import FolderSink, FolderSinkSettings
from framesift.sinks.roboflow import RoboflowSink, RoboflowSinkSettings
from framesift.sinks.sink import (
    Delivered,
    Delivery,
    DeliveryResult,
    Duplicate,
    FailureScope,
    Registered,
    Rejected,
    RetryLater,
    Sink,
)

__all__ = [
    "Delivered",
    "Delivery",
    "DeliveryResult",
    "Duplicate",
    "FailureScope",
    "FolderSink",
    "FolderSinkSettings",
    "Registered",
    "Rejected",
    "RetryLater",
    "RoboflowSink",
    "RoboflowSinkSettings",
    "Sink",
    "SinkSettings",
    "open_sink",
]

SinkSettings = Annotated[FolderSinkSettings | RoboflowSinkSettings, Field(discriminator="type")]


def open_sink(
    options: SinkSettings, *, class_names: tuple[str, ...] | None, platform: RoboflowClient | None = None
) -> Sink:
    """The sink that the settings ask for. class_names: the model's, in the order of its indices, where it has any.
    platform: the client of the platform, where there is a key for it. Raises ValueError where it is needed and missing.

    Touches neither disk nor network: what stands in the way is told by `check` and by every delivery.
    """
    if isinstance(options, FolderSinkSettings):
        return FolderSink(options, class_names=class_names)
    if platform is None:
        raise ValueError("sink: type roboflow needs a key: set roboflow.api_key or ROBOFLOW_API_KEY")
    return RoboflowSink(options, platform)

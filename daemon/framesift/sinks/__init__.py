"""Where datapoints go. One sink is one file, a member of the union, and a line in `open_sink`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from framesift.roboflow import Roboflow
from framesift.sinks.folder import FolderOptions, FolderSink
from framesift.sinks.roboflow import RoboflowOptions, RoboflowSink
from framesift.sinks.sink import AlreadyThere, Delivery, Done, Later, Never, Outcome, Registered, Scope, Sink

__all__ = [
    "AlreadyThere",
    "Delivery",
    "Done",
    "FolderOptions",
    "FolderSink",
    "Later",
    "Never",
    "Outcome",
    "Registered",
    "RoboflowOptions",
    "RoboflowSink",
    "Scope",
    "Sink",
    "SinkOptions",
    "open_sink",
]

SinkOptions = Annotated[FolderOptions | RoboflowOptions, Field(discriminator="type")]


def open_sink(options: SinkOptions, *, class_names: tuple[str, ...] | None, platform: Roboflow | None = None) -> Sink:
    """The sink that the settings ask for. class_names: the model's, in the order of its indices, where it has any.
    platform: the client of the platform, where there is a key for it. Raises ValueError where it is needed and missing.

    Touches neither disk nor network: what stands in the way is told by `check` and by every delivery.
    """
    if isinstance(options, FolderOptions):
        return FolderSink(options, class_names=class_names)
    if platform is None:
        raise ValueError("sink: type roboflow needs a key: set roboflow.api_key or ROBOFLOW_API_KEY")
    return RoboflowSink(options, platform)

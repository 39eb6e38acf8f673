"""Sinks: where datapoints go. One file per sink; a new one is one line in the table `SinkSettings`.

Each file has the settings of its sink, which open it: see `CommonSinkSettings`. CONTRIBUTING.md says how to add one.
"""

from __future__ import annotations

from typing import Annotated, Union, get_args

from pydantic import Field

from framesift.roboflow import RoboflowClient
from framesift.sinks.folder import FolderSink, FolderSinkSettings
from framesift.sinks.python import PythonSink, PythonSinkSettings
from framesift.sinks.roboflow import RoboflowSink, RoboflowSinkSettings
from framesift.sinks.sink import (
    CommonSinkSettings,
    Delivered,
    Delivery,
    DeliveryResult,
    Duplicate,
    FailureScope,
    ForgottenPictures,
    Registered,
    Rejected,
    Retention,
    RetentionFailed,
    RetentionReport,
    RetryLater,
    Sink,
)

__all__ = [
    "SINK_TYPES",
    "CommonSinkSettings",
    "Delivered",
    "Delivery",
    "DeliveryResult",
    "Duplicate",
    "FailureScope",
    "FolderSink",
    "FolderSinkSettings",
    "ForgottenPictures",
    "PythonSink",
    "PythonSinkSettings",
    "Registered",
    "Rejected",
    "Retention",
    "RetentionFailed",
    "RetentionReport",
    "RetryLater",
    "RoboflowSink",
    "RoboflowSinkSettings",
    "Sink",
    "SinkSettings",
    "open_sink",
]

# The table: the `type` in the settings chooses the sink's settings, and these open the sink.
SinkSettings = Annotated[
    Union[  # noqa: UP007 - one line for each reads as the table that it is
        FolderSinkSettings,  # a folder on this machine: a YOLO dataset and a Hugging Face image folder at once
        RoboflowSinkSettings,  # projects on the Roboflow platform
        PythonSinkSettings,  # a sink from outside of this package
    ],
    Field(discriminator="type"),
]

# The table once more, by type.
SINK_TYPES: dict[str, type[CommonSinkSettings]] = {
    get_args(settings.model_fields["type"].annotation)[0]: settings for settings in get_args(get_args(SinkSettings)[0])
}


def open_sink(
    settings: CommonSinkSettings, *, class_names: tuple[str, ...] | None, platform: RoboflowClient | None = None
) -> Sink:
    """Creates the sink that the settings ask for: see `CommonSinkSettings.open`."""
    return settings.open(class_names=class_names, platform=platform)

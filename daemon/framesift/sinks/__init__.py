"""Where datapoints go. One sink is one file and one line in the table below."""

from __future__ import annotations

from framesift.sinks.folder import FolderOptions, FolderSink
from framesift.sinks.sink import AlreadyThere, Delivery, Done, Later, Never, Outcome, Registered, Scope, Sink

__all__ = [
    "AlreadyThere",
    "Delivery",
    "Done",
    "FolderOptions",
    "Later",
    "Never",
    "Outcome",
    "Registered",
    "Scope",
    "Sink",
    "SinkOptions",
    "open_sink",
]

# A union told apart by `type` as soon as there are two: pydantic refuses a discriminator for one.
SinkOptions = FolderOptions

_SINKS = {
    FolderOptions: FolderSink,
}


def open_sink(options: SinkOptions, *, class_names: tuple[str, ...] | None) -> Sink:
    """The sink that the settings ask for. class_names: the model's, in the order of its indices, where it has any.

    Touches neither disk nor network: what stands in the way is told by `check` and by every delivery.
    """
    return _SINKS[type(options)](options, class_names=class_names)

"""Streams: a source (camera or file) -> an iterator of frames, read by a process that can be killed.

What is named here is loaded when it is asked for: a reader process, which lives in this package too, needs none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framesift.streams.stream import Stream, StreamEvent, StreamLost, StreamState
    from framesift.streams.stream_settings import StreamSettings

__all__ = ["Stream", "StreamEvent", "StreamLost", "StreamSettings", "StreamState"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "stream_settings" if name == "StreamSettings" else "stream"
    return getattr(import_module(f"{__name__}.{module}"), name)

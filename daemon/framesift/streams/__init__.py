"""Streams: read frames from a camera or a file, each stream in a reader process that can be killed.

The names below are imported on first use: the reader process is part of this package too and needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framesift.streams.media_timed import MediaTimedStream
    from framesift.streams.stream import Stream
    from framesift.streams.stream_events import StreamEvent, StreamLost, StreamObserver, StreamState
    from framesift.streams.stream_settings import StreamSettings

__all__ = ["MediaTimedStream", "Stream", "StreamEvent", "StreamLost", "StreamObserver", "StreamSettings", "StreamState"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    own = {"MediaTimedStream": "media_timed", "Stream": "stream", "StreamSettings": "stream_settings"}
    module = own.get(name, "stream_events")
    return getattr(import_module(f"{__name__}.{module}"), name)

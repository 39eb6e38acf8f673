"""MediaTimedStream: the frames of a file, captured when the file says so instead of when it is read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

from framesift.clock.clock import Clock
from framesift.clock.media_clock import MediaClock
from framesift.frame import Frame
from framesift.streams.stream import Stream

_LOOK_S = 0.2
_INTERVAL_S = 0.04  # between the pictures of a file that has only one


class MediaTimedStream:
    """A stream of a file whose frames wait for their turn, and have their media time as the time of their capture.

    A file that begins again goes on in time: its length is added, which is the time of its last picture and one more
    interval. For one thread.
    """

    def __init__(self, stream: Stream, media_clock: MediaClock, *, clock: Clock, stop: threading.Event) -> None:
        """clock: the one of the thread, which shows that it moves. stop: ends `frames`."""
        self.name = stream.name
        self._stream = stream
        self._media_clock = media_clock
        self._clock = clock
        self._stop = stop

    def frames(self) -> Iterator[Frame]:
        """Yield the frames as `Stream.frames` does. Raises StreamLost as it does."""
        passed_s, last_s, interval_s = 0.0, -1.0, _INTERVAL_S
        try:
            for frame in self._stream.frames():
                media_s = max(0.0, frame.media_s or 0.0)
                if media_s <= last_s:
                    passed_s += last_s + interval_s
                elif last_s >= 0.0:
                    interval_s = media_s - last_s
                last_s = media_s
                captured = None
                while captured is None:
                    self._clock.monotonic()  # heartbeat: it waits for another stream, which may be slow
                    if self._stop.is_set():
                        return
                    captured = self._media_clock.reach(self.name, passed_s + media_s, _LOOK_S)
                yield replace(frame, captured=captured)
        finally:
            self._media_clock.leave(self.name)

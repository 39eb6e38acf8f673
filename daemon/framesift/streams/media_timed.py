"""MediaTimedStream: the frames of a file, captured when the file says so instead of when it is read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

from framesift.clock.clock import Clock
from framesift.clock.media_clock import MediaClock
from framesift.frame import Frame
from framesift.streams.continued_times import ContinuedTimes
from framesift.streams.stream import Stream

_LOOK_S = 0.2


class MediaTimedStream:
    """A stream of a file whose frames wait for their turn, and have their media time as the time of their capture.

    A file that begins again goes on in time. For one thread.
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
        times = ContinuedTimes()
        try:
            for frame in self._stream.frames():
                continued_s = times.continued_s(frame.media_s or 0.0)
                captured = None
                while captured is None:
                    self._clock.monotonic()  # heartbeat: it waits for another stream, which may be slow
                    if self._stop.is_set():
                        return
                    captured = self._media_clock.reach(self.name, continued_s, _LOOK_S)
                yield replace(frame, captured=captured)
        finally:
            self._media_clock.leave(self.name)

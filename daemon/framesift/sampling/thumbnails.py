"""Thumbnails: what a stream shows now, as a small picture, made only when somebody asks, and masked like all.

Whoever asks waits for the next frame that the stream hands to its intake. The stream's thread copies that frame; the
mask, the scaling and the encoding are the work of the thread that asks.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

from framesift.clock.clock import Clock
from framesift.frame import Frame
from framesift.pictures.outgoing import NO_MASK, JpegEncodingError, Unmasked, encode_outgoing
from framesift.prediction.prediction import Prediction
from framesift.privacy.stream_privacy import PendingMask, StreamPrivacy

WITHIN_S = 5.0
FRESH_S = 2.0  # for so long the same one is given to others
_SIZE = (360, 480)  # height, width at most
_QUALITY = 75


@dataclass(eq=False, slots=True)
class _Asked:
    """A frame that somebody waits for. frame: with pixels of its own, None before it came, and if it can't be shown."""

    changed: threading.Event = field(default_factory=threading.Event)
    frame: Frame | None = None
    mask: PendingMask | None = None
    mask_within_s: float = 0.0


class Thumbnails:
    """Thread-safe. While nobody asks it costs next to nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: dict[str, _Asked] = {}
        self._made: dict[str, tuple[float, bytes]] = {}  # by stream: when (monotonic), and the JPEG

    def get(self, stream: str) -> bytes | None:
        """Return a JPEG of what a stream shows; None if it gives no frame in time, or one that can't be shown."""
        with self._lock:
            made = self._made.get(stream)
            if made is not None and self._clock.monotonic() - made[0] < FRESH_S:
                return made[1]
            asked = self._asked.setdefault(stream, _Asked())
        until_s = self._clock.monotonic() + WITHIN_S
        while not asked.changed.is_set() and (left_s := until_s - self._clock.monotonic()) > 0:
            self._clock.wait(asked.changed, left_s)
        with self._lock:
            if self._asked.get(stream) is asked:  # no frame came
                del self._asked[stream]
        jpeg = None if asked.frame is None else _encoded(asked.frame, asked)
        if jpeg is not None:
            with self._lock:
                self._made = {stream: (self._clock.monotonic(), jpeg)}
        return jpeg

    def offer(self, frame: Frame, prediction: Prediction, privacy: StreamPrivacy | None) -> None:
        """A frame of a stream, which its privacy has observed. Raises what its pixels raise."""
        if frame.stream not in self._asked:
            return
        with self._lock:
            asked = self._asked.pop(frame.stream, None)
        if asked is None:
            return
        try:
            kept = replace(frame, picture=frame.pixels.copy())
            if privacy is not None:
                asked.mask = privacy.prepare(kept, prediction)
                asked.mask_within_s = privacy.over_time_s
            asked.frame = kept
        except Unmasked:
            pass
        finally:
            asked.changed.set()


def _encoded(frame: Frame, asked: _Asked) -> bytes | None:
    try:
        mask = NO_MASK
        if asked.mask is not None:
            asked.mask.wait(asked.mask_within_s)
            mask = asked.mask.mask()
        return encode_outgoing(frame.picture, mask=mask, max_size=_SIZE, jpeg_quality=_QUALITY).content
    except (Unmasked, JpegEncodingError):
        return None

"""Frame: one picture of a stream. SkipReason and RefusalReason: the closed lists of why a frame is not accepted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from framesift.clock.moment import Moment

Pixels = NDArray[np.uint8]


class LazyPicture(Protocol):
    """A picture that is decoded when its pixels are first read. Its size is known before."""

    @property
    def width(self) -> int:
        """In pixels."""
        ...

    @property
    def height(self) -> int:
        """In pixels."""
        ...

    @property
    def pixels(self) -> Pixels:
        """The same array at every call, as in Frame. Raises an error if there is no valid picture of that size."""
        ...

    def overview(self, width: int = 1, height: int = 1) -> Pixels:
        """The whole picture, as in `pixels`, but perhaps smaller; at least so large. Raises the same errors."""
        ...

    @property
    def jpeg(self) -> bytes | None:
        """The picture as a JPEG of its size without metadata, where there is one that need not be made.

        Raises the errors of `pixels`: it can be decoded.
        """
        ...


class AbsentPicture:
    """The picture of a frame of which only the size is known here: a LazyPicture. width, height: in pixels."""

    jpeg = None

    def __init__(self, width: int, height: int, why: str) -> None:
        """why: the text of the ValueError that its pixels raise."""
        self.width = width
        self.height = height
        self._why = why

    @property
    def pixels(self) -> Pixels:
        """Raises ValueError."""
        raise ValueError(self._why)

    def overview(self, width: int = 1, height: int = 1) -> Pixels:  # noqa: ARG002  # of a LazyPicture
        """Raises ValueError."""
        return self.pixels


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a stream.

    stream: the stream's name. number: the source counts all its pictures from 0, so numbers are missing where pictures
    were skipped. picture: the pixels, or an object that decodes them: BGR, uint8, shape (height, width, 3). They are
    valid until the next frame of the stream is requested; copy them to keep them. captured: when the picture left the
    source. epoch: grows with each reconnection and each change of the picture size; anything learned in an earlier
    epoch no longer describes the stream. media_s: position in a file in seconds, None for live streams.
    sent_s: Unix time at which a camera captured it by its own clock, which may be wrong; None where it does not tell.
    """

    stream: str
    number: int
    picture: Pixels | LazyPicture
    captured: Moment
    epoch: int = 0
    media_s: float | None = None
    sent_s: float | None = None

    @property
    def time_s(self) -> float:
        """When it was captured, on the axis of its stream: the position in a file, else seconds since boot."""
        return self.captured.boottime_s if self.media_s is None else self.media_s

    @property
    def pixels(self) -> Pixels:
        """BGR, uint8, shape (height, width, 3). Decodes the picture if necessary, and then may raise an error."""
        return self.picture if isinstance(self.picture, np.ndarray) else self.picture.pixels

    def overview(self, width: int = 1, height: int = 1) -> Pixels:
        """The whole picture, BGR, uint8, perhaps smaller than `pixels` where that needs far less memory.

        width, height: it is at least so large, if the picture is. Raises what `pixels` raises.
        """
        return self.picture if isinstance(self.picture, np.ndarray) else self.picture.overview(width, height)

    @property
    def jpeg(self) -> bytes | None:
        """The picture as the JPEG that it came as, without metadata; None where it came as none, or is turned."""
        return None if isinstance(self.picture, np.ndarray) else self.picture.jpeg

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.picture.shape[0]) if isinstance(self.picture, np.ndarray) else self.picture.height

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.picture.shape[1]) if isinstance(self.picture, np.ndarray) else self.picture.width


class SkipReason(str, Enum):
    """Why a picture of a stream was not given to the model."""

    RATE = "rate"  # more pictures per second than the stream's `fps`
    BUSY = "busy"  # live streams: a newer picture arrived while the model was busy
    FROZEN = "frozen"  # the same picture for too long, but for what an encoder makes of it: the camera hangs
    UNUSABLE = "unusable"  # no pixels, one pixel high, larger than any camera's, or never written by the decoder
    DAMAGED = "damaged"  # from a sign of damage (lost packets, errors of the decoder) until the next key frame

    def __str__(self) -> str:
        return self.value


class RefusalReason(str, Enum):
    """Why a frame that was given to the model was not accepted. Each such frame is counted under exactly one reason."""

    DISABLED = "disabled"  # the policy says enabled: false
    PAUSED = "paused"  # an operator has paused the stream
    MODEL_FAILED = "model_failed"  # no prediction for this frame
    NO_MATCH = "no_match"  # no strategy matched
    NEAR_DUPLICATE = "near_duplicate"  # a strategy matched, but a similar frame was accepted before
    OUTSCORED = "outscored"  # strategies matched, but their pacing keeps the turns for better frames, or later ones
    MIN_INTERVAL = "min_interval"  # strategies matched, but too soon after the last frame that they collected
    LIMIT = "limit"  # strategies matched, but their limits are reached
    BATCH_FULL = "batch_full"  # strategies matched, but max_batch_images is reached
    UNENCODABLE = "unencodable"  # it had quota, but it cannot be encoded as a JPEG
    UNMASKED = "unmasked"  # it had quota, but could not be masked as the privacy settings demand
    SPOOL_FULL = "spool_full"  # it had quota, but the spool has no room
    SPOOL_BROKEN = "spool_broken"  # it had quota, but the disk failed

    __hash__ = str.__hash__  # in C; that of Enum is a function in Python

    def __str__(self) -> str:
        return self.value

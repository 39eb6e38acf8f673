"""Frame: one picture of a stream. Skip and Refusal: the closed lists of what can become of it short of acceptance."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from framesift.clock.moment import Moment

Pixels = NDArray[np.uint8]


class LazyPicture(Protocol):
    """A picture that is decoded when its pixels are first asked for. Its size is known before."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def pixels(self) -> Pixels:
        """Always the same ones. Raises where there is no picture of that size after all."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a stream.

    stream: the stream's name. number: counted from 0 by the source over all its pictures, so that numbers are missing
    where pictures were skipped. picture: pixels, or what will have them: BGR, uint8, shape (height, width, 3); valid
    until the next frame of the stream is asked for: who keeps them copies them. captured: when the picture left the
    source. epoch: grows with each reconnection and each change of size; what was learnt from an earlier epoch no longer
    describes the stream. media_s: position in a file in seconds, None for live streams.
    """

    stream: str
    number: int
    picture: Pixels | LazyPicture
    captured: Moment
    epoch: int = 0
    media_s: float | None = None

    @property
    def pixels(self) -> Pixels:
        return self.picture if isinstance(self.picture, np.ndarray) else self.picture.pixels

    @property
    def height(self) -> int:
        return int(self.picture.shape[0]) if isinstance(self.picture, np.ndarray) else self.picture.height

    @property
    def width(self) -> int:
        return int(self.picture.shape[1]) if isinstance(self.picture, np.ndarray) else self.picture.width


class SkipReason(str, Enum):
    """Why a picture of a stream was never shown to the model."""

    RATE = "rate"  # more pictures a second than the stream's `fps` asks for
    BUSY = "busy"  # live: a newer picture arrived while the model was still busy with an older one
    FROZEN = "frozen"  # exactly the same picture for too long: the camera hangs
    UNUSABLE = "unusable"  # no pixels, one pixel high, larger than any camera's, or never written by the decoder

    def __str__(self) -> str:
        return self.value


class RefusalReason(str, Enum):
    """Why a frame that was shown to the model was not accepted. Each is counted under exactly one of these."""

    DISABLED = "disabled"  # the policy says enabled: false
    MODEL_FAILED = "model_failed"  # no prediction for this frame
    NO_MATCH = "no_match"  # no strategy wanted it
    NEAR_DUPLICATE = "near_duplicate"  # wanted, but like one that was accepted
    LIMIT = "limit"  # wanted, but every strategy that matched has spent its credits
    BATCH_FULL = "batch_full"  # wanted, but max_batch_images is reached
    UNENCODABLE = "unencodable"  # wanted and affordable, but no JPEG can hold it
    SPOOL_FULL = "spool_full"  # wanted and affordable, but the spool has no room
    SPOOL_BROKEN = "spool_broken"  # wanted and affordable, but the disk could not take it

    def __str__(self) -> str:
        return self.value

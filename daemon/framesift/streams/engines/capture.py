"""Capture: what a reader asks of an engine, whichever it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from framesift.streams.away_reasons import AwayReason


class SourceError(Exception):
    """The source gives no more pictures.

    detail: a text that says more than the meaning of the reason, not redacted; "" if there is none.
    """

    def __init__(self, reason: AwayReason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class PictureUnusable(Exception):
    """This picture can't be used; the text is the reason."""


@dataclass(frozen=True, slots=True)
class CapturedPicture:
    """A picture that has left its source and is not converted yet.

    arrived_s: when its data arrived, by the monotonic clock. media_s: seconds from the beginning of a file, by the
    file's own times; of a live source by the sender's, from an arbitrary zero. sent_s: Unix time of its capture by the
    sender's clock, None where the sender does not tell. damage: why it must not be shown, "" if nothing is known.
    left_out: how many damaged pictures before it came to nothing in the decoder; left_out_why: why.
    """

    arrived_s: float
    media_s: float
    sent_s: float | None = None
    damage: str = ""
    left_out: int = 0
    left_out_why: str = ""


@dataclass(frozen=True, slots=True)
class ReaderHooks:
    """What an engine that may wait for long tells its reader, and asks it. Both are called by the engine's thread.

    on_idle: call it about once a second while nothing comes, with the seconds since something came, 0 where it is no
    matter how many. pictures_done: how many pictures the daemon got, and needs no more.
    """

    on_idle: Callable[[float], None]
    pictures_done: Callable[[], int]


class Capture(Protocol):
    """An open source. For one thread. Its constructor opens the source and raises SourceError."""

    @property
    def jpeg(self) -> bytes:
        """The JPEG of which the picture was converted last, less its metadata; b"" where it was none, or is turned."""

    def next_picture(self) -> CapturedPicture | None:
        """Wait for the next picture, which `convert` then converts. None at the end.

        Raises SourceError where the source gives no more pictures for a reason that is known.
        """

    def convert(self, target: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """Convert the latest picture to BGR, uint8 of shape (height, width, 3): into `target` if that has its shape.

        Raises PictureUnusable.
        """

    def close(self) -> None:
        """Close the source."""

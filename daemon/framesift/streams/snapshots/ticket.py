"""SnapshotTicket: what becomes of one request for a snapshot: a SnapshotPicture, or SnapshotMissed with its reason."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum

import numpy as np

from framesift.clock.clock import Clock
from framesift.clock.moment import Moment
from framesift.frame import LazyPicture, Pixels


class SnapshotMissReason(str, Enum):
    """Why a frame has no snapshot. Its value is the word in the log and in metrics."""

    NO_PICTURE = "no_picture"  # none came in time, or none is kept of that time
    SKEW = "skew"  # the nearest picture is farther away than max_skew_s
    GROUP_TOO_LONG = "group_too_long"  # over max_decode_frames pictures behind its key frame, or over max_bytes
    DAMAGED = "damaged"  # from a sign of lost or wrong data until the next key frame
    DECODER = "decoder"  # it could not be decoded
    AWAY = "away"  # the main stream, or the address of the JPEG, gives no pictures
    BUSY = "busy"  # too many frames waited
    UNMASKED = "unmasked"  # it could not be masked as the settings demand; the frame's own picture could

    def __str__(self) -> str:
        return self.value


class SkewMeasure(str, Enum):
    """By which times a snapshot was matched with its frame."""

    SENDER = "sender"  # by the camera's own clock, in both streams: exact
    ARRIVAL = "arrival"  # by arrival: what one stream comes later than the other is not seen
    REQUEST = "request"  # by when it was asked for, of a JPEG: between the question and the answer

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class SnapshotMissed:
    """There is no snapshot for this frame. detail: one line without secrets, "" if the reason says all."""

    reason: SnapshotMissReason
    detail: str = ""


class SnapshotPicture:
    """The picture that is nearest in time to a frame. For one thread at a time.

    width, height: in pixels. skew_s: how much later than the frame it was taken; negative: earlier. uncertain_s: how
    far from that it may be. measured_by: by which times. sent_s: Unix time of its capture by the camera's clock, None
    where it does not tell. taken_at: when it arrived.
    """

    def __init__(
        self,
        picture: Pixels | LazyPicture,
        *,
        skew_s: float,
        measured_by: SkewMeasure,
        sent_s: float | None,
        taken_at: Moment,
        uncertain_s: float = 0.0,
    ) -> None:
        """picture: read-only pixels, in memory that is free again once nobody refers to them; or a JPEG."""
        self._picture: Pixels | LazyPicture | None = picture
        if isinstance(picture, np.ndarray):
            self.height, self.width = picture.shape[:2]
        else:
            self.height, self.width = picture.height, picture.width
        self.skew_s = skew_s
        self.uncertain_s = uncertain_s
        self.measured_by = measured_by
        self.sent_s = sent_s
        self.taken_at = taken_at

    @property
    def picture(self) -> Pixels | LazyPicture:
        """As Frame.picture, read-only. Raises ValueError after `release`."""
        if self._picture is None:
            raise ValueError("the snapshot was released")
        return self._picture

    @property
    def pixels(self) -> Pixels:
        """BGR, uint8, shape (height, width, 3), read-only. Raises ValueError after `release`."""
        picture = self.picture
        return picture if isinstance(picture, np.ndarray) else picture.pixels

    def release(self) -> None:
        """Give its memory back: 25 MB of a 4K picture. A second call does nothing."""
        self._picture = None


class SnapshotTicket:
    """One request, and its answer once there is one. Thread-safe."""

    def __init__(self, clock: Clock, deadline_s: float) -> None:
        """deadline_s: boot time at which `wait` gives up."""
        self.deadline_s = deadline_s
        self._clock = clock
        self._lock = threading.Lock()
        self._answered = threading.Event()
        self._answer: SnapshotPicture | SnapshotMissed | None = None

    @property
    def is_answered(self) -> bool:
        """Whether `wait` returns at once."""
        return self._answered.is_set()

    def answer(self, answer: SnapshotPicture | SnapshotMissed) -> None:
        """Give the answer; only the first one counts, and the picture of another is released."""
        with self._lock:
            is_first = self._answer is None
            if is_first:
                self._answer = answer
        if is_first:
            self._answered.set()
        elif isinstance(answer, SnapshotPicture):
            answer.release()

    def wait(self) -> SnapshotPicture | SnapshotMissed:
        """Return the answer: the same at every call. Waits for it, until the deadline at the latest."""
        while not self._answered.is_set():
            left_s = self.deadline_s - self._clock.now().boottime_s
            if left_s <= 0:
                self.answer(SnapshotMissed(SnapshotMissReason.NO_PICTURE, "no answer came in time"))
                break
            self._clock.wait(self._answered, left_s)
        assert self._answer is not None
        return self._answer

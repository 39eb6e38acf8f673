"""Seats: an intake for each stream that clients name, and one frame at a time to each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from framesift.clock import Clock
from framesift.frame import Frame, Pixels, Refusal, Undecoded
from framesift.intake import Decision, Intake
from framesift.moment import Moment
from framesift.prediction import Prediction
from framesift.telemetry import Telemetry

MOST_STREAMS = 256


class TooManyStreams(Exception):
    """Another name would be one too many."""


@dataclass(eq=False, slots=True)
class _Seat:
    intake: Intake
    lock: threading.Lock = field(default_factory=threading.Lock)
    frames: int = 0


class Seats:
    """Used by any number of threads. intake_of: makes the intake of a stream; asked once for each name."""

    def __init__(self, intake_of: Callable[[str], Intake], clock: Clock, telemetry: Telemetry) -> None:
        self._intake_of = intake_of
        self._clock = clock
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._seats: dict[str, _Seat] = {}

    def has_policy(self, stream: str) -> bool:
        """False while nobody has said yet what is wanted. Raises TooManyStreams."""
        from framesift.steering import NO_POLICY_YET  # steering knows the settings, which know this door's options

        return self._seat(stream).intake.policy is not NO_POLICY_YET

    def disabled(self, stream: str) -> Decision | None:
        """The verdict where the policy collects nothing, so that nothing need be decoded; None where it does."""
        if self._seat(stream).intake.policy.enabled:
            return None
        self._telemetry.read(stream)
        self._telemetry.refused(stream, Refusal.DISABLED)
        return Decision((), None, Refusal.DISABLED)

    def offer(
        self, stream: str, picture: Pixels | Undecoded, prediction: Prediction, captured: Moment | None
    ) -> Decision:
        """captured: None for now. Raises TooManyStreams, and what the picture's pixels raise: then it is no frame."""
        seat = self._seat(stream)
        with seat.lock:
            frame = Frame(stream, seat.frames, picture, captured or self._clock.now())
            seat.frames += 1
            decision = seat.intake.offer(frame, prediction)
            self._telemetry.read(stream)
            return decision

    def _seat(self, stream: str) -> _Seat:
        with self._lock:
            seat = self._seats.get(stream)
            if seat is None:
                if len(self._seats) >= MOST_STREAMS:
                    raise TooManyStreams(f"there are {MOST_STREAMS} streams already")
                seat = self._seats[stream] = _Seat(self._intake_of(stream))
            return seat

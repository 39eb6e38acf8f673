"""Seats: an intake for each stream that clients name (and in it for each policy that models follow), and one frame at
a time to each."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from framesift.clock.clock import Clock
from framesift.clock.moment import Moment
from framesift.frame import Frame, Pixels, Refusal, Undecoded
from framesift.policy import NoPolicy, Pairing
from framesift.policy.policy import NO_POLICY_YET
from framesift.prediction.prediction import Prediction, Task
from framesift.sampling.intake import Decision, Intake
from framesift.telemetry import Telemetry

MOST_STREAMS = 256


class TooManyStreams(Exception):
    """Another name would be one too many."""


class Models(Protocol):
    """Who knows whose policies hold for the models of clients. For any thread."""

    @property
    def by_model(self) -> bool:
        """Whether it depends on the model at all."""

    def pairing_of(self, stream: str, model_id: str, dataset: str | None, /) -> Pairing | NoPolicy | None:
        """None: the stream's own. dataset: where the client wants the picture. Waits for nobody."""

    def begin(self, stream: str, tags: tuple[str, ...], clock: Clock, pairing: Pairing, /) -> Intake:
        """An intake that follows a pairing's policy."""

    def takes_labels(self, stream: str, /) -> bool:
        """Whether labels of whole pictures suit the project where the stream's pictures go. May wait for a moment."""

    def task_of(self, project: str, within_s: float, /) -> Task | None:
        """What a project is for; None where nobody says within the time."""


@dataclass(eq=False, slots=True)
class _Seat:
    intake: Intake
    lock: threading.Lock = field(default_factory=threading.Lock)


class Seats:
    """Used by any number of threads. intake_of: makes the intake of a stream, and in it of a pairing; asked once for
    each."""

    def __init__(self, intake_of: Callable[[str, Pairing | None], Intake], clock: Clock, telemetry: Telemetry) -> None:
        self._intake_of = intake_of
        self._clock = clock
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._seats: dict[tuple[str, Pairing | None], _Seat] = {}
        self._frames: Counter[str] = Counter()

    def has_policy(self, stream: str) -> bool:
        """False while nobody has said yet what is wanted. Raises TooManyStreams."""
        return self._seat(stream).intake.policy is not NO_POLICY_YET

    def disabled(self, stream: str, pairing: Pairing | None = None) -> Decision | None:
        """The verdict where the policy collects nothing, so that nothing need be decoded; None where it does."""
        if self._seat(stream, pairing).intake.policy.enabled:
            return None
        self._telemetry.read(stream)
        self._telemetry.refused(stream, Refusal.DISABLED)
        return Decision((), None, Refusal.DISABLED)

    def offer(
        self,
        stream: str,
        picture: Pixels | Undecoded,
        prediction: Prediction,
        captured: Moment | None,
        pairing: Pairing | None = None,
    ) -> Decision:
        """captured: None for now. Raises TooManyStreams, and what the picture's pixels raise: then it is no frame."""
        seat = self._seat(stream, pairing)
        with seat.lock:
            with self._lock:
                number = self._frames[stream]
                self._frames[stream] += 1
            frame = Frame(stream, number, picture, captured or self._clock.now())
            decision = seat.intake.offer(frame, prediction)
            self._telemetry.read(stream)
            return decision

    def _seat(self, stream: str, pairing: Pairing | None = None) -> _Seat:
        with self._lock:
            seat = self._seats.get((stream, pairing))
            if seat is None:
                if len(self._seats) >= MOST_STREAMS:
                    raise TooManyStreams(f"there are {MOST_STREAMS} streams already")
                seat = self._seats[stream, pairing] = _Seat(self._intake_of(stream, pairing))
            return seat

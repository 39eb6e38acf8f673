"""Seats: an intake for each stream that clients name (and in it for each policy that models follow), and one frame at
a time to each.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from framesift.clock.clock import Clock
from framesift.clock.moment import Moment
from framesift.frame import Frame, LazyPicture, Pixels, RefusalReason
from framesift.policy import NoPolicyReason, ProjectPair
from framesift.policy.policy import NO_POLICY_YET
from framesift.prediction.prediction import Prediction, Task
from framesift.sampling.intake import Intake, IntakeDecision
from framesift.telemetry import Telemetry

MAX_STREAMS = 256


class TooManyStreams(Exception):
    """Another name would be one too many."""


class ModelPolicies(Protocol):
    """Who knows whose policies hold for the models of clients. For any thread."""

    @property
    def by_model(self) -> bool:
        """Whether it depends on the model at all."""

    def pairing_of(self, stream: str, model_id: str, dataset: str | None, /) -> ProjectPair | NoPolicyReason | None:
        """None: the stream's own. dataset: where the client wants the picture. Waits for nobody."""

    def create(self, stream: str, tags: tuple[str, ...], clock: Clock, pairing: ProjectPair, /) -> Intake:
        """An intake that follows a pairing's policy."""

    def accepts_labels(self, stream: str, /) -> bool:
        """Whether labels of whole pictures suit the project where the stream's pictures go. May wait for a moment."""

    def task_of(self, project: str, within_s: float, /) -> Task | None:
        """What a project is for; None where nobody says within the time."""


@dataclass(eq=False, slots=True)
class _Seat:
    intake: Intake
    lock: threading.Lock = field(default_factory=threading.Lock)


class StreamIntakes:
    """Used by any number of threads. intake_of: makes the intake of a stream, and in it of a pairing; asked once for
    each.
    """

    def __init__(
        self, intake_of: Callable[[str, ProjectPair | None], Intake], clock: Clock, telemetry: Telemetry
    ) -> None:
        self._intake_of = intake_of
        self._clock = clock
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._seats: dict[tuple[str, ProjectPair | None], _Seat] = {}
        self._frames: Counter[str] = Counter()

    def has_policy(self, stream: str) -> bool:
        """False while nobody has said yet what is wanted. Raises TooManyStreams."""
        return self._seat(stream).intake.policy is not NO_POLICY_YET

    def refusal_if_disabled(self, stream: str, pairing: ProjectPair | None = None) -> IntakeDecision | None:
        """The verdict where the policy collects nothing, so that nothing need be decoded; None where it does."""
        if self._seat(stream, pairing).intake.policy.enabled:
            return None
        self._telemetry.count_read(stream)
        self._telemetry.count_refused(stream, RefusalReason.DISABLED)
        return IntakeDecision((), None, RefusalReason.DISABLED)

    def offer(
        self,
        stream: str,
        picture: Pixels | LazyPicture,
        prediction: Prediction,
        captured: Moment | None,
        pairing: ProjectPair | None = None,
    ) -> IntakeDecision:
        """captured: None for now. Raises TooManyStreams, and what the picture's pixels raise: then it is no frame."""
        seat = self._seat(stream, pairing)
        with seat.lock:
            with self._lock:
                number = self._frames[stream]
                self._frames[stream] += 1
            frame = Frame(stream, number, picture, captured or self._clock.now())
            decision = seat.intake.offer(frame, prediction)
            self._telemetry.count_read(stream)
            return decision

    def _seat(self, stream: str, pairing: ProjectPair | None = None) -> _Seat:
        with self._lock:
            seat = self._seats.get((stream, pairing))
            if seat is None:
                if len(self._seats) >= MAX_STREAMS:
                    raise TooManyStreams(f"there are {MAX_STREAMS} streams already")
                seat = self._seats[stream, pairing] = _Seat(self._intake_of(stream, pairing))
            return seat

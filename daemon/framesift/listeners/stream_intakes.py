"""An intake for each stream that clients name, and for each policy that their models follow in it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from framesift.clock.clock import Clock
from framesift.clock.moment import Moment
from framesift.frame import Frame, LazyPicture, Pixels
from framesift.listeners.listener_settings import ListenerSettings
from framesift.policy import NoPolicyReason, ProjectPair
from framesift.policy.policy import NO_POLICY_YET
from framesift.prediction.prediction import Prediction, Task
from framesift.sampling.intake import Intake
from framesift.sampling.intake_decision import IntakeDecision
from framesift.telemetry import Telemetry

MAX_STREAMS = 256


class TooManyStreams(Exception):
    """A client named a new stream, and there are MAX_STREAMS already."""


class ModelPolicies(Protocol):
    """Knows which policy holds for the model that a client calls. Thread-safe."""

    @property
    def has_project_policies(self) -> bool:
        """Return whether the policy depends on the model at all."""

    def project_pair_of(
        self, stream: str, model_id: str, dataset: str | None, /
    ) -> ProjectPair | NoPolicyReason | None:
        """Return whose policy holds for a picture: a pair of projects, or None for the stream's own policy.

        dataset: the project where the client wants the picture, None for the model's project. Returns the reason if
        there is no policy (yet). Never blocks.
        """

    def create(self, stream: str, owner: ListenerSettings, clock: Clock, pair: ProjectPair, /) -> Intake:
        """Return an intake that follows the policy of a pair. owner: the listener, whose tags it has."""

    def accepts_labels(self, stream: str, /) -> bool:
        """Return whether classes of whole pictures suit the project of the stream's pictures. May block briefly."""

    def task_of(self, project: str, within_s: float, /) -> Task | None:
        """Return the task of a project, None if the platform does not tell it within the time."""


@dataclass(eq=False, slots=True)
class _StreamIntake:
    intake: Intake
    lock: threading.Lock = field(default_factory=threading.Lock)


class StreamIntakes:
    """Gives pictures and predictions to the right intake, one at a time per intake. Thread-safe.

    intake_of: makes the intake of a stream, or of a stream and a pair of projects; called once for each.
    """

    def __init__(
        self, intake_of: Callable[[str, ProjectPair | None], Intake], clock: Clock, telemetry: Telemetry
    ) -> None:
        self._intake_of = intake_of
        self._clock = clock
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._intakes: dict[tuple[str, ProjectPair | None], _StreamIntake] = {}
        self._frames: Counter[str] = Counter()

    def has_policy(self, stream: str) -> bool:
        """Return False as long as the stream's policy has not been fetched yet. Raises TooManyStreams."""
        return self._intake(stream).intake.policy is not NO_POLICY_YET

    def standing_refusal(self, stream: str, pair: ProjectPair | None = None) -> IntakeDecision | None:
        """Return the refusal, and count it, if nothing is taken at present; None if the picture has to be offered.

        It saves decoding the picture. Raises TooManyStreams.
        """
        refusal = self._intake(stream, pair).intake.standing_refusal
        if refusal is None:
            return None
        self._telemetry.count_read(stream)
        self._telemetry.count_refused(stream, refusal)
        return IntakeDecision((), None, refusal)

    def offer(
        self,
        stream: str,
        picture: Pixels | LazyPicture,
        prediction: Prediction,
        captured: Moment | None,
        pair: ProjectPair | None = None,
    ) -> IntakeDecision:
        """Make a frame of the picture, offer it to the intake, and return the decision.

        picture: BGR, uint8, shape (height, width, 3), or a picture that is decoded when its pixels are needed.
        captured: when it was taken, None for now. Raises TooManyStreams, and what decoding raises; then no frame is
        counted.
        """
        entry = self._intake(stream, pair)
        with entry.lock:
            with self._lock:
                number = self._frames[stream]
                self._frames[stream] += 1
            frame = Frame(stream, number, picture, captured or self._clock.now())
            takes = entry.intake.requests.takes
            takes.claim(frame)
            try:
                decision = entry.intake.offer(frame, prediction)
            except BaseException:
                takes.release(frame)
                raise
            self._telemetry.count_read(stream)
            return decision

    def _intake(self, stream: str, pair: ProjectPair | None = None) -> _StreamIntake:
        with self._lock:
            entry = self._intakes.get((stream, pair))
            if entry is None:
                if len(self._intakes) >= MAX_STREAMS:
                    raise TooManyStreams(f"there are {MAX_STREAMS} streams already")
                entry = self._intakes[stream, pair] = _StreamIntake(self._intake_of(stream, pair))
            return entry

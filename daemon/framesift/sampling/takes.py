"""Takes: frames that an operator takes by hand: the next one that a stream hands to its model.

    take ──> a frame claims it ──> decided on ──> taken, or refused
      └──> no frame within TAKE_WITHIN_S: refused

The strategy `manual` stands before all others for that one frame, whatever it shows: no near duplicate, pacing or
restriction keeps it out, but limits, privacy and the spool's room do. Where its own limits are reached, another
strategy that wants the frame may still be charged. Whoever asks while a take of the same stream is under way gets the
same frame.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import Enum

from framesift.clock.clock import Clock
from framesift.frame import Frame, RefusalReason
from framesift.policy.manual import NAME as MANUAL
from framesift.sampling.intake_decision import IntakeDecision
from framesift.sampling.sampler import SamplingDecision
from framesift.spool import Accepted
from framesift.strategies import Match

TAKE_WITHIN_S = 5.0
DECIDED_WITHIN_S = 15.0  # a slow model, a snapshot, a mask that waits for the next frame


class TakeRefusal(str, Enum):
    """Why no frame was taken."""

    LIMIT = "limit"
    BATCH_FULL = "batch_full"
    PAUSED = "paused"
    DISABLED = "disabled"
    AWAY = "away"
    NO_FRAME = "no_frame"
    MODEL_FAILED = "model_failed"
    UNMASKED = "unmasked"
    UNENCODABLE = "unencodable"
    SPOOL_FULL = "spool_full"
    SPOOL_BROKEN = "spool_broken"
    UNFINISHED = "unfinished"

    @property
    def meaning(self) -> str:
        """The same in words, for the operator."""
        return _MEANINGS[self]

    def __str__(self) -> str:
        return self.value


_MEANINGS = {
    TakeRefusal.LIMIT: "the limits of the strategy manual are reached",
    TakeRefusal.BATCH_FULL: "the labelling batch is full",
    TakeRefusal.PAUSED: "the stream is paused",
    TakeRefusal.DISABLED: "the policy collects nothing (enabled: false), or there is none yet",
    TakeRefusal.AWAY: "the stream gives no pictures",
    TakeRefusal.NO_FRAME: f"the stream handed no frame to its model within {TAKE_WITHIN_S:g} s",
    TakeRefusal.MODEL_FAILED: "the model failed on the frame",
    TakeRefusal.UNMASKED: "the frame could not be masked as the privacy settings demand",
    TakeRefusal.UNENCODABLE: "the frame can't be encoded as a JPEG",
    TakeRefusal.SPOOL_FULL: "the spool has no room",
    TakeRefusal.SPOOL_BROKEN: "the disk of the spool failed",
    TakeRefusal.UNFINISHED: "a frame was chosen, but it is not stored yet: the spool or the log tells the rest",
}


@dataclass(eq=False, slots=True)
class _Take:
    """waiters: how many wait for it. number: of the frame that has claimed it, None before."""

    waiters: int = 0
    number: int | None = None
    answer: Accepted | TakeRefusal | None = None
    changed: threading.Event = field(default_factory=threading.Event)


class Takes:
    """Thread-safe. While nobody takes anything it costs next to nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._takes: dict[str, _Take] = {}

    def take(self, stream: str) -> Accepted | TakeRefusal:
        """Take the next frame of a stream. Waits for it, and for its decision."""
        with self._lock:
            take = self._takes.get(stream)
            if take is None or not take.waiters:  # the latter was given up
                take = self._takes[stream] = _Take()
            take.waiters += 1
        claimed_by_s = self._clock.monotonic() + TAKE_WITHIN_S
        while True:
            with self._lock:
                has_frame = take.number is not None
                left_s = claimed_by_s + has_frame * DECIDED_WITHIN_S - self._clock.monotonic()
                if take.answer is not None or left_s <= 0:
                    take.waiters -= 1
                    if not has_frame and not take.waiters:
                        del self._takes[stream]  # no frame may claim it any more
                    return take.answer or (TakeRefusal.UNFINISHED if has_frame else TakeRefusal.NO_FRAME)
            self._clock.wait(take.changed, left_s)

    def claim(self, frame: Frame) -> None:
        """A frame is handed to the model: it is taken if its stream is asked for one."""
        if self._takes:
            with self._lock:
                take = self._takes.get(frame.stream)
                if take is not None and take.number is None:
                    take.number = frame.number

    def release(self, frame: Frame) -> None:
        """A frame could not be decided on: the next one may be taken instead."""
        with self._lock:
            take = self._taking(frame)
            if take is not None:
                take.number = None

    def add_to(self, frame: Frame, decision: SamplingDecision) -> SamplingDecision:
        """The decision on a frame, with the strategy `manual` before all others if the frame is taken."""
        if not self._takes or self._taking(frame) is None:
            return decision
        others = [match for match in decision.matches if match.strategy != MANUAL]
        return decision._replace(matches=(Match(MANUAL), *others), refusal=None)

    def settle(self, frame: Frame, decision: IntakeDecision) -> None:
        """What was decided on a frame; it may still wait for what its picture needs."""
        if self._takes:
            held = RefusalReason.LIMIT if decision.is_held else None
            self.end(frame, decision.accepted or decision.refusal or held)

    def end(self, frame: Frame, answer: Accepted | RefusalReason | None) -> None:
        """What became of a frame, also of one that nobody has taken. None: that is not known yet."""
        if not self._takes or answer is None:
            return
        with self._lock:
            take = self._taking(frame)
            if take is not None:
                take.answer = answer if isinstance(answer, Accepted) else _refusal(answer)
                del self._takes[frame.stream]
                take.changed.set()

    def _taking(self, frame: Frame) -> _Take | None:
        take = self._takes.get(frame.stream)
        return take if take is not None and take.number == frame.number else None


def _refusal(reason: RefusalReason) -> TakeRefusal:
    try:
        return TakeRefusal(reason.value)
    except ValueError:  # only of a policy that has a strategy named `manual`, with pacing: it has no turn now
        return TakeRefusal.LIMIT

"""StreamSampler: the sampler of one stream under its present policy, with what the spool knows of accepted frames."""

from __future__ import annotations

import contextlib
import math
import threading

from framesift.frame import Frame
from framesift.policy.policy import Policy
from framesift.prediction.prediction import Prediction
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.candidates import CollectionOrigin
from framesift.sampling.likeness import Likeness
from framesift.sampling.sampler import Sampler, SamplingDecision
from framesift.spool import AcceptedSignature, Spool, SpoolBroken, SpoolFull, StoredSignatures
from framesift.strategies.near_duplicate import RememberedFrame, SignatureKind

_SAME_THRESHOLD = 0.1


class StreamSampler:
    """For the stream's thread.

    lock: of the sampler, which learns of frames that waited or were held in other threads. current: the sampler; None
    before the first frame.
    """

    def __init__(
        self,
        stream: str,
        origin: CollectionOrigin,
        *,
        accepted: AcceptedFrames,
        spool: Spool,
        is_video: bool,
        measures: bool = False,
    ) -> None:
        """accepted: shared by all streams. is_video: each frame follows the one before. measures: see Sampler."""
        self.lock = threading.Lock()
        self.current: Sampler | None = None
        self._stream = stream
        self._seed, self._memory = origin.seed, origin.memory
        self._accepted = accepted
        self._spool = spool
        self._is_video = is_video
        self._measures = measures
        self._policy: Policy | None = None
        self._is_restored = False  # whether the sampler has the accepted frames of earlier processes
        self._recorded_thresholds: dict[SignatureKind, float] = {}

    def is_of(self, policy: Policy) -> bool:
        """Whether the current sampler is that of a policy."""
        return self._policy is policy

    def follow(self, policy: Policy) -> Sampler:
        """The sampler of a policy, which knows what those before it knew."""
        with self.lock:
            old = self.current
            if old is None or self._policy is not policy:
                sampler = Sampler(
                    self._stream,
                    policy,
                    seed=self._seed,
                    accepted=self._accepted,
                    is_video=self._is_video,
                    measures=self._measures,
                )
                self._restore(sampler)
                if old is not None:
                    sampler.copy_state_from(old)
                self.current, self._policy = sampler, policy
                return sampler
            if not self._is_restored:
                self._restore(old)
            return old

    def remembered(
        self, frame: Frame, prediction: Prediction, decision: SamplingDecision, id: str
    ) -> RememberedFrame | None:
        """How a frame is to be remembered if it is accepted, see Sampler."""
        with self.lock:
            return None if self.current is None else self.current.remembered(frame, prediction, decision, id)

    def likeness(self, strategy: str, frame: RememberedFrame | None) -> Likeness | None:
        """How a frame compares with others of a strategy, see Sampler."""
        with self.lock:
            return None if self.current is None else self.current.likeness(strategy, self._stream, frame)

    def record_waiting(self, frame: RememberedFrame | None) -> None:
        """A frame is about to be accepted, see Sampler."""
        if self.current is not None:
            with self.lock:
                self.current.record_waiting(frame)

    def stored_signature(self, frame: RememberedFrame | None) -> AcceptedSignature | None:
        """What is stored beside an accepted frame, so that it is remembered over restarts. frame: None for nothing."""
        if self.current is None or frame is None:
            return None
        measured = self.current.measured_thresholds
        thresholds = measured.get("picture"), measured.get("embedding")
        return AcceptedSignature(self._stream, self._memory, frame.to_bytes(), *thresholds)

    def record_thresholds(self) -> None:
        """Stores what `auto` was measured to be, where it is no longer nearly the same."""
        measured, recorded = {} if self.current is None else self.current.measured_thresholds, self._recorded_thresholds
        if all(math.isclose(now, recorded.get(kind, -1.0), rel_tol=_SAME_THRESHOLD) for kind, now in measured.items()):
            return
        self._recorded_thresholds = measured
        thresholds = measured.get("picture"), measured.get("embedding")
        with contextlib.suppress(SpoolBroken, SpoolFull):  # then with the next accepted frame
            self._spool.record_thresholds(self._stream, self._memory, *thresholds)

    def _restore(self, sampler: Sampler) -> None:
        """Gives the sampler what earlier processes accepted, and earlier policies; again if it can't be read now."""
        spool, memory, of_all = self._spool, self._memory, sampler.needed_of_all
        self._is_restored = not (of_all or sampler.needed_of_stream)
        if self._is_restored:
            return
        try:
            stored = spool.signatures(self._stream, memory, max(1, sampler.needed_of_stream))
            stored_of_all = spool.signatures(None, memory, of_all) if of_all else stored
        except SpoolBroken:
            return
        self._is_restored = True
        thresholds: dict[SignatureKind, float | None] = {
            "picture": stored.threshold,
            "embedding": stored.embedding_threshold,
        }
        self._recorded_thresholds = {kind: found for kind, found in thresholds.items() if found is not None}
        sampler.restore(_remembered(stored), self._recorded_thresholds)
        if of_all:
            sampler.restore_all(_remembered(stored_of_all))


def _remembered(stored: StoredSignatures) -> list[RememberedFrame]:
    read = (RememberedFrame.from_bytes(one.id, one.content) for one in stored.frames)
    return [found for found in read if found is not None]

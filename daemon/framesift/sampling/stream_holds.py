"""StreamHolds: the hold queues of this device, as one stream's frames meet them."""

from __future__ import annotations

from collections.abc import Callable

from framesift.clock.moment import Moment
from framesift.datapoint import Candidate, Datapoint
from framesift.frame import RefusalReason
from framesift.sampling.held_frame import HeldFrame
from framesift.sampling.hold_queue import HeldCandidate
from framesift.sampling.likeness import Likeness
from framesift.sampling.pacing import Holds
from framesift.sampling.waiting_frames import WaitingFrame, with_picture_tag


class StreamHolds:
    """For the threads of one stream."""

    def __init__(self, holds: Holds | None, stream: str, memory: str) -> None:
        """holds: None where nothing holds frames. memory: see CollectionOrigin."""
        self._holds = holds
        self._stream = stream
        self._memory = memory

    def draw(self, account: str, captured: Moment) -> bool:
        """Whether the baseline takes a frame: see BaselineQueue. account: of the baseline."""
        return self._holds is not None and self._holds.draw(account, captured)

    def refusal(self, account: str, score: float, likeness: Likeness | None) -> RefusalReason | None:
        """Why a frame would not be held; None if it would."""
        return RefusalReason.OUTSCORED if self._holds is None else self._holds.refusal(account, score, likeness)

    def hold_datapoint(self, made: WaitingFrame, datapoint: Datapoint) -> RefusalReason | None:
        """Hold a frame that has waited, with the datapoint that was made of it. Return why not, None if it is held."""
        (candidate,) = made.grant.candidates
        return self.hold(made, with_picture_tag(candidate, datapoint), lambda: datapoint)

    def hold(self, made: WaitingFrame, candidate: Candidate, make: Callable[[], Datapoint]) -> RefusalReason | None:
        """Hold a frame for which nothing has to be waited. Return why not, None if it is held."""
        request = made.hold
        if self._holds is None or request is None:
            return RefusalReason.OUTSCORED
        (quota,) = made.grant.quotas
        held = HeldFrame(self._stream, self._memory, candidate, quota, made.signature, make, request.baseline)
        return self._holds.hold(
            request.account,
            HeldCandidate(made.grant.id, request.score, made.grant.captured, request.likeness, held),
        )

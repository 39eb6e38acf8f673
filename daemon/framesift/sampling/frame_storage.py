"""FrameStorage: the way of a frame that has quota into the spool, at once or beside the stream's loop."""

from __future__ import annotations

from framesift.frame import Frame, RefusalReason
from framesift.pictures.outgoing import OutgoingPicture
from framesift.policy.policy import Policy
from framesift.prediction.prediction import Prediction
from framesift.privacy.stream_privacy import PendingMask
from framesift.sampling.admission import Admission, AdmissionGrant
from framesift.sampling.neighbours import SequencePlace
from framesift.sampling.picture_preparation import PicturePreparation
from framesift.sampling.sampler import SamplingDecision
from framesift.sampling.stream_sampler import StreamSampler
from framesift.sampling.waiting_frames import WaitingFrame, WaitingFrames
from framesift.spool import Accepted
from framesift.strategies.near_duplicate import RememberedFrame


class FrameStorage:
    """For the thread of one stream."""

    def __init__(
        self,
        admission: Admission,
        preparation: PicturePreparation,
        samplers: StreamSampler,
        waiting: WaitingFrames,
        *,
        device: str,
    ) -> None:
        """waiting: takes the frames whose pictures can't be made yet. device: this machine's name."""
        self._admission = admission
        self._preparation = preparation
        self._samplers = samplers
        self._waiting = waiting
        self._device = device

    def store(
        self,
        frame: Frame,
        prediction: Prediction,
        policy: Policy,
        grant: AdmissionGrant,
        decision: SamplingDecision | None,
        *,
        place: SequencePlace | None = None,
        mask: PendingMask | None = None,
    ) -> Accepted | RefusalReason | None:
        """Stores a frame, or gives its quota back. Returns None if it waits for what its picture needs.

        decision: by which it is remembered; None: it is not. place: of a neighbour. mask: see PicturePreparation.
        Raises what the frame's pixels raise; the quota is given back then, too.
        """
        made: WaitingFrame | RefusalReason | None = None
        remembered: RememberedFrame | None = None
        try:
            if decision is not None:
                remembered = self._samplers.remembered(frame, prediction, decision, grant.id)
            made = self._preparation.prepare(
                frame,
                prediction,
                grant,
                policy,
                device=self._device,
                signature=self._samplers.stored_signature(remembered),
                place=place,
                mask=mask,
            )
        finally:
            if not isinstance(made, WaitingFrame):
                self._admission.discard(grant)
        if isinstance(made, RefusalReason):
            return made
        if made.ticket is None and isinstance(made.own, OutgoingPicture):
            return self._admission.store(grant, self._waiting.make(made), made.signature)
        self._samplers.record_waiting(remembered)
        self._waiting.add(made)
        return None

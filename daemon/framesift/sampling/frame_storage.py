"""FrameStorage: the way of a frame into the spool, at once or beside the stream's loop, or to those that are held."""

from __future__ import annotations

from collections.abc import Callable

from framesift.datapoint import new_datapoint_id
from framesift.frame import Frame, RefusalReason
from framesift.pictures.outgoing import OutgoingPicture
from framesift.policy.policy import Policy
from framesift.prediction.prediction import Prediction
from framesift.privacy.stream_privacy import PendingMask
from framesift.sampling.admission import Admission, AdmissionGrant
from framesift.sampling.held_frame import BaselineDraw
from framesift.sampling.intake_decision import PendingFrame
from framesift.sampling.neighbours import SequencePlace
from framesift.sampling.picture_preparation import PicturePreparation
from framesift.sampling.sampler import SamplingDecision
from framesift.sampling.stream_holds import StreamHolds
from framesift.sampling.stream_sampler import StreamSampler
from framesift.sampling.waiting_frames import HoldRequest, WaitingFrame, WaitingFrames
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
        holds: StreamHolds,
        *,
        device: str,
    ) -> None:
        """waiting: takes the frames whose pictures can't be made yet. device: this machine's name."""
        self._holds = holds
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

    def hold(
        self,
        frame: Frame,
        prediction: Prediction,
        policy: Policy,
        decision: SamplingDecision,
        strategy: str,
        account: str,
        score: float,
        baseline: BaselineDraw | None,
        *,
        grant_of: Callable[[str], AdmissionGrant],
    ) -> RefusalReason | PendingFrame:
        """Holds a frame for a strategy until a turn is due, or says why not.

        account, score: of the strategy, see HoldRequest. baseline: of a frame that the baseline has drawn. grant_of:
        returns, by the datapoint's id, what has to be asked for at the turn. Raises what the frame's pixels raise.
        """
        id = new_datapoint_id()
        remembered = self._samplers.remembered(frame, prediction, decision, id)
        likeness = None if baseline is not None else self._samplers.likeness(strategy, remembered)
        refusal = self._holds.refusal(account, score, likeness)
        if refusal is not None:
            return refusal
        grant = grant_of(id)
        made = self._preparation.prepare(
            frame,
            prediction,
            grant,
            policy,
            device=self._device,
            signature=self._samplers.stored_signature(remembered),
            hold=HoldRequest(account, score, likeness, baseline),
        )
        if isinstance(made, RefusalReason):
            return made
        held = PendingFrame(id, strategy, is_held=True)
        if made.ticket is not None or not (made.mask is None or made.mask.is_settled):
            self._waiting.add(made)
            return held
        return self._holds.hold(made, grant.candidates[0], lambda: self._waiting.make(made)) or held

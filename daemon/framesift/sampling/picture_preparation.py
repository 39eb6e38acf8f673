"""PicturePreparation: makes a wanted frame's own picture, and asks for what a better one may wait for."""

from __future__ import annotations

import numpy as np

from framesift.clock.clock import Clock
from framesift.frame import Frame, Pixels, RefusalReason
from framesift.pictures.outgoing import NO_MASK, OutgoingPicture, encode_outgoing
from framesift.policy.policy import Policy
from framesift.prediction.prediction import Prediction
from framesift.privacy.stream_privacy import PendingMask, StreamPrivacy
from framesift.sampling.admission import AdmissionGrant
from framesift.sampling.neighbours import SequencePlace
from framesift.sampling.waiting_frames import (
    PICTURE_ERRORS,
    HoldRequest,
    Snapshots,
    WaitingFrame,
    picture_refusal,
    without_pixels,
)
from framesift.spool import AcceptedSignature


class PicturePreparation:
    """For the thread of one stream."""

    def __init__(self, clock: Clock, privacy: StreamPrivacy | None, snapshots: Snapshots | None) -> None:
        """privacy: what must be covered, None for nothing. snapshots: of the stream, None for none."""
        self._clock = clock
        self._privacy = privacy
        self._snapshots = snapshots

    def prepare(
        self,
        frame: Frame,
        prediction: Prediction,
        grant: AdmissionGrant,
        policy: Policy,
        *,
        device: str,
        signature: AcceptedSignature | None,
        hold: HoldRequest | None = None,
        place: SequencePlace | None = None,
        mask: PendingMask | None = None,
    ) -> WaitingFrame | RefusalReason:
        """Returns the frame with its own picture made, or why it can't be. Raises what the frame's pixels raise.

        device, signature, place: see WaitingFrame. hold: for a frame that is to be held: of its pixels a copy is kept,
        since most of these are never encoded. mask: where it was prepared when the frame was new.
        """
        try:
            pending = mask
            if pending is None and self._privacy is not None:
                pending = self._privacy.begin(frame, prediction)
            own: OutgoingPicture | Pixels
            is_copied = hold is not None and isinstance(frame.picture, np.ndarray)
            if (pending is None or pending.is_settled) and not is_copied:
                own = encode_outgoing(
                    frame.picture,
                    mask=NO_MASK if pending is None else pending.mask(),
                    max_size=policy.max_image_size,
                    jpeg_quality=policy.jpeg_compression_level,
                )
            else:
                own = frame.pixels.copy()
        except PICTURE_ERRORS as error:
            return picture_refusal(error)
        ticket = None
        if self._snapshots is not None:
            deadline_s = self._clock.now().boottime_s + self._snapshots.wait_s
            ticket = self._snapshots.request(frame, deadline_s=deadline_s)
        return WaitingFrame(
            grant=grant,
            frame=without_pixels(frame),
            prediction=prediction,
            device=device,
            own=own,
            mask=pending,
            signature=signature,
            max_size=policy.max_image_size,
            jpeg_quality=policy.jpeg_compression_level,
            ticket=ticket,
            mask_by_s=self._clock.monotonic() + (0.0 if self._privacy is None else self._privacy.over_time_s),
            hold=hold,
            place=place,
        )

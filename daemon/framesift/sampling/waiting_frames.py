"""WaitingFrames: frames of one stream that have quota, and wait for what their pictures need, beside the stream's loop.

A frame waits for its snapshot, at most until a deadline, and for the frame after it where that tells what has to be
covered. The picture that is made for sure exists first: the frame's own, as a JPEG, or, where it can't be masked yet,
as a copy of the pixels. Whatever else goes wrong, that one is kept: it is refused only if it can't be masked.

At most MAX_WAITING frames wait. Where another one comes, the oldest gives up its snapshot, and the stream waits until
it is stored.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from framesift.clock.clock import MAX_WAIT_S, Clock, HeartbeatClock, MonitoredThread
from framesift.datapoint import Candidate, Datapoint, PictureFacts, PictureSource, create_datapoint
from framesift.frame import AbsentPicture, Frame, LazyPicture, Pixels, RefusalReason
from framesift.pictures.outgoing import (
    NO_MASK,
    JpegEncodingError,
    OutgoingPicture,
    PictureMask,
    Unmasked,
    encode_outgoing,
)
from framesift.prediction.prediction import Prediction
from framesift.privacy.stream_privacy import PendingMask
from framesift.sampling.admission import Admission, AdmissionGrant
from framesift.sampling.held_frame import BaselineDraw
from framesift.sampling.likeness import Likeness
from framesift.sampling.neighbours import SequencePlace
from framesift.spool import Accepted, AcceptedSignature
from framesift.streams.snapshots.ticket import SnapshotMissed, SnapshotMissReason, SnapshotPicture, SnapshotTicket
from framesift.telemetry import Telemetry

MAX_WAITING = 4
PICTURE_ERRORS = (Unmasked, JpegEncodingError)
_SAME_ASPECT = 0.02


class Snapshots(Protocol):
    """Gives pictures of another source that shows what a stream shows."""

    wait_s: float

    def request(self, frame: Frame, *, deadline_s: float) -> SnapshotTicket:
        """Ask for the picture that is nearest in time to a frame; never blocks. deadline_s: boot time."""
        ...

    def close(self) -> None:
        """Answer all that wait; never blocks."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class HoldRequest:
    """Which strategy wants to hold a frame, by its account, and how the frame compares with others.

    baseline: of a frame that the baseline has drawn; None for every other one.
    """

    account: str
    score: float
    likeness: Likeness | None
    baseline: BaselineDraw | None = None


@dataclass(frozen=True, slots=True, eq=False)
class WaitingFrame:
    """A frame that has quota. frame: without its pixels, which belong to its stream again.

    own: its own picture, or the pixels of which it is made once its mask is known. mask: None where nothing has to be
    covered. max_size, jpeg_quality: see `encode_outgoing`. ticket: of its snapshot, None where the stream has none.
    mask_by_s: monotonic time until which it waits for the frame after it. hold: for a frame that has no quota, but is
    to be held until a turn is due. place: of a neighbour.
    """

    grant: AdmissionGrant
    frame: Frame
    prediction: Prediction
    device: str
    own: OutgoingPicture | Pixels
    mask: PendingMask | None
    signature: AcceptedSignature | None
    max_size: tuple[int, int] | None
    jpeg_quality: int | None
    ticket: SnapshotTicket | None
    mask_by_s: float
    hold: HoldRequest | None = None
    place: SequencePlace | None = None


def picture_refusal(error: Exception) -> RefusalReason:
    """Under which reason a frame is counted whose picture can't be made. error: one of PICTURE_ERRORS."""
    return RefusalReason.UNMASKED if isinstance(error, Unmasked) else RefusalReason.UNENCODABLE


def with_picture_tag(candidate: Candidate, made: Datapoint) -> Candidate:
    """A candidate with the tag that tells which picture its datapoint has, where there is one."""
    source = made.facts.source
    return replace(candidate, tags=(*candidate.tags, source.value)) if source is PictureSource.OWN else candidate


def without_pixels(frame: Frame) -> Frame:
    """Return the frame with its size, but without its pixels."""
    return replace(
        frame,
        picture=AbsentPicture(frame.width, frame.height, "the frame's pixels belong to its stream again"),
    )


class WaitingFrames:
    """The frames that wait, and the thread that ends their waiting, one after the other. Thread-safe.

    thread: for the service's watch.
    """

    def __init__(
        self,
        stream: str,
        admission: Admission,
        telemetry: Telemetry,
        clock: Clock,
        *,
        on_settled: Callable[[WaitingFrame, Accepted | RefusalReason | Datapoint], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """Both callbacks are called by the thread. on_failure: an unexpected error; nothing waits any more.

        on_settled: what a frame became; of one that is to be held the datapoint, which is not stored.
        """
        self._stream = stream
        self._admission = admission
        self._telemetry = telemetry
        self._clock = HeartbeatClock(clock)
        self._on_settled = on_settled
        self._on_failure = on_failure
        self._changed = threading.Condition()
        self._waiting: deque[WaitingFrame] = deque()  # the first one is being worked on
        self._is_closed = False
        thread = threading.Thread(target=self._run, name=f"{stream} waiting", daemon=True)
        self.thread = MonitoredThread(f"waiting frames of {stream}", thread, self._clock)

    def add(self, frame: WaitingFrame) -> None:
        """Let a frame wait. Waits itself while there are too many."""
        with self._changed:
            if not self.thread.thread.is_alive() and not self._is_closed:
                self.thread.thread.start()
            while len(self._waiting) >= MAX_WAITING and not self._is_closed:
                oldest = self._waiting[0].ticket
                if oldest is not None:
                    oldest.answer(SnapshotMissed(SnapshotMissReason.BUSY))
                self._changed.wait(MAX_WAIT_S)
            self._waiting.append(frame)
            self._changed.notify_all()

    def drain(self, within_s: float) -> None:
        """Wait until all that wait are stored, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or self._is_closed, within_s)

    def close(self, within_s: float) -> bool:
        """End when all that wait are stored, and return whether that was in time. Nothing may be added later."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self.thread.thread.ident is not None:
            self.thread.thread.join(within_s)
        return not self.thread.thread.is_alive()

    def _run(self) -> None:
        try:
            while (frame := self._next()) is not None:
                self._on_settled(frame, self._settle(frame))
                with self._changed:
                    self._waiting.popleft()
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001  # whatever it is: the service ends with it
            with self._changed:
                self._is_closed = True
                self._changed.notify_all()
            self._on_failure(error)

    def _next(self) -> WaitingFrame | None:
        while True:
            self._clock.monotonic()
            with self._changed:
                if self._waiting:
                    return self._waiting[0]
                if self._is_closed:
                    return None
                self._changed.wait(MAX_WAIT_S)

    def make(self, frame: WaitingFrame) -> Datapoint:
        """The datapoint that a frame becomes. Raises Unmasked and JpegEncodingError."""
        picture, facts = self._picture(frame)
        if frame.place is not None:
            facts = replace(facts, sequence=frame.place.chosen_id, sequence_offset_s=frame.place.offset_s)
        return create_datapoint(
            frame.frame, frame.prediction, picture, id=frame.grant.id, device=frame.device, facts=facts
        )

    def _settle(self, frame: WaitingFrame) -> Accepted | RefusalReason | Datapoint:
        grant = frame.grant
        made: Datapoint | None = None
        try:
            made = self.make(frame)
        except PICTURE_ERRORS as error:
            return picture_refusal(error)
        finally:
            if made is None:
                self._admission.discard(grant)
        if frame.hold is not None:
            return made
        candidates = tuple(with_picture_tag(candidate, made) for candidate in grant.candidates)
        return self._admission.store(replace(grant, candidates=candidates), made, frame.signature)

    def _picture(self, frame: WaitingFrame) -> tuple[OutgoingPicture, PictureFacts]:
        """Make the picture that is kept. Raises Unmasked and JpegEncodingError."""
        facts = PictureFacts(sent_s=frame.frame.sent_s)
        if frame.ticket is not None:
            width, height = frame.frame.width, frame.frame.height
            answer = frame.ticket.wait()
            made = self._snapshot(frame, answer) if isinstance(answer, SnapshotPicture) else answer
            if not isinstance(made, SnapshotMissed):
                picture, found = made
                self._telemetry.count_snapshot(self._stream, PictureSource.SNAPSHOT.value)
                return picture, replace(found, frame_width=width, frame_height=height)
            missed = made.reason.value
            self._telemetry.count_snapshot(self._stream, missed)
            self._telemetry.info("snapshot_missed", stream=self._stream, reason=missed, why=made.detail)
            facts = replace(facts, source=PictureSource.OWN, missed=missed, frame_width=width, frame_height=height)
        if isinstance(frame.own, OutgoingPicture):
            return frame.own, facts
        return self._encode(frame, frame.own, self._mask(frame, None)), facts

    def _snapshot(
        self, frame: WaitingFrame, found: SnapshotPicture
    ) -> tuple[OutgoingPicture, PictureFacts] | SnapshotMissed:
        try:
            mask = NO_MASK
            if frame.mask is not None:
                width, height = frame.frame.width, frame.frame.height
                if abs(found.width * height / (found.height * width) - 1.0) > _SAME_ASPECT:
                    raise Unmasked("its sides are in another proportion than the frame's")
                mask = self._mask(frame, found)
            picture = self._encode(frame, found.picture, mask)
        except Unmasked as error:
            return SnapshotMissed(SnapshotMissReason.UNMASKED, str(error))
        except (JpegEncodingError, ValueError) as error:
            return SnapshotMissed(SnapshotMissReason.DECODER, str(error))
        finally:
            found.release()
        return picture, PictureFacts(
            sent_s=found.sent_s,
            source=PictureSource.SNAPSHOT,
            skew_s=round(found.skew_s, 4),
            skew_by=str(found.measured_by),
        )

    def _mask(self, frame: WaitingFrame, snapshot: SnapshotPicture | None) -> PictureMask:
        """Return what has to be covered, once the frame after it was seen, or none comes in time. Raises Unmasked."""
        if frame.mask is None:
            return NO_MASK
        within_s = max(0.0, frame.mask_by_s - self._clock.monotonic())
        if snapshot is None:
            frame.mask.wait(within_s)
            return frame.mask.mask()
        shown_at_s = frame.frame.captured.boottime_s + snapshot.skew_s
        frame.mask.wait(within_s, shown_until_s=shown_at_s + snapshot.uncertain_s)
        return frame.mask.mask(shown_at_s, uncertain_s=snapshot.uncertain_s)

    def _encode(self, frame: WaitingFrame, picture: Pixels | LazyPicture, mask: PictureMask) -> OutgoingPicture:
        return encode_outgoing(picture, mask=mask, max_size=frame.max_size, jpeg_quality=frame.jpeg_quality)

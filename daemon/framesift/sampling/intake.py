"""Intake: a frame with its prediction -> sampling decision -> quota -> spool, for the frames of one stream.

Each frame that is offered is accepted, or refused for exactly one RefusalReason. It is refused before it is encoded: no
JPEG is made for a frame without quota.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from framesift.clock.clock import MonitoredThread
from framesift.datapoint import PictureFacts, create_datapoint
from framesift.frame import Frame, Pixels, RefusalReason
from framesift.pictures.outgoing import NO_MASK, JpegEncodingError, OutgoingPicture, Unmasked, encode_outgoing
from framesift.policy.policy import Policy
from framesift.prediction.prediction import Prediction
from framesift.privacy.stream_privacy import StreamPrivacy
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.admission import Admission, AdmissionGrant
from framesift.sampling.candidates import CollectionOrigin
from framesift.sampling.earlier_frames import EarlierFrames
from framesift.sampling.sampler import Sampler, SamplingDecision
from framesift.sampling.waiting_frames import Snapshots, WaitingFrame, WaitingFrames, without_pixels
from framesift.spool import Accepted, AcceptedSignature, SpoolBroken, SpoolFull, StoredSignatures
from framesift.strategies import Match, StrategyFailed
from framesift.strategies.near_duplicate import RememberedFrame, SignatureKind
from framesift.telemetry import Condition, Telemetry

# How many failing strategies the health lists, over all streams: clients of the listeners choose the streams' names.
MAX_FAILING_STRATEGIES = 50
# When a stream ends, frames that wait get what is known then; all there is to do is to encode and to store them.
LAST_FRAMES_WITHIN_S = 3.0
_COMPONENT_PREFIX = "strategy "
_SAME_THRESHOLD = 0.1
_NO_EMBEDDING = "the policy compares embeddings, and the model gave none for this frame: it was not compared"


def _remembered(stored: StoredSignatures) -> list[RememberedFrame]:
    read = (RememberedFrame.from_bytes(one.id, one.content) for one in stored.frames)
    return [found for found in read if found is not None]


def _raise(error: BaseException) -> None:
    raise error


@dataclass(frozen=True, slots=True)
class IntakeDecision:
    """The decision on one frame.

    matched: the strategies that wanted it, in the policy's order. accepted: its id and the strategy that was charged;
    None where it was refused, for the reason `refusal`, or where that is not decided yet (then both are None): it waits
    for what its picture needs, or a strategy may still want it when it has seen the frames after it.
    """

    matched: tuple[str, ...]
    accepted: Accepted | None
    refusal: RefusalReason | None


class Intake:
    """Decides on the frames of one stream and puts the accepted ones into the spool. For one thread at a time.

    Any thread may call `set_policy`; the new policy holds from the next frame on.
    """

    def __init__(
        self,
        stream: str,
        origin: CollectionOrigin,
        *,
        policy: Policy,
        accepted: AcceptedFrames,
        admission: Admission,
        telemetry: Telemetry,
        on_accepted: Callable[[], None],
        privacy: StreamPrivacy | None = None,
        snapshots: Snapshots | None = None,
        is_video: bool = True,
        on_failure: Callable[[BaseException], None] = _raise,
    ) -> None:
        """accepted: shared by all streams. on_accepted: called after each frame that is in the spool.

        privacy: what must be covered on its pictures, None for nothing. snapshots: of the stream, None for none.
        is_video: each frame follows the one before; the pictures of a folder or a client need not.
        on_failure: an unexpected error of the thread in which frames wait for what their pictures need.
        """
        self.policy = policy
        self._stream = stream
        self._origin = origin
        self._accepted_frames = accepted
        self._admission = admission
        self._telemetry = telemetry
        self._on_accepted = on_accepted
        self._privacy = privacy
        self._snapshots = snapshots
        self._is_video = is_video
        self._earlier = EarlierFrames(lambda _frame, refusal: telemetry.count_refused(stream, refusal))
        self._lock = threading.Lock()  # of the sampler, which learns of a frame that waited in another thread
        self._waiting = WaitingFrames(
            stream, admission, telemetry, admission.clock, on_settled=self._end_waiting, on_failure=on_failure
        )
        self._failing: set[str] = set()  # the names of strategies that the health lists
        self._failing_lock = threading.Lock()  # of `policy` and `_failing`
        self._sampler: Sampler | None = None
        self._sampler_policy: Policy | None = None
        self._is_restored = False  # whether the sampler has the accepted frames of earlier processes
        self._recorded_thresholds: dict[SignatureKind, float] = {}
        self._has_said_no_embedding = False

    def set_policy(self, policy: Policy) -> None:
        """Replaces the policy. From any thread.

        What failed under the old policy leaves the health, unless the new one has a strategy of this name.
        """
        kept = {strategy.name for strategy in policy.sampling_strategies} if policy.enabled else set()
        with self._failing_lock:
            self.policy = policy
            self._forget(self._failing - kept)

    def set_tags(self, tags: tuple[str, ...], own_tags: tuple[str, ...]) -> None:
        """Replaces the tags of the machine and those of the stream. From any thread; for the next frame on."""
        self._origin = replace(self._origin, tags=tags, stream_tags=own_tags)

    @property
    def waiting_thread(self) -> MonitoredThread:
        """The thread in which frames wait for what their pictures need; it may never start."""
        return self._waiting.thread

    def end_stream(self) -> None:
        """The stream has ended: what waits is stored, and its strategies leave the health.

        To be called when no frame will be offered any more.
        """
        self._earlier.release()
        if self._snapshots is not None:
            self._snapshots.close()
        if self._privacy is not None:
            self._privacy.end_stream()
        if not self._waiting.close(LAST_FRAMES_WITHIN_S):
            self._telemetry.error("frames_left", stream=self._stream, why="they could not be stored in time")
        with self._failing_lock:
            self._forget(self._failing)

    def offer(self, frame: Frame, prediction: Prediction) -> IntakeDecision:
        """Decides on the frame, counts the decision, and stores the frame if it is accepted.

        Where strategies look back, it also decides on the frames before that they want now, and counts a refused frame
        when none can want it any more. Raises what the frame's pixels raise. Then nothing is counted or accepted, and
        what was charged is refunded.
        """
        policy = self.policy
        if not policy.enabled:
            if self._privacy is not None:
                self._privacy.observe(frame, prediction)
            self._earlier.release()
            return self._refused(RefusalReason.DISABLED)
        with self._lock:
            sampler = self._sampler_for(policy)
        frames_back = sampler.frames_back(prediction.task)
        if self._privacy is not None:
            self._privacy.observe(frame, prediction, frames_back=frames_back)
        if frames_back:
            self._earlier.add(replace(frame, picture=frame.pixels.copy()), prediction)
        with self._lock:
            decision = sampler.decide(frame, prediction)
        self._report_failures(decision.failures, policy)
        self._record_thresholds(sampler)
        if decision.lacks_embedding and not self._has_said_no_embedding:
            self._has_said_no_embedding = True
            self._telemetry.warning("no_embedding", stream=self._stream, why=_NO_EMBEDDING)
        made = self._decided(frame, prediction, decision, policy, sampler)
        if made.refusal is not None and frames_back:
            self._earlier.refuse(made.refusal)
            made = replace(made, refusal=None)
        elif made.refusal is not None:
            self._telemetry.count_refused(self._stream, made.refusal)
        if decision.earlier:
            self._decide_earlier(decision.earlier, policy, sampler)
        self._earlier.release(frames_back)
        return made

    def _decided(
        self, frame: Frame, prediction: Prediction, decision: SamplingDecision, policy: Policy, sampler: Sampler
    ) -> IntakeDecision:
        """Stores a frame that strategies want, and counts all but its refusal."""
        matched = tuple(match.strategy for match in decision.matches)
        answer: Accepted | RefusalReason | None = decision.refusal
        if answer is None:
            answer = self._store(frame, prediction, decision, policy)
        for strategy in matched:
            self._telemetry.count_matched(self._stream, strategy)
        if answer is None:
            return IntakeDecision(matched, None, None)
        if isinstance(answer, RefusalReason):
            return IntakeDecision(matched, None, answer)
        with self._lock:
            sampler.record_accepted(frame, prediction, decision, answer.id)
        self._accepted(answer)
        return IntakeDecision(matched, answer, None)

    def _decide_earlier(self, matches: tuple[Match, ...], policy: Policy, sampler: Sampler) -> None:
        """Decides on the frames before the newest one that strategies want, the oldest first."""
        for frames_back in sorted({match.frames_back for match in matches}, reverse=True):
            earlier = self._earlier.find(frames_back)
            if earlier is None:  # one frame never becomes two datapoints
                continue
            with self._lock:
                wanted = [match for match in matches if match.frames_back == frames_back]
                decision = sampler.decide_earlier(earlier.frame, earlier.prediction, wanted)
            earlier.refusal = self._decided(earlier.frame, earlier.prediction, decision, policy, sampler).refusal

    def _accepted(self, accepted: Accepted) -> None:
        self._telemetry.count_accepted(self._stream, accepted.strategy)
        self._on_accepted()

    def _end_waiting(self, frame: WaitingFrame, answer: Accepted | RefusalReason) -> None:
        is_accepted = isinstance(answer, Accepted)
        with self._lock:
            if self._sampler is not None:
                self._sampler.end_waiting(frame.grant.id, frame.prediction if is_accepted else None)
        if isinstance(answer, Accepted):
            self._accepted(answer)
        else:
            self._telemetry.count_refused(self._stream, answer)

    def _report_failures(self, failures: tuple[StrategyFailed, ...], policy: Policy) -> None:
        """Logs each failure, and lists in the health the strategies that fail on this stream. policy: that decided."""
        for failure in failures:
            self._telemetry.warning(
                "strategy_failed", stream=self._stream, strategy=failure.strategy, why=failure.reason
            )
        if not failures and not self._failing:
            return
        with self._failing_lock:
            if self.policy is not policy:  # replaced meanwhile: `set_policy` has changed the health already
                return
            recovered = self._failing - {failure.strategy for failure in failures}
            for strategy in recovered:
                self._telemetry.health.set_ok(self._component(strategy), forget=True)  # with its line in the log
            self._failing = self._failing - recovered
            for failure in failures:
                if failure.strategy in self._failing or self._health_has_room():
                    self._telemetry.health.set(self._component(failure.strategy), Condition.DEGRADED, failure.reason)
                    self._failing.add(failure.strategy)

    def _health_has_room(self) -> bool:
        names = (component.name for component in self._telemetry.health.components())
        return sum(name.startswith(_COMPONENT_PREFIX) for name in names) < MAX_FAILING_STRATEGIES

    def _forget(self, strategies: set[str]) -> None:
        """Takes strategies out of the health. Belongs under the lock."""
        for strategy in strategies:
            self._telemetry.health.remove(self._component(strategy))
        self._failing = self._failing - strategies

    def _component(self, strategy: str) -> str:
        """The name of a strategy in the health of this stream."""
        return f"{_COMPONENT_PREFIX}{strategy} of {self._stream}"

    def _refused(self, refusal: RefusalReason) -> IntakeDecision:
        self._telemetry.count_refused(self._stream, refusal)
        return IntakeDecision((), None, refusal)

    def _store(
        self, frame: Frame, prediction: Prediction, decision: SamplingDecision, policy: Policy
    ) -> Accepted | RefusalReason | None:
        """Return None if the frame waits for what its picture needs."""
        grant = self._admission.grant(frame, prediction, decision, policy, self._origin)
        if isinstance(grant, RefusalReason):
            return grant
        made: WaitingFrame | None = None
        try:
            made = self._prepare(frame, prediction, decision, policy, grant)
        except JpegEncodingError:
            return RefusalReason.UNENCODABLE
        except Unmasked:
            return RefusalReason.UNMASKED
        finally:
            if made is None:
                self._admission.discard(grant)
        if made.ticket is None and isinstance(made.own, OutgoingPicture):
            facts = PictureFacts(sent_s=frame.sent_s)
            datapoint = create_datapoint(
                frame, prediction, made.own, id=grant.id, device=self._origin.device, facts=facts
            )
            return self._admission.store(grant, datapoint, made.signature)
        if self._sampler is not None:
            with self._lock:
                self._sampler.record_waiting(self._sampler.remembered(frame, prediction, decision, grant.id))
        self._waiting.add(made)
        return None

    def _prepare(
        self,
        frame: Frame,
        prediction: Prediction,
        decision: SamplingDecision,
        policy: Policy,
        grant: AdmissionGrant,
    ) -> WaitingFrame:
        """Make the frame's own picture, and ask for what it may wait for. Raises Unmasked and JpegEncodingError."""
        pending = None if self._privacy is None else self._privacy.begin(frame, prediction)
        own: OutgoingPicture | Pixels
        if pending is None or pending.is_settled:
            own = encode_outgoing(
                frame.picture,
                mask=NO_MASK if pending is None else pending.mask(),
                max_size=policy.max_image_size,
                jpeg_quality=policy.jpeg_compression_level,
            )
        else:
            own = frame.pixels.copy()
        ticket = None
        if self._snapshots is not None:
            deadline_s = self._admission.clock.now().boottime_s + self._snapshots.wait_s
            ticket = self._snapshots.request(frame, deadline_s=deadline_s)
        return WaitingFrame(
            grant=grant,
            frame=without_pixels(frame),
            prediction=prediction,
            device=self._origin.device,
            own=own,
            mask=pending,
            signature=self._signature(frame, prediction, decision, grant.id),
            max_size=policy.max_image_size,
            jpeg_quality=policy.jpeg_compression_level,
            ticket=ticket,
            mask_by_s=self._admission.clock.monotonic() + (0.0 if self._privacy is None else self._privacy.over_time_s),
        )

    def _sampler_for(self, policy: Policy) -> Sampler:
        if self._sampler is None or self._sampler_policy is not policy:
            self._earlier.release()  # what the new sampler's strategies have not seen they can't want
            sampler = Sampler(
                self._stream,
                policy,
                seed=self._origin.seed,
                accepted=self._accepted_frames,
                is_video=self._is_video,
            )
            old = self._sampler
            self._restore(sampler)
            if old is not None:
                sampler.copy_state_from(old)
            self._sampler, self._sampler_policy = sampler, policy
        elif not self._is_restored:
            self._restore(self._sampler)
        return self._sampler

    def _restore(self, sampler: Sampler) -> None:
        """Gives the sampler what earlier processes accepted, and earlier policies; again if it can't be read now."""
        spool, memory, of_all = self._admission.spool, self._origin.memory, sampler.needed_of_all
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

    def _signature(
        self, frame: Frame, prediction: Prediction, decision: SamplingDecision, id: str
    ) -> AcceptedSignature | None:
        """What is stored beside an accepted frame, so that it is remembered over restarts."""
        sampler = self._sampler
        found = None if sampler is None else sampler.remembered(frame, prediction, decision, id)
        if sampler is None or found is None:
            return None
        measured = sampler.measured_thresholds
        thresholds = measured.get("picture"), measured.get("embedding")
        return AcceptedSignature(self._stream, self._origin.memory, found.to_bytes(), *thresholds)

    def _record_thresholds(self, sampler: Sampler) -> None:
        """Stores what `auto` was measured to be, where it is no longer nearly the same."""
        measured, recorded = sampler.measured_thresholds, self._recorded_thresholds
        if all(math.isclose(now, recorded.get(kind, -1.0), rel_tol=_SAME_THRESHOLD) for kind, now in measured.items()):
            return
        self._recorded_thresholds = measured
        thresholds = measured.get("picture"), measured.get("embedding")
        with contextlib.suppress(SpoolBroken, SpoolFull):  # then with the next accepted frame
            self._admission.spool.record_thresholds(self._stream, self._origin.memory, *thresholds)

"""Intake: a frame with its prediction -> sampling decision -> quota -> spool, for the frames of one stream.

Each frame that is offered is accepted, or refused for exactly one RefusalReason. It is refused before it is encoded: no
JPEG is made for a frame without quota.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from framesift.clock.clock import MonitoredThread
from framesift.datapoint import Datapoint, new_datapoint_id
from framesift.frame import Frame, RefusalReason
from framesift.policy.baseline import NAME as BASELINE
from framesift.policy.policy import Policy
from framesift.prediction.prediction import Prediction
from framesift.privacy.stream_privacy import StreamPrivacy
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.admission import Admission, AdmissionGrant
from framesift.sampling.candidates import CollectionOrigin, candidates_for
from framesift.sampling.decision_notes import DecisionNotes
from framesift.sampling.earlier_frames import EarlierFrames
from framesift.sampling.frame_storage import FrameStorage
from framesift.sampling.held_frame import BaselineDraw
from framesift.sampling.intake_decision import IntakeDecision, PendingFrame
from framesift.sampling.likeness import Likeness
from framesift.sampling.pacing import WITHOUT_QUOTA, PacedMatches
from framesift.sampling.pacing_rules import PacingRule, rules_of
from framesift.sampling.picture_preparation import PicturePreparation
from framesift.sampling.sampler import Sampler, SamplingDecision
from framesift.sampling.strategy_health import StrategyHealth
from framesift.sampling.stream_holds import StreamHolds
from framesift.sampling.stream_neighbours import StreamNeighbours
from framesift.sampling.stream_sampler import StreamSampler
from framesift.sampling.waiting_frames import (
    Snapshots,
    WaitingFrame,
    WaitingFrames,
)
from framesift.spool import Accepted, AcceptedSignature
from framesift.strategies import Match
from framesift.strategies.near_duplicate import RememberedFrame
from framesift.telemetry import Telemetry

# When a stream ends, frames that wait get what is known then; all there is to do is to encode and to store them.
LAST_FRAMES_WITHIN_S = 3.0
_NO_EMBEDDING = "the policy compares embeddings, and the model gave none for this frame: it was not compared"


def _remembered(id: str, stored: AcceptedSignature | None) -> RememberedFrame | None:
    return None if stored is None else RememberedFrame.from_bytes(id, stored.content)


def _raise(error: BaseException) -> None:
    raise error


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
        self.policy, self.requests = policy, admission.requests
        self._stream = stream
        self._origin = origin
        self._accepted_frames = accepted
        self._admission = admission
        self._telemetry = telemetry
        self._on_accepted = on_accepted
        self._privacy = privacy
        self._snapshots = snapshots
        self._is_video = is_video
        preparation = PicturePreparation(admission.clock, privacy, snapshots)
        self._notes = DecisionNotes(stream, telemetry, admission.clock, privacy)
        self._samplers = StreamSampler(
            stream,
            origin,
            accepted=accepted,
            spool=admission.spool,
            is_video=is_video,
            measures=self._notes.is_on,
        )
        self._waiting = WaitingFrames(
            stream, admission, telemetry, admission.clock, on_settled=self._end_waiting, on_failure=on_failure
        )
        self._holds = admission.pacing.holds
        self._stream_holds = StreamHolds(self._holds, stream, origin.memory)
        self._storage = FrameStorage(
            admission, preparation, self._samplers, self._waiting, self._stream_holds, device=origin.device
        )
        self._neighbours = StreamNeighbours(
            stream,
            self._storage,
            self._samplers,
            privacy,
            telemetry,
            self._notes,
            request=self._request,
            on_accepted=lambda one: self._accepted(one, None),
        )
        self._earlier = EarlierFrames(
            lambda one, refusal: self._neighbours.of_chosen.offer(one.frame, one.prediction, refusal)
        )
        self._health = StrategyHealth(stream, telemetry)
        self._health.follow(policy)
        self._rules: Mapping[str, PacingRule] = {}
        self._has_pacing = False
        self._has_said_no_embedding = False
        if self._holds is not None:
            self._holds.register(stream, origin.memory, self._end_hold)

    def set_policy(self, policy: Policy) -> None:
        """Replaces the policy. From any thread.

        What failed under the old policy leaves the health, unless the new one has a strategy of this name.
        """
        self._health.follow(policy)
        self.policy = policy
        if self._holds is not None:
            self._holds.follow(self._origin.scope, policy)

    def set_tags(self, tags: tuple[str, ...], own_tags: tuple[str, ...]) -> None:
        """Replaces the tags of the machine and those of the stream. From any thread; for the next frame on."""
        self._origin = replace(self._origin, tags=tags, stream_tags=own_tags)

    @property
    def standing_refusal(self) -> RefusalReason | None:
        """Why no frame is taken at present, whatever it shows; None where each is decided on. From any thread."""
        return self._standing_refusal(self.policy)

    def _standing_refusal(self, policy: Policy) -> RefusalReason | None:
        if not policy.enabled:
            return RefusalReason.DISABLED
        return RefusalReason.PAUSED if self.requests.pauses.of(self._stream) else None

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
        if self._neighbours.of_chosen.are_wanted:
            self._waiting.drain(LAST_FRAMES_WITHIN_S / 2)  # then it is known whose neighbours are kept
        self._neighbours.of_chosen.end()
        if not self._waiting.close(LAST_FRAMES_WITHIN_S):
            self._telemetry.error("frames_left", stream=self._stream, why="they could not be stored in time")
        self._health.forget_all()

    def offer(self, frame: Frame, prediction: Prediction) -> IntakeDecision:
        """Decides on the frame, counts the decision, and stores the frame if it is accepted.

        Where strategies look back, it also decides on the frames before that they want now, and counts a refused frame
        when none can want it any more. Raises what the frame's pixels raise. Then nothing is counted or accepted, and
        what was charged is refunded.
        """
        policy = self.policy
        standing = self._standing_refusal(policy)
        if standing is not None:
            self._observe(frame, prediction)
            self._release()
            return self._refused(standing)
        sampler = self._sampler_for(policy)
        frames_back = sampler.frames_back(prediction.task)
        self._observe(frame, prediction, frames_back)
        self._earlier.add(replace(frame, picture=frame.pixels.copy()) if frames_back else frame, prediction)
        with self._samplers.lock:
            decision = sampler.decide(frame, prediction)
        self._health.report(decision.failures, policy)
        self._samplers.record_thresholds()
        if decision.lacks_embedding and not self._has_said_no_embedding:
            self._has_said_no_embedding = True
            self._telemetry.warning("no_embedding", stream=self._stream, why=_NO_EMBEDDING)
        decision = self.requests.takes.add_to(frame, decision)
        made = self._decided(frame, prediction, decision, policy, sampler)
        self.requests.takes.settle(frame, made)
        is_late = frames_back > 0 or self._neighbours.of_chosen.are_wanted  # its refusal is counted later
        self._draw_for_baseline(frame, prediction, decision, policy)
        if made.refusal is not None:
            self._earlier.refuse(made.refusal)
            if is_late:
                made = replace(made, refusal=None)
        if decision.earlier:
            self._decide_earlier(decision.earlier, policy, sampler)
        self._earlier.release(frames_back)
        self._neighbours.of_chosen.advance()
        return made

    def _observe(self, frame: Frame, prediction: Prediction, frames_back: int = 0) -> None:
        if self._privacy is not None:
            self._privacy.observe(frame, prediction, frames_back=frames_back)
        self.requests.thumbnails.offer(frame, prediction, self._privacy)

    def _release(self) -> None:
        """No strategy wants any of the frames that are kept: they were refused for good."""
        self._neighbours.of_chosen.release()
        self._earlier.release()
        self._neighbours.of_chosen.release()

    def _decided(
        self, frame: Frame, prediction: Prediction, decision: SamplingDecision, policy: Policy, sampler: Sampler
    ) -> IntakeDecision:
        """Stores a frame that strategies want, and counts all but its refusal."""
        matched = tuple(match.strategy for match in decision.matches)
        answer = decision.refusal or self._paced(frame, prediction, decision, policy, sampler)
        for strategy in matched:
            self._telemetry.count_matched(self._stream, strategy)
        self._notes.note(frame, prediction, decision, answer)
        if isinstance(answer, PendingFrame):
            return IntakeDecision(matched, None, None, answer.is_held)
        if isinstance(answer, RefusalReason):
            return IntakeDecision(matched, None, answer)
        with self._samplers.lock:
            sampler.record_accepted(frame, prediction, decision, answer.id)
            found = sampler.remembered(frame, prediction, decision, answer.id)
        self._accepted(answer, found)
        return IntakeDecision(matched, answer, None)

    def _draw_for_baseline(
        self, frame: Frame, prediction: Prediction, decision: SamplingDecision, policy: Policy
    ) -> None:
        """The baseline draws from all frames, whatever the strategies do with them."""
        rule = self._rules.get(BASELINE)
        if rule is None or not rule.is_baseline or not self._stream_holds.draw(rule.account, frame.captured):
            return
        answer = self._hold(frame, prediction, decision, policy, Match(BASELINE), 0.0, BaselineDraw())
        if not isinstance(answer, RefusalReason):
            self._notes.note(frame, prediction, decision, answer)

    def _paced(
        self, frame: Frame, prediction: Prediction, decision: SamplingDecision, policy: Policy, sampler: Sampler
    ) -> Accepted | RefusalReason | PendingFrame:
        """Stores or holds a frame that strategies want, as their pacing says."""
        selected = PacedMatches(decision.matches)
        if self._has_pacing:
            captured_at_s = frame.captured.wall_s_as_of(self._admission.clock.now())
            selected = self._admission.pacing.select(decision.matches, self._rules, sampler.pacing_score, captured_at_s)
        answer: Accepted | RefusalReason | PendingFrame = selected.refusal or RefusalReason.OUTSCORED
        if selected.now:
            answer = self._store(frame, prediction, decision, policy, selected.now)
        if selected.held is not None and (not selected.now or answer in WITHOUT_QUOTA):
            return self._hold(frame, prediction, decision, policy, *selected.held)
        return answer

    def _decide_earlier(self, matches: tuple[Match, ...], policy: Policy, sampler: Sampler) -> None:
        """Decides on the frames before the newest one that strategies want, the oldest first."""
        for frames_back in sorted({match.frames_back for match in matches}, reverse=True):
            earlier = self._earlier.find(frames_back)
            if earlier is None:  # one frame never becomes two datapoints
                continue
            with self._samplers.lock:
                wanted = [match for match in matches if match.frames_back == frames_back]
                decision = sampler.decide_earlier(earlier.frame, earlier.prediction, wanted)
            earlier.refusal = self._decided(earlier.frame, earlier.prediction, decision, policy, sampler).refusal

    def _accepted(self, accepted: Accepted, frame: RememberedFrame | None) -> None:
        self._telemetry.count_accepted(self._stream, accepted.strategy)
        self._on_accepted()
        if self._holds is not None and frame is not None:
            self._holds.drop_alike(Likeness(frame, "picture", 0.0, self._stream))

    def _end_waiting(self, frame: WaitingFrame, answer: Accepted | RefusalReason | Datapoint) -> None:
        is_accepted = isinstance(answer, Accepted)
        self.requests.takes.end(frame.frame, RefusalReason.LIMIT if isinstance(answer, Datapoint) else answer)
        if frame.place is None and not isinstance(answer, Datapoint):
            self._neighbours.settle(frame.grant.id, answer)
        with self._samplers.lock:
            if self._samplers.current is not None:
                self._samplers.current.end_waiting(frame.grant.id, frame.prediction if is_accepted else None)
        if isinstance(answer, Accepted):
            self._notes.settle(answer.id, answer.strategy)
            self._accepted(answer, _remembered(answer.id, frame.signature))
            return
        refusal = answer if isinstance(answer, RefusalReason) else self._stream_holds.hold_datapoint(frame, answer)
        if refusal is not None:
            self._notes.settle(frame.grant.id, refusal)
            if frame.hold is None or frame.hold.baseline is None:  # what the baseline drew is counted by the strategies
                self._telemetry.count_refused(self._stream, refusal)

    def _end_hold(self, id: str, prediction: Prediction, signature: AcceptedSignature | None) -> None:
        """A held frame was accepted. From the thread of the hold queues."""
        with self._samplers.lock:
            if self._samplers.current is None:
                self._accepted_frames.classes.add(prediction)
            else:
                self._samplers.current.record_turn(prediction, _remembered(id, signature))

    def _refused(self, refusal: RefusalReason) -> IntakeDecision:
        self._telemetry.count_refused(self._stream, refusal)
        return IntakeDecision((), None, refusal)

    def _store(
        self,
        frame: Frame,
        prediction: Prediction,
        decision: SamplingDecision,
        policy: Policy,
        matches: Sequence[Match],
    ) -> Accepted | RefusalReason | PendingFrame:
        """matches: those that may be charged now."""
        grant = self._request(frame, prediction, policy, matches, self._rules)
        if isinstance(grant, RefusalReason):
            return grant
        self._neighbours.of_chosen.choose(frame, grant.id, matches)
        answer: Accepted | RefusalReason | None = RefusalReason.UNENCODABLE
        try:
            answer = self._storage.store(frame, prediction, policy, grant, decision)
        finally:
            self._neighbours.settle(grant.id, answer)
        return answer or PendingFrame(grant.id)

    def _request(
        self,
        frame: Frame,
        prediction: Prediction,
        policy: Policy,
        matches: Sequence[Match],
        rules: Mapping[str, PacingRule],
    ) -> AdmissionGrant | RefusalReason:
        """Ask for quota for one of these matches."""
        now = self._admission.clock.now()
        candidates, quotas = candidates_for(policy, matches, prediction, self._origin, frame.captured, now, rules)
        of_each = [rules[match.strategy] for match in matches]
        return self._admission.request(new_datapoint_id(), candidates, quotas, of_each, frame.captured)

    def _hold(
        self,
        frame: Frame,
        prediction: Prediction,
        decision: SamplingDecision,
        policy: Policy,
        match: Match,
        score: float,
        baseline: BaselineDraw | None = None,
    ) -> RefusalReason | PendingFrame:
        rule = self._rules[match.strategy]

        def grant_of(id: str) -> AdmissionGrant:
            now = self._admission.clock.now()
            made = candidates_for(policy, (match,), prediction, self._origin, frame.captured, now, self._rules)
            return AdmissionGrant(id, *made, (rule,), frame.captured)

        return self._storage.hold(
            frame, prediction, policy, decision, match.strategy, rule.account, score, baseline, grant_of=grant_of
        )

    def _sampler_for(self, policy: Policy) -> Sampler:
        if not self._samplers.is_of(policy):
            self._release()  # what the new sampler's strategies have not seen they can't want
            self._rules = rules_of(policy, self._origin.scope, self._stream)
            self._has_pacing = any(not rule.is_plain for name, rule in self._rules.items() if name != BASELINE)
            self._neighbours.follow(policy, self._rules, is_video=self._is_video)
        return self._samplers.follow(policy)

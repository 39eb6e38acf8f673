"""StreamNeighbours: the neighbours of one stream's chosen frames, on their way into the spool: a NeighbourStore."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from framesift.frame import Frame, RefusalReason
from framesift.pictures.outgoing import Unmasked
from framesift.policy.policy import NO_POLICY_YET, Policy
from framesift.prediction.prediction import Prediction
from framesift.privacy.stream_privacy import StreamPrivacy
from framesift.sampling.admission import AdmissionGrant
from framesift.sampling.decision_notes import DecisionNotes
from framesift.sampling.frame_storage import FrameStorage
from framesift.sampling.intake_decision import PendingFrame
from framesift.sampling.neighbours import KeptFrame, Neighbours, SequencePlace
from framesift.sampling.pacing_rules import PacingRule, without_pacing
from framesift.sampling.stream_sampler import StreamSampler
from framesift.spool import Accepted
from framesift.strategies import Match
from framesift.telemetry import Telemetry


class StreamNeighbours:
    """For the stream's thread. of_chosen: which frames they are, under the policy that holds now."""

    def __init__(
        self,
        stream: str,
        storage: FrameStorage,
        samplers: StreamSampler,
        privacy: StreamPrivacy | None,
        telemetry: Telemetry,
        notes: DecisionNotes,
        *,
        request: Callable[
            [Frame, Prediction, Policy, Sequence[Match], Mapping[str, PacingRule]], AdmissionGrant | RefusalReason
        ],
        on_accepted: Callable[[Accepted], None],
    ) -> None:
        """privacy: what must be covered, None for nothing. request: asks for quota. on_accepted: counts a datapoint."""
        self.of_chosen = Neighbours(self)
        self._stream = stream
        self._storage = storage
        self._samplers = samplers
        self._privacy = privacy
        self._telemetry = telemetry
        self._notes = notes
        self._request = request
        self._on_accepted = on_accepted
        self._policy = NO_POLICY_YET
        self._rules: Mapping[str, PacingRule] = {}

    def follow(self, policy: Policy, rules: Mapping[str, PacingRule], *, is_video: bool) -> None:
        """A policy holds from the next frame on. rules: of its strategies. is_video: each frame follows the last."""
        options = ((strategy.name, strategy.neighbours) for strategy in policy.sampling_strategies)
        self.of_chosen = Neighbours(self, options if is_video else ())
        self._policy = policy
        self._rules = {name: without_pacing(rule) for name, rule in rules.items()}

    def settle(self, id: str, answer: Accepted | RefusalReason | None) -> None:
        """What became of a chosen frame; None: it waits. From any thread."""
        if answer is not None:
            self.of_chosen.settle(id, answer.strategy if isinstance(answer, Accepted) else None)

    def keep(self, frame: Frame, prediction: Prediction, refusal: RefusalReason) -> KeptFrame | None:
        """See NeighbourStore."""
        kept = replace(frame, picture=frame.pixels.copy())
        try:
            mask = None if self._privacy is None else self._privacy.prepare(kept, prediction)
        except Unmasked:
            return None
        return KeptFrame(kept, prediction, mask, refusal)

    def store(
        self, frame: Frame, prediction: Prediction, place: SequencePlace, kept: KeptFrame | None
    ) -> RefusalReason | None:
        """See NeighbourStore."""
        with self._samplers.lock:
            sampler = self._samplers.current
            assert sampler is not None  # it has chosen a frame
            decision = sampler.decide_neighbour(frame, prediction, place.match)
        if decision.refusal is not None:
            return decision.refusal
        grant = self._request(frame, prediction, self._policy, decision.matches, self._rules)
        if isinstance(grant, RefusalReason):
            return grant
        mask = None if kept is None else kept.mask
        answer = self._storage.store(frame, prediction, self._policy, grant, None, place=place, mask=mask)
        if isinstance(answer, RefusalReason):
            return answer
        noted = answer or PendingFrame(grant.id)
        self._notes.note(frame, prediction, decision, noted, chosen_id=place.chosen_id)
        self._telemetry.count_matched(self._stream, place.match.strategy)
        if answer is not None:
            with self._samplers.lock:
                sampler.record_neighbour(prediction)
            self._on_accepted(answer)
        return None

    def refuse(self, frame: Frame, refusal: RefusalReason) -> None:
        """See NeighbourStore."""
        self._telemetry.count_refused(frame.stream, refusal)

"""Intake: a frame with its prediction -> verdict -> credit -> spool, for the frames of one stream.

Each frame that is offered is accepted, or comes back with exactly one Refusal. Frames are refused before they are
encoded: no JPEG is made for a frame that no credit could carry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from framesift.clock.clock import Clock
from framesift.datapoint import Candidate, JpegEncodingError, encode_datapoint, new_datapoint_id
from framesift.frame import Frame, RefusalReason
from framesift.limits import Quota, QuotaGranted, QuotaPending, QuotaRefused
from framesift.policy.policy import Policy
from framesift.prediction.prediction import Prediction
from framesift.sampling.candidates import CollectionOrigin, candidates_for
from framesift.sampling.sampler import AcceptedClasses, Sampler, SamplingDecision
from framesift.spool import Accepted, Spool, SpoolBroken, SpoolFull
from framesift.telemetry import Telemetry

if TYPE_CHECKING:
    from framesift.limits.shared.ledgers import SharedLedgers


@dataclass(frozen=True, slots=True)
class IntakeDecision:
    """What became of a frame. matched: the strategies that wanted it, in the policy's order.

    accepted: its id and whose credit it holds; None where it was refused, for the reason in `refusal`.
    """

    matched: tuple[str, ...]
    accepted: Accepted | None
    refusal: RefusalReason | None


class Intake:
    """For one thread at a time. `policy` may be replaced at any time: it holds from the next frame on."""

    def __init__(
        self,
        stream: str,
        origin: CollectionOrigin,
        *,
        policy: Policy,
        accepted_classes: AcceptedClasses,
        spool: Spool,
        telemetry: Telemetry,
        clock: Clock,
        on_accepted: Callable[[], None],
        fleet: SharedLedgers | None = None,
    ) -> None:
        """accepted: called after each frame that is in the spool. fleet: who shares the limits, None for nobody."""
        self.policy = policy
        self._stream = stream
        self._origin = origin
        self._classes = accepted_classes
        self._spool = spool
        self._telemetry = telemetry
        self._clock = clock
        self._accepted = on_accepted
        self._fleet = fleet
        self._sampler: Sampler | None = None
        self._sampled_by: Policy | None = None

    def set_policy(self, policy: Policy) -> None:
        self.policy = policy

    def offer(self, frame: Frame, prediction: Prediction) -> IntakeDecision:
        """Decides, and counts what it decided. Raises what the frame's pixels raise: then nothing is counted or
        accepted, and what was charged is given back.
        """
        policy = self.policy
        if not policy.enabled:
            return self._refused(RefusalReason.DISABLED)
        sampler = self._sampler_for(policy)
        verdict = sampler.decide(frame, prediction)
        matched = tuple(match.strategy for match in verdict.matches)
        answer = self._put(frame, prediction, verdict, policy) if verdict.refusal is None else verdict.refusal
        for strategy in matched:
            self._telemetry.count_matched(frame.stream, strategy)
        if isinstance(answer, RefusalReason):
            return self._refused(answer, matched)
        sampler.record_accepted(frame, prediction, verdict)
        self._telemetry.count_accepted(frame.stream, answer.strategy)
        self._accepted()
        return IntakeDecision(matched, answer, None)

    def _refused(self, refusal: RefusalReason, matched: tuple[str, ...] = ()) -> IntakeDecision:
        self._telemetry.count_refused(self._stream, refusal)
        return IntakeDecision(matched, None, refusal)

    def _put(
        self, frame: Frame, prediction: Prediction, verdict: SamplingDecision, policy: Policy
    ) -> Accepted | RefusalReason:
        claimed = candidates_for(policy, verdict, prediction, self._origin, frame.captured, self._clock.now())
        if self._fleet is None:
            return self._accept(frame, prediction, policy, new_datapoint_id(), *claimed, None)
        id, quotas = new_datapoint_id(), claimed[1]
        grant = self._fleet.charge(id, quotas, frame.captured, self._clock.now())
        if isinstance(grant, QuotaRefused):
            return _refusal(grant)
        answer: Accepted | RefusalReason | None = None
        try:
            answer = self._accept(frame, prediction, policy, id, *claimed, grant)
        finally:
            self._fleet.report_stored(quotas[0].project, id, isinstance(answer, Accepted))
        return answer

    def _accept(
        self,
        frame: Frame,
        prediction: Prediction,
        policy: Policy,
        id: str,
        candidates: Sequence[Candidate],
        quotas: Sequence[Quota],
        grant: QuotaGranted | QuotaPending | None,
    ) -> Accepted | RefusalReason:
        try:
            if not isinstance(grant, QuotaGranted):
                allowed = self._spool.check_quota(quotas if grant is None else grant.local_quotas, frame.captured)
                if isinstance(allowed, QuotaRefused):
                    return _refusal(allowed)
            datapoint = encode_datapoint(
                frame,
                prediction,
                id=id,
                device=self._origin.device,
                max_size=policy.max_image_size,
                jpeg_quality=policy.jpeg_compression_level,
            )
            answer = self._spool.put(datapoint, candidates, quotas, grant)
        except SpoolFull:
            return RefusalReason.SPOOL_FULL
        except SpoolBroken:
            return RefusalReason.SPOOL_BROKEN
        except JpegEncodingError:
            return RefusalReason.UNENCODABLE
        return answer if isinstance(answer, Accepted) else answer.refusal

    def _sampler_for(self, policy: Policy) -> Sampler:
        if self._sampler is None or self._sampled_by is not policy:
            fresh = Sampler(self._stream, policy, seed=self._origin.seed, accepted_classes=self._classes)
            if self._sampler is not None:
                fresh.copy_state_from(self._sampler)
            self._sampler, self._sampled_by = fresh, policy
        return self._sampler


def _refusal(refused: QuotaRefused) -> RefusalReason:
    return RefusalReason.BATCH_FULL if refused.batch_full else RefusalReason.LIMIT

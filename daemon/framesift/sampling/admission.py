"""Admission: quota for a frame that strategies want, and its way into the spool once its picture is made.

    grant    the strategies' quota is asked for: granted, pending (shared limits that can't be asked), or refused
    store    the datapoint is put into the spool, which decides on local quota again: others may have used it meanwhile
    discard  there will be no datapoint

Each granted frame ends in exactly one `store` or `discard`: so shared quota is refunded where nothing was stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from framesift.clock.clock import Clock
from framesift.datapoint import Candidate, Datapoint, new_datapoint_id
from framesift.frame import Frame, RefusalReason
from framesift.limits import Quota, QuotaGranted, QuotaPending, QuotaRefused
from framesift.policy.policy import Policy
from framesift.prediction.prediction import Prediction
from framesift.sampling.candidates import CollectionOrigin, candidates_for
from framesift.sampling.sampler import SamplingDecision
from framesift.spool import Accepted, AcceptedSignature, Spool, SpoolBroken, SpoolFull

if TYPE_CHECKING:
    from framesift.limits.shared.ledgers import SharedLedgers


@dataclass(frozen=True, slots=True, eq=False)
class AdmissionGrant:
    """The permission for one datapoint. id: the datapoint's. grant: of the shared limits, None where there are none."""

    id: str
    candidates: tuple[Candidate, ...]
    quotas: tuple[Quota, ...]
    grant: QuotaGranted | QuotaPending | None


class Admission:
    """The spool and the limits, as one stream's frames meet them. Thread-safe.

    clock: for the thread that asks for grants. spool: where datapoints go.
    """

    def __init__(self, spool: Spool, clock: Clock, fleet: SharedLedgers | None = None) -> None:
        """fleet: the limits that are shared with other devices, None where they are not shared."""
        self.spool = spool
        self.clock = clock
        self._fleet = fleet

    def grant(
        self, frame: Frame, prediction: Prediction, decision: SamplingDecision, policy: Policy, origin: CollectionOrigin
    ) -> AdmissionGrant | RefusalReason:
        """Ask for the quota of a frame's candidates."""
        candidates, quotas = candidates_for(policy, decision, prediction, origin, frame.captured, self.clock.now())
        id = new_datapoint_id()
        granted: QuotaGranted | QuotaPending | None = None
        if self._fleet is not None:
            answer = self._fleet.charge(id, quotas, frame.captured, self.clock.now())
            if isinstance(answer, QuotaRefused):
                return _refusal(answer)
            granted = answer
        grant = AdmissionGrant(id, candidates, quotas, granted)
        refusal: RefusalReason | None = RefusalReason.SPOOL_BROKEN
        try:
            refusal = self._local_refusal(grant, frame)
        finally:
            if refusal is not None:
                self.discard(grant)
        return grant if refusal is None else refusal

    def store(
        self, grant: AdmissionGrant, datapoint: Datapoint, signature: AcceptedSignature | None
    ) -> Accepted | RefusalReason:
        """Put the datapoint of a grant into the spool. signature: what is remembered of the frame, None for nothing."""
        is_stored = False
        try:
            answer = self.spool.put(datapoint, grant.candidates, grant.quotas, grant.grant, signature=signature)
            is_stored = isinstance(answer, Accepted)
            return answer if isinstance(answer, Accepted) else answer.refusal
        except SpoolFull:
            return RefusalReason.SPOOL_FULL
        except SpoolBroken:
            return RefusalReason.SPOOL_BROKEN
        finally:
            self._report(grant, is_stored=is_stored)

    def discard(self, grant: AdmissionGrant) -> None:
        """Give back what was granted: the datapoint is not made."""
        self._report(grant, is_stored=False)

    def _local_refusal(self, grant: AdmissionGrant, frame: Frame) -> RefusalReason | None:
        if isinstance(grant.grant, QuotaGranted):
            return None
        quotas = grant.quotas if grant.grant is None else grant.grant.local_quotas
        try:
            allowed = self.spool.check_quota(quotas, frame.captured)
        except SpoolFull:
            return RefusalReason.SPOOL_FULL
        except SpoolBroken:
            return RefusalReason.SPOOL_BROKEN
        return _refusal(allowed) if isinstance(allowed, QuotaRefused) else None

    def _report(self, grant: AdmissionGrant, *, is_stored: bool) -> None:
        if self._fleet is not None:
            self._fleet.report_stored(grant.quotas[0].project, grant.id, is_stored)


def _refusal(refused: QuotaRefused) -> RefusalReason:
    return RefusalReason.BATCH_FULL if refused.batch_full else RefusalReason.LIMIT

"""Admission: quota for a frame that strategies want, and its way into the spool once its picture is made.

    request  the strategies' quota is asked for: granted, pending (shared limits that can't be asked), or refused
    store    the datapoint is put into the spool, which decides on local quota again: others may have used it meanwhile
    discard  there will be no datapoint

Each granted frame ends in exactly one `store` or `discard`: so shared quota is refunded where nothing was stored, and a
strategy's interval begins only with a frame that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import TYPE_CHECKING

from framesift.clock.clock import Clock
from framesift.clock.moment import Moment
from framesift.datapoint import Candidate, Datapoint
from framesift.frame import RefusalReason
from framesift.limits import Quota, QuotaGranted, QuotaPending, QuotaRefused
from framesift.sampling.operator_requests import OperatorRequests
from framesift.sampling.pacing import Pacing
from framesift.sampling.pacing_rules import PacingRule
from framesift.spool import Accepted, AcceptedSignature, Spool, SpoolBroken, SpoolFull, refusal_reason

if TYPE_CHECKING:
    from framesift.limits.shared.ledgers import SharedLedgers


@dataclass(frozen=True, slots=True, eq=False)
class AdmissionGrant:
    """The permission for one datapoint. id: the datapoint's. grant: of the shared limits, None where there are none.

    rules: of the candidates, in their order.
    """

    id: str
    candidates: tuple[Candidate, ...]
    quotas: tuple[Quota, ...]
    rules: tuple[PacingRule, ...]
    captured: Moment
    grant: QuotaGranted | QuotaPending | None = None


class Admission:
    """The spool and the limits, as one stream's frames meet them. Thread-safe.

    clock: for the thread that asks for grants. spool: where datapoints go. pacing: of this device. requests: of its
    operator.
    """

    def __init__(
        self,
        spool: Spool,
        clock: Clock,
        fleet: SharedLedgers | None = None,
        pacing: Pacing | None = None,
        requests: OperatorRequests | None = None,
    ) -> None:
        """fleet: the limits that are shared with other devices, None where they are not shared."""
        self.spool = spool
        self.clock = clock
        self.pacing = pacing or Pacing()
        self.requests = requests or OperatorRequests(clock)
        self._fleet = fleet

    def for_thread(self, clock: Clock) -> Admission:
        """The same for another thread. clock: of that thread."""
        return Admission(self.spool, clock, self._fleet, self.pacing, self.requests)

    def request(
        self,
        id: str,
        candidates: Sequence[Candidate],
        quotas: Sequence[Quota],
        rules: Sequence[PacingRule],
        captured: Moment,
    ) -> AdmissionGrant | RefusalReason:
        """Ask for the quota of a frame: of the first candidate that has some. All sequences are in the same order."""
        limited = [rule.interval for rule in rules if rule.interval is not None]
        if limited:
            opened = iter(self.pacing.intervals.reserve(id, limited, captured))
            open_ = [rule.interval is None or next(opened) for rule in rules]
            candidates, quotas = list(compress(candidates, open_)), list(compress(quotas, open_))
            rules = list(compress(rules, open_))
            if not candidates:
                return RefusalReason.MIN_INTERVAL
        grant = AdmissionGrant(id, tuple(candidates), tuple(quotas), tuple(rules), captured)
        if self._fleet is not None:
            answer = self._fleet.charge(id, quotas, captured, self.clock.now())
            if isinstance(answer, QuotaRefused):
                self.pacing.intervals.settle(id, None)
                return refusal_reason(answer)
            grant = replace(grant, grant=answer)
        refusal: RefusalReason | None = RefusalReason.SPOOL_BROKEN
        try:
            refusal = self._local_refusal(grant)
        finally:
            if refusal is not None:
                self.discard(grant)
        return grant if refusal is None else refusal

    def store(
        self,
        grant: AdmissionGrant,
        datapoint: Datapoint,
        signature: AcceptedSignature | None,
        *,
        was_held: bool = False,
    ) -> Accepted | RefusalReason:
        """Put the datapoint of a grant into the spool. signature: what is remembered of the frame, None for nothing.

        was_held: it takes the place of a held frame of the spool.
        """
        strategy: str | None = None
        try:
            answer = self.spool.put(
                datapoint, grant.candidates, grant.quotas, grant.grant, signature=signature, was_held=was_held
            )
            if not isinstance(answer, Accepted):
                return answer.refusal
            strategy = answer.strategy
            return answer
        except SpoolFull:
            return RefusalReason.SPOOL_FULL
        except SpoolBroken:
            return RefusalReason.SPOOL_BROKEN
        finally:
            self._report(grant, strategy)

    def discard(self, grant: AdmissionGrant) -> None:
        """Give back what was granted: the datapoint is not made."""
        self._report(grant, None)

    def window_time_s(self, now: Moment) -> float:
        """The Unix time by the clock that decides the windows of the limits."""
        return now.wall_s if self._fleet is None else self._fleet.time_s(now)

    def _local_refusal(self, grant: AdmissionGrant) -> RefusalReason | None:
        if isinstance(grant.grant, QuotaGranted):
            return None
        quotas = grant.quotas if grant.grant is None else grant.grant.local_quotas
        try:
            allowed = self.spool.check_quota(quotas, grant.captured)
        except SpoolFull:
            return RefusalReason.SPOOL_FULL
        except SpoolBroken:
            return RefusalReason.SPOOL_BROKEN
        return refusal_reason(allowed) if isinstance(allowed, QuotaRefused) else None

    def _report(self, grant: AdmissionGrant, strategy: str | None) -> None:
        """strategy: that was charged; None if nothing was stored."""
        pairs = zip(grant.candidates, grant.rules, strict=True)
        charged = next((rule for of, rule in pairs if of.strategy == strategy), None)
        interval = None if charged is None else charged.interval
        self.pacing.intervals.settle(grant.id, None if interval is None else interval.scope)
        if charged is not None and charged.pacing is not None:
            self.pacing.record_used(charged.account, grant.captured.wall_s_as_of(self.clock.now()))
        if self._fleet is not None:
            self._fleet.report_stored(grant.quotas[0].project, grant.id, strategy is not None)

"""A device of a fleet: a spool, its ledgers and the reconciler, on a test's clock.

Everything is real but the stream: `offer` does what the intake does with a frame that strategies want.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clocks import ManualClock
from framesift.clock.clock import Clock
from framesift.datapoint import Candidate
from framesift.fleet.reconcile import Reconciler, instance_id_of
from framesift.limits import AccountLimit, Limit, Quota, QuotaGranted, QuotaPending, QuotaRefused, Window
from framesift.limits.local import LocalLimits
from framesift.limits.shared.ledgers import SharedLedgers
from framesift.limits.shared.requests import UTC_CALENDAR, Calendar, LedgerRequest
from framesift.limits.shared.server import RedisAddress
from framesift.spool import Accepted, Spool, SpoolBroken, SpoolFull
from rigs.spools import datapoint, make_spool

PROJECT = "parking"


def quota(strategy: str = "hard", *limits: tuple[Window, int], batch: str = "b", most: int | None = None) -> Quota:
    return Quota(strategy, tuple(Limit(*limit) for limit in limits), batch, most, project=PROJECT)


class FleetDevice:
    """A device. reports: problems of the ledgers. grants: how often pending quota was granted."""

    def __init__(
        self,
        folder: Path,
        server: RedisAddress,
        clock: Clock | None = None,
        *,
        calendar: Calendar = UTC_CALENDAR,
        ceiling: float = 1.0,
        restore_s: float = 0.0,
        late_s: float = 48 * 3600.0,
        accounts: Sequence[AccountLimit] = (),
        **spool: Any,
    ) -> None:
        self._clock: Clock = clock or ManualClock()
        self.fleet = SharedLedgers(
            server,
            prefix="framesift",
            calendar=calendar,
            local_ceiling=ceiling,
            restore_s=restore_s,
            wake=self._count_wake,
        )
        folder.mkdir(exist_ok=True)
        self.spool: Spool = make_spool(
            folder, self._clock, limits=LocalLimits(), on_refund=self.fleet.request_audit, **spool
        )
        self._accounts = accounts
        self.wakes = 0
        self.grants = 0
        self.reports: list[str | None] = []
        self.failures: list[BaseException] = []
        self.reconciler = Reconciler(
            self.fleet,
            self.spool,
            self,
            self._clock,
            random.Random(1),
            max_pending_s=late_s,
            on_failure=self.failures.append,
        )
        self.spool.open()

    def _count_wake(self) -> None:
        self.wakes += 1

    # As the reconciler's host:

    def projects(self) -> list[str]:
        return [PROJECT]

    def accounts(self) -> Sequence[AccountLimit]:
        return self._accounts

    def quota_granted(self) -> None:
        self.grants += 1

    def problem_changed(self, problem: str | None) -> None:
        self.reports.append(problem)

    @property
    def clock(self) -> ManualClock:
        """The test's clock, of a device that was made with one."""
        assert isinstance(self._clock, ManualClock)
        return self._clock

    def offer(
        self, *quotas: Quota, score: float | None = None, id: str | None = None, jpeg: bytes = b"a picture"
    ) -> Accepted | QuotaRefused | str:
        """What became of a frame: accepted, refused by a ledger, or by the spool (in a word)."""
        made = datapoint(self.clock, id=id, jpeg=jpeg)
        grant = self.fleet.charge(made.id, quotas, made.captured, self._clock.now())
        if isinstance(grant, QuotaRefused):
            return grant
        kept = False
        try:
            if isinstance(grant, QuotaPending) and isinstance(
                self.spool.check_quota(grant.local_quotas, made.captured), QuotaRefused
            ):
                return "limit"
            candidates = [Candidate(q.strategy, score, (f"of-{q.strategy}",), q.batch, True, PROJECT) for q in quotas]
            answer = self.spool.put(made, candidates, quotas, grant)
            kept = isinstance(answer, Accepted)
            return answer if isinstance(answer, Accepted) else answer.refusal.value
        except SpoolFull:
            return "spool_full"
        except SpoolBroken:
            return "spool_broken"
        finally:
            self.fleet.report_stored(PROJECT, made.id, kept)

    def accepted(self, count: int, *quotas: Quota, **how: Any) -> list[str]:
        """The ids of those that were accepted, of so many frames."""
        answers = [self.offer(*quotas, **how) for _ in range(count)]
        return [answer.id for answer in answers if isinstance(answer, Accepted)]

    def reconcile(self) -> float:
        """Reconcile until nothing is left that can be done at once."""
        for _ in range(100):
            wait_s = self.reconciler.reconcile_once()
            if wait_s > 0:
                return wait_s
        raise AssertionError("it never comes to rest")

    def recover(self) -> None:
        """Reconcile until the ledger answers again."""
        for _ in range(3):
            self.reconcile()
            if self.reconciler.problem is None:
                return
        raise AssertionError(self.reconciler.problem)

    def reconcile_until_open(self) -> None:
        """Connect, without a request for quota."""
        ledger = self.fleet.ledger_for(PROJECT)
        if ledger is None:
            self.fleet.set_identity(self.spool.shared_quota.device_id(), instance_id_of(self.spool, self._clock.now()))
            ledger = self.fleet.ledger_for(PROJECT)
        assert ledger is not None
        ledger.set_synced(ledger.connect(self._clock.now()).generation)
        ledger.set_available()

    def forget_and_reconcile(self) -> None:
        """Forget the connection, and reconcile with a new one."""
        for _, ledger in self.fleet.ledgers():
            ledger.set_unavailable("the test says so")
        self.reconcile()

    def leave(self) -> list[str]:
        """The ids of all that may leave, which are delivered."""
        items = self.spool.claim(1000).items
        for item in items:
            self.spool.complete(item.id)
        return [item.id for item in items]

    @property
    def waiting(self) -> int:
        return self.spool.counts().pending_quota

    def outcomes(self, name: str) -> int:
        return {exit.value: count for exit, count in self.spool.outcome_counts().items()}[name]

    def used(self, name: str = "hard", window: Window = Window.DAILY) -> int:
        ledger = self.fleet.ledger_for(PROJECT)
        assert ledger is not None
        (count,) = ledger.send(LedgerRequest(usage=[(name, window)]), self._clock.now()).usage
        return count

    def crash(self) -> None:
        """As if it were killed: nothing is refunded or reported."""
        self.spool.close()
        self.fleet.close()

    def __enter__(self) -> FleetDevice:
        self.reconcile()
        return self

    def __exit__(self, *_: object) -> None:
        self.crash()
        assert not self.failures, self.failures


def strategy_of(answer: object) -> str:
    assert isinstance(answer, Accepted | QuotaGranted), answer
    return answer.strategy

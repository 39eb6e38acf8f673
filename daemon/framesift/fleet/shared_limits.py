"""Sharing: who keeps count of the limits, this device or a fleet, and all that follows from it."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from framesift.clock.clock import Clock, MonitoredThread
from framesift.fleet.platform_batches import DeviceBatchCounts, LeftSpoolCounts
from framesift.fleet.reconcile import RESTORING, SPOOL_COPIED, LimitUsage, Reconciler
from framesift.limits import AccountLimit, LimitsUnavailable, window_end, window_start
from framesift.limits.local import EXHAUSTED, LocalLimits
from framesift.limits.shared.requests import BatchReport, Calendar, LedgerRequest, PlatformBatchSize
from framesift.settings import LimitsSettings
from framesift.spool import Spool, SpoolBroken, SpoolFull
from framesift.telemetry import Condition, QuotaReport, QuotaUse, Telemetry

if TYPE_CHECKING:
    from framesift.limits.shared.ledgers import SharedLedgers


# A start waits so long for the ledger; frames that come before it answers wait for their credits in the spool.
FIRST_RUN_TIMEOUT_S = 2.0
# A stop waits no longer for a name that is being resolved: the workers and the spool need the rest of its time.
STOP_TIMEOUT_S = 2.0


class PolicyLimits(Protocol):
    """The limits of the policies that streams follow now. Thread-safe."""

    def projects(self) -> tuple[str, ...]:
        """The projects whose limits matter on this device; "" where a policy names none."""
        ...

    def accounts(self) -> tuple[AccountLimit, ...]:
        """One account for each limit of each strategy that collects on this device."""
        ...


class SharedLimits:
    """fleet: None where this device keeps count for itself."""

    def __init__(
        self, options: LimitsSettings, limits: LocalLimits, policies: PolicyLimits, telemetry: Telemetry, clock: Clock
    ) -> None:
        self.ledgers: SharedLedgers | None = None
        self._options = options
        self._policies = policies
        self._telemetry = telemetry
        self._clock = clock
        self._crediting: Reconciler | None = None
        if options.redis is not None:
            from framesift.limits.shared.ledgers import SharedLedgers  # with the library for Redis, which few need

            # The zone is the policies', and may arrive later than this.
            calendar = Calendar(
                lambda kind, at_s: window_start(kind, at_s, limits.zone),
                lambda kind, at_s: window_end(kind, at_s, limits.zone),
            )
            self.ledgers = SharedLedgers(
                options.redis.server,
                prefix=options.redis.prefix,
                calendar=calendar,
                local_ceiling=options.local_ceiling,
                wake=self._look,
            )

    def start(
        self,
        spool: Spool,
        exit_stack: ExitStack,
        *,
        on_granted: Callable[[], None],
        on_failure: Callable[[BaseException], None],
        left_s: Callable[[], float],
    ) -> MonitoredThread | None:
        """Starts what there is to do, and puts its end into the house. Returns its loop; None where there is none.
        granted: called when datapoints got their credits.
        """
        self._telemetry.set_quota_source(lambda: self._told(spool))
        if self.ledgers is None:
            self._adopt(spool)
            return None
        fleet = self.ledgers
        exit_stack.callback(fleet.close)
        crediting = self._crediting = Reconciler(
            fleet,
            spool,
            self._clock,
            max_pending_s=self._options.pending_quota_h * 3600.0,
            projects=self._policies.projects,
            accounts=self._policies.accounts,
            on_granted=on_granted,
            on_problem=self._report,
            on_failure=on_failure,
            rng=random.Random(),  # only spreads the questions of a fleet
        )
        crediting.task.start()
        exit_stack.callback(lambda: crediting.task.stop(min(left_s(), STOP_TIMEOUT_S)))
        crediting.task.wait_for_first_run(FIRST_RUN_TIMEOUT_S)
        return crediting.task.monitored

    def batch_counts(self, spool: Spool) -> DeviceBatchCounts | FleetBatchCounts:
        """Who counts what lies in the labelling batches."""
        return DeviceBatchCounts(spool) if self.ledgers is None else FleetBatchCounts(spool, self.ledgers, self._clock)

    def request_audit(self) -> None:
        """A credit was given back here."""
        if self.ledgers is not None:
            self.ledgers.request_audit()

    def _look(self) -> None:
        if self._crediting is not None:
            self._crediting.task.wake()

    def _adopt(self, spool: Spool) -> None:
        try:
            adopted = spool.shared_quota.grant_pending_locally()
        except (SpoolBroken, SpoolFull):  # the spool says so itself; the next start adopts them
            return
        if adopted:
            self._telemetry.info("credits_adopted", datapoints=adopted)

    def _report(self, problem: str | None) -> None:
        if problem is None:
            self._telemetry.health.set_ok("limits")
        else:
            where = "" if self._options.redis is None else f"{self._options.redis.url}: "
            # A copy needs somebody; everything else may pass by itself.
            condition = Condition.FAILED if problem == SPOOL_COPIED else Condition.DEGRADED
            self._telemetry.health.set("limits", condition, where + problem)

    def _told(self, spool: Spool) -> QuotaReport:
        """For those who read the status. Raises SpoolBroken."""
        waiting = spool.counts().pending_quota
        if self._crediting is None:
            counts = {(used.account, used.window): used.count for used in spool.quota_usage()}
            uses = [LimitUsage(a, counts.get((a.name, a.limit.window), 0)) for a in self._policies.accounts()]
            return QuotaReport("local", "", waiting, self._clock.now().wall_s, tuple(map(_told, uses)))
        problem = self._crediting.problem
        granted_by = "shared" if problem is None else "restoring" if problem == RESTORING else "away"
        used = self._crediting.usage
        return QuotaReport(granted_by, problem or "", waiting, self._crediting.usage_at_s, tuple(map(_told, used)))


@dataclass(frozen=True, slots=True)
class FleetBatchCounts:
    """A `batches.Counts`: the fleet's together, of which only one device asks the platform."""

    spool: Spool
    ledgers: SharedLedgers
    clock: Clock

    def left_spool_counts(self, project: str, batch: str) -> LeftSpoolCounts | None:
        own = self.spool.batch_left_spool(batch)
        ledger = self.ledgers.ledger_for(project)
        if ledger is None:
            return LeftSpoolCounts(own)
        report = BatchReport(batch, *self.spool.shared_quota.batch_counts(batch), is_complete=False)
        try:
            (mark,) = ledger.send(
                LedgerRequest(batch_reports=[report], left_spool=[batch]), self.clock.now()
            ).left_spool
        except LimitsUnavailable:  # then everyone asks for himself; `crediting` says so
            return LeftSpoolCounts(own)
        return None if mark is None else LeftSpoolCounts(own, mark)

    def record_platform_size(self, project: str, batch: str, images: int, mark: LeftSpoolCounts) -> None:
        self.spool.record_batch_size(batch, images, mark.own)
        ledger = self.ledgers.ledger_for(project)
        if ledger is not None and mark.fleet is not None:
            try:
                ledger.send(
                    LedgerRequest(platform_sizes=[PlatformBatchSize(batch, images, mark.fleet)]), self.clock.now()
                )
            except LimitsUnavailable:  # somebody asks again within a minute
                return


def _told(use: LimitUsage) -> QuotaUse:
    account = use.account_limit
    most = account.limit.value
    count = use.count if use.count < EXHAUSTED else most  # how many it are, nobody knows
    return QuotaUse(account.project, account.name, account.limit.window.value, most, count, max(0, most - count))

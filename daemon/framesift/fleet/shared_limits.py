"""SharedLimits: whether this device counts the limits alone or shares them, and what has to run for that."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
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


# A problem that is over sooner is none: one answer may come late.
PROBLEM_HOLDS_S = 2.0
# How long a start waits for the ledger. Frames that come before its answer are accepted with pending quota.
FIRST_RUN_TIMEOUT_S = 2.0
# A stop waits no longer than this, even while a host name is being resolved: workers and spool need the remaining time.
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
    """The limits that a fleet shares, as a component of the service. With local limits it runs nothing.

    ledgers: the shared ledgers, None where this device counts alone.
    """

    name = "shared limits"

    def __init__(
        self, settings: LimitsSettings, limits: LocalLimits, policies: PolicyLimits, telemetry: Telemetry, clock: Clock
    ) -> None:
        self.ledgers: SharedLedgers | None = None
        self._settings = settings
        self._policies = policies
        self._telemetry = telemetry
        self._clock = clock
        self._spool: Spool | None = None
        self._reconciler: Reconciler | None = None
        if settings.redis is not None:
            from framesift.limits.shared.ledgers import SharedLedgers  # it loads the Redis library, which few need

            # The time zone is that of the policies, which may be loaded later.
            calendar = Calendar(
                lambda window, at_s: window_start(window, at_s, limits.zone),
                lambda window, at_s: window_end(window, at_s, limits.zone),
            )
            self.ledgers = SharedLedgers(
                settings.redis.server,
                prefix=settings.redis.prefix,
                calendar=calendar,
                local_ceiling=settings.local_ceiling,
                wake=self._wake,
            )

    # --- as a component -------------------------------------------------------------------------------------------

    def attach(
        self, spool: Spool, *, on_granted: Callable[[], None], on_failure: Callable[[BaseException], None]
    ) -> None:
        """Connects it to the spool. Call it once, before `start`.

        on_granted: called when pending quota was granted. on_failure: called with an unexpected error in its thread.
        """
        self._spool = spool
        self._telemetry.set_quota_source(lambda: self._quota_report(spool))
        if self.ledgers is not None:
            self._reconciler = Reconciler(
                self.ledgers,
                spool,
                _Host(self._policies, on_granted, self._report_problem),
                self._clock,
                random.Random(),  # it only spreads the requests of a fleet
                max_pending_s=self._settings.pending_quota_h * 3600.0,
                on_failure=on_failure,
            )

    @property
    def threads(self) -> tuple[MonitoredThread, ...]:
        """Its threads, for the watchdog; none with local limits."""
        return () if self._reconciler is None else self._reconciler.task.threads

    def start(self) -> None:
        """Starts the reconciliation, and waits for its first run, but not longer than FIRST_RUN_TIMEOUT_S.

        With local limits it grants the quota that is pending since an earlier run with shared limits.
        """
        if self._reconciler is not None:
            self._reconciler.task.start()
            self._reconciler.task.wait_for_first_run(FIRST_RUN_TIMEOUT_S)
        elif self._spool is not None:
            self._grant_pending_locally(self._spool)

    def stop(self, within_s: float) -> bool:
        """Ends the reconciliation and closes the connections. Returns whether the thread has ended in time."""
        has_ended = self._reconciler is None or self._reconciler.task.stop(min(within_s, STOP_TIMEOUT_S))
        if self.ledgers is not None:
            self.ledgers.close()
        return has_ended

    def idle_s(self) -> float:
        """Seconds since its thread last moved; 0 with local limits."""
        return 0.0 if self._reconciler is None else self._reconciler.task.idle_s()

    # --- for other components -------------------------------------------------------------------------------------

    def batch_counts(self, spool: Spool) -> DeviceBatchCounts | FleetBatchCounts:
        """The counts for the batch watcher: those of this device, or those of the fleet."""
        return DeviceBatchCounts(spool) if self.ledgers is None else FleetBatchCounts(spool, self.ledgers, self._clock)

    def request_audit(self) -> None:
        """Reports that the spool has refunded a charge, so that the ledger refunds it too. Any thread may call it."""
        if self.ledgers is not None:
            self.ledgers.request_audit()

    def set_settings(self, settings: LimitsSettings) -> None:
        """Apply what of the settings may change in a run: `local_ceiling` and `pending_quota_h`."""
        if self.ledgers is not None:
            self.ledgers.set_local_ceiling(settings.local_ceiling)
        if self._reconciler is not None:
            self._reconciler.max_pending_s = settings.pending_quota_h * 3600.0

    def _wake(self) -> None:
        if self._reconciler is not None:
            self._reconciler.task.wake()

    def _grant_pending_locally(self, spool: Spool) -> None:
        try:
            granted = spool.shared_quota.grant_pending_locally()
        except (SpoolBroken, SpoolFull):  # the spool's own health reports it; the next start tries again
            return
        if granted:
            self._telemetry.info("pending_quota_granted", datapoints=granted)

    # --- reports --------------------------------------------------------------------------------------------------

    def _report_problem(self, problem: str | None) -> None:
        if problem is None:
            self._telemetry.health.set_ok("limits")
        else:
            prefix = "" if self._settings.redis is None else f"{self._settings.redis.url}: "
            # Somebody must stop the copy; all other problems may end by themselves, and one slow answer is none.
            is_copied = problem == SPOOL_COPIED
            condition = Condition.FAILED if is_copied else Condition.DEGRADED
            after_s = 0.0 if is_copied else PROBLEM_HOLDS_S
            self._telemetry.health.set("limits", condition, prefix + problem, after_s=after_s)

    def _quota_report(self, spool: Spool) -> QuotaReport:
        """For the status page and the metrics. Raises SpoolBroken."""
        pending = spool.counts().pending_quota
        if self._reconciler is None:
            counts = {(used.account, used.window): used.count for used in spool.quota_usage()}
            usage = [LimitUsage(a, counts.get((a.name, a.limit.window), 0)) for a in self._policies.accounts()]
            return QuotaReport("local", "", pending, self._clock.now().wall_s, _quota_uses(usage))
        problem = self._reconciler.problem
        granted_by = "shared" if problem is None else "restoring" if problem == RESTORING else "away"
        used = _quota_uses(self._reconciler.usage)
        return QuotaReport(granted_by, problem or "", pending, self._reconciler.usage_at_s, used)


@dataclass(frozen=True, slots=True)
class _Host:
    """The ReconcilerHost of the service."""

    policies: PolicyLimits
    quota_granted: Callable[[], None]
    problem_changed: Callable[[str | None], None]

    def projects(self) -> Sequence[str]:
        return self.policies.projects()

    def accounts(self) -> Sequence[AccountLimit]:
        return self.policies.accounts()


@dataclass(frozen=True, slots=True)
class FleetBatchCounts:
    """The batch counts of a fleet, of which only one device asks the platform. See platform_batches.BatchCounts."""

    spool: Spool
    ledgers: SharedLedgers
    clock: Clock

    def left_spool_counts(self, project: str, batch: str) -> LeftSpoolCounts | None:
        """See BatchCounts. While the ledger is unavailable, each device asks the platform for itself."""
        own = self.spool.batch_left_spool(batch)
        ledger = self.ledgers.ledger_for(project)
        if ledger is None:
            return LeftSpoolCounts(own)
        batch_report = BatchReport(batch, *self.spool.shared_quota.batch_counts(batch), is_complete=False)
        request = LedgerRequest(batch_reports=[batch_report], left_spool=[batch])
        try:
            (fleet,) = ledger.send(request, self.clock.now()).left_spool
        except LimitsUnavailable:  # the reconciler reports it
            return LeftSpoolCounts(own)
        return None if fleet is None else LeftSpoolCounts(own, fleet)

    def record_platform_size(self, project: str, batch: str, images: int, left_spool: LeftSpoolCounts) -> None:
        """See BatchCounts."""
        self.spool.record_batch_size(batch, images, left_spool.own)
        ledger = self.ledgers.ledger_for(project)
        if ledger is not None and left_spool.fleet is not None:
            request = LedgerRequest(platform_sizes=[PlatformBatchSize(batch, images, left_spool.fleet)])
            try:
                ledger.send(request, self.clock.now())
            except LimitsUnavailable:  # a device asks the platform again within a minute
                return


def _quota_uses(usages: Iterable[LimitUsage]) -> tuple[QuotaUse, ...]:
    """All limits but those of what is taken by hand where nothing was."""
    return tuple(_quota_use(one) for one in usages if one.count or not one.account_limit.is_by_hand)


def _quota_use(usage: LimitUsage) -> QuotaUse:
    account = usage.account_limit
    most = account.limit.value
    count = usage.count if usage.count < EXHAUSTED else most  # the real count is unknown
    return QuotaUse(account.project, account.name, account.limit.window.value, most, count, max(0, most - count))

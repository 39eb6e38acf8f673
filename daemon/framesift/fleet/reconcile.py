"""Reconciler: keeps the spool and the shared ledgers in agreement, in a thread of its own.

Each run does for every project:

    the ledger is unavailable      -> connect again, with growing pauses, also if it is lost again soon after a return
    another instance has the id    -> request nothing: either the last run ended just now, or this spool is a copy
    the ledger has lost its data   -> report all charges of this device; the ledger grants nothing meanwhile
    an audit is needed             -> refund what the ledger has charged for this device and the spool doesn't have
    datapoints have pending quota  -> request it, highest score first; refused ones leave with the outcome `limit`

An audit is needed at each start, since the last run may have been killed between a charge and its row in the spool;
when an accepted frame did not reach the spool; when a charge was refunded; when the ledger was unavailable, since
answers may have been lost; and every ten minutes, since a network may delay a request for long. So a refund needs no
record of its own: it is the difference between the ledger and the spool. A device that is killed at any point makes it
good when it starts again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from framesift.backoff import BackoffSchedule
from framesift.clock.clock import Clock
from framesift.clock.moment import Moment
from framesift.limits import AccountLimit, LimitsUnavailable, QuotaGranted, QuotaRefused
from framesift.limits.shared.requests import LEASE_S, MAX_PENDING_S, BatchReport, LedgerRequest
from framesift.periodic import NextRun, PeriodicTask
from framesift.spool import Spool, SpoolBroken, SpoolFull
from framesift.spool.shared_quota import PendingDecision

if TYPE_CHECKING:
    from framesift.limits.shared.ledger import Ledger
    from framesift.limits.shared.ledgers import SharedLedgers


NOT_CONNECTED = "not connected yet"
RESTORING = "shared limits were reset; nothing is granted for 60 s, until all devices have reported their usage"
RUNS_ELSEWHERE = (
    "another instance has run with this spool, or with a copy of it, less than 25 s ago; "
    "nothing is granted until it has been stopped for 25 s"
)
SPOOL_COPIED = (
    "another daemon runs with a copy of this spool, and only one of them is granted quota: "
    "stop this one, move its spool away, and start it again"
)
RECONCILE_INTERVAL_S = 10.0
AUDIT_INTERVAL_S = 600.0
FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 30.0
STABLE_AFTER_S = 60.0
_BACKOFF = BackoffSchedule(FIRST_PAUSE_S, MAX_PAUSE_S)
_BATCH_SIZE = 100  # charges in one request
_RELEVANT_S = MAX_PENDING_S + 2 * 86400.0  # no window that opened longer ago is charged


@dataclass(frozen=True, slots=True)
class LimitUsage:
    """How many datapoints are charged to a limit in the open window, by all devices that share it."""

    account_limit: AccountLimit
    count: int


class ReconcilerHost(Protocol):
    """What the reconciler asks of the service, and what it reports. The reconciler's thread calls all methods."""

    def projects(self) -> Sequence[str]:
        """The projects for which this device collects."""
        ...

    def accounts(self) -> Sequence[AccountLimit]:
        """The limits whose usage is shown to the operator."""
        ...

    def quota_granted(self) -> None:
        """Called after pending quota was granted: datapoints may leave the spool."""
        ...

    def problem_changed(self, problem: str | None) -> None:
        """Called when the shared limits become unavailable, when the reason changes, and with None when it is over."""
        ...


def instance_id_of(spool: Spool, now: Moment) -> str:
    """An id of this running daemon: only one daemon can have this file open, and a copy is another file.

    Raises OSError if the spool's file cannot be read.
    """
    file = spool.path.stat()
    return f"{now.boot_id}:{file.st_dev:x}:{file.st_ino:x}"


@dataclass(slots=True)
class _LedgerState:
    """The recent failures of one ledger. Times are seconds of the monotonic clock.

    failures: failed connections in a row. losses: how often in a row it was lost within STABLE_AFTER_S of its return.
    Each loss has cost a frame some time, so a ledger that is lost again and again is left alone for longer. back_at_s:
    when it came back, None while it is away. refused_since_s: since when another instance has the device id. is_copy:
    whether that has lasted so long that the spool must be a copy.
    """

    failures: int = 0
    losses: int = 0
    back_at_s: float | None = None
    retry_at_s: float = 0.0
    refused_since_s: float | None = None
    is_copy: bool = False


class Reconciler:
    """Runs the reconciliation in its `task`. Other threads may read `problem`, `usage` and `usage_at_s`.

    max_pending_s: the age up to which a datapoint's pending quota is requested, at most MAX_PENDING_S. rng: spreads the
    requests of a fleet. on_failure: called with an unexpected error, which ends the thread. problem: why the shared
    limits are unavailable, None if they are available. usage_at_s: Unix time at which `usage` was read, None if never.
    """

    def __init__(
        self,
        ledgers: SharedLedgers,
        spool: Spool,
        host: ReconcilerHost,
        clock: Clock,
        rng: random.Random,
        *,
        max_pending_s: float,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.problem: str | None = NOT_CONNECTED
        self.usage: tuple[LimitUsage, ...] = ()
        self.usage_at_s: float | None = None
        self.task = PeriodicTask("shared limits", self._run, clock, on_failure=on_failure)
        self._ledgers = ledgers
        self._spool = spool
        self._host = host
        self._clock = self.task.heartbeat
        self._rng = rng
        self.max_pending_s = max_pending_s
        self._audited_at_s = self._clock.monotonic()
        self._states: dict[str, _LedgerState] = {}  # by project

    def reconcile_once(self) -> float:
        """Does one run for all projects. Returns the seconds until the next one, 0 if there is more to do at once."""
        problem: str | None = None
        wait_s = RECONCILE_INTERVAL_S
        if self._clock.monotonic() - self._audited_at_s >= AUDIT_INTERVAL_S:
            self._audited_at_s = self._clock.monotonic()
            for _, known_ledger in self._ledgers.ledgers():
                known_ledger.request_audit()
        try:
            self._ledgers.set_identity(
                self._spool.shared_quota.device_id(), instance_id_of(self._spool, self._clock.now())
            )
            for project in dict.fromkeys((*self._host.projects(), *self._spool.shared_quota.projects())):
                ledger = self._ledgers.ledger_for(project)
                if ledger is not None:
                    self._clock.monotonic()  # shows the watchdog that the thread moves
                    wait_s = min(wait_s, self._reconcile_ledger(project, ledger))
                    problem = problem or ledger.problem
            if problem is None:
                self._read_usage()
        except (SpoolBroken, SpoolFull, OSError):  # the spool's own health reports it
            return RECONCILE_INTERVAL_S
        if problem != self.problem and wait_s > 0:  # with 0 the problem may be over in the next run, at once
            self.problem = problem
            self._host.problem_changed(problem)
        return wait_s

    # --- one ledger -----------------------------------------------------------------------------------------------

    def _reconcile_ledger(self, project: str, ledger: Ledger) -> float:
        """Returns the seconds until the next run, as `reconcile_once`."""
        state = self._states.setdefault(project, _LedgerState())
        was_away = ledger.problem is not None
        if was_away and (pause_s := self._remaining_pause_s(state)) > 0:
            return pause_s
        if state.is_copy:  # even while the other instance is away: its charges must not be refunded
            return RECONCILE_INTERVAL_S
        try:
            now = self._clock.now()
            # Sent in any case: a device that collects nothing must also notice that the ledger has lost its data.
            answer = ledger.connect(now) if was_away else ledger.send(LedgerRequest(lease=True), now)
            if not answer.is_only_instance:
                ledger.set_unavailable(self._other_instance_problem(state))
                ledger.request_audit()
                return RECONCILE_INTERVAL_S
            state.refused_since_s = None
            if ledger.synced_generation != answer.generation:
                self._restore(project, ledger, answer.generation)
            else:  # a charge of the old generation may have reached the spool only now: report it before new grants
                self._report_charges(project, ledger, answer.generation)
            state.failures = 0
            if answer.restoring_s > 0:
                ledger.set_unavailable(RESTORING)
                # Random, so that not all devices of a fleet return at the same instant.
                return min(answer.restoring_s + self._rng.uniform(0.0, answer.restoring_s), RECONCILE_INTERVAL_S)
            if was_away:
                state.back_at_s = self._clock.monotonic()
                ledger.set_available()
            if ledger.pop_audit_request() or was_away:  # a lost answer may have charged what has left the spool by now
                self._audit(ledger)
            if refunds := ledger.pop_refunds():
                ledger.send(LedgerRequest(refund=refunds), self._clock.now())
            self._spool.shared_quota.prune(ledger.ledger_time_s(_RELEVANT_S, now))
            has_more = self._request_pending(project, ledger)
            was_lost = ledger.problem not in (None, RESTORING)  # a frame has lost it in the meantime
            return 0.0 if has_more or was_lost else RECONCILE_INTERVAL_S
        except LimitsUnavailable as error:
            ledger.set_unavailable(str(error))
            ledger.request_audit()
            state.failures += 1
            return _BACKOFF.pause_s(state.failures, self._rng)
        except (SpoolBroken, SpoolFull):
            ledger.request_audit()
            raise

    def _restore(self, project: str, ledger: Ledger, generation: str) -> None:
        """Makes sure that a new generation of the ledger has exactly the charges of this device's spool."""
        is_first = ledger.synced_generation is None
        self._audit(ledger)
        generation = self._report_charges(project, ledger, generation)
        # Pending datapoints may be charged already, if the answer was lost: then the ledger's batch counts are higher.
        is_complete = is_first and not self._spool.shared_quota.pending(project, 1)
        self._report_batches(project, ledger, is_complete)
        ledger.set_synced(generation)

    def _audit(self, ledger: Ledger) -> None:
        """Refunds what is charged for this device and is not in its spool."""
        now = self._clock.now()
        charged = ledger.send(LedgerRequest(audit_days=ledger.audit_days(now), lease=True), now).charged_ids
        # In this order: an id that is confirmed meanwhile is in the spool by the time the spool is read.
        unconfirmed = ledger.unconfirmed_ids()
        known = self._spool.shared_quota.known_ids(id for id, _ in charged)
        lost = [(id, day) for id, day in charged if id not in known and id not in unconfirmed]
        for begin in range(0, len(lost), _BATCH_SIZE):
            ledger.send(LedgerRequest(refund=lost[begin : begin + _BATCH_SIZE]), self._clock.now())

    def _report_charges(self, project: str, ledger: Ledger, generation: str) -> str:
        """Reports charges that this generation of the ledger doesn't know. Returns the generation that knows all."""
        while True:
            now = self._clock.now()
            unreported = self._spool.shared_quota.unreported(
                project, generation, ledger.ledger_time_s(_RELEVANT_S, now), _BATCH_SIZE
            )
            if not unreported:
                return generation
            charges = [
                one.charge
                if one.charge.at_s
                else replace(one.charge, at_s=ledger.ledger_time_s(max(0.0, now.wall_s - one.at_s), now))
                for one in unreported
            ]
            generation = ledger.send(LedgerRequest(restore=charges), now).generation
            self._spool.shared_quota.mark_reported(charges, generation)

    def _report_batches(self, project: str, ledger: Ledger, is_complete: bool) -> None:
        quota = self._spool.shared_quota
        batch_reports = [
            BatchReport(batch, *quota.batch_counts(batch), is_complete) for batch in quota.charged_batches(project)
        ]
        ledger.send(LedgerRequest(batch_reports=batch_reports), self._clock.now())

    def _request_pending(self, project: str, ledger: Ledger) -> bool:
        """Requests pending quota. Returns whether there may be more of it."""
        pending = self._spool.shared_quota.pending(project, _BATCH_SIZE)
        if not pending:
            return False
        now = self._clock.now()
        in_time = [request for request in pending if request.captured.age_s(now) <= self.max_pending_s]
        decisions = [
            PendingDecision(request, None) for request in pending if request.captured.age_s(now) > self.max_pending_s
        ]
        if in_time:
            answer = ledger.send(LedgerRequest(charge=in_time), now)
            for request, decision in zip(in_time, answer.decisions, strict=True):
                if isinstance(decision, QuotaGranted | QuotaRefused):
                    granted = decision if isinstance(decision, QuotaGranted) else None
                    decisions.append(PendingDecision(request, granted))
            if answer.generation != ledger.synced_generation:
                ledger.set_unavailable(RESTORING)
        if decisions and self._spool.shared_quota.apply_decisions(decisions):
            ledger.request_audit()
        if any(one.granted is not None for one in decisions):
            self._host.quota_granted()
        return bool(decisions)

    def _other_instance_problem(self, state: _LedgerState) -> str:
        now_s = self._clock.monotonic()
        if state.refused_since_s is None:
            state.refused_since_s = now_s
        state.is_copy = now_s - state.refused_since_s > 2 * LEASE_S
        return SPOOL_COPIED if state.is_copy else RUNS_ELSEWHERE

    # --- for the operator -----------------------------------------------------------------------------------------

    def _read_usage(self) -> None:
        accounts = self._host.accounts()
        usage: list[LimitUsage] = []
        now = self._clock.now()
        for project, ledger in self._ledgers.ledgers():
            own_accounts = [account for account in accounts if account.project == project]
            if own_accounts:
                request = LedgerRequest(usage=[(account.name, account.limit.window) for account in own_accounts])
                try:
                    counts = ledger.send(request, now).usage
                except LimitsUnavailable:  # the next run reports it
                    return
                usage += map(LimitUsage, own_accounts, counts)
        self.usage, self.usage_at_s = tuple(usage), now.wall_s

    # --- pauses ---------------------------------------------------------------------------------------------------

    def _remaining_pause_s(self, state: _LedgerState) -> float:
        """For how long a lost ledger is left alone: not at all the first time, or if it was available for long."""
        now_s = self._clock.monotonic()
        if state.back_at_s is not None:
            state.losses = state.losses + 1 if now_s - state.back_at_s < STABLE_AFTER_S else 0
            state.back_at_s = None
            state.retry_at_s = now_s + (_BACKOFF.pause_s(state.losses - 1, self._rng) if state.losses > 1 else 0.0)
        return state.retry_at_s - now_s

    def _run(self) -> NextRun:
        wait_s = self.reconcile_once()
        # A frame that wakes the task must not make it ask an unavailable ledger more often.
        return NextRun(wait_s, min_s=0.0 if self.problem is None else wait_s)

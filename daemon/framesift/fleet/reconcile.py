"""Crediting: keeps the spool and the ledgers of the fleet in agreement, in a thread of its own.

Each look does, for every project:

    the ledger can't be asked  -> connect again, with growing pauses, also where it is soon lost again each time
    the device runs elsewhere  -> ask for nothing: either its last run is not over for long, or this spool is a copy
    its memory is new          -> tell it of every credit that this device holds; it grants nothing meanwhile
    there are doubts           -> audit: what it has charged for this device and the spool doesn't have is given back
    datapoints wait            -> ask for their credits, the most valuable first; what is refused leaves by `limit`

There are doubts at each start, since the last run may have been killed between a charge and its spool; when an accepted
frame did not reach the spool after all; when a credit was given back; when the ledger was away, with which answers may
have been lost; and, since a request may wait in a network for long, every ten minutes. So a refund needs no record of
its own: it is the difference between two books, and a device that dies anywhere settles it when it starts again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

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


RESTORING = "its memory is new: it grants nothing before its devices have told it what they hold"
RUNS_ELSEWHERE = "this device has just run somewhere else, or a copy of its spool does: that must be over for 25 s"
SPOOL_COPIED = (
    "another daemon runs with a copy of this spool, and only one of them is granted credits: "
    "stop this one, move its spool away, and start it again"
)
RECONCILE_INTERVAL_S = 10.0
AUDIT_INTERVAL_S = 600.0
FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 30.0
STABLE_AFTER_S = 60.0
_AT_ONCE = 100  # credits in one request
_MATTERS_S = MAX_PENDING_S + 2 * 86400.0  # a window that opened longer ago is charged no more


@dataclass(frozen=True, slots=True)
class LimitUsage:
    """How much of a limit is used in the window that is open, by all who share it."""

    account_limit: AccountLimit
    count: int


def instance_id_of(spool: Spool, now: Moment) -> str:
    """Where a device runs: only one daemon has this file open, and a copy of it is another file. Raises OSError."""
    file = spool.path.stat()
    return f"{now.boot_id}:{file.st_dev:x}:{file.st_ino:x}"


@dataclass(slots=True)
class _Patience:
    """With one ledger. failures: in a row, to ask it. losses: in a row, each within STEADY_S of its return. A frame
    has waited for each of them, and a ledger that is lost again and again must not cost as many frames as it likes.
    refused_s: since when the device has been found to run elsewhere. is_copy: for so long that it still does.
    """

    failures: int = 0
    losses: int = 0
    back_s: float | None = None  # when it came back, until it is lost
    not_before_s: float = 0.0
    refused_s: float | None = None
    is_copy: bool = False


class Reconciler:
    """late_s: how old a datapoint may be that asks for a credit, at most LATE_S. projects: those collected for.
    accounts: what is to be looked up. granted: called when a credit came late. report: told why nobody can be asked,
    when that begins or changes, and None when it is over. failed: told of a bug, which ends the thread.
    """

    def __init__(
        self,
        fleet: SharedLedgers,
        spool: Spool,
        clock: Clock,
        *,
        max_pending_s: float,
        projects: Callable[[], Sequence[str]],
        accounts: Callable[[], Sequence[AccountLimit]],
        on_granted: Callable[[], None],
        on_problem: Callable[[str | None], None],
        on_failure: Callable[[BaseException], None],
        rng: random.Random,
    ) -> None:
        self.problem: str | None = "it has not been asked yet"  # why nobody can be asked, None where somebody can
        self.usage: tuple[LimitUsage, ...] = ()
        self.usage_at_s: float | None = None
        self._fleet = fleet
        self._spool = spool
        self.task = PeriodicTask("credits", self._round, clock, on_failure=on_failure)
        self._clock = self.task.heartbeat
        self._late_s = max_pending_s
        self._projects = projects
        self._accounts = accounts
        self._granted = on_granted
        self._report = on_problem
        self._chance = rng
        self._audited_s = self._clock.monotonic()
        self._patience: dict[str, _Patience] = {}  # of each project

    def reconcile_once(self) -> float:
        """Returns the seconds after which the next look may be taken."""
        problem: str | None = None
        wait_s = RECONCILE_INTERVAL_S
        if self._clock.monotonic() - self._audited_s >= AUDIT_INTERVAL_S:
            self._audited_s = self._clock.monotonic()
            for _, known in self._fleet.ledgers():
                known.request_audit()
        try:
            self._fleet.set_identity(
                self._spool.shared_quota.device_id(), instance_id_of(self._spool, self._clock.now())
            )
            for project in dict.fromkeys((*self._projects(), *self._spool.shared_quota.projects())):
                ledger = self._fleet.ledger_for(project)
                if ledger is not None:
                    self._clock.monotonic()
                    wait_s = min(wait_s, self._attend(project, ledger))
                    problem = problem or ledger.problem
            if problem is None:
                self._look_up()
        except (SpoolBroken, SpoolFull, OSError):  # the spool says so itself, in its health
            return RECONCILE_INTERVAL_S
        if problem != self.problem and wait_s > 0:  # what is looked at again at once may be over by then
            self.problem = problem
            self._report(problem)
        return wait_s

    # --- one ledger -----------------------------------------------------------------------------------------------

    def _attend(self, project: str, ledger: Ledger) -> float:
        patience = self._patience.setdefault(project, _Patience())
        was_away = ledger.problem is not None
        if was_away and (rest_s := self._rest_s(patience)) > 0:
            return rest_s
        if patience.is_copy:  # also when the other one is away for a while: its credits must not be given back
            return RECONCILE_INTERVAL_S
        try:
            now = self._clock.now()
            # Asked in any case: a device that collects nothing must notice, too, that the ledger has forgotten.
            answers = ledger.connect(now) if was_away else ledger.send(LedgerRequest(lease=True), now)
            if not answers.is_only_instance:
                ledger.set_unavailable(self._why_elsewhere(patience))
                ledger.request_audit()
                return RECONCILE_INTERVAL_S
            patience.refused_s = None
            if ledger.synced_generation != answers.generation:
                self._tell_all(project, ledger, answers.generation)
            else:  # before it grants again: what its old memory had granted may have reached the spool only now
                self._tell(project, ledger, answers.generation)
            patience.failures = 0
            if answers.restoring_s > 0:
                ledger.set_unavailable(RESTORING)
                # Not all of a fleet at the instant at which it grants again.
                return min(answers.restoring_s + self._chance.uniform(0.0, answers.restoring_s), RECONCILE_INTERVAL_S)
            if was_away:
                patience.back_s = self._clock.monotonic()
                ledger.set_available()
            if ledger.pop_audit_request() or was_away:  # a charge whose answer was lost may be of what is gone by now
                self._audit(ledger)
            if owed := ledger.pop_refunds():
                ledger.send(LedgerRequest(refund=owed), self._clock.now())
            self._spool.shared_quota.prune(ledger.ledger_time_s(_MATTERS_S, now))
            more = self._ask(project, ledger)
            was_lost = ledger.problem not in (None, RESTORING)  # by a frame, meanwhile
            return 0.0 if more or was_lost else RECONCILE_INTERVAL_S
        except LimitsUnavailable as error:
            ledger.set_unavailable(str(error))
            ledger.request_audit()
            patience.failures += 1
            return self._pause_s(patience.failures)
        except (SpoolBroken, SpoolFull):
            ledger.request_audit()
            raise

    def _tell_all(self, project: str, ledger: Ledger, generation: str) -> None:
        """Makes sure that the ledger's new memory knows of all that this device holds, and of nothing else."""
        is_first = ledger.synced_generation is None
        self._audit(ledger)
        known = self._tell(project, ledger, generation)
        # What waits may be charged already, and its answer lost: then the ledger knows more of the batches than we do.
        is_whole = is_first and not self._spool.shared_quota.pending(project, 1)
        self._tell_batches(project, ledger, is_whole)
        ledger.set_synced(known)

    def _audit(self, ledger: Ledger) -> None:
        """Gives back what is charged for this device and is not in its spool."""
        now = self._clock.now()
        charged = ledger.send(LedgerRequest(audit_days=ledger.audit_days(now), lease=True), now).charged_ids
        # In this order: what is settled meanwhile is in the spool when that is read, and what is not, is seen here.
        unsettled = ledger.unconfirmed_ids()
        known = self._spool.shared_quota.known_ids(id for id, _ in charged)
        lost = [(id, day) for id, day in charged if id not in known and id not in unsettled]
        for begin in range(0, len(lost), _AT_ONCE):
            ledger.send(LedgerRequest(refund=lost[begin : begin + _AT_ONCE]), self._clock.now())

    def _tell(self, project: str, ledger: Ledger, known: str) -> str:
        """Tells the ledger of credits that its memory (the generation `known`) doesn't know. Returns the generation
        that knows all of them.
        """
        while True:
            now = self._clock.now()
            untold = self._spool.shared_quota.unreported(
                project, known, ledger.ledger_time_s(_MATTERS_S, now), _AT_ONCE
            )
            if not untold:
                return known
            held = [
                one.charge
                if one.charge.at_s
                else replace(one.charge, at_s=ledger.ledger_time_s(max(0.0, now.wall_s - one.at_s), now))
                for one in untold
            ]
            known = ledger.send(LedgerRequest(restore=held), now).generation
            self._spool.shared_quota.mark_reported(held, known)

    def _tell_batches(self, project: str, ledger: Ledger, is_whole: bool) -> None:
        credits = self._spool.shared_quota
        reports = [
            BatchReport(batch, *credits.batch_counts(batch), is_whole) for batch in credits.charged_batches(project)
        ]
        ledger.send(LedgerRequest(batch_reports=reports), self._clock.now())

    def _ask(self, project: str, ledger: Ledger) -> bool:
        """Asks for late credits; whether there may be more of them."""
        waiting = self._spool.shared_quota.pending(project, _AT_ONCE)
        if not waiting:
            return False
        now = self._clock.now()
        in_time = [wanted for wanted in waiting if wanted.captured.age_s(now) <= self._late_s]
        settled = [PendingDecision(wanted, None) for wanted in waiting if wanted.captured.age_s(now) > self._late_s]
        if in_time:
            answers = ledger.send(LedgerRequest(charge=in_time), now)
            for wanted, decision in zip(in_time, answers.decisions, strict=True):
                if isinstance(decision, QuotaGranted | QuotaRefused):
                    settled.append(PendingDecision(wanted, decision if isinstance(decision, QuotaGranted) else None))
            if answers.generation != ledger.synced_generation:
                ledger.set_unavailable(RESTORING)
        if settled and self._spool.shared_quota.apply_decisions(settled):
            ledger.request_audit()
        if any(one.granted is not None for one in settled):
            self._granted()
        return bool(settled)

    # --- who we are -----------------------------------------------------------------------------------------------

    def _why_elsewhere(self, patience: _Patience) -> str:
        now_s = self._clock.monotonic()
        if patience.refused_s is None:
            patience.refused_s = now_s
        patience.is_copy = now_s - patience.refused_s > 2 * LEASE_S
        return SPOOL_COPIED if patience.is_copy else RUNS_ELSEWHERE

    # --- for people -----------------------------------------------------------------------------------------------

    def _look_up(self) -> None:
        accounts = self._accounts()
        found: list[LimitUsage] = []
        now = self._clock.now()
        for project, ledger in self._fleet.ledgers():
            wanted = [account for account in accounts if account.project == project]
            if wanted:
                asked = LedgerRequest(usage=[(account.name, account.limit.window) for account in wanted])
                try:
                    counts = ledger.send(asked, now).usage
                except LimitsUnavailable:  # the next look finds out
                    return
                found += map(LimitUsage, wanted, counts)
        self.usage, self.usage_at_s = tuple(found), now.wall_s

    # --- the pace -------------------------------------------------------------------------------------------------

    def _rest_s(self, patience: _Patience) -> float:
        """How long a ledger that is away is left alone: not at all the first time, nor if it had been well for long."""
        now_s = self._clock.monotonic()
        if patience.back_s is not None:
            patience.losses = patience.losses + 1 if now_s - patience.back_s < STABLE_AFTER_S else 0
            patience.back_s = None
            patience.not_before_s = now_s + (self._pause_s(patience.losses - 1) if patience.losses > 1 else 0.0)
        return patience.not_before_s - now_s

    def _pause_s(self, failures: int) -> float:
        longest_s = min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 10))
        return longest_s * self._chance.uniform(0.5, 1.0)

    def _round(self) -> NextRun:
        wait_s = self.reconcile_once()
        # Whoever wants something of a ledger that is away must not make it be asked more often.
        return NextRun(wait_s, min_s=0.0 if self.problem is None else wait_s)

"""Sharing: who keeps count of the limits, this device or a fleet, and all that follows from it."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from framesift.clock.clock import Clock, Loop
from framesift.fleet.platform_batches import Mark, OwnCounts
from framesift.fleet.reconcile import COPIED, RESTORING, Crediting, Use
from framesift.limits import Account, LimitsUnavailable, window_end, window_start
from framesift.limits.local import SPENT, LocalLimits
from framesift.limits.shared.requests import BatchReport, BatchSeen, Calendar, Requests
from framesift.settings import LimitsOptions
from framesift.spool import Spool, SpoolBroken, SpoolFull
from framesift.telemetry import Condition, CreditsTold, CreditUse, Telemetry

if TYPE_CHECKING:
    from framesift.limits.shared.ledgers import Fleet


# A start waits so long for the ledger; frames that come before it answers wait for their credits in the spool.
BEGIN_WITHIN_S = 2.0
# A stop waits no longer for a name that is being resolved: the workers and the spool need the rest of its time.
STOP_WITHIN_S = 2.0


class PolicyLimits(Protocol):
    """The limits of the policies that streams follow now. Thread-safe."""

    def projects(self) -> tuple[str, ...]:
        """The projects whose limits matter on this device; "" where a policy names none."""
        ...

    def accounts(self) -> tuple[Account, ...]:
        """One account for each limit of each strategy that collects on this device."""
        ...


class Sharing:
    """fleet: None where this device keeps count for itself."""

    def __init__(
        self, options: LimitsOptions, limits: LocalLimits, policies: PolicyLimits, telemetry: Telemetry, clock: Clock
    ) -> None:
        self.fleet: Fleet | None = None
        self._options = options
        self._policies = policies
        self._telemetry = telemetry
        self._clock = clock
        self._crediting: Crediting | None = None
        if options.redis is not None:
            from framesift.limits.shared.ledgers import Fleet  # with the library for Redis, which few need

            # The zone is the policies', and may arrive later than this.
            calendar = Calendar(
                lambda kind, at_s: window_start(kind, at_s, limits.zone),
                lambda kind, at_s: window_end(kind, at_s, limits.zone),
            )
            self.fleet = Fleet(
                options.redis.server,
                prefix=options.redis.prefix,
                calendar=calendar,
                ceiling=options.local_ceiling,
                look=self._look,
            )

    def begin(
        self,
        spool: Spool,
        house: ExitStack,
        *,
        granted: Callable[[], None],
        failed: Callable[[BaseException], None],
        left_s: Callable[[], float],
    ) -> Loop | None:
        """Starts what there is to do, and puts its end into the house. Returns its loop; None where there is none.
        granted: called when datapoints got their credits."""
        self._telemetry.watch_credits(lambda: self._told(spool))
        if self.fleet is None:
            self._adopt(spool)
            return None
        fleet = self.fleet
        house.callback(fleet.close)
        crediting = self._crediting = Crediting(
            fleet,
            spool,
            self._clock,
            late_s=self._options.late_credit_h * 3600.0,
            projects=self._policies.projects,
            accounts=self._policies.accounts,
            granted=granted,
            report=self._report,
            failed=failed,
            chance=random.Random(),  # only spreads the questions of a fleet
        )
        crediting.rounds.start()
        house.callback(lambda: crediting.rounds.stop(min(left_s(), STOP_WITHIN_S)))
        crediting.rounds.wait_for_first_look(BEGIN_WITHIN_S)
        return crediting.rounds.loop

    def counts(self, spool: Spool) -> OwnCounts | FleetCounts:
        """Who counts what lies in the labelling batches."""
        return OwnCounts(spool) if self.fleet is None else FleetCounts(spool, self.fleet, self._clock)

    def refunded(self) -> None:
        """A credit was given back here."""
        if self.fleet is not None:
            self.fleet.doubt()

    def _look(self) -> None:
        if self._crediting is not None:
            self._crediting.rounds.wake()

    def _adopt(self, spool: Spool) -> None:
        try:
            adopted = spool.credits.adopt()
        except (SpoolBroken, SpoolFull):  # the spool says so itself; the next start adopts them
            return
        if adopted:
            self._telemetry.event("credits_adopted", datapoints=adopted)

    def _report(self, problem: str | None) -> None:
        if problem is None:
            self._telemetry.health.ok("limits")
        else:
            where = "" if self._options.redis is None else f"{self._options.redis.url}: "
            # A copy needs somebody; everything else may pass by itself.
            condition = Condition.FAILED if problem == COPIED else Condition.DEGRADED
            self._telemetry.health.set("limits", condition, where + problem)

    def _told(self, spool: Spool) -> CreditsTold:
        """For those who read the status. Raises SpoolBroken."""
        waiting = spool.counts().uncredited
        if self._crediting is None:
            counts = {(used.account, used.window): used.count for used in spool.used()}
            uses = [Use(a, counts.get((a.name, a.limit.window), 0)) for a in self._policies.accounts()]
            return CreditsTold("local", "", waiting, self._clock.now().wall_s, tuple(map(_told, uses)))
        problem = self._crediting.problem
        granted_by = "shared" if problem is None else "restoring" if problem == RESTORING else "away"
        used = self._crediting.used
        return CreditsTold(granted_by, problem or "", waiting, self._crediting.used_at_s, tuple(map(_told, used)))


@dataclass(frozen=True, slots=True)
class FleetCounts:
    """A `batches.Counts`: the fleet's together, of which only one device asks the platform."""

    spool: Spool
    fleet: Fleet
    clock: Clock

    def mark(self, project: str, batch: str) -> Mark | None:
        own = self.spool.batch_mark(batch)
        ledger = self.fleet.ledger(project)
        if ledger is None:
            return Mark(own)
        report = BatchReport(batch, *self.spool.credits.of_batch(batch), is_whole=False)
        try:
            (mark,) = ledger.ask(Requests(report=[report], mark=[batch]), self.clock.now()).mark
        except LimitsUnavailable:  # then everyone asks for himself; `crediting` says so
            return Mark(own)
        return None if mark is None else Mark(own, mark)

    def seen(self, project: str, batch: str, images: int, mark: Mark) -> None:
        self.spool.batch_seen(batch, images, mark.own)
        ledger = self.fleet.ledger(project)
        if ledger is not None and mark.fleet is not None:
            try:
                ledger.ask(Requests(seen=[BatchSeen(batch, images, mark.fleet)]), self.clock.now())
            except LimitsUnavailable:  # somebody asks again within a minute
                return


def _told(use: Use) -> CreditUse:
    account = use.account
    most = account.limit.value
    count = use.count if use.count < SPENT else most  # how many it are, nobody knows
    return CreditUse(account.project, account.name, account.limit.window.value, most, count, max(0, most - count))

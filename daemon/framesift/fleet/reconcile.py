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
from framesift.limits import Account, Granted, LimitsUnavailable, Refused
from framesift.limits.shared.requests import LATE_S, LEASE_S, BatchReport, Requests
from framesift.periodic import Rest, Rounds
from framesift.spool import Spool, SpoolBroken, SpoolFull
from framesift.spool.shared_quota import Settled

if TYPE_CHECKING:
    from framesift.limits.shared.ledger import Ledger
    from framesift.limits.shared.ledgers import Fleet


RESTORING = "its memory is new: it grants nothing before its devices have told it what they hold"
ELSEWHERE = "this device has just run somewhere else, or a copy of its spool does: that must be over for 25 s"
COPIED = (
    "another daemon runs with a copy of this spool, and only one of them is granted credits: "
    "stop this one, move its spool away, and start it again"
)
LOOK_EVERY_S = 10.0
AUDIT_EVERY_S = 600.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0
_AT_ONCE = 100  # credits in one request
_MATTERS_S = LATE_S + 2 * 86400.0  # a window that opened longer ago is charged no more


@dataclass(frozen=True, slots=True)
class Use:
    """How much of a limit is used in the window that is open, by all who share it."""

    account: Account
    count: int


def place_of(spool: Spool, now: Moment) -> str:
    """Where a device runs: only one daemon has this file open, and a copy of it is another file. Raises OSError."""
    file = spool.path.stat()
    return f"{now.boot_id}:{file.st_dev:x}:{file.st_ino:x}"


@dataclass(slots=True)
class _Patience:
    """With one ledger. failures: in a row, to ask it. losses: in a row, each within STEADY_S of its return. A frame
    has waited for each of them, and a ledger that is lost again and again must not cost as many frames as it likes.
    refused_s: since when the device has been found to run elsewhere. is_copy: for so long that it still does."""

    failures: int = 0
    losses: int = 0
    back_s: float | None = None  # when it came back, until it is lost
    not_before_s: float = 0.0
    refused_s: float | None = None
    is_copy: bool = False


class Crediting:
    """late_s: how old a datapoint may be that asks for a credit, at most LATE_S. projects: those collected for.
    accounts: what is to be looked up. granted: called when a credit came late. report: told why nobody can be asked,
    when that begins or changes, and None when it is over. failed: told of a bug, which ends the thread."""

    def __init__(
        self,
        fleet: Fleet,
        spool: Spool,
        clock: Clock,
        *,
        late_s: float,
        projects: Callable[[], Sequence[str]],
        accounts: Callable[[], Sequence[Account]],
        granted: Callable[[], None],
        report: Callable[[str | None], None],
        failed: Callable[[BaseException], None],
        chance: random.Random,
    ) -> None:
        self.problem: str | None = "it has not been asked yet"  # why nobody can be asked, None where somebody can
        self.used: tuple[Use, ...] = ()
        self.used_at_s: float | None = None
        self._fleet = fleet
        self._spool = spool
        self.rounds = Rounds("credits", self._round, clock, failed=failed)
        self._clock = self.rounds.pulse
        self._late_s = late_s
        self._projects = projects
        self._accounts = accounts
        self._granted = granted
        self._report = report
        self._chance = chance
        self._audited_s = self._clock.monotonic()
        self._patience: dict[str, _Patience] = {}  # of each project

    def look_once(self) -> float:
        """Returns the seconds after which the next look may be taken."""
        problem: str | None = None
        wait_s = LOOK_EVERY_S
        if self._clock.monotonic() - self._audited_s >= AUDIT_EVERY_S:
            self._audited_s = self._clock.monotonic()
            for _, known in self._fleet.ledgers():
                known.doubt()
        try:
            self._fleet.call_itself(self._spool.credits.device(), place_of(self._spool, self._clock.now()))
            for project in dict.fromkeys((*self._projects(), *self._spool.credits.projects())):
                ledger = self._fleet.ledger(project)
                if ledger is not None:
                    self._clock.monotonic()
                    wait_s = min(wait_s, self._attend(project, ledger))
                    problem = problem or ledger.problem
            if problem is None:
                self._look_up()
        except (SpoolBroken, SpoolFull, OSError):  # the spool says so itself, in its health
            return LOOK_EVERY_S
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
            return LOOK_EVERY_S
        try:
            now = self._clock.now()
            # Asked in any case: a device that collects nothing must notice, too, that the ledger has forgotten.
            answers = ledger.open(now) if was_away else ledger.ask(Requests(lease=True), now)
            if not answers.is_alone:
                ledger.is_away(self._why_elsewhere(patience))
                ledger.doubt()
                return LOOK_EVERY_S
            patience.refused_s = None
            if ledger.synced != answers.generation:
                self._tell_all(project, ledger, answers.generation)
            else:  # before it grants again: what its old memory had granted may have reached the spool only now
                self._tell(project, ledger, answers.generation)
            patience.failures = 0
            if answers.restoring_s > 0:
                ledger.is_away(RESTORING)
                # Not all of a fleet at the instant at which it grants again.
                return min(answers.restoring_s + self._chance.uniform(0.0, answers.restoring_s), LOOK_EVERY_S)
            if was_away:
                patience.back_s = self._clock.monotonic()
                ledger.is_well()
            if ledger.take_doubts() or was_away:  # a charge whose answer was lost may be of what is gone by now
                self._audit(ledger)
            if owed := ledger.take_owed():
                ledger.ask(Requests(refund=owed), self._clock.now())
            self._spool.credits.prune(ledger.time_of(_MATTERS_S, now))
            more = self._ask(project, ledger)
            was_lost = ledger.problem not in (None, RESTORING)  # by a frame, meanwhile
            return 0.0 if more or was_lost else LOOK_EVERY_S
        except LimitsUnavailable as error:
            ledger.is_away(str(error))
            ledger.doubt()
            patience.failures += 1
            return self._pause_s(patience.failures)
        except (SpoolBroken, SpoolFull):
            ledger.doubt()
            raise

    def _tell_all(self, project: str, ledger: Ledger, generation: str) -> None:
        """Makes sure that the ledger's new memory knows of all that this device holds, and of nothing else."""
        is_first = ledger.synced is None
        self._audit(ledger)
        known = self._tell(project, ledger, generation)
        # What waits may be charged already, and its answer lost: then the ledger knows more of the batches than we do.
        is_whole = is_first and not self._spool.credits.waiting(project, 1)
        self._tell_batches(project, ledger, is_whole)
        ledger.knows_all(known)

    def _audit(self, ledger: Ledger) -> None:
        """Gives back what is charged for this device and is not in its spool."""
        now = self._clock.now()
        charged = ledger.ask(Requests(audit=ledger.days(now), lease=True), now).audit
        # In this order: what is settled meanwhile is in the spool when that is read, and what is not, is seen here.
        unsettled = ledger.unsettled()
        known = self._spool.credits.known(id for id, _ in charged)
        lost = [(id, day) for id, day in charged if id not in known and id not in unsettled]
        for begin in range(0, len(lost), _AT_ONCE):
            ledger.ask(Requests(refund=lost[begin : begin + _AT_ONCE]), self._clock.now())

    def _tell(self, project: str, ledger: Ledger, known: str) -> str:
        """Tells the ledger of credits that its memory (the generation `known`) doesn't know. Returns the generation
        that knows all of them."""
        while True:
            now = self._clock.now()
            untold = self._spool.credits.untold(project, known, ledger.time_of(_MATTERS_S, now), _AT_ONCE)
            if not untold:
                return known
            held = [
                one.held
                if one.held.at_s
                else replace(one.held, at_s=ledger.time_of(max(0.0, now.wall_s - one.at_s), now))
                for one in untold
            ]
            known = ledger.ask(Requests(restore=held), now).generation
            self._spool.credits.told(held, known)

    def _tell_batches(self, project: str, ledger: Ledger, is_whole: bool) -> None:
        credits = self._spool.credits
        reports = [BatchReport(batch, *credits.of_batch(batch), is_whole) for batch in credits.batches(project)]
        ledger.ask(Requests(report=reports), self._clock.now())

    def _ask(self, project: str, ledger: Ledger) -> bool:
        """Asks for late credits; whether there may be more of them."""
        waiting = self._spool.credits.waiting(project, _AT_ONCE)
        if not waiting:
            return False
        now = self._clock.now()
        in_time = [wanted for wanted in waiting if wanted.captured.age_s(now) <= self._late_s]
        settled = [Settled(wanted, None) for wanted in waiting if wanted.captured.age_s(now) > self._late_s]
        if in_time:
            answers = ledger.ask(Requests(charge=in_time), now)
            for wanted, decision in zip(in_time, answers.charge, strict=True):
                if isinstance(decision, Granted | Refused):
                    settled.append(Settled(wanted, decision if isinstance(decision, Granted) else None))
            if answers.generation != ledger.synced:
                ledger.is_away(RESTORING)
        if settled and self._spool.credits.settle(settled):
            ledger.doubt()
        if any(one.granted is not None for one in settled):
            self._granted()
        return bool(settled)

    # --- who we are -----------------------------------------------------------------------------------------------

    def _why_elsewhere(self, patience: _Patience) -> str:
        now_s = self._clock.monotonic()
        if patience.refused_s is None:
            patience.refused_s = now_s
        patience.is_copy = now_s - patience.refused_s > 2 * LEASE_S
        return COPIED if patience.is_copy else ELSEWHERE

    # --- for people -----------------------------------------------------------------------------------------------

    def _look_up(self) -> None:
        accounts = self._accounts()
        found: list[Use] = []
        now = self._clock.now()
        for project, ledger in self._fleet.ledgers():
            wanted = [account for account in accounts if account.project == project]
            if wanted:
                asked = Requests(look=[(account.name, account.limit.window) for account in wanted])
                try:
                    counts = ledger.ask(asked, now).look
                except LimitsUnavailable:  # the next look finds out
                    return
                found += map(Use, wanted, counts)
        self.used, self.used_at_s = tuple(found), now.wall_s

    # --- the pace -------------------------------------------------------------------------------------------------

    def _rest_s(self, patience: _Patience) -> float:
        """How long a ledger that is away is left alone: not at all the first time, nor if it had been well for long."""
        now_s = self._clock.monotonic()
        if patience.back_s is not None:
            patience.losses = patience.losses + 1 if now_s - patience.back_s < STEADY_S else 0
            patience.back_s = None
            patience.not_before_s = now_s + (self._pause_s(patience.losses - 1) if patience.losses > 1 else 0.0)
        return patience.not_before_s - now_s

    def _pause_s(self, failures: int) -> float:
        longest_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 10))
        return longest_s * self._chance.uniform(0.5, 1.0)

    def _round(self) -> Rest:
        wait_s = self.look_once()
        # Whoever wants something of a ledger that is away must not make it be asked more often.
        return Rest(wait_s, least_s=0.0 if self.problem is None else wait_s)

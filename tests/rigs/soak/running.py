"""A run of the soak: rounds of faults, an audit each minute, and the daemon that is started again when it has ended."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rigs.operator_view import OperatorView
from rigs.soak.books import read_spool
from rigs.soak.faults import Planned, plan_round
from rigs.soak.journal import Journal
from rigs.soak.measures import measure
from rigs.soak.minute_audit import NEVER, MinuteAudit
from rigs.soak.report import write_report
from rigs.soak.site import Site, chance_of

_ENDING_EVERY = 12  # rounds: so long a daemon lives, which is long enough to see whether its memory grows
_WELL_AFTER_S = 100.0  # the last fault, everything is to be well again: docs/reliability.md says 60 s at most
_LEDGER_WELL_AFTER_S = 240.0


@dataclass(frozen=True)
class Pace:
    """hours: how long this run goes on. round_s: how often four faults are drawn. audit_s: how often it is audited.
    well_after_s: how long after the last fault all must be well. seed: of the faults."""

    hours: float
    round_s: float = 600.0
    audit_s: float = 60.0
    well_after_s: float = _WELL_AFTER_S
    seed: int = 1


class Soak:
    """One run. Everything happens in the thread that calls `run`."""

    def __init__(self, site: Site, journal: Journal, pace: Pace) -> None:
        self._site = site
        self._journal = journal
        self._pace = pace
        known = {id for record in journal.of("audit") for id in record["new"]}
        self._audit = MinuteAudit(site, known)
        self._stopped = threading.Event()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._active: dict[str, Callable[[], object]] = {}
        self._last_fault_s = self._last_ledger_fault_s = time.monotonic()
        self._seen_events = 0
        self._is_ending = False
        self._said: set[str] = set()

    def stop(self) -> None:
        """Ends the run at the next moment. May be called from a signal handler."""
        self._stopped.set()

    def run(self) -> None:
        """Goes on until the hours are over, or it is stopped. What does not fit is in the journal."""
        begun_s = time.monotonic()
        self._journal.write("run", seed=self._pace.seed, round_s=self._pace.round_s)
        self._start_daemon()
        rounds = len(self._journal.of("round"))
        self._at(begun_s, lambda: self._begin_round(rounds))
        self._at(begun_s + self._pace.audit_s, self._look)
        ends_s = begun_s + 3600.0 * self._pace.hours
        while not self._stopped.is_set() and (now_s := time.monotonic()) < ends_s:
            if self._agenda and self._agenda[0][0] <= now_s:
                heapq.heappop(self._agenda)[2]()
            else:
                next_s = self._agenda[0][0] if self._agenda else ends_s
                self._stopped.wait(max(0.0, min(next_s, ends_s, now_s + 1.0) - now_s))
                self._keep_alive()
        self._finish()

    def _at(self, when_s: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (when_s, next(self._order), do))

    # -- faults

    def _begin_round(self, number: int) -> None:
        write_report(self._site.folder, self._journal.records)  # what there is of it, should this run be killed
        now_s = time.monotonic()
        chance = chance_of(self._pace.seed, number)
        ends_daemon = number % _ENDING_EVERY == _ENDING_EVERY - 1
        planned = plan_round(chance, self._pace.round_s, ends_daemon=ends_daemon)
        self._journal.write(
            "round",
            number=number,
            planned=[[one.kind.name, round(one.begins_s, 1), round(one.lasts_s, 1)] for one in planned],
        )
        for one in planned:
            self._at(now_s + one.begins_s, lambda one=one: self._begin_fault(one, chance))  # type: ignore[misc]
        self._at(now_s + self._pace.round_s, lambda: self._begin_round(number + 1))

    def _begin_fault(self, planned: Planned, chance: Any) -> None:
        kind = planned.kind
        self._journal.write("fault", kind=kind.name, lasts_s=round(planned.lasts_s, 1))
        if kind.ends_daemon:
            self._is_ending = True
        self._touch(kind.part)
        self._active[kind.name] = kind.begin(self._site, chance)
        self._at(time.monotonic() + planned.lasts_s, lambda: self._mend(kind.name, kind.part))

    def _mend(self, name: str, part: str) -> None:
        mend = self._active.pop(name, None)
        if mend is not None:
            with suppress(ProcessLookupError):  # the daemon to which it was done has ended
                mend()
            self._touch(part)
            self._journal.write("mended", kind=name)

    def _touch(self, part: str) -> None:
        self._last_fault_s = time.monotonic()
        if part in ("ledger", "process", "machine"):
            self._last_ledger_fault_s = self._last_fault_s

    @property
    def _quiet_s(self) -> float:
        return 0.0 if self._active else time.monotonic() - self._last_fault_s

    # -- the daemon

    def _start_daemon(self) -> None:
        books = read_spool(self._site.spool) if self._site.spool.exists() else None
        self._audit.given_at_start = 0 if books is None else books.given
        self._audit.held_at_start = 0 if books is None else books.held
        self._seen_events = 0
        self._is_ending = False
        daemon = self._site.start_daemon()
        daemon.wait_for("ready", 60.0)
        self._journal.write("daemon", pid=daemon.process.pid)

    def _keep_alive(self) -> None:
        daemon = self._site.daemon
        code = None if daemon is None else daemon.process.poll()
        if daemon is None or code is None:
            return
        if not self._is_ending:
            self._violation(f"the daemon ended by itself, with {code}")
        self._take_events()
        daemon.__exit__(None, None, None)
        self._start_daemon()
        self._touch("process")

    def _take_events(self) -> None:
        """Writes new lines of the daemon's log away, and looks at them."""
        daemon = self._site.daemon
        assert daemon is not None
        new, self._seen_events = daemon.events[self._seen_events :], len(daemon.events)
        with (self._site.folder / "daemon.log").open("a") as log:
            log.writelines(f"{event}\n" for event in new)
        for event in new:
            is_error = event["level"] == "error" and self._quiet_s > self._pace.well_after_s
            # Where no file descriptor is free a listener says that it failed, and it does not mean a bug.
            is_shortage = "DescriptorsExhausted" in str(event.get("cause", event.get("kind")))
            if (event["event"] in NEVER and not is_shortage) or is_error:
                self._violation(f"log: {event}")
        for line in daemon.stray:
            self._violation(f"on stderr: {line}")
        daemon.stray.clear()

    # -- looking

    def _look(self) -> None:
        self._at(time.monotonic() + self._pace.audit_s, self._look)
        daemon = self._site.daemon
        assert daemon is not None
        ledger_well = time.monotonic() - self._last_ledger_fault_s > _LEDGER_WELL_AFTER_S
        counted, found = self._audit.look(ledger_well=ledger_well)
        try:
            costs = measure(daemon.process.pid, self._site.folder)
        except OSError:
            costs = {}
        self._take_events()
        unwell: list[str] = []
        is_quiet = self._quiet_s > self._pace.well_after_s
        if is_quiet:
            port = int(self._site.status.rpartition(":")[2])
            problems = OperatorView(self._site.folder, port, daemon).problems()
            # What failed again and again within the hour is called unsteady for minutes more, and says that it works.
            there = [one for one in problems or () if not one.why.startswith("it works again")]
            unwell = ["nobody answers"] if problems is None else [f"{one.name}: {one.why}" for one in there]
            found += [f"not well {self._quiet_s:.0f} s after the last fault: {what}" for what in unwell]
        self._journal.write("audit", **counted, **costs, looked_well=is_quiet, found=len(found))
        for what in found:
            self._violation(what)

    def _violation(self, what: str) -> None:
        if what in self._said:
            return
        self._said.add(what)
        self._journal.write("violation", text=what, active=sorted(self._active))

    def _finish(self) -> None:
        """Mends everything, waits until the platform has what it may have, and audits once more."""
        for name in list(self._active):
            self._mend(name, "end")
        daemon = self._site.daemon
        assert daemon is not None
        self._look()
        code = daemon.stop(30.0)
        self._take_events()
        if code != 0:
            self._violation(f"the daemon ended with {code}")
        counted, found = self._audit.look(ledger_well=False)
        self._journal.write("end", **counted, exit_status=code)
        for what in found:
            self._violation(what)

"""One device of a fleet, as a process: a spool, shared limits and the reconciler, all real, and threads that collect.

It prints what it does, line by line, until it is killed or stopped.

    python fleet_child.py FOLDER OPTIONS        OPTIONS: the fields of Options, as JSON

    ready           the ledger answers
    + ID            accepted, with quota
    ~ ID            accepted, with pending quota
    - ID            is about to be delivered
    x ID            is about to be refunded, as somebody else's image
    w THREAD S AT   a decision took S seconds, more than half of what it may take; AT: monotonic time when it began
    settled         no quota is pending, and nothing is in doubt
    done {...}      what `make` was asked for is done: Made, as JSON

It reads from its input:

    wait            until the ledger answers
    make N          N decisions, one after the other
    step S          the wall clock jumps by S seconds
    settle          prints `settled` once it is so
    stop            ends in an orderly manner
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# In place of this folder, whose names would shadow the standard library's.
sys.path.remove(str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from framesift.clock.clock import SystemClock
from framesift.clock.moment import Moment
from framesift.datapoint import Candidate, new_datapoint_id
from framesift.fleet.reconcile import Reconciler
from framesift.limits import AccountLimit, Limit, Quota, QuotaGranted, QuotaRefused, Window
from framesift.limits.local import LocalLimits
from framesift.limits.shared.ledger import FRAME_TIMEOUT_S
from framesift.limits.shared.ledgers import SharedLedgers
from framesift.limits.shared.requests import UTC_CALENDAR
from framesift.limits.shared.server import RedisAddress
from framesift.spool import Accepted, FinalOutcome, Spool, SpoolBroken, SpoolFull, WhenFull
from rigs.fleet_device import PREFIX, PROJECT
from rigs.spools import datapoint


@dataclass(frozen=True, slots=True)
class Options:
    """port: of the server. limits: of each strategy, in order. batches: how many images those of a strategy may hold,
    where they are bounded. threads: which collect all the time, one decision each
    pause_s. delivers: whether datapoints leave. duplicates: the share of them that the sink says to have already.
    wall_offset_s: how wrong the wall clock is. wall_s: what it shows at the start, where that is given."""

    port: int
    limits: dict[str, list[tuple[str, int]]]
    batches: dict[str, int] = field(default_factory=dict)
    restore_s: float = 60.0
    threads: int = 0
    pause_s: float = 0.0
    delivers: bool = False
    duplicates: float = 0.0
    wall_offset_s: float = 0.0
    wall_s: float | None = None
    max_bytes: int = 2**28
    seed: int = 1

    def quotas(self) -> list[Quota]:
        return [
            Quota(
                name,
                tuple(Limit(Window(kind), value) for kind, value in limits),
                f"of-{name}",
                self.batches.get(name),
                project=PROJECT,
            )
            for name, limits in self.limits.items()
        ]


@dataclass(slots=True)
class Made:
    """took_s: how long each decision took."""

    granted: int = 0
    waiting: int = 0
    refused: int = 0
    took_s: list[float] = field(default_factory=list)


class SteppingClock(SystemClock):
    """The real clock, with a wrong wall time that can be set."""

    def __init__(self, offset_s: float) -> None:
        super().__init__()
        self.offset_s = offset_s

    def now(self) -> Moment:
        now = super().now()
        return Moment(now.wall_s + self.offset_s, now.boottime_s, now.boot_id)


class Device:
    """One device of a fleet in a process of its own, with a clock that can be set wrongly."""

    def __init__(self, folder: Path, options: Options) -> None:
        self.options = options
        offset_s = options.wall_offset_s if options.wall_s is None else options.wall_s - time.time()
        self.clock = SteppingClock(offset_s)
        self.stopping = threading.Event()
        self.quotas = options.quotas()
        self.fleet = SharedLedgers(
            RedisAddress("127.0.0.1", options.port),
            prefix=PREFIX,
            calendar=UTC_CALENDAR,
            restore_s=options.restore_s,
            wake=lambda: self.reconciler.task.wake(),
        )
        self.spool = Spool(
            folder / "spool.db",
            max_bytes=options.max_bytes,
            min_free_bytes=0,
            when_full=WhenFull.EVICT_LOWEST,
            clock=self.clock,
            limits=LocalLimits(),
            on_refund=self.fleet.request_audit,
        )
        self.reconciler = Reconciler(
            self.fleet,
            self.spool,
            self,
            self.clock,
            random.Random(options.seed),
            max_pending_s=86400.0,
            on_failure=_failed,
        )
        self.threads = [threading.Thread(target=self._collect, args=(n,)) for n in range(options.threads)]
        if options.delivers:
            self.threads.append(threading.Thread(target=self._deliver))

    # As the reconciler's host:

    def projects(self) -> tuple[str, ...]:
        return (PROJECT,)

    def accounts(self) -> tuple[AccountLimit, ...]:
        return ()

    def quota_granted(self) -> None:
        """Threads that deliver look by themselves."""

    def problem_changed(self, problem: str | None) -> None:
        print_line(f"problem {problem}" if problem else "ready")

    def start(self) -> None:
        self.spool.open()
        self.reconciler.task.start()
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        self.reconciler.task.stop(5.0)
        self.fleet.close()
        self.spool.close()

    def decide(self, thread: int) -> tuple[str, float]:
        """As the intake does it, for one frame. What became of it, and the seconds of the decision."""
        now = self.clock.now()
        id = new_datapoint_id()
        began_s = time.monotonic()
        grant = self.fleet.charge(id, self.quotas, now, now)
        took_s = time.monotonic() - began_s
        if took_s > FRAME_TIMEOUT_S / 2:
            print_line(f"w {thread} {took_s:.4f} {began_s:.4f}")
        if isinstance(grant, QuotaRefused):
            return "refused", took_s
        answer: Any = None
        try:
            if isinstance(grant, QuotaGranted) or not isinstance(
                self.spool.check_quota(grant.local_quotas, now), QuotaRefused
            ):
                candidates = [Candidate(q.strategy, None, (), q.batch) for q in self.quotas]
                made = datapoint(self.clock, id=id, captured=now, jpeg=os.urandom(3000))
                answer = self.spool.put(made, candidates, self.quotas, grant)
        except (SpoolBroken, SpoolFull):
            pass
        finally:
            self.fleet.report_stored(PROJECT, id, isinstance(answer, Accepted))
        if not isinstance(answer, Accepted):
            return "refused", took_s
        is_granted = isinstance(grant, QuotaGranted)
        print_line(f"{'+' if is_granted else '~'} {id}")
        return ("granted" if is_granted else "waiting"), took_s

    def make(self, number: int) -> Made:
        made = Made()
        for _ in range(number):
            became, took_s = self.decide(-1)
            setattr(made, became, getattr(made, became) + 1)
            made.took_s.append(round(took_s, 6))
        return made

    def settle(self) -> None:
        """Wait until no quota is pending and spool and ledger agree."""
        while not self.stopping.wait(0.1):
            ledger = self.fleet.ledger_for(PROJECT)
            if self.reconciler.problem is None and ledger is not None and ledger.problem is None:
                if not self.spool.counts().pending_quota and not ledger.pop_audit_request():
                    print_line("settled")
                    return
                ledger.request_audit()
                self.reconciler.task.wake()

    def _collect(self, number: int) -> None:
        while not self.stopping.wait(self.options.pause_s):
            self.decide(number)

    def _deliver(self) -> None:
        chance = random.Random(self.options.seed)
        while not self.stopping.wait(0.02):
            try:
                items = self.spool.claim(4).items
                for item in items:
                    is_duplicate = chance.random() < self.options.duplicates
                    print_line(f"{'x' if is_duplicate else '-'} {item.id}")
                    self.spool.complete(item.id, FinalOutcome.DUPLICATE if is_duplicate else FinalOutcome.DELIVERED)
            except (SpoolBroken, SpoolFull):
                continue


def print_line(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def _failed(error: BaseException) -> None:
    print_line(f"failed {error!r}")
    os.kill(os.getpid(), signal.SIGABRT)


def main(folder: Path, options: Options) -> None:
    device = Device(folder, options)
    device.start()
    for line in sys.stdin:
        word, *arguments = line.split()
        if word == "make":
            made = device.make(int(arguments[0]))
            print_line(f"done {json.dumps(asdict(made))}")
        elif word == "wait":
            device.reconciler.task.wait_for_first_run(20.0)
        elif word == "step":
            device.clock.offset_s += float(arguments[0])
        elif word == "settle":
            threading.Thread(target=device.settle).start()
        elif word == "stop":
            break
    device.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Options(**json.loads(sys.argv[2])))

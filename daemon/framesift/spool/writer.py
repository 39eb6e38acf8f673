"""The one thread that writes: everything that waits is committed in one transaction, and callers wait for their answer.

A commit costs the disk the same whether it carries one row or ten, so threads that accept at the same time share one.

When the disk fails, nothing is tried again on the same connection: after a failed fsync nobody knows what is on the
disk, so it is opened anew. What only changes a state (a delivery that is to be noted) waits until the disk is back; a
datapoint that is to be accepted is refused at once.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as NoAnswer  # the builtin one only since Python 3.11
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from framesift.clock.clock import Clock
from framesift.spool.database import STORAGE_ERRORS, FailureKind, failure_kind
from framesift.spool.records import EventReporter, SpoolBroken, SpoolFull, SpoolHealth
from framesift.spool.space import SpaceBudget, Transaction

T = TypeVar("T")

GROUP_BYTES = 4 * 2**20  # a longer transaction would let the log grow, and its callers wait
GROUP_JOBS = 64
MAINTENANCE_INTERVAL_S = 20.0  # how often an idle writer looks whether there is something to mend or to tidy up
FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 30.0
MAX_FAILURES = 8  # reopened so often in a row without one good commit: it is the disk, and won't mend by itself
CALL_TIMEOUT_S = 15.0  # no caller waits longer for the disk


@dataclass(eq=False)
class WriteJob:
    """Something to do in a transaction. size_bytes: what it brings; refusable: whether it may be turned away when the
    disk fails, or else waits. after: called with the answer once it is committed.
    """

    work: Callable[[sqlite3.Cursor, Transaction], Any]
    size_bytes: int = 0
    refusable: bool = False
    after: Callable[[Any], None] | None = None
    future: Future[Any] = field(default_factory=Future)
    result: Any = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class FileOperations:
    """How the writer gets at the file. reopen: makes a new connection (mends or replaces the file if it is damaged,
    when told so); verify: raises sqlite3.Error where the file doesn't hold what was written; measure: the space for a
    transaction; free_reserve: gives space up, tells whether there was any; tidy: is called now and then with the
    connection, between transactions.
    """

    reopen: Callable[[bool], sqlite3.Connection]
    verify: Callable[[sqlite3.Connection], None]
    measure: Callable[[sqlite3.Connection, int], SpaceBudget]
    free_reserve: Callable[[], bool]
    maintain: Callable[[sqlite3.Connection], None]


class Writer:
    """Owns the read-write connection from `start` on."""

    def __init__(
        self,
        connection: sqlite3.Connection | None,
        doors: FileOperations,
        clock: Clock,
        report: EventReporter,
        problem: str | None,
    ) -> None:
        self._connection = connection
        self._doors = doors
        self._clock = clock
        self._report = report
        self._jobs: deque[WriteJob] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._busy: list[WriteJob] = []
        self._failures = 0
        self._next_try_s = 0.0
        self._damaged = False
        self._tidied_s = clock.monotonic() - MAINTENANCE_INTERVAL_S
        self.health = SpoolHealth(problem)
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_s: float) -> bool:
        """Commits what waits, and ends; False if it is still busy after `timeout_s`."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def call(self, work: Callable[[sqlite3.Cursor, Transaction], T], **how: Any) -> T:
        """Does `work` in a transaction and returns its answer after the commit.

        Raises SpoolBroken or SpoolFull, and whatever `work` raises (its changes are then undone).
        """
        job = WriteJob(work, **how)
        with self._changed:
            if self._closing:
                raise SpoolBroken((self.health.fatal and self.health.problem) or "the spool is closed")
            self._jobs.append(job)
            self._changed.notify_all()
        try:
            return cast(T, job.future.result(CALL_TIMEOUT_S))
        except NoAnswer:
            # What only notes a state stays in the queue and is written when the disk is back.
            if job.refusable and not job.future.cancel():
                return cast(T, job.future.result())
            raise SpoolBroken(self.health.problem or "the disk doesn't answer") from None

    def post(self, work: Callable[[sqlite3.Cursor, Transaction], None]) -> None:
        """Does `work` as `call` would, for somebody who doesn't wait for the answer; nothing once it is closed."""
        with self._changed:
            if not self._closing:
                self._jobs.append(WriteJob(work))
                self._changed.notify_all()

    # --- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        problem = "the spool is closed"
        try:
            while (jobs := self._take()) is not None:
                self._serve(jobs)
        except Exception as error:  # noqa: BLE001  # a bug: whoever looks at the health ends the process
            problem = f"the writer failed: {error!r}"
            self.health = SpoolHealth(problem, fatal=True)
            self._report("spool_writer_failed", {"why": repr(error)})
        with self._changed:
            self._closing = True
            left = [*self._busy, *self._jobs]
            self._jobs.clear()
        for job in left:
            if not job.future.done():
                with contextlib.suppress(InvalidStateError):  # cancelled at this instant
                    job.future.set_exception(SpoolBroken(problem))
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()

    def _take(self) -> list[WriteJob] | None:
        """The next group, perhaps empty (time to look around); None when it is over."""
        with self._changed:
            self._busy = []
            if self._connection is None:
                if self._closing:
                    return None
                self._refuse_waiting()
                self._changed.wait(min(MAINTENANCE_INTERVAL_S, max(0.01, self._next_try_s - self._clock.monotonic())))
                return []
            if not self._jobs and not self._closing:
                self._changed.wait(MAINTENANCE_INTERVAL_S)
            group: list[WriteJob] = []
            size_bytes = 0
            while self._jobs and len(group) < GROUP_JOBS:
                job = self._jobs[0]
                if group and size_bytes + job.size_bytes > GROUP_BYTES:
                    break
                self._jobs.popleft()
                if job.future.running() or job.future.set_running_or_notify_cancel():
                    group.append(job)
                    size_bytes += job.size_bytes
            if not group and self._closing:
                return None
            self._busy = group
            return group

    def _serve(self, jobs: list[WriteJob]) -> None:
        if self._connection is None:
            if self._clock.monotonic() >= self._next_try_s:
                self._reopen()
            return
        try:
            if jobs:
                self._commit(self._connection, jobs)
            now_s = self._clock.monotonic()
            if now_s - self._tidied_s >= MAINTENANCE_INTERVAL_S:
                self._tidied_s = now_s
                self._doors.maintain(self._connection)
        except STORAGE_ERRORS as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            self._failed(error, [job for job in jobs if not job.future.done()])

    def _commit(self, connection: sqlite3.Connection, jobs: list[WriteJob]) -> None:
        transaction = Transaction(self._doors.measure(connection, sum(job.size_bytes for job in jobs)))
        cursor = connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        for job in jobs:
            cursor.execute("SAVEPOINT job")
            job.error, evicted, noted = None, transaction.evicted, len(transaction.events)
            try:
                job.result = job.work(cursor, transaction)
            except (SpoolFull, SpoolBroken) as error:
                job.error = error
            except Exception as error:  # it is the caller's, who gets it; the others' rows go on
                if isinstance(error, STORAGE_ERRORS) and failure_kind(error) is not FailureKind.BUG:
                    raise
                self._doors.verify(connection)  # unless it came of what lies in the file
                job.error = error
            if job.error is not None:
                cursor.execute("ROLLBACK TO job")
                transaction.evicted = evicted
                del transaction.events[noted:]
            cursor.execute("RELEASE job")
        cursor.execute("COMMIT")
        self._is_well()
        for job in jobs:
            if job.error is not None:
                job.future.set_exception(job.error)
                continue
            if job.after is not None:
                job.after(job.result)
            job.future.set_result(job.result)
        if transaction.evicted:
            transaction.events.append(("spool_evicted", {"datapoints": transaction.evicted}))
        for event, fields in transaction.events:
            self._report(event, fields)

    def _failed(self, error: Exception, jobs: list[WriteJob]) -> None:
        kind = failure_kind(error)
        if kind is FailureKind.BUG:
            for job in jobs:
                job.future.set_exception(error)
            return
        self._is_ill(kind, error)
        refused = SpoolFull if kind is FailureKind.FULL else SpoolBroken
        for job in jobs:
            if job.refusable:
                job.future.set_exception(refused(f"{kind.value}: {error}"))
        with self._changed:
            self._jobs.extendleft(reversed([job for job in jobs if not job.refusable]))
        if kind is FailureKind.BUSY:
            return  # SQLite has waited already, and the connection is as good as before
        if kind is FailureKind.FULL and self._doors.free_reserve():
            self._report("spool_reserve_given_up", {})
            return
        self._damaged |= kind is FailureKind.CORRUPT
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        pause_s = 0.0 if kind is FailureKind.CORRUPT and not self._failures else self._pause_s()
        self._next_try_s = self._clock.monotonic() + pause_s
        self._failures += 1
        if self._failures >= MAX_FAILURES and kind in (FailureKind.IO, FailureKind.CORRUPT):
            self.health = SpoolHealth(self.health.problem, fatal=True)

    def _reopen(self) -> None:
        try:
            self._connection = self._doors.reopen(self._damaged)
        except STORAGE_ERRORS as error:
            self._failed(error, [])
            return
        self._damaged = False
        self._is_well()

    def _pause_s(self) -> float:
        return min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._failures, 10))

    def _refuse_waiting(self) -> None:
        """While there is no connection: who can be refused needn't wait."""
        waiting = list(self._jobs)
        self._jobs.clear()
        for job in waiting:
            if not job.refusable:
                self._jobs.append(job)
            elif job.future.set_running_or_notify_cancel():
                job.future.set_exception(SpoolBroken(self.health.problem or "the disk doesn't answer"))

    def _is_ill(self, kind: FailureKind, error: Exception) -> None:
        problem = f"{kind.value} ({error})"
        if self.health.problem is None:
            self._report("spool_failed", {"why": problem})
        self.health = SpoolHealth(problem, self.health.fatal)

    def _is_well(self) -> None:
        if self.health.problem is not None:
            self._report("spool_recovered", {})
            self.health = SpoolHealth(None)
        self._failures = 0

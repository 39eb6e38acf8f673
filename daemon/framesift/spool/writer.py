"""The only thread that writes to the spool: it commits all waiting jobs in one transaction; callers wait for it.

A commit costs the disk the same for one row or for ten, so threads that accept at the same time share one commit.

After a disk error the connection is not used again: after a failed fsync it is unknown what is on the disk, so the file
is opened anew. Jobs that record a change of state (a delivery, for example) wait until the disk works again; a
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
from typing import Any, Protocol, TypeVar, cast

from framesift.backoff import BackoffSchedule
from framesift.clock.clock import Clock
from framesift.spool.acceptance import Acceptance
from framesift.spool.disk_errors import STORAGE_ERRORS, FailureKind, failure_kind
from framesift.spool.records import Accepted, EventReporter, SpoolBroken, SpoolFull
from framesift.spool.space import SpaceBudget, Transaction

T = TypeVar("T")

GROUP_BYTES = 4 * 2**20  # a larger transaction would make the log grow and its callers wait
GROUP_JOBS = 64
MAINTENANCE_INTERVAL_S = 20.0  # how often an idle writer does its maintenance
REOPEN_PAUSES = BackoffSchedule(first_s=0.5, max_s=30.0)  # without jitter: the disk is this device's alone
MAX_FAILURES = 8  # reopened so often without a good commit: the disk won't recover by itself
CALL_TIMEOUT_S = 15.0  # a caller waits no longer for its result
_NO_ANSWER = "the disk doesn't answer"


@dataclass(eq=False)
class WriteJob:
    """Work for one transaction.

    size_bytes: how much data it adds. can_fail: whether it fails at once when the disk fails; otherwise it waits until
    the disk works again. accepts: whether it is to accept a datapoint. after: called with the result after the commit,
    in the writer's thread.
    """

    work: Callable[[sqlite3.Cursor, Transaction], Any]
    size_bytes: int = 0
    can_fail: bool = False
    accepts: bool = False
    after: Callable[[Any], None] | None = None
    future: Future[Any] = field(default_factory=Future)
    result: Any = None
    error: Exception | None = None


class DatabaseFile(Protocol):
    """The operations on the spool's file that the writer needs. SpoolFile implements them."""

    def reopen(self, damaged: bool) -> sqlite3.Connection:
        """A new connection. damaged: the file must be repaired or replaced first. Raises STORAGE_ERRORS."""

    def verify(self, connection: sqlite3.Connection) -> None:
        """Raises sqlite3.Error if the file doesn't contain what was written."""

    def measure_space(self, connection: sqlite3.Connection, needed_bytes: int) -> SpaceBudget:
        """The space that a transaction of `needed_bytes` may use. Raises STORAGE_ERRORS."""

    def probe(self, connection: sqlite3.Connection, size_bytes: int, rank: float) -> None:
        """Whether a datapoint of this size and rank would be accepted. Raises SpoolFull, STORAGE_ERRORS."""

    def measure(self, connection: sqlite3.Connection, size_bytes: int) -> None:
        """The same without writing: looks at the disk and the bounds. Raises SpoolFull, STORAGE_ERRORS."""

    def describe(self, error: Exception) -> str:
        """What one of STORAGE_ERRORS means here, for the operator."""

    def release_reserve(self) -> bool:
        """Releases reserved disk space. Returns whether there was any."""

    def maintain(self, connection: sqlite3.Connection) -> None:
        """Called regularly, between transactions. Raises STORAGE_ERRORS."""


class Writer:
    """Owns the read-write connection. Any thread may call `call` and `post` between `start` and `close`."""

    def __init__(
        self,
        connection: sqlite3.Connection | None,
        file: DatabaseFile,
        clock: Clock,
        report: EventReporter,
        problem: str | None,
    ) -> None:
        self._connection = connection
        self._file = file
        self._clock = clock
        self._report = report
        self._jobs: deque[WriteJob] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._busy: list[WriteJob] = []
        self._failures = 0
        self._next_try_s = 0.0
        self._damaged = False
        self._has_begun = False
        self._maintained_s = clock.monotonic() - MAINTENANCE_INTERVAL_S
        self.acceptance = Acceptance(clock, report, problem)
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self, timeout_s: float) -> bool:
        """Commits the waiting jobs and ends the thread. Returns False if it still runs after `timeout_s`."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is None:  # the system had no more threads
            if self._connection is not None:
                self._connection.close()
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def call(self, work: Callable[[sqlite3.Cursor, Transaction], T], **how: Any) -> T:
        """Runs `work` in a transaction and returns its result after the commit. `how`: fields of WriteJob.

        Raises SpoolBroken, SpoolFull, and any exception of `work` (its changes are then rolled back).
        """
        job = WriteJob(work, **how)
        with self._changed:
            if self._closing:
                raise SpoolBroken(
                    (self.acceptance.health.fatal and self.acceptance.health.problem) or "the spool is closed"
                )
            self._jobs.append(job)
            self._changed.notify_all()
        try:
            return cast(T, job.future.result(CALL_TIMEOUT_S))
        except NoAnswer:
            # A change of state stays in the queue and is written when the disk works again.
            if job.can_fail and not job.future.cancel():
                return cast(T, job.future.result())
            if job.accepts:
                self.acceptance.record_failure(_NO_ANSWER, refuses_all=True, size_bytes=job.size_bytes)
            raise SpoolBroken(self.acceptance.health.problem or _NO_ANSWER) from None

    def post(self, work: Callable[[sqlite3.Cursor, Transaction], None]) -> None:
        """Queues `work` and returns at once. Does nothing after `close`."""
        with self._changed:
            if not self._closing:
                self._jobs.append(WriteJob(work))
                self._changed.notify_all()

    # --- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        problem = "the spool is closed"
        try:
            while (jobs := self._next_group()) is not None:
                self._handle(jobs)
        except Exception as error:  # noqa: BLE001  # a bug: the service reads `health` and ends the process
            problem = f"the writer failed: {error!r}"
            self.acceptance.record_failure(problem, refuses_all=True)
            self.acceptance.set_fatal()
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

    def _next_group(self) -> list[WriteJob] | None:
        """The next group of jobs, empty if only maintenance is due; None when the writer must end."""
        with self._changed:
            self._busy = []
            if self._connection is None:
                if self._closing:
                    return None
                self._fail_waiting()
                self._changed.wait(min(MAINTENANCE_INTERVAL_S, max(0.01, self._next_try_s - self._clock.monotonic())))
                return []
            if not self._jobs and not self._closing and self._has_begun:
                self._changed.wait(min(MAINTENANCE_INTERVAL_S, max(0.01, self.acceptance.probe_in_s())))
            self._has_begun = True  # the first turn is maintenance at once: it says whether anything can be accepted
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

    def _handle(self, jobs: list[WriteJob]) -> None:
        if self._connection is None:
            if self._clock.monotonic() >= self._next_try_s:
                self._reopen()
            return
        try:
            if jobs:
                self._commit(self._connection, jobs)
            now_s = self._clock.monotonic()
            if now_s - self._maintained_s >= MAINTENANCE_INTERVAL_S:
                self._maintained_s = now_s
                self._file.maintain(self._connection)
                if self.acceptance.health.problem is None:
                    self._measure(self._connection)
            if self.acceptance.probe_in_s() <= 0:
                self._probe(self._connection)
        except STORAGE_ERRORS as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            self._handle_failure(error, [job for job in jobs if not job.future.done()])

    def _commit(self, connection: sqlite3.Connection, jobs: list[WriteJob]) -> None:
        transaction = Transaction(self._file.measure_space(connection, sum(job.size_bytes for job in jobs)))
        cursor = connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        for job in jobs:
            cursor.execute("SAVEPOINT job")
            job.error, evicted, event_count = None, transaction.evicted, len(transaction.events)
            try:
                job.result = job.work(cursor, transaction)
            except (SpoolFull, SpoolBroken) as error:
                job.error = error
            except Exception as error:  # only this caller gets it; the other jobs continue
                if isinstance(error, STORAGE_ERRORS) and failure_kind(error) is not FailureKind.BUG:
                    raise
                cursor.execute("ROLLBACK TO job")  # first: half of its changes would look like damage
                self._file.verify(connection)  # raises if the cause is damage in the file
                job.error = error
            if job.error is not None:
                cursor.execute("ROLLBACK TO job")
                transaction.evicted = evicted
                del transaction.events[event_count:]
            cursor.execute("RELEASE job")
        cursor.execute("COMMIT")
        self._failures = 0
        for job in jobs:
            if job.error is not None:
                if job.accepts and isinstance(job.error, SpoolFull):
                    self.acceptance.record_full(job.error)
                job.future.set_exception(job.error)
                continue
            if job.accepts and isinstance(job.result, Accepted):
                self.acceptance.record_accepted(job.size_bytes)
            if job.after is not None:
                job.after(job.result)
            job.future.set_result(job.result)
        if transaction.evicted:
            transaction.events.append(("spool_evicted", {"datapoints": transaction.evicted}))
        for event, fields in transaction.events:
            self._report(event, fields)

    def _handle_failure(self, error: Exception, jobs: list[WriteJob]) -> None:
        kind = failure_kind(error)
        if kind is FailureKind.BUG:
            for job in jobs:
                job.future.set_exception(error)
            return
        size_bytes = max((job.size_bytes for job in jobs if job.accepts), default=0)
        released = kind is FailureKind.FULL and self._file.release_reserve()
        refuses_all = any(job.accepts for job in jobs) or not (released or kind is FailureKind.BUSY)
        self.acceptance.record_failure(self._file.describe(error), refuses_all=refuses_all, size_bytes=size_bytes)
        refused = SpoolFull if kind is FailureKind.FULL else SpoolBroken
        for job in jobs:
            if job.can_fail:
                job.future.set_exception(refused(f"{kind.value}: {error}"))
        with self._changed:
            self._jobs.extendleft(reversed([job for job in jobs if not job.can_fail]))
        if kind is FailureKind.BUSY:
            return  # SQLite has waited already, and the connection is still good
        if released:
            self._report("spool_reserve_released", {})
            return
        self._damaged |= kind is FailureKind.CORRUPT
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        at_once = kind is FailureKind.CORRUPT and not self._failures
        self._failures += 1
        delay_s = 0.0 if at_once else REOPEN_PAUSES.pause_s(self._failures)
        self._next_try_s = self._clock.monotonic() + delay_s
        if self._failures >= MAX_FAILURES and kind in (FailureKind.IO, FailureKind.CORRUPT):
            self.acceptance.set_fatal()

    def _reopen(self) -> None:
        try:
            self._connection = self._file.reopen(self._damaged)
            self._damaged = False
            self._probe(self._connection)
        except STORAGE_ERRORS as error:
            self._handle_failure(error, [])
        else:
            self._failures = 0

    def _probe(self, connection: sqlite3.Connection) -> None:
        """Show whether a datapoint like the one that was refused last would be accepted now."""
        self.acceptance.begin_probe()
        acceptance = self.acceptance
        if self._accepts(lambda: self._file.probe(connection, acceptance.probe_bytes, acceptance.probe_rank)):
            acceptance.record_accepted()

    def _measure(self, connection: sqlite3.Connection) -> None:
        """Find out that nothing can be accepted before something comes and is refused."""
        least_bytes = self.acceptance.least_bytes
        self._accepts(lambda: self._file.measure(connection, least_bytes))

    def _accepts(self, attempt: Callable[[], None]) -> bool:
        """Whether an attempt shows that a datapoint would be accepted. If it would not, that is recorded."""
        try:
            attempt()
        except SpoolFull as error:
            self.acceptance.record_full(error)
        except OSError as error:  # of the disk, or of the file beside the spool: the connection is still good
            self.acceptance.record_failure(self._file.describe(error), refuses_all=True)
        else:
            return True
        return False

    def _fail_waiting(self) -> None:
        """While there is no connection: jobs that can fail do not wait."""
        waiting = list(self._jobs)
        self._jobs.clear()
        for job in waiting:
            if not job.can_fail:
                self._jobs.append(job)
            elif job.future.set_running_or_notify_cancel():
                job.future.set_exception(SpoolBroken(self.acceptance.health.problem or _NO_ANSWER))

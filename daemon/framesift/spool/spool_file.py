"""How the spool's file is opened: at the start, and again after the disk or the file failed."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from dataclasses import dataclass, field
from pathlib import Path

from framesift.clock.clock import Clock
from framesift.limits.local import LocalLimits
from framesift.spool import database as file
from framesift.spool import integrity as soundness
from framesift.spool import repair as mending
from framesift.spool import rows, salvage, schema, space
from framesift.spool import wal as log
from framesift.spool.database import DiskReserve, FailureKind, failure_kind
from framesift.spool.read_connections import ReadConnections
from framesift.spool.records import EventReporter, SpoolBroken, SpoolInUse, SpoolTooNew, SpoolUnusable

PRUNE_EVERY_S = 60.0
VERIFY_EVERY_S = 3600.0


@dataclass(frozen=True, slots=True)
class SpoolBounds:
    """max_bytes: what live pages and the log stay under. min_free_bytes: what stays free on the disk. max_attempts:
    after so many a datapoint is buried.
    """

    max_bytes: int
    min_free_bytes: int
    max_attempts: int


@dataclass(eq=False)
class SpoolFile:
    """The file of one spool, and the lock on it.

    held: ids that workers of this process hold; whatever else is `sending` belongs to nobody. Only the writer's thread
    touches it.
    """

    path: Path
    bounds: SpoolBounds
    clock: Clock
    limits: LocalLimits
    readers: ReadConnections
    report: EventReporter
    sending_ids: set[str] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.reserve = DiskReserve(self.path)
        self._dealt_with = False  # the damage that the writer has met
        self._lock: int | None = None
        self._pruned_s = self._verified_s = self.clock.monotonic()

    def lock(self) -> None:
        for _ in range(2):
            try:
                self._lock = file.acquire_lock(self.path, self.clock, self.stop)
                return
            except OSError as error:
                if not self.reserve.release():
                    raise SpoolBroken(f"{self.path}: {error.strerror}, so it can't be locked") from None
        raise SpoolInUse(f"{self.path} can't be locked")

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def first_connection(self) -> tuple[sqlite3.Connection | None, str | None]:
        """The first connection, or none and why: the disk can't be written to at this moment."""
        damaged = False
        error: Exception | None = None
        kind = FailureKind.BUG
        with contextlib.suppress(OSError):  # a disk that can't be written to now keeps what is committed
            if log.repair_flipped_bits(file.sibling_path(self.path, "-wal")):
                self.report("spool_mended", {"path": str(file.sibling_path(self.path, "-wal"))})
        for _ in range(3):
            try:
                return self.reopen(damaged), None
            except (SpoolTooNew, SpoolUnusable):
                raise
            except file.STORAGE_ERRORS as found:
                error = found
                kind = failure_kind(found)
            if kind is FailureKind.BUG:
                raise error
            damaged |= kind is FailureKind.CORRUPT
            if kind in (FailureKind.FULL, FailureKind.READ_ONLY):  # the latter is also what a lack of inodes looks like
                self.reserve.release()
        self.report("spool_failed", {"why": f"{kind.value} ({error})"})
        return None, f"{kind.value} ({error})"

    def reopen(self, damaged: bool) -> sqlite3.Connection:
        """A new connection, at the start or after a failure. damaged: the last one found the file so. Raises as `open`
        does, and sqlite3.Error and OSError where it may be otherwise in a while.
        """
        salvage.finish_interrupted(self.path)
        is_new = damaged and not self._dealt_with and self._replaced()
        self._dealt_with = damaged  # what fails from here on fails with another file, which must not be moved aside
        try:
            connection = self._connection(is_new)
        except file.STORAGE_ERRORS as error:
            self._dealt_with &= failure_kind(error) is not FailureKind.CORRUPT
            raise
        self._dealt_with = False
        return connection

    def _connection(self, is_new: bool) -> sqlite3.Connection:
        connection = self._connect(is_new)
        try:
            cursor = connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            buried = rows.release_interrupted(cursor, self.bounds.max_attempts, self.sending_ids)
            if not self.sending_ids:  # else this is no start: what is on its way is still on its way
                self.limits.record_send_end(cursor, None, self.clock.now())
            cursor.execute("COMMIT")
            # Proof that it can be written to: a change of nothing, but with an fsync.
            cursor.execute(f"PRAGMA user_version = {schema.VERSION}")
        except BaseException:
            connection.close()
            raise
        if buried:
            self.report("spool_buried", {"datapoints": buried, "why": "the program ended during each attempt"})
        self.readers.reset()
        self.limits.clear_cache()
        return connection

    def _connect(self, is_new: bool) -> sqlite3.Connection:
        file.check_format(self.path)
        connection = file.connect(self.path, self.bounds.max_bytes)
        try:
            if not is_new:
                soundness.verify(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _replaced(self) -> bool:
        """Puts a damaged file right. False where that took but one bit, True where it took a new file."""
        if mending.repair_one_bit(self.path):
            self.report("spool_mended", {"path": str(self.path)})
            return False
        bounds = self.bounds
        salvage.salvage(self.path, bounds.max_bytes, bounds.min_free_bytes, self.limits, self.clock.now(), self.report)
        return True

    def measure_space(self, connection: sqlite3.Connection, needed_bytes: int) -> space.SpaceBudget:
        return space.measure(
            connection,
            self.path,
            needed_bytes,
            max_bytes=self.bounds.max_bytes,
            min_free_bytes=self.bounds.min_free_bytes,
        )

    def maintain(self, connection: sqlite3.Connection) -> None:
        self.reserve.allocate(self.bounds.min_free_bytes)
        now_s = self.clock.monotonic()
        if now_s - self._pruned_s >= PRUNE_EVERY_S:
            self._pruned_s = now_s
            cursor = connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            self.limits.prune(cursor, self.clock.now())
            cursor.execute("COMMIT")
        # What an index has lost meanwhile no query finds, and nobody would miss.
        if now_s - self._verified_s >= VERIFY_EVERY_S:
            self._verified_s = now_s
            soundness.verify(connection)

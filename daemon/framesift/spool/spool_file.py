"""SpoolFile: opens the spool's file at the start and after a failure, repairs or replaces it, and maintains it."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import sqlite3
import threading
from dataclasses import dataclass, field
from pathlib import Path

from framesift.clock.clock import Clock
from framesift.limits.local import LocalLimits
from framesift.spool import (
    database,
    file_format,
    integrity,
    kept_descriptors,
    rows,
    salvage,
    schema,
    signatures,
    space,
    wal,
)
from framesift.spool.acceptance import write_probe
from framesift.spool.disk_errors import STORAGE_ERRORS, FailureKind, Malformed, failure_kind
from framesift.spool.disk_reserve import DiskReserve
from framesift.spool.page_file import PageFile
from framesift.spool.read_connections import ReadConnections
from framesift.spool.records import EventReporter, SpoolBroken, SpoolFull, SpoolTooNew, SpoolUnusable, WhenFull
from framesift.spool.write_obstacles import describe_failure

SMALLEST_MAX_BYTES = 2**20
PRUNE_EVERY_S = 60.0
VERIFY_EVERY_S = 3600.0


@dataclass(frozen=True, slots=True)
class SpoolBounds:
    """The limits of a spool.

    max_bytes: for live pages and write-ahead log. min_free_bytes: stays free on the disk. max_attempts: then a
    datapoint is buried. when_full: what gives way to a new datapoint.
    """

    max_bytes: int
    min_free_bytes: int
    max_attempts: int
    when_full: WhenFull

    def __post_init__(self) -> None:
        """Raises ValueError for a spool that is too small."""
        if self.max_bytes < SMALLEST_MAX_BYTES:
            raise ValueError(f"max_bytes: {self.max_bytes} is less than {SMALLEST_MAX_BYTES}")


@dataclass(eq=False)
class SpoolFile:
    """The file of one spool, and the lock on it.

    sending_ids: ids that workers of this process have claimed; any other row in state `sending` is from an earlier
    process. stop: set to end the wait for the lock. After `lock` and `first_connection`, only the writer's thread uses
    this object.
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
        self._repair_tried = False  # for the damage that the writer has found
        self._lock: int | None = None
        self._pruned_s = self._verified_s = self.clock.monotonic()

    def lock(self) -> None:
        """Locks the spool for this process. Raises SpoolInUse, SpoolUnusable, SpoolTooNew, SpoolBroken."""
        file_format.refuse_foreign(self.path)
        for _ in range(2):
            try:
                self._lock = database.acquire_lock(self.path, self.clock, self.stop)
                kept_descriptors.hold(self.path)
                return
            except OSError as error:
                if not self.reserve.release():
                    raise SpoolBroken(f"{self.path}: {error.strerror}, so it can't be locked") from None
        raise SpoolBroken(f"{self.path} can't be locked")

    def unlock(self) -> None:
        """Releases the lock, if there is one."""
        if self._lock is not None:
            kept_descriptors.release(self.path)
            os.close(self._lock)
            self._lock = None

    def first_connection(self) -> tuple[sqlite3.Connection | None, str | None]:
        """The first connection, or None and the reason: the disk can't be written to at this moment.

        Raises SpoolTooNew, SpoolUnusable, and errors that are bugs.
        """
        damaged = False
        error: Exception = SpoolBroken("it was not tried")
        kind = FailureKind.BUG
        with contextlib.suppress(OSError):  # a disk that is read-only keeps what is committed
            if wal.repair_flipped_bits(database.sibling_path(self.path, "-wal")):
                self.report("spool_repaired", {"path": str(database.sibling_path(self.path, "-wal"))})
        for _ in range(4):  # the header is repaired, then a new file takes the place of the old one
            try:
                return self.reopen(damaged), None
            except (SpoolTooNew, SpoolUnusable):
                raise
            except STORAGE_ERRORS as found:
                error = found
                kind = failure_kind(found)
            if kind is FailureKind.BUG:
                raise error
            damaged |= kind is FailureKind.CORRUPT
            if kind in (FailureKind.FULL, FailureKind.READ_ONLY):  # no free inodes look like READ_ONLY
                self.reserve.release()
        problem = describe_failure(error, self.path)
        self.report("spool_failed", {"why": problem})
        return None, problem

    def reopen(self, damaged: bool) -> sqlite3.Connection:
        """A new connection, at the start or after a failure.

        damaged: whether the last connection found damage. Raises SpoolTooNew, SpoolUnusable, and STORAGE_ERRORS if a
        later try may succeed.
        """
        salvage.finish_interrupted(self.path)
        is_new = damaged and not self._repair_tried and self._repair()
        self._repair_tried = damaged  # if the next steps fail, it is with another file, which must not be moved aside
        try:
            connection = self._connection(is_new)
        except STORAGE_ERRORS as error:
            self._repair_tried &= failure_kind(error) is not FailureKind.CORRUPT
            raise
        self._repair_tried = False
        return connection

    def _connection(self, is_new: bool) -> sqlite3.Connection:
        connection = self._connect(is_new)
        try:
            cursor = connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            self._bury_damaged(cursor)
            signatures.prune(cursor, self.bounds.max_bytes)
            buried = rows.release_interrupted(cursor, self.bounds.max_attempts, self.sending_ids)
            if not self.sending_ids:  # otherwise this is no start, and deliveries are in progress
                self.limits.record_send_end(cursor, None, self.clock.now())
            cursor.execute("COMMIT")
            # Shows that the disk can be written to: this changes nothing, but makes an fsync.
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
        file_format.check_format(self.path)
        connection = database.connect(self.path, self.bounds.max_bytes)
        try:
            if not is_new:
                integrity.verify(connection)
                self._verify_free_pages(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _verify_free_pages(self, connection: sqlite3.Connection) -> None:
        """Raises Malformed if the list of free pages can't be right: SQLite would write over pages in use."""
        connection.execute("BEGIN IMMEDIATE")  # so that nobody writes meanwhile
        try:
            with contextlib.closing(PageFile(self.path)) as file:
                _, is_right = file.free_pages()
        finally:
            connection.execute("ROLLBACK")
        if not is_right:
            raise Malformed("the list of free pages")

    def _repair(self) -> bool:
        """Repairs a damaged file. Returns whether a new file took its place."""
        if file_format.repair_header(self.path):
            self.report("spool_repaired", {"path": str(self.path)})
            return False
        bounds = self.bounds
        salvage.salvage(self.path, bounds.max_bytes, bounds.min_free_bytes, self.limits, self.clock.now(), self.report)
        return True

    def measure_space(self, connection: sqlite3.Connection, needed_bytes: int) -> space.SpaceBudget:
        """The space that a transaction of `needed_bytes` may use. Raises STORAGE_ERRORS."""
        return space.measure(
            connection,
            self.path,
            needed_bytes,
            max_bytes=self.bounds.max_bytes,
            min_free_bytes=self.bounds.min_free_bytes,
        )

    def verify(self, connection: sqlite3.Connection) -> None:
        """Raises sqlite3.Error if the file doesn't contain what was written."""
        integrity.verify(connection)

    def probe(self, connection: sqlite3.Connection, size_bytes: int, rank: float) -> None:
        """Do all that accepting a datapoint of this size and rank takes, but leave nothing of it.

        Raises SpoolFull, OSError, sqlite3.Error.
        """
        budget = self.measure_space(connection, size_bytes)
        cursor = connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        try:
            space.Transaction(budget).make_room(cursor, size_bytes, rank, self.bounds.when_full)
        finally:
            with contextlib.suppress(sqlite3.Error):  # SQLite rolls back itself where the disk is full
                cursor.execute("ROLLBACK")
        write_probe(self.path, size_bytes)
        cursor.execute(f"PRAGMA user_version = {schema.VERSION}")  # changes nothing, but makes an fsync

    def measure(self, connection: sqlite3.Connection, size_bytes: int) -> None:
        """Look whether a datapoint of this size would be accepted, without writing anything where there is room.

        Raises SpoolFull, OSError, sqlite3.Error.
        """
        if os.statvfs(self.path.parent).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self.path.parent))
        transaction = space.Transaction(self.measure_space(connection, size_bytes))
        why = transaction.obstacle(connection.cursor(), size_bytes, self.bounds.when_full)
        if why is not None:
            raise SpoolFull(why, only_this=False, size_bytes=size_bytes, rank=math.inf)

    def describe(self, error: Exception) -> str:
        """What one of STORAGE_ERRORS means here, for the operator."""
        return describe_failure(error, self.path)

    def release_reserve(self) -> bool:
        """Releases the reserved disk space. Returns whether there was any."""
        return self.reserve.release()

    def maintain(self, connection: sqlite3.Connection) -> None:
        """Allocates the reserve, deletes old charges, and verifies the file once per hour. Raises STORAGE_ERRORS."""
        self.reserve.allocate(self.bounds.min_free_bytes)
        now_s = self.clock.monotonic()
        if now_s - self._pruned_s >= PRUNE_EVERY_S:
            self._pruned_s = now_s
            cursor = connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            self.limits.prune(cursor, self.clock.now())
            cursor.execute("COMMIT")
        # A row that is missing in an index is not found by any query, so nothing else would notice it.
        if now_s - self._verified_s >= VERIFY_EVERY_S:
            self._verified_s = now_s
            integrity.verify(connection)
            cursor = connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            self._bury_damaged(cursor)
            cursor.execute("COMMIT")

    def _bury_damaged(self, cursor: sqlite3.Cursor) -> None:
        for row in rows.bury_damaged(cursor):
            self.report("spool_damaged", {"id": row.id, "why": row.why})

"""Spool: the queue itself. What it promises stands in the package's docstring."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from framesift.clock.clock import Clock
from framesift.clock.moment import Moment
from framesift.datapoint import Candidate, Datapoint
from framesift.frame import RefusalReason
from framesift.limits import Limit, Quota, QuotaAnswer, QuotaGranted, QuotaPending, QuotaUnknown
from framesift.limits import QuotaRefused as NoCredit
from framesift.limits import batch_size as batches
from framesift.limits.local import AccountUsage, LocalLimits
from framesift.prediction.prediction import count_classes
from framesift.prediction.wire_format import to_wire
from framesift.spool import claim_order as turns
from framesift.spool import inspect_rows as looking
from framesift.spool import rows, space
from framesift.spool import shared_quota as credits
from framesift.spool.database import STORAGE_ERRORS, is_damage
from framesift.spool.integrity import verify
from framesift.spool.read_connections import ReadConnections
from framesift.spool.records import (
    Accepted,
    Claim,
    EventReporter,
    FinalOutcome,
    NotAccepted,
    RowInfo,
    SpoolBroken,
    SpoolCounts,
    SpoolFull,
    SpoolHealth,
    State,
    WhenFull,
)
from framesift.spool.spool_file import SpoolBounds, SpoolFile
from framesift.spool.writer import FileOperations, Writer

T = TypeVar("T")

SMALLEST_MAX_BYTES = 2**20
MAX_ATTEMPTS = 8
REREAD_AFTER_S = 60.0


def _silent(_event: str, _fields: dict[str, object]) -> None:
    pass


class Spool:
    """max_bytes: what live pages and the log stay under, at least 1 MiB. min_free_bytes: what stays free on the disk.

    max_attempts: after so many attempts a datapoint is buried. report: told of events worth a line in the log.
    refunded: called after a credit was given back.
    Any thread may call any method between `open` and `close`.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        min_free_bytes: int,
        when_full: WhenFull,
        clock: Clock,
        limits: LocalLimits,
        report: EventReporter = _silent,
        max_attempts: int = MAX_ATTEMPTS,
        on_refund: Callable[[], None] = lambda: None,
    ) -> None:
        if max_bytes < SMALLEST_MAX_BYTES:
            raise ValueError(f"max_bytes: {max_bytes} is less than {SMALLEST_MAX_BYTES}")
        self.path = path
        self._max_bytes = max_bytes
        self._when_full = when_full
        self._clock = clock
        self._limits = limits
        self._report = report
        self._max_attempts = max_attempts
        self._refunded = on_refund
        self._readers = ReadConnections(path)
        bounds = SpoolBounds(max_bytes, min_free_bytes, max_attempts)
        self._file = SpoolFile(path, bounds, clock, limits, self._readers, report)
        self._writer: Writer | None = None
        self._full: str | None = None
        self.shared_quota = credits.SharedQuota(self._look, lambda work, **how: self._write.call(work, **how), limits)

    # --- opening and closing --------------------------------------------------------------------------------------

    def open(self) -> None:
        """Takes the spool for this process and gives back what was being sent when the last one ended.

        A disk that can't be written to at this moment (full, remounted read-only) does not prevent it: datapoints are
        refused until it can. Raises SpoolInUse (after waiting 15 s), SpoolTooNew, SpoolUnusable.
        """
        self._file.lock()
        doors = FileOperations(
            self._file.reopen, verify, self._file.measure_space, self._file.reserve.release, self._file.maintain
        )
        try:
            connection, problem = self._file.first_connection()
        except BaseException:
            self._file.unlock()
            raise
        self._writer = Writer(connection, doors, self._clock, self._report, problem)
        self._writer.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Commits what waits, empties the log, and leaves the spool to others."""
        self._file.stop.set()
        self._readers.reset()  # first, so that the writer is the last to leave and can take the log away
        if self._writer is not None and not self._writer.close(timeout_s):
            self._report("spool_close_timed_out", {})
            return  # the lock stays: the thread may still write
        self._file.unlock()

    # --- the frames' side -----------------------------------------------------------------------------------------

    def check_quota(self, quotas: Sequence[Quota], captured: Moment) -> QuotaAnswer:
        """Whether `put` would find a credit: a cheap look before a JPEG is made. Unknown where it can't be read."""
        now = self._clock.now()
        by_heart = self._limits.check(None, quotas, captured, now)
        if not isinstance(by_heart, QuotaUnknown):
            return by_heart
        try:
            with self._readers.cursor() as cursor:
                return self._limits.check(cursor, quotas, captured, now)
        except (*STORAGE_ERRORS, SpoolBroken):
            return QuotaUnknown()

    def put(
        self,
        datapoint: Datapoint,
        candidates: Sequence[Candidate],
        quotas: Sequence[Quota],
        grant: QuotaGranted | QuotaPending | None = None,
    ) -> Accepted | NotAccepted:
        """Accepts the datapoint for the first candidate that has a credit, and returns when it is on the disk.

        quotas: what each candidate would be charged to, in the same order. grant: what a ledger said of it, None where
        the device itself keeps the count. Raises SpoolFull, SpoolBroken.
        """
        if [c.strategy for c in candidates] != [q.strategy for q in quotas]:
            raise ValueError("candidates and quotas name different strategies")
        by_strategy = {c.strategy: (c, q) for c, q in zip(reversed(candidates), reversed(quotas), strict=True)}
        prediction = json.dumps(to_wire(datapoint.prediction), allow_nan=False, separators=(",", ":"))
        hash = rows.content_hash(prediction, datapoint.jpeg)
        classes = count_classes(datapoint.prediction)
        size_bytes = len(prediction) + len(datapoint.jpeg)

        def work(cursor: sqlite3.Cursor, transaction: space.Transaction) -> Accepted | NotAccepted:
            known = rows.strategy_of(cursor, datapoint.id)
            if known is not None:
                return Accepted(datapoint.id, known)
            now = self._clock.now()
            charged = credits.charge(cursor, self._limits, datapoint, candidates, quotas, grant, now)
            if not isinstance(charged, QuotaGranted):
                full = isinstance(charged, NoCredit) and charged.batch_full
                return NotAccepted(RefusalReason.BATCH_FULL if full else RefusalReason.LIMIT)
            candidate, quota = by_strategy[charged.strategy]
            transaction.make_room(cursor, size_bytes, rows.rank(candidate.score), self._when_full)
            captured_at_s = datapoint.captured.wall_s_as_of(now)
            rows.insert(
                cursor,
                datapoint,
                candidate,
                quota,
                prediction,
                hash,
                captured_at_s=captured_at_s,
                accepted_at_s=now.wall_s,
            )
            rows.count_classes(cursor, classes)
            return Accepted(datapoint.id, charged.strategy)

        try:
            answer = self._write.call(work, size_bytes=size_bytes, refusable=True)
        except SpoolFull as error:
            self._tell_full(str(error))
            raise
        if isinstance(answer, Accepted):
            self._tell_full(None)
        return answer

    def _tell_full(self, problem: str | None) -> None:
        if (problem is None) != (self._full is None):
            self._report("spool_full" if problem else "spool_has_room", {"why": problem} if problem else {})
        self._full = problem

    def batch_left_spool(self, batch: str) -> int:
        """How many datapoints of the batch (by its key) are no longer on their way: to be asked before the platform is
        asked how many it has. Raises SpoolBroken.
        """
        return self._look(lambda cursor: batches.left_spool_count(cursor, batch))

    def record_batch_size(self, batch: str, images: int, mark: int) -> None:
        """The platform has `images` in the batch: `put` counts them from now on. mark: what `batch_mark` said before
        the platform was asked. Raises SpoolBroken, SpoolFull.
        """

        def work(cursor: sqlite3.Cursor, _: space.Transaction) -> None:
            batches.record_platform_size(cursor, batch, images, mark, self._clock.now().wall_s)

        self._write.call(work, refusable=True, after=lambda _: self._limits.clear_cache())

    # --- the sink's side ------------------------------------------------------------------------------------------

    def claim(self, count: int, sink_limits: Sequence[Limit] = (), *, claim_last: Sequence[str] = ()) -> Claim:
        """Up to `count` datapoints to deliver, each counted as one attempt (and, unless its image is registered
        already, against the sink's limits) when this returns; a row that can't be read is buried instead. others_than:
        ids that come only where nothing else would. Raises SpoolBroken, SpoolFull.
        """

        def work(cursor: sqlite3.Cursor, transaction: space.Transaction) -> Claim:
            now = self._clock.now()
            return turns.claim_in_order(cursor, transaction, count, claim_last, self._limits, sink_limits, now)

        def after(claim: Claim) -> None:
            self._file.sending_ids.update(item.id for item in claim.items)

        return self._write.call(work, refusable=True, after=after)

    def read_jpeg(self, id: str) -> bytes:
        """The picture of a claimed datapoint.

        Raises SpoolBroken where it can't be had; the datapoint is then no longer claimed: buried if it is damaged,
        tried again in a minute if the disk failed, gone if somebody removed it. SpoolUnavailable: it is still claimed.
        """
        try:
            with self._readers.cursor() as cursor:
                jpeg = rows.read_jpeg(cursor, id)
        except ValueError as error:
            self._bury_damaged(id, str(error))
            raise SpoolBroken(f"the picture of {id} is damaged: {error}") from None
        except sqlite3.Error as error:
            if is_damage(error):
                self._bury_damaged(id, str(error))
            else:
                at_s = self._clock.now().wall_s + REREAD_AFTER_S
                self.retry_later(id, at_s, f"its picture can't be read: {error}", arrived=False)
            raise SpoolBroken(f"the picture of {id} can't be read: {error}") from None
        if jpeg is None:
            self._settle(id, lambda _cursor, _row, _transaction: None)  # whatever is left of it is nobody's
            raise SpoolBroken(f"{id} is gone from the spool")
        return jpeg

    def _bury_damaged(self, id: str, why: str) -> None:
        self._report("spool_damaged", {"id": id, "why": why})
        self.bury(id, f"its picture is damaged: {why}")

    def mark_registered(self, id: str, image_id: str) -> None:
        """The sink has the image under `image_id`; the prediction is still to come: it is claimed again for that."""
        self._settle(id, lambda cursor, row, _: rows.mark_registered(cursor, row[0], image_id))

    def complete(self, id: str, outcome: FinalOutcome = FinalOutcome.DELIVERED) -> None:
        """It leaves for good. A duplicate at the first try gives its credit back; a duplicate of an earlier try of our
        own was delivered by it, and is counted so.
        """

        def work(cursor: sqlite3.Cursor, row: tuple[int, int, int], _: space.Transaction) -> bool:
            seq, tried = row[0], row[2]
            left_by = FinalOutcome.DELIVERED if outcome is FinalOutcome.DUPLICATE and tried > 1 else outcome
            if left_by is FinalOutcome.DUPLICATE:
                self._limits.refund(cursor, id)
            rows.leave(cursor, seq, left_by)
            return left_by is FinalOutcome.DUPLICATE

        self._settle(id, work)

    def retry_later(
        self,
        id: str,
        retry_at_s: float | None,
        why: str,
        *,
        costs_attempt: bool = True,
        arrived: bool = True,
        refusals: int | None = None,
    ) -> None:
        """To be tried again at `at_wall_s` (Unix time, within 24 hours; None: at once), or buried if that was the last
        attempt. costs_attempt: False where it isn't its own fault. arrived: False where the sink surely doesn't have
        what was sent now: then nothing was, neither for the sink's limits nor for who meets it there. refusals: how
        often the sink has refused it by now, None for no news of that.
        """

        def work(cursor: sqlite3.Cursor, row: tuple[int, int, int], transaction: space.Transaction) -> None:
            seq, attempts = row[0], row[1]
            now_s = self._clock.now().wall_s
            at_s = None if retry_at_s is None else min(retry_at_s, now_s + rows.MAX_DELAY_S)
            if not arrived and not rows.is_registered(cursor, seq):
                self._limits.cancel_send(cursor, id)
            rows.retry_later(cursor, seq, at_s, why, costs_attempt=costs_attempt, arrived=arrived, refusals=refusals)
            if costs_attempt and attempts >= self._max_attempts:
                rows.bury(cursor, seq, f"{attempts} attempts failed, the last: {why}")
                transaction.events.append(("spool_buried", {"id": id, "why": why}))

        self._settle(id, work)

    def bury(self, id: str, why: str, refund: bool = False) -> None:
        """It is kept, but nobody tries it again unless by hand. refund: the sink definitely doesn't have it."""

        def work(cursor: sqlite3.Cursor, row: tuple[int, int, int], transaction: space.Transaction) -> bool:
            if refund:
                self._limits.refund(cursor, id)
            rows.bury(cursor, row[0], why)
            transaction.events.append(("spool_buried", {"id": id, "why": why}))
            return refund

        self._settle(id, work)

    def release(self, ids: Sequence[str]) -> None:
        """Gives claimed datapoints back of which not one byte was sent: as if they had never been claimed."""
        for id in ids:

            def work(cursor: sqlite3.Cursor, row: tuple[int, int, int], _: space.Transaction, id: str = id) -> None:
                if not rows.is_registered(cursor, row[0]):  # its claim was no send: the image was there already
                    self._limits.cancel_send(cursor, id)
                rows.release(cursor, row[0])

            self._settle(id, work)

    def refund_attempts(self, ids: Sequence[str]) -> None:
        """The program is about to end, perhaps in the middle of sending these: that costs them no attempt. Returns at
        once: it is written as soon as the disk takes it.
        """

        def work(cursor: sqlite3.Cursor, _: space.Transaction) -> None:
            for id in ids:
                row = rows.find_sending(cursor, id)
                if row is not None:
                    rows.refund_attempt(cursor, row[0])

        if ids:
            self._write.post(work)

    def _settle(self, id: str, work: rows.RowStep) -> None:
        """Does `work` with a row that is being sent; nothing if somebody removed it meanwhile."""

        def settle(cursor: sqlite3.Cursor, transaction: space.Transaction) -> bool:
            row = rows.find_sending(cursor, id)
            refunded = row is not None and bool(work(cursor, row, transaction))
            self._limits.record_send_end(cursor, id, self._clock.now())
            return refunded

        def after(refunded: bool) -> None:
            self._file.sending_ids.discard(id)
            if refunded:  # not for every delivery: all that was charged today is audited for it
                self._limits.clear_cache()
                self._refunded()

        self._write.call(settle, after=after)

    # --- looking --------------------------------------------------------------------------------------------------

    def counts(self) -> SpoolCounts:
        return self._look(lambda cursor: looking.count_rows(cursor, self.path, self._max_bytes))

    def outcome_counts(self) -> dict[FinalOutcome, int]:
        """How many left by each exit since the file was begun. (Buried ones that are still here are in `counts`.)"""
        return self._look(looking.outcome_counts)

    def class_counts(self) -> dict[str, int]:
        """Predicted objects (or labels) of each class in all datapoints ever accepted."""
        return self._look(looking.class_counts)

    def list_rows(self, state: State | None = None, limit: int = 100) -> list[RowInfo]:
        """The oldest `limit` rows, of one state or of all."""
        return self._look(lambda cursor: looking.list_rows(cursor, state, limit))

    def quota_usage(self) -> tuple[AccountUsage, ...]:
        """Credits used in the windows that are open."""
        return self._look(lambda cursor: self._limits.usage(cursor, self._clock.now()))

    def _look(self, look: Callable[[sqlite3.Cursor], T]) -> T:
        try:
            with self._readers.cursor() as cursor:
                return look(cursor)
        except (*STORAGE_ERRORS, ValueError, TypeError) as error:
            if isinstance(error, STORAGE_ERRORS) and not is_damage(error):
                raise SpoolBroken(f"{self.path} can't be read: {error}") from None
        # Whoever writes looks again, and mends what is damaged.
        return self._write.call(lambda cursor, _: look(cursor), refusable=True)

    @property
    def health(self) -> SpoolHealth:
        health = self._write.health
        return (
            health
            if health.problem is not None or self._full is None
            else SpoolHealth(f"the spool is full: {self._full}")
        )

    @property
    def _write(self) -> Writer:
        if self._writer is None:
            raise SpoolBroken("the spool is not open")
        return self._writer

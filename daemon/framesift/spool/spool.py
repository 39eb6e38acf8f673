"""Spool: the queue of accepted datapoints. The package's docstring lists its invariants."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from framesift.clock.clock import Clock
from framesift.clock.moment import Moment
from framesift.datapoint import Candidate, Datapoint
from framesift.limits import (
    Limit,
    Quota,
    QuotaAnswer,
    QuotaGranted,
    QuotaPending,
    QuotaUnknown,
    batch_size,
)
from framesift.limits.local import AccountUsage, LocalLimits
from framesift.spool import alike, claim_order, inspect_rows, rows, signatures, space
from framesift.spool.accept import NewDatapoint, accept
from framesift.spool.disk_errors import STORAGE_ERRORS, is_damage
from framesift.spool.held import HeldFrames
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
    SpoolHealth,
    State,
    WhenFull,
)
from framesift.spool.rows_by_hand import RowsByHand
from framesift.spool.shared_quota import SharedQuota
from framesift.spool.signatures import AcceptedSignature, StoredSignatures
from framesift.spool.spool_file import SpoolBounds, SpoolFile
from framesift.spool.writer import Writer

T = TypeVar("T")

MAX_ATTEMPTS = 8
REREAD_AFTER_S = 60.0


class Spool:
    """The durable queue of datapoints. Between `open` and `close`, any thread may call any method.

    max_bytes: limit for live pages and write-ahead log, at least 1 MiB. min_free_bytes: what stays free on the disk.
    max_attempts: after so many failed attempts a datapoint is buried. report: called with each event for the log.
    on_refund: called after quota was refunded, in the writer's thread. limits_clock: by which quota is counted.
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
        limits_clock: Clock | None = None,
        report: EventReporter = lambda _event, _fields: None,
        max_attempts: int = MAX_ATTEMPTS,
        on_refund: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._when_full = when_full
        self._clock = clock
        self._limits_clock = limits_clock or clock
        self._limits = limits
        self._report = report
        self._max_attempts = max_attempts
        self._on_refund = on_refund
        self._readers = ReadConnections(path)
        bounds = SpoolBounds(max_bytes, min_free_bytes, max_attempts, when_full)
        self._file = SpoolFile(path, bounds, clock, limits, self._readers, report)
        self._writer: Writer | None = None
        self.shared_quota = SharedQuota(self._read, self._write, limits)
        self.held = HeldFrames(self._read, self._write)
        self.by_hand = RowsByHand(self._write, clock)

    # --- opening and closing --------------------------------------------------------------------------------------

    def open(self) -> None:
        """Locks the spool for this process and releases rows that were being sent when the last process ended.

        If the disk can't be written to (full, mounted read-only), the spool opens all the same and refuses datapoints
        until it can be. Raises SpoolInUse (after 15 s), SpoolTooNew, SpoolUnusable.
        """
        self._file.lock()
        try:
            connection, problem = self._file.first_connection()
        except BaseException:
            self._file.unlock()
            raise
        self._writer = Writer(connection, self._file, self._clock, self._report, problem)
        self._writer.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Commits waiting work, empties the write-ahead log, and unlocks the spool."""
        self._file.stop.set()
        self._readers.reset()  # first: the last connection to close is the writer's, which removes the log
        if self._writer is not None and not self._writer.close(timeout_s):
            self._report("spool_close_timed_out", {})
            return  # keep the lock: the writer thread may still write
        self._file.unlock()

    # --- for the camera side --------------------------------------------------------------------------------------

    def check_quota(self, quotas: Sequence[Quota], captured: Moment) -> QuotaAnswer:
        """Whether `put` would find quota: a cheap check before encoding a JPEG. QuotaUnknown if it can't be read."""
        now = self._limits_clock.now()
        cached = self._limits.check(None, quotas, captured, now)
        if not isinstance(cached, QuotaUnknown):
            return cached
        try:
            with self._readers.cursor() as cursor:
                cursor.execute("BEGIN")  # one lock for all queries
                answer = self._limits.check(cursor, quotas, captured, now)
                cursor.execute("COMMIT")
                return answer
        except (*STORAGE_ERRORS, SpoolBroken):
            return QuotaUnknown()

    def put(
        self,
        datapoint: Datapoint,
        candidates: Sequence[Candidate],
        quotas: Sequence[Quota],
        grant: QuotaGranted | QuotaPending | None = None,
        signature: AcceptedSignature | None = None,
        *,
        was_held: bool = False,
    ) -> Accepted | NotAccepted:
        """Stores the datapoint for the first candidate that has quota, and returns after it is on the disk.

        quotas: what each candidate would be charged to, in the same order. grant: the answer of the shared limits, None
        if this device counts alone. An id that was accepted before is not stored again. signature: of the frame, to
        be remembered with it. was_held: it takes the place of a held frame. Raises SpoolFull, SpoolBroken.
        """
        new = NewDatapoint.prepare(datapoint, candidates, quotas, grant, signature, was_held=was_held)

        def work(cursor: sqlite3.Cursor, transaction: space.Transaction) -> Accepted | NotAccepted:
            now = self._limits_clock.now()
            return accept(cursor, transaction, new, limits=self._limits, when_full=self._when_full, now=now)

        return self._open_writer.call(work, size_bytes=new.size_bytes, can_fail=True, accepts=True)

    def signatures(self, stream: str | None, options: str, limit: int) -> StoredSignatures:
        """The newest signatures of a memory of accepted frames, at most `limit`. Raises SpoolBroken.

        stream: None for those of all streams.
        """
        return self._read(lambda cursor: signatures.read(cursor, stream, options, limit))

    def record_thresholds(
        self, stream: str, options: str, threshold: float | None, embedding_threshold: float | None = None
    ) -> None:
        """Stores what `auto` was measured to be, see AcceptedSignature. Raises SpoolBroken, SpoolFull."""
        values = stream, options, threshold, embedding_threshold
        self._open_writer.call(lambda cursor, _: signatures.record_thresholds(cursor, *values), can_fail=True)

    def add_alike(self, counts: Mapping[str, int]) -> None:
        """Adds for how many refused frames accepted ones stand, by id. Returns at once: see `refund_attempts`."""
        self._open_writer.post(lambda cursor, _: alike.add(cursor, counts))

    def batch_left_spool(self, batch: str) -> int:
        """How many datapoints of the batch (by its key) have left the spool or are registered at the sink.

        Call it before asking the platform how many images the batch has, and pass both numbers to
        `record_batch_size`. Raises SpoolBroken.
        """
        return self._read(lambda cursor: batch_size.left_spool_count(cursor, batch))

    def record_batch_size(self, batch: str, images: int, left_spool: int) -> None:
        """Records that the platform has `images` in the batch: `put` counts them from now on.

        left_spool: result of `batch_left_spool` before the platform was asked. Raises SpoolBroken, SpoolFull.
        """

        def work(cursor: sqlite3.Cursor, _: space.Transaction) -> None:
            batch_size.record_platform_size(cursor, batch, images, left_spool, self._clock.now().wall_s)

        self._open_writer.call(work, can_fail=True, after=lambda _: self._limits.clear_cache())

    # --- for the sink side ----------------------------------------------------------------------------------------

    def claim(self, count: int, sink_limits: Sequence[Limit] = (), *, claim_last: Sequence[str] = ()) -> Claim:
        """Claims up to `count` datapoints for delivery. A row that can't be read is buried instead.

        Each one counts as an attempt when this returns and, unless its image is already registered, as one send for
        `sink_limits`. claim_last: ids that are claimed only if no others are. Raises SpoolBroken, SpoolFull.
        """

        def work(cursor: sqlite3.Cursor, transaction: space.Transaction) -> Claim:
            now = self._clock.now()
            return claim_order.claim_in_order(cursor, transaction, count, claim_last, self._limits, sink_limits, now)

        def after(claim: Claim) -> None:
            self._file.sending_ids.update(item.id for item in claim.items)

        return self._open_writer.call(work, can_fail=True, after=after)

    def read_jpeg(self, id: str) -> bytes:
        """The JPEG of a claimed datapoint.

        Raises SpoolBroken if it can't be read. The datapoint is then no longer claimed: it is buried if it is damaged,
        retried in a minute if the disk failed, removed if an operator dropped it. Raises SpoolUnavailable if the spool
        can't be read at this moment; the datapoint is then still claimed.
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
            self._settle(id, lambda _cursor, _row, _transaction: None)  # forget its send as well
            raise SpoolBroken(f"{id} is gone from the spool")
        return jpeg

    def _bury_damaged(self, id: str, why: str) -> None:
        self._report("spool_damaged", {"id": id, "why": why})
        self.bury(id, f"its picture is damaged: {why}")

    def mark_registered(self, id: str, image_id: str) -> None:
        """The sink has the image under `image_id`. The datapoint is claimed again to send the prediction."""
        self._settle(id, lambda cursor, row, _: rows.mark_registered(cursor, row[0], image_id))

    def complete(self, id: str, outcome: FinalOutcome = FinalOutcome.DELIVERED) -> None:
        """Removes a claimed datapoint from the spool.

        A duplicate at the first try is somebody else's image: its quota is refunded. A duplicate after an earlier try
        was delivered by that try and counts as delivered. Raises SpoolBroken.
        """

        def work(cursor: sqlite3.Cursor, row: tuple[int, int, int], _: space.Transaction) -> bool:
            seq, tried = row[0], row[2]
            final = FinalOutcome.DELIVERED if outcome is FinalOutcome.DUPLICATE and tried > 1 else outcome
            if final is FinalOutcome.DUPLICATE:
                self._limits.refund(cursor, id)
            space.remove_row(cursor, seq, final)
            return final is FinalOutcome.DUPLICATE

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
        image_id: str | None = None,
    ) -> None:
        """Schedules a claimed datapoint for another attempt, or buries it if this was the last one.

        retry_at_s: Unix time, at most 24 hours ahead; None: at once. costs_attempt: False if the failure has another
        cause than the datapoint. arrived: False if the sink surely doesn't have what was sent; it then doesn't count
        as sent. refusals: how often the sink has refused it until now, None if unchanged. image_id: the sink's id of
        the image of a registered datapoint, None if unchanged. Raises SpoolBroken.
        """

        def work(cursor: sqlite3.Cursor, row: tuple[int, int, int], transaction: space.Transaction) -> None:
            seq, attempts = row[0], row[1]
            now_s = self._clock.now().wall_s
            at_s = None if retry_at_s is None else min(retry_at_s, now_s + rows.MAX_DELAY_S)
            if not arrived and not rows.is_registered(cursor, seq):
                self._limits.cancel_send(cursor, id)
            if image_id is not None:
                rows.set_image_id(cursor, seq, image_id)
            rows.retry_later(cursor, seq, at_s, why, costs_attempt=costs_attempt, arrived=arrived, refusals=refusals)
            if costs_attempt and attempts >= self._max_attempts:
                rows.bury(cursor, seq, f"{attempts} attempts failed, the last: {why}")
                transaction.events.append(("spool_buried", {"id": id, "why": why}))

        self._settle(id, work)

    def bury(self, id: str, why: str, refund: bool = False) -> None:
        """Keeps a claimed datapoint, but only an operator can retry it. refund: the sink definitely doesn't have it."""

        def work(cursor: sqlite3.Cursor, row: tuple[int, int, int], transaction: space.Transaction) -> bool:
            if refund:
                self._limits.refund(cursor, id)
            rows.bury(cursor, row[0], why)
            transaction.events.append(("spool_buried", {"id": id, "why": why}))
            return refund

        self._settle(id, work)

    def release(self, ids: Sequence[str]) -> None:
        """Returns claimed datapoints of which no byte was sent, as if they had never been claimed."""
        for id in ids:

            def work(cursor: sqlite3.Cursor, row: tuple[int, int, int], _: space.Transaction, id: str = id) -> None:
                if not rows.is_registered(cursor, row[0]):  # the claim of a registered image was no send
                    self._limits.cancel_send(cursor, id)
                rows.release(cursor, row[0])

            self._settle(id, work)

    def refund_attempts(self, ids: Sequence[str]) -> None:
        """Refunds the current attempt of claimed datapoints, because the program is about to end.

        Returns at once: the change is committed as soon as the disk can be written to.
        """

        def work(cursor: sqlite3.Cursor, _: space.Transaction) -> None:
            for id in ids:
                row = rows.find_sending(cursor, id)
                if row is not None:
                    rows.refund_attempt(cursor, row[0])

        if ids:
            self._open_writer.post(work)

    def _settle(self, id: str, work: rows.RowStep) -> None:
        """Ends a claim: calls `work` with the row. Does nothing if an operator has removed the row meanwhile."""

        def settle(cursor: sqlite3.Cursor, transaction: space.Transaction) -> bool:
            row = rows.find_sending(cursor, id)
            refunded = row is not None and bool(work(cursor, row, transaction))
            self._limits.record_send_end(cursor, id, self._clock.now())
            return refunded

        def after(refunded: bool) -> None:
            self._file.sending_ids.discard(id)
            if refunded:  # only then: the callback starts an audit of all charges of the day
                self._limits.clear_cache()
                self._on_refund()

        self._open_writer.call(settle, after=after)

    # --- inspection -----------------------------------------------------------------------------------------------

    def counts(self) -> SpoolCounts:
        """How many rows are in each state, and the space that they use. Raises SpoolBroken."""
        return self._read(lambda cursor: inspect_rows.count_rows(cursor, self.path, self._max_bytes))

    def outcome_counts(self) -> dict[FinalOutcome, int]:
        """How many rows have left with each outcome since the file was created. Raises SpoolBroken."""
        return self._read(inspect_rows.outcome_counts)

    def class_counts(self) -> dict[str, int]:
        """Predicted objects (or labels) of each class in all datapoints ever accepted. Raises SpoolBroken."""
        return self._read(inspect_rows.class_counts)

    def list_rows(self, state: State | None = None, limit: int = 100) -> list[RowInfo]:
        """The oldest `limit` rows of one state, or of all states (None). Raises SpoolBroken."""
        return self._read(lambda cursor: inspect_rows.list_rows(cursor, state, limit))

    def quota_usage(self) -> tuple[AccountUsage, ...]:
        """The quota that is used in the open windows, by account. Raises SpoolBroken."""
        return self._read(lambda cursor: self._limits.usage(cursor, self._limits_clock.now()))

    def _write(self, work: Callable[[sqlite3.Cursor, space.Transaction], T], **how: Any) -> T:
        return self._open_writer.call(work, **how)

    def _read(self, query: Callable[[sqlite3.Cursor], T]) -> T:
        try:
            with self._readers.cursor() as cursor:
                return query(cursor)
        except (*STORAGE_ERRORS, ValueError, TypeError) as error:
            if isinstance(error, STORAGE_ERRORS) and not is_damage(error):
                raise SpoolBroken(f"{self.path} can't be read: {error}") from None
        # The writer repeats the query, and repairs or replaces a damaged file.
        return self._open_writer.call(lambda cursor, _: query(cursor), can_fail=True)

    @property
    def health(self) -> SpoolHealth:
        """Whether the spool works, and why not. Raises SpoolBroken before `open`."""
        return self._open_writer.acceptance.health

    @property
    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise SpoolBroken("the spool is not open")
        return self._writer

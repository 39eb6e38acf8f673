"""Credits of a spool whose limits are shared: what its ledger must be told of them, and what becomes of those that
wait.

A datapoint that waits for its credit is `ready`, as any other, but no worker claims it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from framesift.clock.moment import Moment
from framesift.datapoint import Candidate, Datapoint
from framesift.limits import Quota, QuotaAnswer, QuotaGranted, QuotaPending
from framesift.limits import batch_size as batches
from framesift.limits.local import LocalLimits
from framesift.limits.shared import pending as late
from framesift.limits.shared.pending import UnreportedCharge
from framesift.limits.shared.requests import ChargeRequest, DeviceCharge
from framesift.spool import rows
from framesift.spool.records import FinalOutcome
from framesift.spool.space import Transaction, remove_row


@dataclass(frozen=True, slots=True)
class PendingDecision:
    """What the ledger said of one that waited: granted, or refused for good (None)."""

    request: ChargeRequest
    granted: QuotaGranted | None


class SharedQuota:
    """look, write: how the spool is read, and written in one transaction. All methods raise SpoolBroken; those that
    write, SpoolFull too.
    """

    def __init__(
        self,
        look: Callable[[Callable[[sqlite3.Cursor], Any]], Any],
        write: Callable[..., Any],
        limits: LocalLimits,
    ) -> None:
        self._look = look
        # Whoever asks comes again: nothing needs to wait for a disk that takes nothing now.
        self._write = partial(write, refusable=True)
        self._limits = limits

    def device_id(self) -> str:
        """What this spool is called in a ledger: the file's own name for itself, which no other has."""
        return str(self._look(lambda cursor: cursor.execute("SELECT id FROM identity").fetchone())[0])

    def projects(self) -> tuple[str, ...]:
        """Those whose credits are in the spool."""
        found = self._look(lambda cursor: cursor.execute("SELECT DISTINCT project FROM charge").fetchall())
        return tuple(str(project) for (project,) in found)

    def known_ids(self, ids: Iterable[str]) -> frozenset[str]:
        """Those of the ids that hold a credit here, or wait for one."""
        wanted = json.dumps(list(ids))
        found = self._look(
            lambda cursor: cursor.execute(
                "SELECT id FROM charge WHERE id IN (SELECT value FROM json_each(?))", (wanted,)
            ).fetchall()
        )
        return frozenset(str(id) for (id,) in found)

    def unreported(self, project: str, generation: str, since_s: float, most: int) -> list[UnreportedCharge]:
        """See late.untold."""
        found: list[UnreportedCharge] = self._look(
            lambda cursor: late.unreported_charges(cursor, project, generation, since_s, most)
        )
        return found

    def mark_reported(self, held: Sequence[DeviceCharge], generation: str) -> None:
        """This generation of the ledger's memory knows of these."""
        self._write(lambda cursor, _: late.mark_reported(cursor, held, generation))

    def prune(self, before_s: float) -> None:
        """See LocalLimits.prune_shared."""
        old = "SELECT 1 FROM charge WHERE shared_at_s < ? AND NOT EXISTS"
        old += " (SELECT 1 FROM datapoint WHERE datapoint.id = charge.id) LIMIT 1"
        if self._look(lambda cursor: cursor.execute(old, (before_s,)).fetchone()):
            self._write(lambda cursor, _: self._limits.prune_shared(cursor, before_s))

    def pending(self, project: str, most: int) -> list[ChargeRequest]:
        """Those that wait for a credit, the most valuable first. What can't be read is buried."""
        found: list[ChargeRequest]
        unreadable: list[str]
        found, unreadable = self._look(lambda cursor: late.list_pending(cursor, project, most))
        if not unreadable:
            return found
        self._write(lambda cursor, transaction: _bury(cursor, transaction, unreadable))
        found, _ = self._look(lambda cursor: late.list_pending(cursor, project, most))
        return found

    def apply_decisions(self, settled: Sequence[PendingDecision]) -> int:
        """What was granted may leave; what was refused leaves by the exit `limit`. Says how many had left already: they
        need no credit any more.
        """

        def work(cursor: sqlite3.Cursor, _: Transaction) -> int:
            return sum(not _settle(cursor, one) for one in settled)

        return int(self._write(work, after=lambda _: self._limits.clear_cache()))

    def grant_pending_locally(self) -> int:
        """Nobody shares the limits any more: what waits for a credit has one. Says how many did."""
        shared = "SELECT 1 FROM late UNION ALL SELECT 1 FROM charge WHERE shared_at_s IS NOT NULL LIMIT 1"
        if not self._look(lambda cursor: cursor.execute(shared).fetchone()):
            return 0
        return int(self._write(lambda cursor, _: late.grant_all_locally(cursor)))

    def charged_batches(self, project: str) -> tuple[str, ...]:
        """Keys of the batches to which any credit is charged that is still known."""
        found = self._look(
            lambda cursor: cursor.execute("SELECT DISTINCT batch FROM charge WHERE project = ?", (project,)).fetchall()
        )
        return tuple(str(batch) for (batch,) in found)

    def batch_counts(self, batch: str) -> tuple[int, int]:
        """How many credits were charged to the batch (by its key), and how many of those datapoints are no longer on
        their way.
        """
        found: tuple[int, int] = self._look(
            lambda cursor: (batches.charged_count(cursor, batch), batches.left_spool_count(cursor, batch))
        )
        return found


def charge(
    cursor: sqlite3.Cursor,
    limits: LocalLimits,
    datapoint: Datapoint,
    candidates: Sequence[Candidate],
    quotas: Sequence[Quota],
    grant: QuotaGranted | QuotaPending | None,
    now: Moment,
) -> QuotaAnswer:
    """Writes down which credit the datapoint holds, or that it waits for one.

    grant: what the ledger said; None where the device keeps the count, which then decides here.
    """
    if grant is None:
        return limits.charge(cursor, datapoint.id, quotas, datapoint.captured, now)
    if isinstance(grant, QuotaGranted):
        quota = next(quota for quota in quotas if quota.strategy == grant.strategy)
        limits.record_charge(cursor, datapoint.id, quota, datapoint.captured, now, "shared", grant.shared)
        return grant
    decided = limits.charge(cursor, datapoint.id, grant.local_quotas, datapoint.captured, now, late.GRANTED_BY_NOBODY)
    if isinstance(decided, QuotaGranted):
        written = json.dumps({c.strategy: [c.score, c.tags] for c in reversed(candidates)})
        late.insert_pending(cursor, datapoint.id, quotas, datapoint.captured, written)
    return decided


def _bury(cursor: sqlite3.Cursor, transaction: Transaction, ids: Sequence[str]) -> None:
    why = "it waits for a credit, and what it asked for can't be read"
    for id in ids:
        late.delete_pending(cursor, id)
        row = cursor.execute("SELECT seq FROM datapoint WHERE id = ?", (id,)).fetchone()
        if row is not None:
            rows.bury(cursor, row[0], why)
            transaction.events.append(("spool_damaged", {"id": id, "why": why}))


def _settle(cursor: sqlite3.Cursor, settled: PendingDecision) -> bool:
    """Whether it was still there."""
    id, granted = settled.request.id, settled.granted
    candidates = late.pending_candidates(cursor, id)
    row = cursor.execute("SELECT seq FROM datapoint WHERE id = ?", (id,)).fetchone()
    if candidates is None or row is None:
        return False  # it was evicted, or dropped by hand
    if granted is None or granted.shared is None:
        remove_row(cursor, row[0], FinalOutcome.LIMIT)
        return True
    quota = next(quota for quota in settled.request.quotas if quota.strategy == granted.strategy)
    score, tags = json.loads(candidates)[granted.strategy]
    cursor.execute(
        "UPDATE datapoint SET strategy = ?, score = ?, rank = ?, tags = ?, account = ? WHERE seq = ?",
        (granted.strategy, score, rows.rank(score), json.dumps(tags), quota.account, row[0]),
    )
    late.grant_pending(cursor, id, quota, granted.shared)
    return True

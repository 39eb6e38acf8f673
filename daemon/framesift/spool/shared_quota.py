"""Quota of a spool whose limits are shared: what must be reported to the ledger, and what happens to pending quota.

A datapoint that waits for quota is `ready` like any other, but no worker claims it.
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
from framesift.limits import Quota, QuotaAnswer, QuotaGranted, QuotaPending, batch_size
from framesift.limits.local import LocalLimits
from framesift.limits.shared import pending
from framesift.limits.shared.pending import UnreportedCharge
from framesift.limits.shared.requests import ChargeRequest, DeviceCharge
from framesift.spool import identity, rows
from framesift.spool.records import FinalOutcome
from framesift.spool.space import Transaction, remove_row


@dataclass(frozen=True, slots=True)
class PendingDecision:
    """The ledger's answer to a pending request. granted: None if it was refused for good."""

    request: ChargeRequest
    granted: QuotaGranted | None


class SharedQuota:
    """The charges in the spool, as the ledger of shared limits needs them.

    read, write: run a query, or work in one transaction. All methods raise SpoolBroken; those that write may also raise
    SpoolFull. Any thread may call them while the spool is open.
    """

    def __init__(
        self,
        read: Callable[[Callable[[sqlite3.Cursor], Any]], Any],
        write: Callable[..., Any],
        limits: LocalLimits,
    ) -> None:
        self._read = read
        # Callers repeat their calls: nothing needs to wait for a failing disk.
        self._write = partial(write, can_fail=True)
        self._limits = limits

    def device_id(self) -> str:
        """The unique id of this spool's file. The ledger knows the device under it."""
        return str(self._read(identity.read).id)

    def projects(self) -> tuple[str, ...]:
        """Projects with charges in the spool."""
        found = self._read(lambda cursor: cursor.execute("SELECT DISTINCT project FROM charge").fetchall())
        return tuple(str(project) for (project,) in found)

    def known_ids(self, ids: Iterable[str]) -> frozenset[str]:
        """Those of the ids that have quota in this spool or wait for it."""
        wanted = json.dumps(list(ids))
        found = self._read(
            lambda cursor: cursor.execute(
                "SELECT id FROM charge WHERE id IN (SELECT value FROM json_each(?))", (wanted,)
            ).fetchall()
        )
        return frozenset(str(id) for (id,) in found)

    def unreported(self, project: str, generation: str, since_s: float, most: int) -> list[UnreportedCharge]:
        """At most `most` charges that this generation of the ledger doesn't know: see `pending.unreported_charges`."""
        found: list[UnreportedCharge] = self._read(
            lambda cursor: pending.unreported_charges(cursor, project, generation, since_s, most)
        )
        return found

    def mark_reported(self, charges: Sequence[DeviceCharge], generation: str) -> None:
        """Records that this generation of the ledger knows these charges."""
        self._write(lambda cursor, _: pending.mark_reported(cursor, charges, generation))

    def prune(self, before_s: float) -> None:
        """Deletes charges of shared limits that are older than `before_s`: see `LocalLimits.prune_shared`."""
        old = "SELECT 1 FROM charge WHERE shared_at_s < ? AND NOT EXISTS"
        old += " (SELECT 1 FROM datapoint WHERE datapoint.id = charge.id) LIMIT 1"
        if self._read(lambda cursor: cursor.execute(old, (before_s,)).fetchone()):
            self._write(lambda cursor, _: self._limits.prune_shared(cursor, before_s))

    def pending(self, project: str, most: int) -> list[ChargeRequest]:
        """Datapoints that wait for quota, the highest score first. Those that can't be read are buried."""
        found: list[ChargeRequest]
        unreadable: list[str]
        found, unreadable = self._read(lambda cursor: pending.list_pending(cursor, project, most))
        if not unreadable:
            return found
        self._write(lambda cursor, transaction: _bury(cursor, transaction, unreadable))
        found, _ = self._read(lambda cursor: pending.list_pending(cursor, project, most))
        return found

    def apply_decisions(self, decisions: Sequence[PendingDecision]) -> int:
        """Records granted quota, and removes refused datapoints with the outcome `limit`.

        Returns how many datapoints had left the spool already: they need no quota any more.
        """

        def work(cursor: sqlite3.Cursor, _: Transaction) -> int:
            return sum(not _apply(cursor, one) for one in decisions)

        return int(self._write(work, after=lambda _: self._limits.clear_cache()))

    def grant_pending_locally(self) -> int:
        """Grants all pending quota, because the limits are no longer shared. Returns how many were pending."""
        shared = "SELECT 1 FROM late UNION ALL SELECT 1 FROM charge WHERE shared_at_s IS NOT NULL LIMIT 1"
        if not self._read(lambda cursor: cursor.execute(shared).fetchone()):
            return 0
        return int(self._write(lambda cursor, _: pending.grant_all_locally(cursor)))

    def charged_batches(self, project: str) -> tuple[str, ...]:
        """Keys of the batches with charges in the spool."""
        found = self._read(
            lambda cursor: cursor.execute("SELECT DISTINCT batch FROM charge WHERE project = ?", (project,)).fetchall()
        )
        return tuple(str(batch) for (batch,) in found)

    def batch_counts(self, batch: str) -> tuple[int, int]:
        """(charged, left_spool) of a batch, by its key.

        charged: datapoints charged to it. left_spool: those of them that have left the spool or are registered.
        """
        found: tuple[int, int] = self._read(
            lambda cursor: (batch_size.charged_count(cursor, batch), batch_size.left_spool_count(cursor, batch))
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
    """Records the quota that the datapoint uses, or that it waits for quota.

    grant: the ledger's answer; None if this device counts alone: then it is decided here.
    """
    if grant is None:
        return limits.charge(cursor, datapoint.id, quotas, datapoint.captured, now)
    if isinstance(grant, QuotaGranted):
        quota = next(quota for quota in quotas if quota.strategy == grant.strategy)
        limits.record_charge(cursor, datapoint.id, quota, datapoint.captured, now, "shared", grant.shared)
        return grant
    decided = limits.charge(
        cursor, datapoint.id, grant.local_quotas, datapoint.captured, now, pending.GRANTED_BY_NOBODY
    )
    if isinstance(decided, QuotaGranted):
        written = json.dumps({c.strategy: [c.score, c.tags] for c in reversed(candidates)})
        pending.insert_pending(cursor, datapoint.id, quotas, datapoint.captured, written)
    return decided


def _bury(cursor: sqlite3.Cursor, transaction: Transaction, ids: Sequence[str]) -> None:
    why = "it waits for quota, and its request can't be read"
    for id in ids:
        pending.delete_pending(cursor, id)
        row = cursor.execute("SELECT seq FROM datapoint WHERE id = ?", (id,)).fetchone()
        if row is not None:
            rows.bury(cursor, row[0], why)
            transaction.events.append(("spool_damaged", {"id": id, "why": why}))


def _apply(cursor: sqlite3.Cursor, decision: PendingDecision) -> bool:
    """Returns whether the datapoint was still in the spool."""
    id, granted = decision.request.id, decision.granted
    candidates = pending.pending_candidates(cursor, id)
    row = cursor.execute("SELECT seq FROM datapoint WHERE id = ?", (id,)).fetchone()
    if candidates is None or row is None:
        return False  # it was evicted, or dropped by an operator
    if granted is None or granted.shared is None:
        remove_row(cursor, row[0], FinalOutcome.LIMIT)
        return True
    quota = next(quota for quota in decision.request.quotas if quota.strategy == granted.strategy)
    score, tags = json.loads(candidates)[granted.strategy]
    rows.settle_strategy(cursor, row[0], granted.strategy, score, tags, quota.account)
    pending.grant_pending(cursor, id, quota, granted.shared)
    return True

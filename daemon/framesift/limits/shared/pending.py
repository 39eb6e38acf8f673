"""Credits that a fleet shares, as the device's own rows: those that a ledger granted, and those that are still to be
asked for, because nobody could be asked when the frame was accepted.

Every credit is a row, whoever granted it, so that a ledger which has lost its memory can be told again: `told` is the
generation of its memory that knows of the row. `project`: whose devices share the credit. `shared_at_s`: the Unix time
of the capture by the ledger's clock, which says in whose windows it counts there; NULL where no ledger has granted it.

    put, granted ---------------------------------> shared
    put, nobody could be asked -> nobody, late ---> shared          by a worker, later
                                       |---------> (exit `limit`)   it is refused then
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from framesift.clock.moment import Moment
from framesift.limits import Limit, Quota, SharedCharge, Window
from framesift.limits import clock_steps as steps
from framesift.limits.shared.requests import ChargeRequest, DeviceCharge

GRANTED_BY_NOBODY = "nobody"

TABLES = """
-- What waits for its credit. The moment of its capture; quotas: what it may be charged to, in order; candidates: what
-- the datapoint would be with each.
CREATE TABLE late (
    id         TEXT PRIMARY KEY,
    wall_s     REAL NOT NULL,
    boottime_s REAL NOT NULL,
    boot_id    TEXT NOT NULL,
    quotas     TEXT NOT NULL,
    candidates TEXT NOT NULL
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class UnreportedCharge:
    """A credit that the ledger's memory doesn't know. at_s: wall time of the capture. held: as the ledger would know
    it; its at_s is 0 where no ledger has granted it.
    """

    charge: DeviceCharge
    at_s: float


def insert_charge(
    cursor: sqlite3.Cursor, id: str, quota: Quota, at_s: float, granted_by: str, shared: SharedCharge | None = None
) -> None:
    cursor.execute(
        "INSERT INTO charge (id, account, batch, at_s, granted_by, project, shared_at_s, told)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            id,
            quota.account,
            quota.batch,
            at_s,
            granted_by,
            quota.project,
            None if shared is None else shared.at_s,
            None if shared is None else shared.generation,
        ),
    )


def insert_pending(cursor: sqlite3.Cursor, id: str, quotas: Sequence[Quota], captured: Moment, candidates: str) -> None:
    """It is accepted, charged to `nobody`, and will be asked for later."""
    written = json.dumps([_written(quota) for quota in quotas])
    cursor.execute(
        "INSERT INTO late (id, wall_s, boottime_s, boot_id, quotas, candidates) VALUES (?, ?, ?, ?, ?, ?)",
        (id, captured.wall_s, captured.boottime_s, captured.boot_id, written, candidates),
    )


def pending_candidates(cursor: sqlite3.Cursor, id: str) -> str | None:
    """As `wait` was told; None where it doesn't wait any more."""
    row = cursor.execute("SELECT candidates FROM late WHERE id = ?", (id,)).fetchone()
    return None if row is None else str(row[0])


def grant_pending(cursor: sqlite3.Cursor, id: str, quota: Quota, shared: SharedCharge) -> None:
    """What waited has its credit."""
    cursor.execute(
        "UPDATE charge SET granted_by = 'shared', account = ?, batch = ?, shared_at_s = ?, told = ? WHERE id = ?",
        (quota.account, quota.batch, shared.at_s, shared.generation, id),
    )
    cursor.execute("DELETE FROM late WHERE id = ?", (id,))


def delete_pending(cursor: sqlite3.Cursor, id: str) -> None:
    """A datapoint left the spool: if it waited for a credit, it needs none any more."""
    cursor.execute("DELETE FROM late WHERE id = ?", (id,))
    cursor.execute("DELETE FROM charge WHERE id = ? AND granted_by = ?", (id, GRANTED_BY_NOBODY))


def list_pending(cursor: sqlite3.Cursor, project: str, most: int) -> tuple[list[ChargeRequest], list[str]]:
    """Those that wait for a credit of the project, the most valuable first; and the ids of those of which nobody can
    read what they wait for.
    """
    rows = cursor.execute(
        "SELECT late.id, quotas, candidates, wall_s, boottime_s, late.boot_id FROM late JOIN charge USING (id)"
        " JOIN datapoint USING (id) WHERE charge.project = ? ORDER BY rank DESC, seq LIMIT ?",
        (project, most),
    ).fetchall()
    found: list[ChargeRequest] = []
    unreadable: list[str] = []
    for id, quotas, candidates, *moment in rows:
        try:
            found.append(ChargeRequest(id, _read(quotas, candidates), Moment(*moment)))
        except (ValueError, TypeError, LookupError, AttributeError):  # whatever damage has made of it
            unreadable.append(id)
    return found, unreadable


def unreported_charges(
    cursor: sqlite3.Cursor, project: str, generation: str, since_s: float, most: int
) -> list[UnreportedCharge]:
    """Credits that this generation of the ledger's memory was not told of, but for those that the ledger itself has
    dated before `since_s`. (The device's own dates may be wrong by years.)
    """
    rows = cursor.execute(
        "SELECT id, account, batch, coalesce(shared_at_s, 0), at_s FROM charge"
        " WHERE (shared_at_s IS NULL OR shared_at_s >= ?) AND project = ? AND granted_by <> ? AND told IS NOT ?"
        " LIMIT ?",
        (since_s, project, GRANTED_BY_NOBODY, generation, most),
    ).fetchall()
    return [UnreportedCharge(DeviceCharge(*held), steps.original_time_s(at_s)) for *held, at_s in rows]


def mark_reported(cursor: sqlite3.Cursor, held: Sequence[DeviceCharge], generation: str) -> None:
    cursor.executemany(
        "UPDATE charge SET told = ?, shared_at_s = ? WHERE id = ?", [(generation, one.at_s, one.id) for one in held]
    )


def grant_all_locally(cursor: sqlite3.Cursor) -> int:
    """Nobody shares any more: what waits has been within this device's own limits, and no ledger's clock says when a
    charge is of no more use. Says how many waited.
    """
    adopted = cursor.execute(
        "UPDATE charge SET granted_by = 'local' WHERE granted_by = ?", (GRANTED_BY_NOBODY,)
    ).rowcount
    cursor.execute("UPDATE charge SET shared_at_s = NULL WHERE shared_at_s IS NOT NULL")
    cursor.execute("DELETE FROM late")
    return adopted


def _written(quota: Quota) -> dict[str, object]:
    return {
        "strategy": quota.strategy,
        "limits": [[limit.window.value, limit.value] for limit in quota.limits],
        "batch": quota.batch,
        "max_batch_images": quota.max_batch_images,
        "scope": quota.scope,
        "project": quota.project,
    }


def _read(quotas: str, candidates: str) -> tuple[Quota, ...]:
    """What `wait` wrote; every one of them has a candidate. Raises what damage may lead to."""
    by_strategy = json.loads(candidates)
    found: list[Quota] = []
    for one in json.loads(quotas):
        limits = tuple(Limit(Window(kind), value) for kind, value in one.pop("limits"))
        quota = Quota(limits=limits, **one)
        score, tags = by_strategy[quota.strategy]
        numbers = [limit.value for limit in limits]
        if not all(isinstance(number, int) for number in (*numbers, quota.max_batch_images or 0)):
            raise TypeError("a limit is a whole number")
        if not all(isinstance(text, str) for text in (quota.batch, quota.scope, quota.project, *tags)):
            raise TypeError("names and tags are texts")
        if not isinstance(score, float | int | None):
            raise TypeError("a score is a number")
        found.append(quota)
    return tuple(found)

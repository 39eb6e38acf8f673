"""Charges of shared limits in the device's spool: those of the shared ledger, and those whose quota is pending.

Every charge is a row, whoever granted it, so that a ledger that has lost its data can be restored. Column `told`: the
generation of the ledger that knows the row. `project`: the project whose devices share the limits. `shared_at_s`: Unix
time of the capture by the ledger's clock, which decides the windows there; NULL if no ledger has granted the row.

    accepted, granted ------------------------------> shared
    accepted, ledger unavailable --> pending -------> shared              later, by the reconciler
                                        |-----------> (outcome `limit`)   if the ledger refuses then
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from framesift.clock.moment import Moment
from framesift.limits import Limit, Quota, SharedCharge, Window
from framesift.limits import clock_steps as steps
from framesift.limits.row_checksums import row_checksum
from framesift.limits.shared.requests import ChargeRequest, DeviceCharge

GRANTED_BY_NOBODY = "nobody"

TABLES = """
-- Datapoints whose quota is pending. wall_s, boottime_s, boot_id: the moment of the capture. quotas: what may be
-- charged, in order. candidates: score and tags that the datapoint would get with each of them.
CREATE TABLE late (
    id         TEXT PRIMARY KEY,
    wall_s     REAL NOT NULL,
    boottime_s REAL NOT NULL,
    boot_id    TEXT NOT NULL,
    quotas     TEXT NOT NULL,
    candidates TEXT NOT NULL,
    checksum   BLOB
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class UnreportedCharge:
    """A charge that the current generation of the ledger doesn't know.

    charge: as the ledger would record it; its `at_s` is 0 if no ledger has granted it. at_s: wall time of the capture
    (Unix time, by the device's clock).
    """

    charge: DeviceCharge
    at_s: float


def insert_charge(
    cursor: sqlite3.Cursor, id: str, quota: Quota, at_s: float, granted_by: str, shared: SharedCharge | None = None
) -> None:
    """Inserts the charge of a datapoint. at_s: Unix time of the capture, by the device's clock."""
    cursor.execute(
        "INSERT INTO charge (id, account, batch, at_s, granted_by, project, shared_at_s, told, checksum)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            id,
            quota.account,
            quota.batch,
            at_s,
            granted_by,
            quota.project,
            None if shared is None else shared.at_s,
            None if shared is None else shared.generation,
            charge_checksum(id, quota.account, quota.batch, quota.project),
        ),
    )


def charge_checksum(id: str, account: str, batch: str, project: str) -> bytes:
    """The checksum of a charge: of all that stays the same when the clock is set or the quota is granted."""
    return row_checksum("charge", id, account, batch, project)


def insert_pending(cursor: sqlite3.Cursor, id: str, quotas: Sequence[Quota], captured: Moment, candidates: str) -> None:
    """Records an accepted datapoint as pending. candidates: JSON, for `pending_candidates`.

    Turns are not kept: they have decided which frame was accepted, and what is asked for later is only its quota.
    """
    quotas_json = json.dumps([_to_json(quota) for quota in quotas])
    row = (id, float(captured.wall_s), float(captured.boottime_s), captured.boot_id, quotas_json, candidates)
    cursor.execute(
        "INSERT INTO late (id, wall_s, boottime_s, boot_id, quotas, candidates, checksum) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (*row, row_checksum("late", *row)),
    )


def pending_candidates(cursor: sqlite3.Cursor, id: str) -> str | None:
    """The JSON text that `insert_pending` was given; None if the datapoint is no longer pending."""
    row = cursor.execute("SELECT candidates FROM late WHERE id = ?", (id,)).fetchone()
    return None if row is None else str(row[0])


def grant_pending(cursor: sqlite3.Cursor, id: str, quota: Quota, shared: SharedCharge) -> None:
    """Records that the shared ledger has granted the pending quota of `id`."""
    cursor.execute(
        "UPDATE charge SET granted_by = 'shared', account = ?, batch = ?, project = ?, shared_at_s = ?, told = ?,"
        " checksum = ? WHERE id = ?",
        (
            quota.account,
            quota.batch,
            quota.project,
            shared.at_s,
            shared.generation,
            charge_checksum(id, quota.account, quota.batch, quota.project),
            id,
        ),
    )
    cursor.execute("DELETE FROM late WHERE id = ?", (id,))


def delete_pending(cursor: sqlite3.Cursor, id: str) -> None:
    """Deletes the pending charge of `id`, if there is one. Call it when a datapoint leaves the spool."""
    cursor.execute("DELETE FROM late WHERE id = ?", (id,))
    cursor.execute("DELETE FROM charge WHERE id = ? AND granted_by = ?", (id, GRANTED_BY_NOBODY))


def list_pending(cursor: sqlite3.Cursor, project: str, most: int) -> tuple[list[ChargeRequest], list[str]]:
    """Lists pending datapoints of the project, highest score first.

    Returns the requests, and the ids of rows that are damaged and cannot be read.
    """
    rows = cursor.execute(
        "SELECT late.id, quotas, candidates, wall_s, boottime_s, late.boot_id FROM late JOIN charge USING (id)"
        " JOIN datapoint USING (id) JOIN delivery USING (seq)"
        " WHERE charge.project = ? ORDER BY rank DESC, datapoint.seq LIMIT ?",
        (project, most),
    ).fetchall()
    found: list[ChargeRequest] = []
    unreadable: list[str] = []
    for id, quotas, candidates, *moment in rows:
        try:
            found.append(ChargeRequest(id, _quotas_from_json(quotas, candidates), Moment(*moment)))
        except (ValueError, TypeError, LookupError, AttributeError):  # any error that a damaged row may cause
            unreadable.append(id)
    return found, unreadable


def unreported_charges(
    cursor: sqlite3.Cursor, project: str, generation: str, since_s: float, most: int
) -> list[UnreportedCharge]:
    """Lists at most `most` charges that this generation of the ledger doesn't know.

    Charges of the ledger from before `since_s` (Unix time by its clock) are left out. Charges of the device are not,
    because its clock may be wrong by years.
    """
    rows = cursor.execute(
        "SELECT id, account, batch, coalesce(shared_at_s, 0), at_s FROM charge"
        " WHERE (shared_at_s IS NULL OR shared_at_s >= ?) AND project = ? AND granted_by <> ? AND told IS NOT ?"
        " LIMIT ?",
        (since_s, project, GRANTED_BY_NOBODY, generation, most),
    ).fetchall()
    return [UnreportedCharge(DeviceCharge(*held), steps.original_time_s(at_s)) for *held, at_s in rows]


def mark_reported(cursor: sqlite3.Cursor, charges: Sequence[DeviceCharge], generation: str) -> None:
    """Records that this generation of the ledger knows the charges, and their times by its clock."""
    cursor.executemany(
        "UPDATE charge SET told = ?, shared_at_s = ? WHERE id = ?", [(generation, one.at_s, one.id) for one in charges]
    )


def grant_all_locally(cursor: sqlite3.Cursor) -> int:
    """Grants all pending quota, for a device that no longer shares limits. Returns how many were pending.

    Pending datapoints are within the device's own limits. From now on, the device's clock decides the age of charges.
    """
    granted = cursor.execute(
        "UPDATE charge SET granted_by = 'local' WHERE granted_by = ?", (GRANTED_BY_NOBODY,)
    ).rowcount
    cursor.execute("UPDATE charge SET shared_at_s = NULL WHERE shared_at_s IS NOT NULL")
    cursor.execute("DELETE FROM late")
    return granted


def _to_json(quota: Quota) -> dict[str, object]:
    return {
        "strategy": quota.strategy,
        "limits": [[limit.window.value, limit.value] for limit in quota.limits],
        "batch": quota.batch,
        "max_batch_images": quota.max_batch_images,
        "scope": quota.scope,
        "project": quota.project,
    }


def _quotas_from_json(quotas: str, candidates: str) -> tuple[Quota, ...]:
    """Reads the quotas that `insert_pending` wrote, and checks that each has a candidate.

    Raises ValueError, TypeError, LookupError or AttributeError if the row is damaged.
    """
    by_strategy = json.loads(candidates)
    found: list[Quota] = []
    for one in json.loads(quotas):
        limits = tuple(Limit(Window(kind), value) for kind, value in one.pop("limits"))
        quota = Quota(limits=limits, **one)
        score, tags = by_strategy[quota.strategy]
        numbers = [limit.value for limit in limits]
        if not all(isinstance(number, int) for number in (*numbers, quota.max_batch_images or 0)):
            raise TypeError("a limit must be a whole number")
        if not all(isinstance(text, str) for text in (quota.batch, quota.scope, quota.project, *tags)):
            raise TypeError("names and tags must be texts")
        if not isinstance(score, float | int | None):
            raise TypeError("a score must be a number")
        found.append(quota)
    return tuple(found)

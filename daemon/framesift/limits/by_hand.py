"""Charges that are written without a decision about limits: at an operator's command.

Both functions run in the caller's transaction.
"""

from __future__ import annotations

import sqlite3

from framesift.clock.moment import Moment
from framesift.limits import clock_steps as steps
from framesift.limits.shared import pending


def grant_manually(cursor: sqlite3.Cursor, id: str, account: str, batch: str, project: str | None, now: Moment) -> None:
    """Grants quota to `id` regardless of the limits, unless it has quota. It counts in the windows that are open now.

    account, batch: the keys under which it is counted. project: see Quota.project.
    """
    steps.apply_clock_step(cursor, now)
    cursor.execute(
        "INSERT OR IGNORE INTO charge (id, account, batch, at_s, granted_by, project, checksum)"
        " VALUES (?, ?, ?, ?, 'hand', ?, ?)",
        (id, account, batch, now.wall_s, project or "", pending.charge_checksum(id, account, batch, project or "")),
    )
    steps.record_time(cursor, now)


def bring_charge(
    cursor: sqlite3.Cursor,
    id: str,
    account: str,
    batch: str,
    project: str,
    *,
    captured_at_s: float,
    is_pending: bool,
    now: Moment,
) -> bool:
    """Writes a charge that another file of this device had. Returns False if `id` has one here: it is not changed.

    account, batch, project: as in Quota. captured_at_s: Unix time of the capture. is_pending: no quota was granted yet.
    """
    steps.apply_clock_step(cursor, now)
    granted_by = pending.GRANTED_BY_NOBODY if is_pending else "salvage"
    written = cursor.execute(
        "INSERT OR IGNORE INTO charge (id, account, batch, at_s, granted_by, project, checksum)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *(id, account, batch, steps.original_time_s(captured_at_s), granted_by, project),
            pending.charge_checksum(id, account, batch, project),
        ),
    )
    steps.record_time(cursor, now)
    return written.rowcount == 1

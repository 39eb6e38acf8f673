"""Which rows are claimed next, and in which order.

First come rows that the sink never refused, then those that it refused before, last the ids that the caller wants last.
In each group: first rows of which only the prediction is missing, then the highest score, then the oldest.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from framesift.clock.moment import Moment
from framesift.limits import Limit
from framesift.limits.local import LocalLimits
from framesift.spool import rows
from framesift.spool.delivery import SINK
from framesift.spool.records import Claim, ClaimedDatapoint, State
from framesift.spool.space import Transaction

# :last_ids: the ids that come last, a list in JSON.
_GROUPS = (
    "refusals = 0 AND id NOT IN (SELECT value FROM json_each(:last_ids))",
    "refusals <> 0 AND id NOT IN (SELECT value FROM json_each(:last_ids))",
    "id IN (SELECT value FROM json_each(:last_ids))",
)


def claim_in_order(
    cursor: sqlite3.Cursor,
    transaction: Transaction,
    count: int,
    claim_last: Sequence[str],
    limits: LocalLimits,
    sink_limits: Sequence[Limit],
    now: Moment,
) -> Claim:
    """Claims up to `count` rows, and records their sends where the sink has limits.

    A row that can't be read is buried, and the next one is claimed.

    claim_last: ids that are claimed only if no others are. sink_limits: limits of the sends. Raises sqlite3.Error.
    """
    rows.clear_due_dates(cursor, now.wall_s)
    items: list[ClaimedDatapoint] = []
    until_s: float | None = None
    groups = iter(_GROUPS if claim_last else _GROUPS[:2])
    group = next(groups, None)
    while group is not None:
        registered = _due(cursor, State.REGISTERED, group, count - len(items), claim_last)
        ready = _due(cursor, State.READY, group, count - len(items) - len(registered), claim_last)
        if ready and sink_limits:
            room = limits.send_allowance(cursor, sink_limits, now, len(ready))
            ready = ready[: room.count]
            until_s = room.until_s if until_s is None else until_s
        claimed = [(rows.claim(cursor, seq), seq in ready) for seq in (*registered, *ready)]
        for item, is_send in claimed:
            if isinstance(item, rows.UnreadableRow):
                transaction.events.append(("spool_damaged", {"id": item.id, "why": item.why}))
                continue
            if is_send and sink_limits:
                limits.record_send_start(cursor, item.id, now)
            items.append(item)
        if not any(isinstance(item, rows.UnreadableRow) for item, _ in claimed):
            group = next(groups, None)  # otherwise this group may have more rows
    date_s = rows.next_retry_s(cursor)
    return Claim(tuple(items), min((s for s in (until_s, date_s) if s is not None), default=None))


def _due(cursor: sqlite3.Cursor, state: State, group: str, most: int, last: Sequence[str]) -> list[int]:
    """Rows (seq) of a group that have quota and wait for no retry time."""
    if most <= 0:
        return []
    found = cursor.execute(
        "SELECT delivery.seq FROM delivery INDEXED BY delivery_to_claim JOIN datapoint USING (seq)"
        f" WHERE sink = '{SINK}' AND state = :state AND state <> 'sending' AND next_at_s IS NULL AND {group}"
        " AND EXISTS (SELECT 1 FROM charge WHERE charge.id = datapoint.id AND granted_by <> 'nobody')"
        " ORDER BY rank DESC, delivery.seq LIMIT :most",
        {"state": state.value, "most": most, "last_ids": json.dumps(last)},
    )
    return [seq for (seq,) in found.fetchall()]

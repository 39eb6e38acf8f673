"""Limits of one device, kept as rows in the spool's own database, in the transaction that accepts the datapoint.

What is promised:
1. For every strategy and window, and every batch, charges never exceed the limit, whatever thread or restart they come
   from.
2. A frame refused by a window that is known to be exhausted costs microseconds and no database.
3. A clock that is set, forward or back, once or many times, prints no credits and withholds none for longer than one
   window's length, also when the program is killed in between. Within a boot, what is charged in any time of a window's
   length is at most the limit where the clock was set within it, else twice the limit (an end and a beginning, as the
   calendar has it). For reboots see steps.py.
4. Charging the same id twice charges once; a refund takes back that id's charge only.

Rows are the truth: each charge is a row with the wall time of the capture, as the clock reads now, and a window's use
is a query. So a change of limits or of the zone takes effect at once. Every method with a cursor runs inside the
caller's transaction.
"""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timezone, tzinfo

from framesift.clock.moment import Moment
from framesift.limits import (
    Limit,
    Quota,
    QuotaAnswer,
    QuotaGranted,
    QuotaRefused,
    QuotaUnknown,
    SharedCharge,
    Window,
    window_end,
    window_start,
)
from framesift.limits import batch_size as batches
from framesift.limits import clock_steps as steps
from framesift.limits.shared import pending as late

TABLES = f"""{batches.TABLES}{late.TABLES}
-- One row per datapoint that holds, or held, a credit, or waits for one. at_s: wall time of the capture, in which
-- windows it counts; it moves along when the clock is set, see steps.py. account: whose windows (the strategy, and the
-- policy it is of); batch: what its batch is counted under. granted_by 'nobody': it waits, and counts against what this
-- device may accept without a credit.
-- project, shared_at_s, told: see late.py.
CREATE TABLE charge (
    id          TEXT PRIMARY KEY,
    account     TEXT NOT NULL,
    batch       TEXT NOT NULL,
    at_s        REAL NOT NULL,
    granted_by  TEXT NOT NULL CHECK (granted_by IN ('local', 'shared', 'hand', 'salvage', 'nobody')),
    project     TEXT NOT NULL,
    shared_at_s REAL,
    told        TEXT
) WITHOUT ROWID;
CREATE INDEX charge_by_account ON charge (account, at_s);
CREATE INDEX charge_by_batch ON charge (batch);
CREATE INDEX charge_by_time ON charge (at_s);
CREATE INDEX charge_by_shared_time ON charge (shared_at_s);

-- One row per claim that may have reached the sink, at some time from at_s to until_s (NULL: it is on its way).
CREATE TABLE send (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, at_s REAL NOT NULL, until_s REAL);
CREATE INDEX send_by_time ON send (at_s);
CREATE INDEX send_by_end ON send (until_s);
CREATE INDEX send_by_id ON send (id);

-- What counts in a window beside its own rows, because it isn't known any more. And what is known of steps of the
-- clock, see steps.py.
CREATE TABLE carried (account TEXT NOT NULL, window TEXT NOT NULL, at_s REAL NOT NULL, amount INTEGER NOT NULL);

-- The moment of the last charge or send: a step of the clock is measured against it.
CREATE TABLE seen (
    one INTEGER PRIMARY KEY CHECK (one = 1), wall_s REAL NOT NULL, boottime_s REAL NOT NULL, boot_id TEXT NOT NULL
);
"""

RETENTION_S = 48 * 3600.0  # how long rows are kept after their day has ended, for frames that are charged late
STABLE_CLOCK_S = (
    3600.0  # nothing is pruned until the clock has gone so long without a step: it may be about to step back
)

# Accounts: the sink's sends, each strategy's charges, and what holds for every one of them.
_SINK = "sink"
_STRATEGY = "strategy "
_EVERY = "every"
EXHAUSTED = 1 << 40  # more than any limit: a window of which nobody knows how much is left


@dataclass(frozen=True, slots=True)
class SendAllowance:
    """How many more may be sent now. until_s: Unix time at which there may be more room, None if it isn't short."""

    count: int
    until_s: float | None


@dataclass(frozen=True, slots=True)
class AccountUsage:
    """Credits used of one account (a strategy of a policy) in the window that is open."""

    account: str
    window: Window
    count: int
    until_s: float


@dataclass(frozen=True, slots=True)
class _Exhausted:
    """Captures between these two have no room, by a clock that has not been set since it was learned."""

    start_s: float
    end_s: float
    learned: Moment

    def holds(self, at_s: float, now: Moment) -> bool:
        same_clock = self.learned.boot_id == now.boot_id and steps.step_between_s(self.learned, now) == 0.0
        return same_clock and self.start_s <= at_s < self.end_s


@dataclass(frozen=True, slots=True)
class _Obstacle:
    """What leaves no room: one of the limits, or max_batch_images."""

    what: Limit | int
    exhausted: _Exhausted


class LocalLimits:
    """zone: whose calendar the windows follow."""

    def __init__(self, zone: tzinfo = timezone.utc) -> None:
        self.zone = zone
        self._lock = threading.Lock()
        # (account, limit) or (batch, maximum) -> when it has no room. Cleared by every refund.
        self._exhausted: dict[tuple[str, Limit | int], _Exhausted] = {}
        self._refunds = 0
        self._steady_since: Moment | None = None

    # --- before encoding ------------------------------------------------------------------------------------------

    def check(
        self, cursor: sqlite3.Cursor | None, quotas: Sequence[Quota], captured: Moment, now: Moment
    ) -> QuotaAnswer:
        """Whether a charge would be granted now. Without a cursor only what is known by heart: Unknown is then also
        the answer where it would have to look, and with one where the clock was set: only `charge` can tell then.
        """
        at_s = captured.wall_s_as_of(now)
        refunds = self._refunds
        batch_full = False
        for quota in quotas:
            known = self._by_heart(quota, at_s, now)
            if known is None:
                if cursor is None or (quota.limits and steps.has_clock_step(cursor, now)):
                    return QuotaUnknown()
                obstacle = self._obstacle(cursor, quota, at_s, now)
                if obstacle is None:
                    return QuotaGranted(quota.strategy)
                known = obstacle.what
                self._learn(quota, obstacle, refunds)
            batch_full |= known == quota.max_batch_images
        return QuotaRefused(batch_full)

    def clear_cache(self) -> None:
        """To be called after a refund is committed, or the database was replaced: windows may have room again."""
        with self._lock:
            self._refunds += 1
            self._exhausted.clear()

    def _by_heart(self, quota: Quota, at_s: float, now: Moment) -> Limit | int | None:
        with self._lock:
            for limit in quota.limits:
                known = self._exhausted.get((quota.account, limit))
                if known is not None and known.holds(at_s, now):
                    return limit
            if quota.max_batch_images is not None and (quota.batch, quota.max_batch_images) in self._exhausted:
                return quota.max_batch_images
        return None

    def _learn(self, quota: Quota, obstacle: _Obstacle, refunds: int) -> None:
        account = quota.account if isinstance(obstacle.what, Limit) else quota.batch
        with self._lock:
            # A refund that was committed after the look would be forgotten here for the rest of the window.
            if refunds != self._refunds:
                return
            if len(self._exhausted) > 1000:
                self._exhausted.clear()
            self._exhausted[account, obstacle.what] = obstacle.exhausted

    # --- in the transaction that accepts --------------------------------------------------------------------------

    def charge(
        self,
        cursor: sqlite3.Cursor,
        id: str,
        quotas: Sequence[Quota],
        captured: Moment,
        now: Moment,
        granted_by: str = "local",
    ) -> QuotaAnswer:
        """Charges the first strategy that has room in all its windows and its batch; otherwise nobody."""
        self.apply_clock_step(cursor, now)
        charged = cursor.execute("SELECT account FROM charge WHERE id = ?", (id,)).fetchone()
        for quota in quotas:
            if charged == (quota.account,):
                return QuotaGranted(quota.strategy)
        at_s = captured.wall_s_as_of(now)
        batch_full = False
        for quota in quotas:
            obstacle = self._obstacle(cursor, quota, at_s, now)
            if obstacle is None:
                self.record_charge(cursor, id, quota, captured, now, granted_by)
                return QuotaGranted(quota.strategy)
            batch_full |= obstacle.what == quota.max_batch_images
        return QuotaRefused(batch_full)

    def record_charge(
        self,
        cursor: sqlite3.Cursor,
        id: str,
        quota: Quota,
        captured: Moment,
        now: Moment,
        granted_by: str,
        shared: SharedCharge | None = None,
    ) -> None:
        """Writes down a credit that was granted, here or elsewhere."""
        self.apply_clock_step(cursor, now)
        late.insert_charge(cursor, id, quota, captured.wall_s_as_of(now), granted_by, shared)
        steps.record_time(cursor, now)

    def refund(self, cursor: sqlite3.Cursor, id: str) -> None:
        """Takes the charge of `id` back, from the windows it was charged to. Call `forget` after the commit."""
        cursor.execute("DELETE FROM charge WHERE id = ?", (id,))

    def _obstacle(self, cursor: sqlite3.Cursor, quota: Quota, at_s: float, now: Moment) -> _Obstacle | None:
        """What leaves no room, None if there is room."""
        for limit in quota.limits:
            count, until_s = self._count(cursor, _STRATEGY + quota.account, limit.window, at_s, now)
            if count >= limit.value:
                start_s = window_start(limit.window, at_s, self.zone)
                return _Obstacle(limit, _Exhausted(start_s, until_s, now))
        most = quota.max_batch_images
        if most is not None and batches.batch_size(cursor, quota.batch) >= most:
            return _Obstacle(most, _Exhausted(float("-inf"), float("inf"), now))
        return None

    def _count(
        self, cursor: sqlite3.Cursor, account: str, window: Window, at_s: float, now: Moment
    ) -> tuple[int, float]:
        """How much counts in the window of a capture at `at_s`, and until when it won't be less, see steps.Span."""
        span = steps.counted_span(cursor, window, at_s, now, self.zone)
        count = _dated(cursor, account, window, span.start_s, span.end_s)
        if account == _SINK:
            # What has not ended may arrive in it, whenever it began.
            under_way = "SELECT count(*) FROM send WHERE until_s IS NULL AND NOT (at_s >= ? AND at_s < ?)"
            count += cursor.execute(under_way, (span.start_s, span.end_s)).fetchone()[0]
        for apart in span.quarantined:
            # What an earlier boot began and this one has ended counts by its end.
            count += _dated(cursor, account, window, apart.start_s, apart.end_s, apart.start_s)
            count += EXHAUSTED * (_dated(cursor, account, window, apart.blocked_from_s, apart.blocked_until_s) > 0)
        return count, span.until_s

    # --- the sink's own brake -------------------------------------------------------------------------------------

    def send_allowance(self, cursor: sqlite3.Cursor, limits: Sequence[Limit], now: Moment, most: int) -> SendAllowance:
        """How many of `most` may be sent now under the sink's limits."""
        self.apply_clock_step(cursor, now)
        used = [self._count(cursor, _SINK, limit.window, now.wall_s, now) for limit in limits]
        left = [(limit.value - count, until_s) for limit, (count, until_s) in zip(limits, used, strict=True)]
        count = max(0, min([most, *(n for n, _ in left)]))
        # Once these are sent there is no room before all the windows that they fill have opened again.
        filled = [until_s for n, until_s in left if n <= count and n < most]
        return SendAllowance(count, max(filled, default=None))

    def record_send_start(self, cursor: sqlite3.Cursor, id: str, now: Moment) -> None:
        """Records that `id` may reach the sink from now on, until `sent`."""
        self.apply_clock_step(cursor, now)
        cursor.execute("INSERT INTO send (id, at_s) VALUES (?, ?)", (id, now.wall_s))
        steps.record_time(cursor, now)

    def record_send_end(self, cursor: sqlite3.Cursor, id: str | None, now: Moment) -> None:
        """Records that `id` (None: whatever was on its way when the program ended) reaches the sink no more."""
        self.apply_clock_step(cursor, now)
        which = "until_s IS NULL" if id is None else "until_s IS NULL AND id = ?2"
        cursor.execute(f"UPDATE send SET until_s = ?1 WHERE {which}", (now.wall_s,) if id is None else (now.wall_s, id))

    def cancel_send(self, cursor: sqlite3.Cursor, id: str) -> None:
        """Takes the last record of `id` back: it was not sent after all."""
        cursor.execute("DELETE FROM send WHERE seq = (SELECT max(seq) FROM send WHERE id = ?)", (id,))

    # --- steps of the clock ---------------------------------------------------------------------------------------

    def apply_clock_step(self, cursor: sqlite3.Cursor, now: Moment) -> None:
        """Dates all rows by the clock as it reads now. Every other method that writes or decides does so first."""
        stepped = steps.apply_clock_step(cursor, now)
        if stepped or self._steady_since is None or self._steady_since.boot_id != now.boot_id:
            self._steady_since = now

    def exhaust_open_windows(self, cursor: sqlite3.Cursor, now: Moment) -> None:
        """Leaves no room for anybody in the windows that are open: what was charged to them isn't known any more."""
        self.apply_clock_step(cursor, now)
        for window in Window:
            cursor.execute(
                "INSERT INTO carried (account, window, at_s, amount) VALUES (?, ?, ?, ?)",
                (_EVERY, window.value, now.wall_s, EXHAUSTED),
            )
        steps.record_time(cursor, now)

    # --- housekeeping and looking ---------------------------------------------------------------------------------

    def prune(self, cursor: sqlite3.Cursor, now: Moment, most: int = 500) -> int:
        """Deletes at most `most` charges and sends that no window needs any more; says how many charges went.

        Charges of datapoints that are still in the spool stay: they are the permission to leave.
        """
        self.apply_clock_step(cursor, now)
        steps.release_quarantined(cursor, now)
        if self._steady_since is None or self._steady_since.age_s(now) < STABLE_CLOCK_S:
            return 0
        before_s = window_start(Window.DAILY, now.wall_s, self.zone) - RETENTION_S
        # What a ledger has dated is for `prune_shared`: this clock may have been wrong when it was charged, or be now.
        old = _forget(cursor, "shared_at_s IS NULL AND at_s < ?", before_s, most)
        batches.prune(cursor, now.wall_s)
        cursor.execute(
            "DELETE FROM send WHERE seq IN (SELECT seq FROM send WHERE at_s < ? ORDER BY at_s LIMIT ?)",
            (before_s, most),
        )
        cursor.execute("DELETE FROM carried WHERE at_s < ?", (before_s,))
        return old

    def prune_shared(self, cursor: sqlite3.Cursor, before_s: float, most: int = 500) -> int:
        """The same for charges of which a ledger knows, by its clock: no audit asks for those before `before_s`."""
        return _forget(cursor, "shared_at_s < ?", before_s, most)

    def usage(self, cursor: sqlite3.Cursor, now: Moment) -> tuple[AccountUsage, ...]:
        """Credits used of every account in the windows that are open now."""
        day = steps.counted_span(cursor, Window.DAILY, now.wall_s, now, self.zone)
        accounts = cursor.execute(
            "SELECT DISTINCT account FROM charge WHERE at_s >= ? ORDER BY account", (day.start_s,)
        ).fetchall()
        return tuple(
            AccountUsage(
                account,
                window,
                self._count(cursor, _STRATEGY + account, window, now.wall_s, now)[0],
                window_end(window, now.wall_s, self.zone),
            )
            for (account,) in accounts
            for window in Window
        )


def grant_manually(cursor: sqlite3.Cursor, id: str, account: str, batch: str, project: str | None, now: Moment) -> None:
    """Somebody overrides the limits for `id`, unless it holds a credit; it counts in the windows that are open now."""
    steps.apply_clock_step(cursor, now)
    cursor.execute(
        "INSERT OR IGNORE INTO charge (id, account, batch, at_s, granted_by, project) VALUES (?, ?, ?, ?, 'hand', ?)",
        (id, account, batch, now.wall_s, project or ""),
    )
    steps.record_time(cursor, now)


def _dated(
    cursor: sqlite3.Cursor, account: str, window: Window, start_s: float, end_s: float, ended_s: float = -math.inf
) -> int:
    """How much is dated from start_s to before end_s, and counts in such windows of the account. ended_s: sends that
    have ended before then don't count.
    """
    if account == _SINK:
        # What began before the window and ended in it may have arrived in it: it counts in both.
        own = cursor.execute(
            "SELECT (SELECT count(*) FROM send WHERE at_s >= ?1 AND at_s < ?2 AND coalesce(until_s, ?3) >= ?3)"
            " + (SELECT count(*) FROM send WHERE until_s >= ?1 AND until_s < ?2 AND NOT (at_s >= ?1 AND at_s < ?2))",
            (start_s, end_s, ended_s),
        ).fetchone()[0]
    else:
        own = cursor.execute(
            "SELECT count(*) FROM charge WHERE account = ? AND at_s >= ? AND at_s < ?",
            (account.removeprefix(_STRATEGY), start_s, end_s),
        ).fetchone()[0]
    beside = cursor.execute(
        "SELECT coalesce(sum(amount), 0) FROM carried"
        " WHERE account IN (?, ?) AND window = ? AND at_s >= ? AND at_s < ?",
        (account, _EVERY, window.value, start_s, end_s),
    ).fetchone()[0]
    return int(own + beside)


def _forget(cursor: sqlite3.Cursor, old: str, before_s: float, most: int) -> int:
    """Deletes charges of datapoints that are gone, which their batches remember. Says how many."""
    found = cursor.execute(
        f"SELECT id, batch FROM charge WHERE {old} AND NOT EXISTS"
        " (SELECT 1 FROM datapoint WHERE datapoint.id = charge.id) ORDER BY at_s LIMIT ?",
        (before_s, most),
    ).fetchall()
    for id, batch in found:
        cursor.execute("DELETE FROM charge WHERE id = ?", (id,))
        batches.record_pruned_charge(cursor, batch)
    return len(found)

"""Limits of one device. Charges are rows in the spool's database, written in the transaction that accepts a datapoint.

Guarantees:
1. For every strategy and window, and every batch, charges never exceed the limit, across threads and restarts.
2. A frame that is refused because a window is known to be exhausted costs microseconds and no database query.
3. Setting the clock, forward or back, once or often, neither creates extra quota nor withholds quota for longer than
   one window's length, also when the program is killed in between. Within one boot, the charges in any period of one
   window's length are at most the limit if the clock was set in that period, else at most twice the limit (the end of
   one calendar window and the beginning of the next). For reboots see clock_steps.py.
4. Charging the same id twice charges once. A refund removes the charge of that id only.

The rows are the only record: a charge is a row with the wall time of its capture, by the clock as it reads now, and the
usage of a window is a query. So a change of the limits or of the time zone takes effect at once. Every method that
takes a cursor runs inside the caller's transaction.
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
    Turns,
    Window,
    window_end,
    window_start,
)
from framesift.limits import batch_size as batches
from framesift.limits import clock_steps as steps
from framesift.limits.clock_steps import ClockMarkers
from framesift.limits.shared import pending
from framesift.limits.tables import TABLES as TABLES

RETENTION_S = 48 * 3600.0  # how long rows are kept after the end of their day, for frames that are charged later
STABLE_CLOCK_S = 3600.0  # rows are pruned only after this time without a clock step: the clock may step back soon

# Accounts of the table `carried`: sends to the sink, charges of a strategy (prefix), and all accounts together.
_SINK = "sink"
_STRATEGY = "strategy "
_EVERY = "every"
# What counts in a window: charges of a strategy, or sends, and the carried amounts.
_CHARGES = "SELECT count(*) FROM charge WHERE account = :charged AND at_s >= :start_s AND at_s < :end_s"
# A send that began before the window and ended in it may have arrived in it: it counts in both windows.
_SENDS = (
    "(SELECT count(*) FROM send WHERE at_s >= :start_s AND at_s < :end_s AND coalesce(until_s, :ended_s) >= :ended_s)"
    " + (SELECT count(*) FROM send WHERE until_s >= :start_s AND until_s < :end_s"
    " AND NOT (at_s >= :start_s AND at_s < :end_s))"
)
_CARRIED = (
    "SELECT coalesce(sum(amount), 0) FROM carried"
    " WHERE account IN (:account, :every) AND window = :window AND at_s >= :start_s AND at_s < :end_s"
)
EXHAUSTED = 1 << 40  # more than any limit: for a window whose usage is unknown


@dataclass(frozen=True, slots=True)
class SendAllowance:
    """How many datapoints may be sent now under the sink's limits.

    until_s: Unix time at which more may be sent, None if the limits don't restrict it now.
    """

    count: int
    until_s: float | None


@dataclass(frozen=True, slots=True)
class AccountUsage:
    """Charges of one account (a strategy of a policy) in the window that is open until `until_s` (Unix time)."""

    account: str
    window: Window
    count: int
    until_s: float


@dataclass(frozen=True, slots=True)
class _Exhausted:
    """There is no room for captures from start_s to before end_s, while the clock has not been set since `noted_at`."""

    start_s: float
    end_s: float
    noted_at: Moment

    def applies(self, at_s: float, now: Moment) -> bool:
        same_clock = self.noted_at.boot_id == now.boot_id and steps.step_between_s(self.noted_at, now) == 0.0
        return same_clock and self.start_s <= at_s < self.end_s


@dataclass(frozen=True, slots=True)
class _Obstacle:
    """The limit (or max_batch_images) that leaves no room, and for which captures; for turns None: one is due soon."""

    limit: Limit | int | Turns
    exhausted: _Exhausted | None


class LocalLimits:
    """Checks, charges and refunds quota in the spool's database.

    zone: the time zone whose calendar the windows follow; it may be replaced at any time. `check` and `clear_cache` may
    be called from any thread, everything else from the thread that writes the spool.
    """

    def __init__(self, zone: tzinfo = timezone.utc) -> None:
        self.zone = zone
        self._lock = threading.Lock()
        # Cache: (account, limit) or (batch, maximum) -> the captures for which there is no room. Refunds clear it.
        self._exhausted: dict[tuple[str, Limit | int | Turns], _Exhausted] = {}
        self._refunds = 0
        self._clock_stable_since: Moment | None = None

    # --- before encoding ------------------------------------------------------------------------------------------

    def check(
        self, cursor: sqlite3.Cursor | None, quotas: Sequence[Quota], captured: Moment, now: Moment
    ) -> QuotaAnswer:
        """Tells whether a charge would be granted now, without charging.

        Without a cursor it uses the cache only, and answers QuotaUnknown where a query would be needed. With a cursor
        it answers QuotaUnknown if the clock was set: only `charge`, which may write, can decide then.
        """
        at_s = captured.wall_s_as_of(now)
        refunds = self._refunds
        batch_full = no_turn = False
        markers: ClockMarkers | None = None
        for quota in quotas:
            exhausted: Limit | int | Turns | None = self._find_exhausted(quota, at_s, now)
            if exhausted is None:
                if cursor is None:
                    return QuotaUnknown()
                if quota.limits and markers is None:  # without limits there is nothing to ask a disk that may fail
                    if steps.has_clock_step(cursor, now):
                        return QuotaUnknown()
                    markers = ClockMarkers.read(cursor)
                obstacle = self._obstacle(cursor, markers or ClockMarkers(), quota, at_s, now)
                if obstacle is None:
                    return QuotaGranted(quota.strategy)
                exhausted = obstacle.limit
                self._cache(quota, obstacle, refunds)
            batch_full |= exhausted == quota.max_batch_images
            no_turn |= exhausted == quota.turns
        return QuotaRefused(batch_full, no_turn)

    def clear_cache(self) -> None:
        """Forgets which windows are exhausted. Call it after a refund is committed or the database was replaced."""
        with self._lock:
            self._refunds += 1
            self._exhausted.clear()

    def _find_exhausted(self, quota: Quota, at_s: float, now: Moment) -> Limit | int | None:
        account = quota.account
        with self._lock:
            for limit in quota.limits:
                exhausted = self._exhausted.get((account, limit))
                if exhausted is not None and exhausted.applies(at_s, now):
                    return limit
            if quota.max_batch_images is not None and (quota.batch, quota.max_batch_images) in self._exhausted:
                return quota.max_batch_images
        return None

    def _cache(self, quota: Quota, obstacle: _Obstacle, refunds: int) -> None:
        account = quota.account if isinstance(obstacle.limit, Limit) else quota.batch
        with self._lock:
            # If a refund was committed after the query, caching would hide it for the rest of the window.
            if refunds != self._refunds or obstacle.exhausted is None:
                return
            if len(self._exhausted) > 1000:
                self._exhausted.clear()
            self._exhausted[account, obstacle.limit] = obstacle.exhausted

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
        """Charges the first strategy that has room in all its windows and its batch, or none.

        id: of the datapoint. captured: when its frame was captured. granted_by: a value of the column `granted_by`.
        """
        self.apply_clock_step(cursor, now)
        charged = cursor.execute("SELECT account FROM charge WHERE id = ?", (id,)).fetchone()
        for quota in quotas:
            if charged == (quota.account,):
                return QuotaGranted(quota.strategy)
        at_s = captured.wall_s_as_of(now)
        batch_full = no_turn = False
        markers = ClockMarkers.read(cursor)
        for quota in quotas:
            obstacle = self._obstacle(cursor, markers, quota, at_s, now)
            if obstacle is None:
                self.record_charge(cursor, id, quota, captured, now, granted_by)
                return QuotaGranted(quota.strategy)
            batch_full |= obstacle.limit == quota.max_batch_images
            no_turn |= obstacle.limit == quota.turns
        return QuotaRefused(batch_full, no_turn)

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
        """Records a charge that was granted here or by the shared ledger."""
        self.apply_clock_step(cursor, now)
        pending.insert_charge(cursor, id, quota, captured.wall_s_as_of(now), granted_by, shared)
        steps.record_time(cursor, now)

    def refund(self, cursor: sqlite3.Cursor, id: str) -> None:
        """Removes the charge of `id` from the windows and the batch. Call `clear_cache` after the commit."""
        cursor.execute("DELETE FROM charge WHERE id = ?", (id,))

    def _obstacle(
        self, cursor: sqlite3.Cursor, markers: ClockMarkers, quota: Quota, at_s: float, now: Moment
    ) -> _Obstacle | None:
        """The first limit that leaves no room for a capture at `at_s`, None if there is room."""
        for limit in quota.limits:
            count, until_s = self._count(cursor, markers, _STRATEGY + quota.account, limit.window, at_s, now)
            if count >= limit.value:
                start_s = window_start(limit.window, at_s, self.zone)
                return _Obstacle(limit, _Exhausted(start_s, until_s, now))
        most = quota.max_batch_images
        if most is not None and batches.batch_size(cursor, quota.batch) >= most:
            return _Obstacle(most, _Exhausted(float("-inf"), float("inf"), now))
        if quota.turns is not None and not self._is_due(cursor, markers, quota.account, quota.turns, at_s, now):
            return _Obstacle(quota.turns, None)
        return None

    def _is_due(
        self, cursor: sqlite3.Cursor, markers: ClockMarkers, account: str, turns: Turns, at_s: float, now: Moment
    ) -> bool:
        window = turns.limit.window
        used, _ = self._count(cursor, markers, _STRATEGY + account, window, at_s, now)
        start_s = window_start(window, at_s, self.zone)
        return turns.is_due(used, now.wall_s - start_s, window_end(window, at_s, self.zone) - start_s)

    def _count(
        self, cursor: sqlite3.Cursor, markers: ClockMarkers, account: str, window: Window, at_s: float, now: Moment
    ) -> tuple[int, float]:
        """The usage of the window of a capture at `at_s`, and until when it cannot become less, see CountedSpan."""
        span = steps.counted_span(markers, window, at_s, now, self.zone)
        count = _count_dated(cursor, account, window, span.start_s, span.end_s)
        if account == _SINK:
            # An attempt that is still running may arrive in this window, whenever it began.
            running = "SELECT count(*) FROM send WHERE until_s IS NULL AND NOT (at_s >= ? AND at_s < ?)"
            count += cursor.execute(running, (span.start_s, span.end_s)).fetchone()[0]
        for old in span.quarantined:
            # A send that an earlier boot began and this one has ended counts by its end.
            count += _count_dated(cursor, account, window, old.start_s, old.end_s, old.start_s)
            count += EXHAUSTED * (_count_dated(cursor, account, window, old.blocked_from_s, old.blocked_until_s) > 0)
        return count, span.until_s

    # --- limits of the sink ---------------------------------------------------------------------------------------

    def send_allowance(self, cursor: sqlite3.Cursor, limits: Sequence[Limit], now: Moment, most: int) -> SendAllowance:
        """Tells how many datapoints, at most `most`, may be sent now under the sink's `limits`."""
        self.apply_clock_step(cursor, now)
        markers = ClockMarkers.read(cursor)
        used = [self._count(cursor, markers, _SINK, limit.window, now.wall_s, now) for limit in limits]
        left = [(limit.value - count, until_s) for limit, (count, until_s) in zip(limits, used, strict=True)]
        count = max(0, min([most, *(n for n, _ in left)]))
        # After these there is no room until all windows that they fill have been replaced by new ones.
        filled = [until_s for n, until_s in left if n <= count and n < most]
        return SendAllowance(count, max(filled, default=None))

    def record_send_start(self, cursor: sqlite3.Cursor, id: str, now: Moment) -> None:
        """Records that the datapoint `id` may reach the sink from now on, until `record_send_end`."""
        self.apply_clock_step(cursor, now)
        cursor.execute("INSERT INTO send (id, at_s) VALUES (?, ?)", (id, now.wall_s))
        steps.record_time(cursor, now)

    def record_send_end(self, cursor: sqlite3.Cursor, id: str | None, now: Moment) -> None:
        """Records that the attempt to send `id` has ended (None: all attempts that ran when the program ended)."""
        self.apply_clock_step(cursor, now)
        which = "until_s IS NULL" if id is None else "until_s IS NULL AND id = :id"
        cursor.execute(f"UPDATE send SET until_s = :now_s WHERE {which}", {"now_s": now.wall_s, "id": id})

    def cancel_send(self, cursor: sqlite3.Cursor, id: str) -> None:
        """Removes the last attempt to send `id` from the records: it was not sent."""
        cursor.execute(
            "DELETE FROM send WHERE seq = (SELECT max(seq) FROM send WHERE until_s IS NULL AND id = ?)", (id,)
        )

    # --- steps of the clock ---------------------------------------------------------------------------------------

    def apply_clock_step(self, cursor: sqlite3.Cursor, now: Moment) -> None:
        """Corrects the times of all rows if the clock was set. Every method that writes or decides calls it first."""
        stepped = steps.apply_clock_step(cursor, now)
        since = self._clock_stable_since
        if stepped or since is None or since.boot_id != now.boot_id:
            self._clock_stable_since = now

    def exhaust_open_windows(self, cursor: sqlite3.Cursor, now: Moment) -> None:
        """Marks all open windows as exhausted, because their charges were lost."""
        self.apply_clock_step(cursor, now)
        for window in Window:
            cursor.execute(
                "INSERT INTO carried (account, window, at_s, amount) VALUES (?, ?, ?, ?)",
                (_EVERY, window.value, now.wall_s, EXHAUSTED),
            )
        steps.record_time(cursor, now)

    # --- maintenance and reports ----------------------------------------------------------------------------------

    def prune(self, cursor: sqlite3.Cursor, now: Moment, most: int = 500) -> int:
        """Deletes at most `most` charges and sends that no window needs any more. Returns how many charges.

        Charges of datapoints that are still in the spool stay: without one, a datapoint may not leave.
        """
        self.apply_clock_step(cursor, now)
        steps.release_quarantined(cursor, now)
        if self._clock_stable_since is None or self._clock_stable_since.age_s(now) < STABLE_CLOCK_S:
            return 0
        before_s = window_start(Window.DAILY, now.wall_s, self.zone) - RETENTION_S
        # Charges of the shared ledger are for `prune_shared`: this device's clock may be wrong, now or at the charge.
        deleted = _delete_old(cursor, "shared_at_s IS NULL AND at_s < ?", before_s, most)
        batches.prune(cursor, now.wall_s)
        cursor.execute(
            "DELETE FROM send WHERE seq IN (SELECT seq FROM send WHERE at_s < ? ORDER BY at_s LIMIT ?)",
            (before_s, most),
        )
        cursor.execute("DELETE FROM carried WHERE at_s < ?", (before_s,))
        return deleted

    def prune_shared(self, cursor: sqlite3.Cursor, before_s: float, most: int = 500) -> int:
        """Deletes charges of the shared ledger from before `before_s` (Unix time by its clock). Returns how many."""
        return _delete_old(cursor, "shared_at_s < ?", before_s, most)

    def usage(self, cursor: sqlite3.Cursor, now: Moment) -> tuple[AccountUsage, ...]:
        """Reads the charges of every account in the windows that are open now."""
        markers = ClockMarkers.read(cursor)
        day = steps.counted_span(markers, Window.DAILY, now.wall_s, now, self.zone)
        accounts = cursor.execute(
            "SELECT DISTINCT account FROM charge WHERE at_s >= ? ORDER BY account", (day.start_s,)
        ).fetchall()
        return tuple(
            AccountUsage(
                account,
                window,
                self._count(cursor, markers, _STRATEGY + account, window, now.wall_s, now)[0],
                window_end(window, now.wall_s, self.zone),
            )
            for (account,) in accounts
            for window in Window
        )


def _count_dated(
    cursor: sqlite3.Cursor, account: str, window: Window, start_s: float, end_s: float, ended_s: float = -math.inf
) -> int:
    """Counts the rows of the account from start_s to before end_s, with the carried amounts of such windows.

    ended_s: sends that ended before this time don't count.
    """
    query = f"SELECT ({_SENDS if account == _SINK else _CHARGES}) + ({_CARRIED})"
    values = {
        "charged": account.removeprefix(_STRATEGY),
        "account": account,
        "every": _EVERY,
        "window": window.value,
        "start_s": start_s,
        "end_s": end_s,
        "ended_s": ended_s,
    }
    return int(cursor.execute(query, values).fetchone()[0])


def _delete_old(cursor: sqlite3.Cursor, condition: str, before_s: float, most: int) -> int:
    """Deletes charges of datapoints that have left the spool; their batches keep counting them. Returns how many."""
    found = cursor.execute(
        f"SELECT id, batch FROM charge WHERE {condition} AND NOT EXISTS"
        " (SELECT 1 FROM datapoint WHERE datapoint.id = charge.id) ORDER BY at_s LIMIT ?",
        (before_s, most),
    ).fetchall()
    for id, batch in found:
        cursor.execute("DELETE FROM charge WHERE id = ?", (id,))
        batches.record_pruned_charge(cursor, batch)
    return len(found)

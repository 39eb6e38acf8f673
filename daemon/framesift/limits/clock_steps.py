"""Clock steps: charges keep their age when the clock is set, however often and to whatever time.

All times in the tables are by the clock as it reads now, so that they fit the calendar windows of now:

1. The clock steps within a boot (by more than MAX_DRIFT_S against boot time): all times that this boot has recorded are
   moved by the step, as if the clock had always been right. For one window's length from then on, a window also counts
   the charges from before the step, up to one window's length to either side. Otherwise a step over the beginning of a
   window would open a new one.
2. Times that earlier boots have recorded must lie before this boot. If they do not (the machine started with a clock
   that is behind, or the clock was set back that far), the age of these charges is unknown. They are quarantined: they
   keep their times, and no step moves them. No window of their account has room until the clock has passed the last
   of them; then each counts in the window of its time. They stop counting once the machine has run for the window's
   length since the quarantine, in this boot and later ones. (A clock that is ahead after a reboot cannot be
   distinguished from time that has passed.)

Both are recorded in the table `carried`, in the transaction that changes the times, so that a killed program loses
nothing. Charges that are quarantined together have an offset of their own, a multiple of _QUARANTINE_OFFSET_S, which is
added to their times.
"""

from __future__ import annotations

import itertools
import math
import sqlite3
from dataclasses import dataclass
from datetime import tzinfo

from framesift.clock.moment import Moment
from framesift.limits import Window, window_end, window_start
from framesift.limits.row_checksums import row_checksum

MAX_DRIFT_S = 5.0  # a larger change between wall and boot time is a step, a smaller one is a clock being adjusted
_RECHECK_S = 1.0  # how long "no room" is cached where it does not last for a whole calendar window
_MAX_WINDOW_S = 26 * 3600.0  # longer than any window
_QUARANTINE_OFFSET_S = float(1 << 35)  # a thousand years; a power of two, so that adding it keeps whole seconds exact
FIRST_QUARANTINED_S = _QUARANTINE_OFFSET_S / 2  # every time from here on is a quarantined one
_TIME_COLUMNS = (("charge", "at_s"), ("send", "at_s"), ("send", "until_s"), ("carried", "at_s"))

# Accounts in `carried` whose rows are markers, not charges.
# The last step. at_s: when it was; amount: seconds that the machine had run by then. Steps move it like charges.
_STEP = "step"
# One row for all charges that were quarantined together. at_s: their offset. amount: seconds that the machine has run
# since then, minus the boot time of the running boot. (Only seconds in which this program has seen it run: the file may
# have come from another machine.)
QUARANTINE_ACCOUNT = "apart"


@dataclass(frozen=True, slots=True)
class QuarantinedSpan:
    """Quarantined charges that may belong to a window.

    Those from start_s to before end_s count in it. While the account has any from blocked_from_s to before
    blocked_until_s, there is no room at all. All four are times of rows, with the offset of the quarantine.
    """

    start_s: float
    end_s: float
    blocked_from_s: float
    blocked_until_s: float


@dataclass(frozen=True, slots=True)
class CountedSpan:
    """The rows that count in a window: those from start_s to before end_s (Unix times), and quarantined ones.

    until_s: Unix time before which the count cannot become less, unless a charge is refunded.
    """

    start_s: float
    end_s: float
    until_s: float
    quarantined: tuple[QuarantinedSpan, ...]


@dataclass(frozen=True, slots=True)
class ClockMarkers:
    """What the table `carried` says of steps and quarantines: for each, its time and the seconds that had been run."""

    steps: tuple[tuple[float, int], ...] = ()
    quarantines: tuple[tuple[float, int], ...] = ()

    @classmethod
    def read(cls, cursor: sqlite3.Cursor) -> ClockMarkers:
        """Reads them; once is enough for all windows of a decision."""
        rows = cursor.execute(
            "SELECT account, at_s, amount FROM carried WHERE account IN (?, ?)", (_STEP, QUARANTINE_ACCOUNT)
        ).fetchall()
        of = {account: tuple(row[1:] for row in rows if row[0] == account) for account in (_STEP, QUARANTINE_ACCOUNT)}
        return cls(of[_STEP], of[QUARANTINE_ACCOUNT])


def step_between_s(before: Moment, now: Moment) -> float:
    """Seconds by which the clock was set forward between two moments of one boot (negative: back); 0 if it was not."""
    step_s = (now.wall_s - before.wall_s) - (now.boottime_s - before.boottime_s)
    return step_s if before.boot_id == now.boot_id and abs(step_s) > MAX_DRIFT_S else 0.0


def record_time(cursor: sqlite3.Cursor, now: Moment) -> None:
    """Records the time at which a row is written, so that a later step can be measured."""
    row = (1, float(now.wall_s), float(now.boottime_s), now.boot_id)
    cursor.execute(
        "INSERT OR REPLACE INTO seen (one, wall_s, boottime_s, boot_id, checksum) VALUES (?, ?, ?, ?, ?)",
        (*row, row_checksum("seen", *row)),
    )


def has_clock_step(cursor: sqlite3.Cursor, now: Moment) -> bool:
    """Tells whether `apply_clock_step` would change anything."""
    last = _last_recorded(cursor)
    return last is not None and (last.boot_id != now.boot_id or step_between_s(last, now) != 0.0)


def apply_clock_step(cursor: sqlite3.Cursor, now: Moment) -> bool:
    """Converts all times to the clock as it reads now. Call it before counting or writing.

    Returns True if the clock has stepped within this boot.
    """
    last = _last_recorded(cursor)
    if last is None:
        return False
    boot_start_s = now.wall_s - now.boottime_s - MAX_DRIFT_S
    if last.boot_id != now.boot_id:
        ran_s = int(last.boottime_s) - math.ceil(now.boottime_s)
        cursor.execute("UPDATE carried SET amount = amount + ? WHERE account = ?", (ran_s, QUARANTINE_ACCOUNT))
        _quarantine(cursor, now, boot_start_s, FIRST_QUARANTINED_S)
        record_time(cursor, now)
        return False
    step_s = step_between_s(last, now)
    if step_s == 0.0:
        return False
    _quarantine(cursor, now, boot_start_s, boot_start_s - step_s)
    _move(cursor, step_s, boot_start_s - step_s, now.wall_s - step_s + MAX_DRIFT_S)
    cursor.execute("DELETE FROM carried WHERE account = ? AND at_s < ?", (_STEP, FIRST_QUARANTINED_S))
    _insert_marker(cursor, _STEP, now.wall_s, int(now.boottime_s) + 1)
    record_time(cursor, now)
    return True


def counted_span(markers: ClockMarkers, window: Window, at_s: float, now: Moment, zone: tzinfo) -> CountedSpan:
    """Determines which rows count in the window of a capture at `at_s` (Unix time by the clock of `now`)."""
    start_s, end_s = window_start(window, at_s, zone), window_end(window, at_s, zone)
    length_s = end_s - start_s

    def bounds(offset_s: float) -> tuple[float, float]:
        """The window, extended by the times that a step has moved out of it."""
        for marked_s, ran_s in markers.steps:
            step_s = marked_s - offset_s
            if abs(step_s) < FIRST_QUARANTINED_S and at_s < step_s + length_s:
                back_s = max(step_s - ran_s, math.nextafter(at_s - length_s, at_s))
                # Also ahead of it: a frame that was captured before the step may be charged after it.
                ahead_s = min(step_s + MAX_DRIFT_S, at_s + length_s)
                return offset_s + min(start_s, back_s), offset_s + max(end_s, ahead_s)
        return offset_s + start_s, offset_s + end_s

    quarantined = tuple(
        QuarantinedSpan(
            *bounds(offset_s), math.nextafter(offset_s + now.wall_s, math.inf), offset_s + FIRST_QUARANTINED_S
        )
        for offset_s, ran_s in markers.quarantines
        if ran_s + now.boottime_s < length_s
    )
    is_calendar = not quarantined and bounds(0.0) == (start_s, end_s)
    return CountedSpan(*bounds(0.0), end_s if is_calendar else min(at_s + _RECHECK_S, end_s), quarantined)


def original_time_s(at_s: float) -> float:
    """The Unix time of a row without a quarantine's offset, by the clock of the boot that has written it."""
    return math.remainder(at_s, _QUARANTINE_OFFSET_S)


def release_quarantined(cursor: sqlite3.Cursor, now: Moment) -> None:
    """Moves quarantined charges out of all windows, to the oldest rows, once they are older than any window."""
    markers = ClockMarkers.read(cursor).quarantines
    if markers:
        record_time(cursor, now)  # tells a later boot for how long this one has run
    for offset_s, ran_s in markers:
        if ran_s + now.boottime_s >= _MAX_WINDOW_S:
            cursor.execute("DELETE FROM carried WHERE account = ? AND at_s = ?", (QUARANTINE_ACCOUNT, offset_s))
            _move(
                cursor, -offset_s - _QUARANTINE_OFFSET_S, offset_s - FIRST_QUARANTINED_S, offset_s + FIRST_QUARANTINED_S
            )


def _quarantine(cursor: sqlite3.Cursor, now: Moment, start_s: float, end_s: float) -> None:
    """Quarantines the rows of earlier boots from start_s to before end_s."""
    used_offsets = {offset_s for offset_s, _ in ClockMarkers.read(cursor).quarantines}
    offset_s = next(
        n * _QUARANTINE_OFFSET_S for n in itertools.count(1) if n * _QUARANTINE_OFFSET_S not in used_offsets
    )
    if _move(cursor, offset_s, start_s, end_s):
        _insert_marker(cursor, QUARANTINE_ACCOUNT, offset_s, -math.ceil(now.boottime_s))


def _move(cursor: sqlite3.Cursor, by_s: float, start_s: float, end_s: float) -> int:
    """Moves all times from start_s to before end_s by `by_s`. Returns how many."""
    return sum(
        cursor.execute(
            f"UPDATE {table} SET {column} = {column} + ? WHERE {column} >= ? AND {column} < ?", (by_s, start_s, end_s)
        ).rowcount
        for table, column in _TIME_COLUMNS
    )


def _last_recorded(cursor: sqlite3.Cursor) -> Moment | None:
    row = cursor.execute("SELECT wall_s, boottime_s, boot_id FROM seen").fetchone()
    return None if row is None else Moment(*row)


def _insert_marker(cursor: sqlite3.Cursor, account: str, at_s: float, seconds: int) -> None:
    cursor.execute("INSERT INTO carried (account, window, at_s, amount) VALUES (?, '', ?, ?)", (account, at_s, seconds))

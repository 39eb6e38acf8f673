"""Steps of the clock: what was charged keeps its age, whatever the clock is set to, and however often.

All dates in the tables are by the clock as it reads now, so that the calendar can be asked of them:

1. The clock steps within a boot (by more than LARGEST_DRIFT_S against boot time): what this boot has dated is dated
   anew, as if the clock had always been right. For one window's length from then on a window also reaches to what was
   charged before the step, back and ahead by one window's length, or a step over its beginning would open a new one.
2. What earlier boots have dated is from before this boot. Where its dates say otherwise, since the machine has started
   with a clock that is behind, or the clock was set back as far, nobody knows how long ago it was. It is set apart: it
   keeps its dates, and no step moves them. No window of its account has room until the clock has passed the last of
   them; then each counts in the window of its date; and neither any more once the machine has run for the window's
   length since it was set apart, in this boot and later ones. (A clock that is ahead after a reboot can't be told from
   time that has passed.)

Both are known by rows of the table `carried`, written with the dates: a program that is killed forgets none of it. What
is set apart together has an offset of its own, a multiple of _APART_S, which is added to its dates.
"""

from __future__ import annotations

import itertools
import math
import sqlite3
from dataclasses import dataclass
from datetime import tzinfo

from framesift.clock.moment import Moment
from framesift.limits import Window, window_end, window_start

MAX_DRIFT_S = 5.0  # more than this between wall and boot time is a step, less is a clock being disciplined
_LOOK_AGAIN_S = 1.0  # how long a lack of room is believed in that doesn't last for a window of the calendar
_LONGEST_S = 26 * 3600.0  # longer than any window
_APART_S = float(1 << 35)  # a thousand years; a power of two, so that adding it leaves whole seconds whole
FIRST_QUARANTINED_S = _APART_S / 2  # no date that isn't set apart comes so late
_DATES = (("charge", "at_s"), ("send", "at_s"), ("send", "until_s"), ("carried", "at_s"))

# Accounts in `carried` whose rows aren't charges.
# The last step: when it was, and for how long the machine had run by then. It is dated, and set apart, as charges are.
_STEP = "step"
# One row for all that was set apart together. at_s: its offset. amount: for how many seconds the machine has run since,
# less the boot time of the boot that runs. (As far as this program has seen it run: the file may have come from another
# machine, while this one was running for long.)
QUARANTINE_ACCOUNT = "apart"


@dataclass(frozen=True, slots=True)
class QuarantinedSpan:
    """What was set apart and is not known to be older than the window. It counts in it where it is dated from start_s
    to before end_s; while anything of the account is dated from ahead_s to before over_s, there is no room at all.
    """

    start_s: float
    end_s: float
    blocked_from_s: float
    blocked_until_s: float


@dataclass(frozen=True, slots=True)
class CountedSpan:
    """What counts in a window: what is dated from start_s to before end_s (Unix times), and what is set apart. until_s:
    before then it won't be less, unless something is given back.
    """

    start_s: float
    end_s: float
    until_s: float
    quarantined: tuple[QuarantinedSpan, ...]


def step_between_s(before: Moment, now: Moment) -> float:
    """Seconds by which the clock was set forward between two moments of one boot; 0 where it was not."""
    step_s = (now.wall_s - before.wall_s) - (now.boottime_s - before.boottime_s)
    return step_s if before.boot_id == now.boot_id and abs(step_s) > MAX_DRIFT_S else 0.0


def record_time(cursor: sqlite3.Cursor, now: Moment) -> None:
    """Something is dated now: a step is measured against it."""
    cursor.execute(
        "INSERT OR REPLACE INTO seen (one, wall_s, boottime_s, boot_id) VALUES (1, ?, ?, ?)",
        (now.wall_s, now.boottime_s, now.boot_id),
    )


def has_clock_step(cursor: sqlite3.Cursor, now: Moment) -> bool:
    """Whether `notice` would find something."""
    seen = _seen(cursor)
    return seen is not None and (seen.boot_id != now.boot_id or step_between_s(seen, now) != 0.0)


def apply_clock_step(cursor: sqlite3.Cursor, now: Moment) -> bool:
    """To be called before anything is counted or dated: makes all dates those of the clock as it reads now. Whether it
    has stepped.
    """
    seen = _seen(cursor)
    if seen is None:
        return False
    began_s = now.wall_s - now.boottime_s - MAX_DRIFT_S
    if seen.boot_id != now.boot_id:
        ran_s = int(seen.boottime_s) - math.ceil(now.boottime_s)
        cursor.execute("UPDATE carried SET amount = amount + ? WHERE account = ?", (ran_s, QUARANTINE_ACCOUNT))
        _set_apart(cursor, now, began_s, FIRST_QUARANTINED_S)
        record_time(cursor, now)
        return False
    step_s = step_between_s(seen, now)
    if step_s == 0.0:
        return False
    _set_apart(cursor, now, began_s, began_s - step_s)
    _move(cursor, step_s, began_s - step_s, now.wall_s - step_s + MAX_DRIFT_S)
    cursor.execute("DELETE FROM carried WHERE account = ? AND at_s < ?", (_STEP, FIRST_QUARANTINED_S))
    _mark(cursor, _STEP, now.wall_s, int(now.boottime_s) + 1)
    record_time(cursor, now)
    return True


def counted_span(cursor: sqlite3.Cursor, window: Window, at_s: float, now: Moment, zone: tzinfo) -> CountedSpan:
    """For a capture at `at_s`, Unix time by the clock of `now`."""
    start_s, end_s = window_start(window, at_s, zone), window_end(window, at_s, zone)
    length_s = end_s - start_s
    steps = _marks(cursor, _STEP)

    def bounds(offset_s: float) -> tuple[float, float]:
        """Of the window, and of what a step has moved out of it."""
        for marked_s, ran_s in steps:
            step_s = marked_s - offset_s
            if abs(step_s) < FIRST_QUARANTINED_S and at_s < step_s + length_s:
                back_s = max(step_s - ran_s, math.nextafter(at_s - length_s, at_s))
                # Ahead of it too: a frame may be charged after the step that was captured before.
                ahead_s = min(step_s + MAX_DRIFT_S, at_s + length_s)
                return offset_s + min(start_s, back_s), offset_s + max(end_s, ahead_s)
        return offset_s + start_s, offset_s + end_s

    apart = tuple(
        QuarantinedSpan(
            *bounds(offset_s), math.nextafter(offset_s + now.wall_s, math.inf), offset_s + FIRST_QUARANTINED_S
        )
        for offset_s, ran_s in _marks(cursor, QUARANTINE_ACCOUNT)
        if ran_s + now.boottime_s < length_s
    )
    is_calendar = not apart and bounds(0.0) == (start_s, end_s)
    return CountedSpan(*bounds(0.0), end_s if is_calendar else min(at_s + _LOOK_AGAIN_S, end_s), apart)


def original_time_s(at_s: float) -> float:
    """The date of a row, set apart or not: Unix time, by the clock of the boot that has dated it."""
    return math.remainder(at_s, _APART_S)


def release_quarantined(cursor: sqlite3.Cursor, now: Moment) -> None:
    """What was set apart is put away among the oldest once it is older than any window, whenever it was."""
    marks = _marks(cursor, QUARANTINE_ACCOUNT)
    if marks:
        record_time(cursor, now)  # a later boot knows by it for how long this one has run
    for offset_s, ran_s in marks:
        if ran_s + now.boottime_s >= _LONGEST_S:
            cursor.execute("DELETE FROM carried WHERE account = ? AND at_s = ?", (QUARANTINE_ACCOUNT, offset_s))
            _move(cursor, -offset_s - _APART_S, offset_s - FIRST_QUARANTINED_S, offset_s + FIRST_QUARANTINED_S)


def _set_apart(cursor: sqlite3.Cursor, now: Moment, start_s: float, end_s: float) -> None:
    """What earlier boots have dated from start_s to before end_s."""
    taken = {offset_s for offset_s, _ in _marks(cursor, QUARANTINE_ACCOUNT)}
    offset_s = next(n * _APART_S for n in itertools.count(1) if n * _APART_S not in taken)
    if _move(cursor, offset_s, start_s, end_s):
        _mark(cursor, QUARANTINE_ACCOUNT, offset_s, -math.ceil(now.boottime_s))


def _move(cursor: sqlite3.Cursor, by_s: float, start_s: float, end_s: float) -> int:
    """All dates from start_s to before end_s. Says how many."""
    return sum(
        cursor.execute(
            f"UPDATE {table} SET {column} = {column} + ? WHERE {column} >= ? AND {column} < ?", (by_s, start_s, end_s)
        ).rowcount
        for table, column in _DATES
    )


def _seen(cursor: sqlite3.Cursor) -> Moment | None:
    row = cursor.execute("SELECT wall_s, boottime_s, boot_id FROM seen").fetchone()
    return None if row is None else Moment(*row)


def _marks(cursor: sqlite3.Cursor, account: str) -> list[tuple[float, int]]:
    return cursor.execute("SELECT at_s, amount FROM carried WHERE account = ?", (account,)).fetchall()


def _mark(cursor: sqlite3.Cursor, account: str, at_s: float, seconds: int) -> None:
    cursor.execute("INSERT INTO carried (account, window, at_s, amount) VALUES (?, '', ?, ?)", (account, at_s, seconds))

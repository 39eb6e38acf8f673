"""Steps of the clock: what was charged keeps its age, whatever the clock is set to, and however often.

All dates in the tables are by the clock as it reads now, so that the calendar can be asked of them:

1. The clock steps within a boot (by more than LARGEST_DRIFT_S against boot time): what this boot has dated is dated
   anew, as if the clock had always been right. For one window's length from then on a window also reaches back by one
   window's length within that boot, or a step over its beginning would open a new one.
2. The machine starts with a clock behind the last charge: nobody knows how long ago that was. No window has room until
   the clock has passed it, or the machine has run for the window's length since. Dates stay as they are, for the clock
   may yet be set right; only what must be older than any window is put away. (A clock that is ahead after a reboot
   can't be told from time that has passed.)

Both are known by rows of the table `carried`, written with the dates: a program that is killed forgets none of it.
"""

from __future__ import annotations

import math
import sqlite3
from dataclasses import dataclass
from datetime import tzinfo

from framesift.limits import Window, window_end, window_start
from framesift.moment import Moment

LARGEST_DRIFT_S = 5.0  # more than this between wall and boot time is a step, less is a clock being disciplined
_LOOK_AGAIN_S = 1.0  # how long a lack of room is believed in that doesn't last for a window of the calendar
_LONGEST_S = 26 * 3600.0  # longer than any window
_DATES = (("charge", "at_s"), ("send", "at_s"), ("send", "until_s"), ("carried", "at_s"))

# Accounts in `carried` whose rows aren't charges.
# The last step: when it was, and for how long the machine had run by then.
_STEP = "step"
# The last charge of an earlier boot that is ahead of the clock, and how long the machine has run since, in seconds, as
# far as earlier runs of the program know.
_BEHIND = "behind"


@dataclass(frozen=True, slots=True)
class Span:
    """What counts in a window: what is dated from start_s to before end_s (Unix times), or everything there could be.
    until_s: before then it won't be less, unless something is given back."""

    start_s: float
    end_s: float
    until_s: float
    is_spent: bool


def between_s(before: Moment, now: Moment) -> float:
    """Seconds by which the clock was set forward between two moments of one boot; 0 where it was not."""
    step_s = (now.wall_s - before.wall_s) - (now.boottime_s - before.boottime_s)
    return step_s if before.boot_id == now.boot_id and abs(step_s) > LARGEST_DRIFT_S else 0.0


def see(cursor: sqlite3.Cursor, now: Moment) -> None:
    """Something is dated now: a step is measured against it."""
    cursor.execute(
        "INSERT OR REPLACE INTO seen (one, wall_s, boottime_s, boot_id) VALUES (1, ?, ?, ?)",
        (now.wall_s, now.boottime_s, now.boot_id),
    )


def is_due(cursor: sqlite3.Cursor, now: Moment) -> bool:
    """Whether `notice` would find something."""
    seen = _seen(cursor)
    return seen is not None and (between_s(seen, now) != 0.0 or _is_behind(seen, now))


def notice(cursor: sqlite3.Cursor, now: Moment) -> bool:
    """To be called before anything is counted or dated: makes all dates those of the clock as it reads now. Whether it
    has stepped."""
    seen = _seen(cursor)
    if seen is None:
        return False
    if _is_behind(seen, now):
        known = _mark(cursor, _BEHIND)
        _set_mark(cursor, _BEHIND, seen.wall_s if known is None else max(seen.wall_s, known[0]), 0)
        see(cursor, now)
    step_s = between_s(seen, now)
    if step_s == 0.0:
        return False
    _date_anew(cursor, now, step_s)
    _set_mark(cursor, _STEP, now.wall_s, int(now.boottime_s) + 1)
    see(cursor, now)
    return True


def span(cursor: sqlite3.Cursor, window: Window, at_s: float, now: Moment, zone: tzinfo) -> Span:
    """For a capture at `at_s`, Unix time by the clock of `now`."""
    start_s, end_s = window_start(window, at_s, zone), window_end(window, at_s, zone)
    length_s = end_s - start_s
    step, behind = _mark(cursor, _STEP), _mark(cursor, _BEHIND)
    reaches_s: float = start_s
    if step is not None and at_s < step[0] + length_s:
        reaches_s = min(start_s, max(step[0] - step[1], math.nextafter(at_s - length_s, at_s)))
    is_spent = behind is not None and now.wall_s < behind[0] and max(now.boottime_s, behind[1]) < length_s
    until_s = at_s + _LOOK_AGAIN_S if is_spent or reaches_s < start_s else end_s
    return Span(reaches_s, end_s, min(until_s, end_s), is_spent)


def tidy(cursor: sqlite3.Cursor, now: Moment, ran_s: float) -> None:
    """Puts away what is dated after `now` (by an earlier boot, whose clock was ahead) once it is older than any window,
    whenever it was. ran_s: how long the machine has run since the last call, 0 where that isn't known."""
    behind = _mark(cursor, _BEHIND)
    if behind is not None and now.wall_s < behind[0]:
        _set_mark(cursor, _BEHIND, behind[0], behind[1] + int(ran_s))
    if max(now.boottime_s, 0 if behind is None else behind[1]) < _LONGEST_S:
        return
    ahead_s = now.wall_s + LARGEST_DRIFT_S
    for table, column in _DATES:
        cursor.execute(f"UPDATE {table} SET {column} = ? WHERE {column} > ?", (now.wall_s - _LONGEST_S, ahead_s))


def _date_anew(cursor: sqlite3.Cursor, now: Moment, step_s: float) -> None:
    was_s = now.wall_s - step_s
    for table, column in _DATES:
        cursor.execute(
            f"UPDATE {table} SET {column} = {column} + ? WHERE {column} BETWEEN ? AND ?",
            (step_s, was_s - now.boottime_s - LARGEST_DRIFT_S, was_s + LARGEST_DRIFT_S),
        )


def _is_behind(seen: Moment, now: Moment) -> bool:
    return seen.boot_id != now.boot_id and seen.wall_s > now.wall_s + LARGEST_DRIFT_S


def _seen(cursor: sqlite3.Cursor) -> Moment | None:
    row = cursor.execute("SELECT wall_s, boottime_s, boot_id FROM seen").fetchone()
    return None if row is None else Moment(*row)


def _mark(cursor: sqlite3.Cursor, account: str) -> tuple[float, int] | None:
    row: tuple[float, int] | None = cursor.execute(
        "SELECT at_s, amount FROM carried WHERE account = ?", (account,)
    ).fetchone()
    return row


def _set_mark(cursor: sqlite3.Cursor, account: str, at_s: float, seconds: int) -> None:
    cursor.execute("DELETE FROM carried WHERE account = ?", (account,))
    cursor.execute("INSERT INTO carried (account, window, at_s, amount) VALUES (?, '', ?, ?)", (account, at_s, seconds))

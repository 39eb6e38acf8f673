"""Windows: the calendar minutes, hours and days in which limits count, and when each begins and ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
from enum import Enum


class Window(str, Enum):
    """The period over which a limit counts."""

    MINUTELY = "minutely"
    HOURLY = "hourly"
    DAILY = "daily"

    __hash__ = str.__hash__  # in C; that of Enum is a function in Python

    def __str__(self) -> str:
        return self.value


_SIZE_S = {Window.MINUTELY: 60, Window.HOURLY: 3600}


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `value` datapoints in each window. Raises ValueError for a negative value."""

    window: Window
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError(f"a {self.window} limit must be 0 or more, not {self.value}")


def window_start(window: Window, wall_s: float, zone: tzinfo = timezone.utc) -> int:
    """The Unix time at which the window that contains `wall_s` (Unix time) opened.

    A day begins at the first instant of its date in `zone`, so the day of a time change has 23 or 25 hours. An hour
    that the clock shows twice is two windows: a change of the offset always begins a new hour and a new minute.
    """
    if window is Window.DAILY:
        return _midnight(datetime.fromtimestamp(wall_s, zone).date(), zone)
    now_s = int(wall_s // 1)
    offset_s = _offset_s(now_s, zone)
    start_s = now_s - (now_s + offset_s) % _SIZE_S[window]
    return start_s if _offset_s(start_s, zone) == offset_s else _offset_change(start_s, now_s, zone)


def window_end(window: Window, wall_s: float, zone: tzinfo = timezone.utc) -> int:
    """The Unix time at which the window that contains `wall_s` (Unix time) closes and the next one opens."""
    if window is Window.DAILY:
        return _midnight(datetime.fromtimestamp(wall_s, zone).date() + timedelta(days=1), zone)
    now_s = int(wall_s // 1)
    offset_s = _offset_s(now_s, zone)
    end_s = now_s - (now_s + offset_s) % _SIZE_S[window] + _SIZE_S[window]
    return end_s if _offset_s(end_s - 1, zone) == offset_s else _offset_change(now_s, end_s - 1, zone)


def _midnight(day: date, zone: tzinfo) -> int:
    # fold=0: where midnight occurs twice, the first one counts; where it is skipped, the instant of the change.
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())


def _offset_s(wall_s: int, zone: tzinfo) -> int:
    offset = datetime.fromtimestamp(wall_s, zone).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


def _offset_change(before_s: int, after_s: int, zone: tzinfo) -> int:
    """The first second with the offset of `after_s`, where `before_s` has another."""
    offset_s = _offset_s(after_s, zone)
    while after_s - before_s > 1:
        middle_s = (before_s + after_s) // 2
        if _offset_s(middle_s, zone) == offset_s:
            after_s = middle_s
        else:
            before_s = middle_s
    return after_s

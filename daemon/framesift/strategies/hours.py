"""hours and days: the times at which a strategy may take frames, by the clock on the wall of the policy's time zone.

A span has its first minute and not its last: "06:00-22:00" ends with 21:59. One that ends before it begins goes on
after midnight, and belongs to the day on which it begins: with `days: [fri]`, "22:00-06:00" ends on Saturday morning.
What the wall clock shows counts: an hour that a time change leaves out is missing in a span, and one that comes twice
is in it twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from framesift.config.schema import HOURS_PATTERN

_DAY_MINUTES = 24 * 60


def _check_length(hours: str) -> str:
    begin, end = _minutes(hours)
    if begin == end:
        raise ValueError(f"{hours!r} has no length; the whole day is 00:00-24:00")
    return hours


def _minutes(hours: str) -> tuple[int, int]:
    """The minutes of the day at which a span begins and ends."""
    begin, end = (int(time[:2]) * 60 + int(time[3:]) for time in hours.split("-"))
    return begin, end


Hours = Annotated[str, Field(pattern=HOURS_PATTERN), AfterValidator(_check_length)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Schedule:
    """The times of one strategy. For one thread at a time."""

    def __init__(self, hours: Sequence[str] | None, days: Sequence[Day] | None, zone: ZoneInfo) -> None:
        """hours: spans as in the policy; None: the whole day. days: None: all."""
        self._spans = [_minutes(one) for one in hours or ("00:00-24:00",)]
        names = get_args(Day)
        self._weekdays = set(range(7)) if days is None else {names.index(day) for day in days}
        self._zone = zone
        self._minute: float | None = None  # of the last answer, in Unix time: zones differ by whole minutes
        self._is_open = False

    def is_open(self, wall_s: float) -> bool:
        """Whether frames captured at that Unix time may be taken."""
        minute = wall_s // 60
        if minute != self._minute:
            self._minute, self._is_open = minute, self._is_open_at(datetime.fromtimestamp(wall_s, self._zone))
        return self._is_open

    def _is_open_at(self, local: datetime) -> bool:
        minute, today = local.hour * 60 + local.minute, local.weekday()
        for begin, end in self._spans:
            if today in self._weekdays and begin <= minute < (end if end > begin else _DAY_MINUTES):
                return True
            if end < begin and minute < end and (today - 1) % 7 in self._weekdays:
                return True
        return False

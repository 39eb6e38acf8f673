"""Limits: how many datapoints may leave per minute, hour and day, and per labelling batch.

A credit is permission for one datapoint to leave. It is charged to every window of its strategy that was open when
the frame was captured, and to its batch, in all of them or in none. Windows are calendar windows of a named zone:
fixed, not sliding. The first strategy in the policy's order whose windows all have room is the one that is charged.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
from enum import Enum


class Window(str, Enum):
    """How long a limit counts before it starts again."""

    MINUTELY = "minutely"
    HOURLY = "hourly"
    DAILY = "daily"

    def __str__(self) -> str:
        return self.value


_SIZE_S = {Window.MINUTELY: 60, Window.HOURLY: 3600}


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `value` datapoints (at least 0) in each window."""

    window: Window
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError(f"a {self.window} limit of {self.value}: a limit is 0 or more")


@dataclass(frozen=True, slots=True)
class Quota:
    """What one candidate's credit would be charged to.

    batch: what its labelling batch is counted under: the batch's name, with its project where there are several.
    max_batch_images: how many datapoints that batch may hold, None for any number; it is one more window, whichever
    strategies fill the batch. scope: which policy's strategy it is, where streams have policies of their own. project:
    whose devices share the credits, where they are shared; "" where none is named. All quotas of one frame have the
    same.
    """

    strategy: str
    limits: tuple[Limit, ...]
    batch: str
    max_batch_images: int | None = None
    scope: str = ""
    project: str = ""

    @property
    def account(self) -> str:
        """What the strategy's windows are counted under."""
        return f"{self.scope}/{self.strategy}" if self.scope else self.strategy


@dataclass(frozen=True, slots=True)
class AccountLimit:
    """One limit of a strategy. name: what its windows are counted under, see Quota.account. project: as in Quota."""

    project: str
    name: str
    limit: Limit


@dataclass(frozen=True, slots=True)
class SharedCharge:
    """What a ledger has written down. at_s: Unix time of the capture by the ledger's own clock. generation: of its
    memory, see ledger.lua.
    """

    at_s: float
    generation: str


@dataclass(frozen=True, slots=True)
class QuotaGranted:
    """There is room, or there was and it is charged: for this strategy.

    shared: the charge in the ledger of a fleet, None where the device itself keeps the count.
    """

    strategy: str
    shared: SharedCharge | None = None


@dataclass(frozen=True, slots=True)
class QuotaRefused:
    """No strategy has room. batch_full: a full batch was the only obstacle for at least one of them."""

    batch_full: bool


@dataclass(frozen=True, slots=True)
class QuotaUnknown:
    """Whoever keeps the count cannot be reached; it is asked again later."""


@dataclass(frozen=True, slots=True)
class QuotaPending:
    """The ledger cannot be asked now. within: what the device may accept without a credit meanwhile, in the order of
    the quotas that were asked for.
    """

    local_quotas: tuple[Quota, ...]


QuotaAnswer = QuotaGranted | QuotaRefused | QuotaUnknown


class LimitsUnavailable(Exception):
    """Whoever keeps the count cannot be reached."""


def window_start(window: Window, wall_s: float, zone: tzinfo = timezone.utc) -> int:
    """Unix time at which the window that holds `wall_s` opened.

    Days begin with the first instant of the zone's date, so that a day of a time change has 23 or 25 hours. An hour
    that the clock goes through twice is two windows; a change of offset always begins a new hour and minute.
    """
    if window is Window.DAILY:
        return _midnight(datetime.fromtimestamp(wall_s, zone).date(), zone)
    now_s = int(wall_s // 1)
    offset_s = _offset_s(now_s, zone)
    start_s = now_s - (now_s + offset_s) % _SIZE_S[window]
    return start_s if _offset_s(start_s, zone) == offset_s else _change(start_s, now_s, zone)


def window_end(window: Window, wall_s: float, zone: tzinfo = timezone.utc) -> int:
    """Unix time at which the window that holds `wall_s` closes and the next one opens."""
    if window is Window.DAILY:
        return _midnight(datetime.fromtimestamp(wall_s, zone).date() + timedelta(days=1), zone)
    now_s = int(wall_s // 1)
    offset_s = _offset_s(now_s, zone)
    end_s = now_s - (now_s + offset_s) % _SIZE_S[window] + _SIZE_S[window]
    return end_s if _offset_s(end_s - 1, zone) == offset_s else _change(now_s, end_s - 1, zone)


def _midnight(day: date, zone: tzinfo) -> int:
    # fold=0: a midnight that comes twice counts from its first time, and a skipped one is the instant of the skip.
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())


def _offset_s(wall_s: int, zone: tzinfo) -> int:
    offset = datetime.fromtimestamp(wall_s, zone).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


def _change(before_s: int, after_s: int, zone: tzinfo) -> int:
    """The first second with the offset of `after_s`, where `before_s` has another."""
    offset_s = _offset_s(after_s, zone)
    while after_s - before_s > 1:
        middle_s = (before_s + after_s) // 2
        if _offset_s(middle_s, zone) == offset_s:
            after_s = middle_s
        else:
            before_s = middle_s
    return after_s

"""Limits: how many datapoints may be collected per minute, hour and day, and per labelling batch.

A datapoint needs quota before it may leave the spool. It is charged to every window of its strategy that was open when
its frame was captured, and to its batch: to all of them or to none. Windows are fixed calendar windows of a time zone,
not sliding windows. The first strategy, in the order of the policy, that has room in all its windows is charged.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
from enum import Enum


class Window(str, Enum):
    """The period over which a limit counts."""

    MINUTELY = "minutely"
    HOURLY = "hourly"
    DAILY = "daily"

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


@dataclass(frozen=True, slots=True)
class Quota:
    """What one datapoint is charged to if this strategy collects it: the strategy's limits and the batch.

    batch: the key under which the batch is counted (its name, with the project where there are several projects).
    max_batch_images: how many datapoints the batch may hold, None for any number. It works as one more limit, for all
    strategies that fill the batch together. scope: which policy the strategy belongs to, where streams have policies
    of their own. project: devices that share limits share them per project; "" where no project is named. All quotas
    of one frame have the same project.
    """

    strategy: str
    limits: tuple[Limit, ...]
    batch: str
    max_batch_images: int | None = None
    scope: str = ""
    project: str = ""

    @property
    def account(self) -> str:
        """The key under which the strategy's charges are counted."""
        return f"{self.scope}/{self.strategy}" if self.scope else self.strategy


@dataclass(frozen=True, slots=True)
class AccountLimit:
    """One limit of a strategy, for reports of its usage.

    name: the key under which the charges are counted, see `Quota.account`. project: as in Quota.
    """

    project: str
    name: str
    limit: Limit


@dataclass(frozen=True, slots=True)
class SharedCharge:
    """A charge that the shared ledger has recorded.

    at_s: Unix time of the capture, by the ledger's clock. generation: id of the ledger's data, which changes when the
    server may have lost charges (see ledger.lua).
    """

    at_s: float
    generation: str


@dataclass(frozen=True, slots=True)
class QuotaGranted:
    """This strategy has room. Where a charge was requested, it has been made.

    shared: the charge in the shared ledger, None where this device counts by itself.
    """

    strategy: str
    shared: SharedCharge | None = None


@dataclass(frozen=True, slots=True)
class QuotaRefused:
    """No strategy has room. batch_full: for at least one strategy, a full batch was the reason."""

    batch_full: bool


@dataclass(frozen=True, slots=True)
class QuotaUnknown:
    """It is not known without more work whether there is room. `charge` decides it later."""


@dataclass(frozen=True, slots=True)
class QuotaPending:
    """The shared ledger is unavailable, so the quota must be requested later.

    local_quotas: the requested quotas, in their order, with the limits that this device may use in the meantime.
    """

    local_quotas: tuple[Quota, ...]


QuotaAnswer = QuotaGranted | QuotaRefused | QuotaUnknown


class LimitsUnavailable(Exception):
    """The shared ledger cannot be reached, or gave no usable answer. The text says why."""


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

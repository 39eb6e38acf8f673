"""Limits: how many datapoints may be collected per minute, hour and day, and per labelling batch.

A datapoint needs quota before it may leave the spool. It is charged to every window of its strategy that was open when
its frame was captured, and to its batch: to all of them or to none. Windows are fixed calendar windows of a time zone,
not sliding windows. The first strategy, in the order of the policy, that has room in all its windows is charged.
"""

from __future__ import annotations

from framesift.limits.quota import (
    AccountLimit,
    LimitsUnavailable,
    Quota,
    QuotaAnswer,
    QuotaGranted,
    QuotaPending,
    QuotaRefused,
    QuotaUnknown,
    SharedCharge,
)
from framesift.limits.turns import Turns
from framesift.limits.windows import (
    Limit,
    Window,
    window_end,
    window_start,
)

__all__ = [
    "AccountLimit",
    "Limit",
    "LimitsUnavailable",
    "Quota",
    "QuotaAnswer",
    "QuotaGranted",
    "QuotaPending",
    "QuotaRefused",
    "QuotaUnknown",
    "SharedCharge",
    "Turns",
    "Window",
    "window_end",
    "window_start",
]

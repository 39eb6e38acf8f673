"""Numbers and times as the page shows them."""

from __future__ import annotations

from datetime import datetime, tzinfo

_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86_400.0


def duration_text(seconds: float) -> str:
    """A duration, such as "3 min"; the largest unit that fits, and below ten of it the next one too."""
    seconds = max(0.0, seconds)
    if seconds < _MINUTE_S:
        return f"{seconds:.0f} s"
    for unit, of_s, smaller, smaller_s in (("min", _MINUTE_S, "s", 1.0), ("h", _HOUR_S, "min", _MINUTE_S)):
        most = _HOUR_S if unit == "min" else 2 * _DAY_S
        if seconds < most:
            whole, rest = divmod(seconds, of_s)
            more = f" {rest // smaller_s:.0f} {smaller}" if whole < 10 and rest >= smaller_s else ""
            return f"{whole:.0f} {unit}{more}"
    return f"{seconds / _DAY_S:.1f} days"


def time_text(at_s: float, zone: tzinfo) -> str:
    """A moment, such as "2026-11-28 14:03:20"."""
    return f"{datetime.fromtimestamp(at_s, zone):%Y-%m-%d %H:%M:%S}"


def clock_text(at_s: float, zone: tzinfo) -> str:
    """The time of day, such as "14:03"."""
    return f"{datetime.fromtimestamp(at_s, zone):%H:%M}"

"""Coverage of days whose numbers a test says."""

from __future__ import annotations

from collections import Counter
from datetime import timezone

from framesift.coverage import CountedCoverage, DayCoverage, Tally

UTC = timezone.utc
DAY = 20_700  # 2026-09-04
DAY_S = 86_400.0


def tally(
    frames: int = 0,
    *,
    hours: dict[int, int] | None = None,
    brightness: tuple[int, int, int] | None = None,
    objects: tuple[int, int, int, int] | None = None,
    **classes: int,
) -> Tally:
    """So many frames: at noon, bright, and of a model that detects nothing, unless it is said."""
    made = Tally(classes=Counter(classes))
    for hour, number in ({12: frames} if hours is None else hours).items():
        made.hours[hour] = number
    made.brightness = [0, 0, frames] if brightness is None else list(brightness)
    made.objects = [0, 0, 0, 0] if objects is None else list(objects)
    return made


def day(seen: Tally, collected: Tally, *, place: int = 0, stream: str = "gate") -> DayCoverage:
    """place: how many days after DAY."""
    return DayCoverage(DAY + place, stream, seen, collected)


def coverage(*days: DayCoverage, time_zone: str = "UTC") -> CountedCoverage:
    """All of them."""
    last = max((one.day for one in days), default=DAY)
    return CountedCoverage(DAY * DAY_S, (last + 1) * DAY_S, time_zone, days)

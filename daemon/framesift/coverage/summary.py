"""CoverageSummary: one stream's coverage over all days, with the hours of a time zone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from framesift.coverage.tally import DAY_HOURS, DAY_S, HOUR_S, CountedCoverage, DayCoverage, Tally


@dataclass(frozen=True, slots=True)
class CoverageSummary:
    """stream: None for all streams together. seen, collected: over all days, with the hours of a time zone."""

    stream: str | None
    seen: Tally = field(default_factory=Tally)
    collected: Tally = field(default_factory=Tally)

    def subjects(self) -> list[tuple[str, str]]:
        """(kind, name) of each brightness, number of objects and class that was seen or collected."""
        return list(dict.fromkeys((*self.seen.subjects(), *self.collected.subjects())))


def share_text(number: int, of: int) -> str:
    """A share in percent, such as "12 %" or "0.4 %"."""
    percent = 100 * number / of if of else 0.0
    return f"{percent:.0f} %" if percent >= 1 or not number else f"{max(percent, 0.1):.1f} %"


def days_by_stream(coverage: CountedCoverage) -> dict[str, list[DayCoverage]]:
    """The days of each stream, the oldest first, by the streams' names in order."""
    found: dict[str, list[DayCoverage]] = {}
    for one in sorted(coverage.days, key=lambda one: (one.stream, one.day)):
        found.setdefault(one.stream, []).append(one)
    return found


def summary_of(stream: str | None, days: Iterable[DayCoverage], zone: tzinfo) -> CoverageSummary:
    """The sum of some days."""
    made = CoverageSummary(stream)
    hours_of: dict[int, list[int]] = {}
    for one in days:
        if one.day not in hours_of:
            starts = [one.day * DAY_S + hour * HOUR_S for hour in range(DAY_HOURS)]
            hours_of[one.day] = [datetime.fromtimestamp(start_s, zone).hour for start_s in starts]
        made.seen.add_all(one.seen, hours_of[one.day])
        made.collected.add_all(one.collected, hours_of[one.day])
    return made


def summaries(coverage: CountedCoverage, zone: tzinfo) -> list[CoverageSummary]:
    """All streams together, where there are several, then each. zone: whose hours of the day are counted.

    In a zone that is half an hour off, an hour is the one in which an hour of UTC begins.
    """
    by_stream = days_by_stream(coverage)
    every = [summary_of(None, coverage.days, zone)] if len(by_stream) > 1 else []
    return every + [summary_of(stream, days, zone) for stream, days in by_stream.items()]

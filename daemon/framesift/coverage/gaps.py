"""Gaps: what coverage lacks, in words: "no dark frames in 9 days, though 12 % of what was seen".

Nothing is said from little: a thing must have been seen MIN_SEEN times, and if what is collected were like what is
seen, there would be at least MIN_EXPECTED frames of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone, tzinfo

from framesift.coverage.summary import days_by_stream, share_text, summary_of
from framesift.coverage.tally import DAY_HOURS, DAY_S, CountedCoverage, DayCoverage

MIN_SEEN = 60  # frames of the sample: a minute
MIN_EXPECTED = 5.0
RARE = 0.5  # at most so much of what is expected is rare
_MIN_DAYS = 2  # the present day is not over
_OBJECTS_LABELS = {
    "0": "frames without objects",
    "1-2": "frames with 1 or 2 objects",
    "3-5": "frames with 3 to 5 objects",
    "6+": "frames with 6 or more objects",
}


@dataclass(frozen=True, slots=True)
class Gap:
    """One thing that is missing or rare in what is collected.

    stream: None for all streams together. kind: "stream", "hours", "brightness", "objects" or "class". subject: which
    one of these, such as "dark"; of hours "22-05", the last one included. days: of UTC, those in which something was
    counted since the last such frame was collected; None where they are merely rare. collected, seen: frames of the
    subject, in these days or in all; collected_of, seen_of: of how many. text: a sentence.
    """

    stream: str | None
    kind: str
    subject: str
    days: int | None
    collected: int
    collected_of: int
    seen: int
    seen_of: int
    text: str


def find_gaps(coverage: CountedCoverage, zone: tzinfo) -> list[Gap]:
    """The gaps: streams without anything, then those of all streams, then those that one stream alone has.

    zone: whose hours of the day are meant.
    """
    by_stream = days_by_stream(coverage)
    found = [gap for stream, days in by_stream.items() for gap in _of_stream(stream, days)]
    said: set[tuple[str, str]] = set()
    if len(by_stream) > 1:
        of_all = list(_of_frames(None, _joined(coverage), zone))
        said = {(gap.kind, gap.subject) for gap in of_all}
        found += of_all
    for stream, days in by_stream.items():
        found += [gap for gap in _of_frames(stream, days, zone) if (gap.kind, gap.subject) not in said]
    return found


def _joined(coverage: CountedCoverage) -> list[DayCoverage]:
    """The days of all streams together, the oldest first."""
    found: dict[int, DayCoverage] = {}
    for one in sorted(coverage.days, key=lambda one: one.day):
        day = found.setdefault(one.day, DayCoverage(one.day, ""))
        day.seen.add_all(one.seen)
        day.collected.add_all(one.collected)
    return list(found.values())


def _of_stream(stream: str, days: Sequence[DayCoverage]) -> Iterator[Gap]:
    """Whether nothing at all was collected of a stream lately."""
    last = max((one.day for one in days if one.collected.frames), default=None)
    lately = [one for one in days if last is None or one.day > last]
    seen = sum(one.seen.frames for one in lately)
    if seen < MIN_SEEN or (last is not None and len(lately) < _MIN_DAYS):
        return
    text = f"{stream}: nothing was collected{_for(len(lately), is_never=last is None)}, of {seen:,} frames seen"
    yield Gap(stream, "stream", stream, len(lately), 0, 0, seen, seen, text)


def _of_frames(stream: str | None, days: Sequence[DayCoverage], zone: tzinfo) -> Iterator[Gap]:
    yield from _of_hours(stream, days, zone)
    whole = summary_of(stream, days, timezone.utc)
    prefix = "" if stream is None else f"{stream}: "
    for kind, name in whole.seen.subjects():
        label = _label(kind, name)
        lately, is_never = _days_without(days, kind, name)
        numbers = _numbers(lately, kind, name)
        if (is_never or len(lately) >= _MIN_DAYS) and _is_rare(*numbers):
            text = f"{prefix}no {label}{_for(len(lately), is_never=is_never)}, though {_seen(kind, *numbers[2:])}"
            yield Gap(stream, kind, name, len(lately), *numbers, text)
            continue
        numbers = (*whole.collected.share(kind, name), *whole.seen.share(kind, name))
        if _is_rare(*numbers):
            text = f"{prefix}{label} {numbers[0]:,} of {numbers[1]:,}, though {_seen(kind, *numbers[2:])}"
            yield Gap(stream, kind, name, None, *numbers, text)


def _of_hours(stream: str | None, days: Sequence[DayCoverage], zone: tzinfo) -> Iterator[Gap]:
    """The hours of the day in which nothing was ever collected."""
    whole = summary_of(stream, days, zone)
    of, seen_of = whole.collected.frames, whole.seen.frames
    each = zip(whole.seen.hours, whole.collected.hours, strict=True)
    empty = [hour for hour, (number, collected) in enumerate(each) if number >= MIN_SEEN and not collected]
    seen = sum(whole.seen.hours[hour] for hour in empty)
    if not empty or not _is_rare(0, of, seen, seen_of):
        return
    subject = ", ".join(_runs(empty))
    name = datetime.fromtimestamp(days[-1].day * DAY_S, zone).tzname() or str(zone)
    prefix = "" if stream is None else f"{stream}: "
    text = f"{prefix}nothing was collected in the hours {subject} ({name}), though {_seen('hours', seen, seen_of)}"
    yield Gap(stream, "hours", subject, None, 0, of, seen, seen_of, text)


def _days_without(days: Sequence[DayCoverage], kind: str, name: str) -> tuple[Sequence[DayCoverage], bool]:
    """The days since a subject was last collected, and whether those are all."""
    last = max((place for place, one in enumerate(days) if one.collected.share(kind, name)[0]), default=-1)
    return days[last + 1 :], last < 0


def _numbers(days: Sequence[DayCoverage], kind: str, name: str) -> tuple[int, int, int, int]:
    """Of a subject in these days: collected, of how many, seen, of how many."""
    collected = [one.collected.share(kind, name) for one in days]
    seen = [one.seen.share(kind, name) for one in days]
    of, seen_of = sum(of for _, of in collected), sum(of for _, of in seen)
    return sum(number for number, _ in collected), of, sum(number for number, _ in seen), seen_of


def _is_rare(collected: int, of: int, seen: int, seen_of: int) -> bool:
    """Whether enough was seen, and much less was collected than if all were collected alike."""
    expected = of * seen / seen_of if seen_of else 0.0
    return seen >= MIN_SEEN and expected >= MIN_EXPECTED and collected <= RARE * expected


def _label(kind: str, name: str) -> str:
    if kind == "brightness":
        return f"{name} frames"
    return _OBJECTS_LABELS[name] if kind == "objects" else name


def _for(days: int, *, is_never: bool) -> str:
    if days >= _MIN_DAYS:
        return f" in {days} days"
    return " yet" if is_never else ""


def _seen(kind: str, seen: int, seen_of: int) -> str:
    return f"{'in ' if kind == 'class' else ''}{share_text(seen, seen_of)} of what was seen"


def _runs(hours: Sequence[int]) -> Iterator[str]:
    """Hours in words, such as "22-05": those that follow one another are joined, over midnight too."""
    left = set(hours)
    starts = [hour for hour in hours if (hour - 1) % DAY_HOURS not in left] or [0]
    for start in starts:
        length = 1
        while length < DAY_HOURS and (start + length) % DAY_HOURS in left:
            length += 1
        last = (start + length - 1) % DAY_HOURS
        yield f"{start:02}" if length == 1 else f"{start:02}-{last:02}"

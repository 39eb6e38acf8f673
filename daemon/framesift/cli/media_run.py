"""The clock of `framesift run --clock media --start T`, and which configurations it suits."""

from __future__ import annotations

from datetime import datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING

from framesift.cli.console import fail

if TYPE_CHECKING:
    from framesift.clock.clock import Clock
    from framesift.settings import Settings


class ClockKind(str, Enum):
    """What the time of a run follows."""

    SYSTEM = "system"
    MEDIA = "media"


def create_clock(kind: ClockKind, start: str | None, settings: Settings, system_clock: Clock) -> Clock:
    """The clock of the run; ends the command where the options or the settings do not allow it."""
    from framesift.clock.media_clock import MediaClock

    if kind is ClockKind.SYSTEM:
        if start is not None:
            fail("--start is for --clock media only")
        return system_clock
    if start is None:
        fail("--clock media needs --start, the time at which the files begin, such as 2026-11-28T10:00+01:00")
    start_s = parse_start_s(start, system_clock)
    problem = _problem(settings)
    if problem is not None:
        fail(f"--clock media: {problem}")
    return MediaClock(system_clock, start_s, [stream.name for stream in settings.streams])


def parse_start_s(text: str, clock: Clock) -> float:
    """The Unix time that the option gives, local where it has no zone."""
    from framesift.clock.moment import CLOCK_SET_AFTER_S

    try:
        start_s = datetime.fromisoformat(f"{text[:-1]}+00:00" if text.endswith("Z") else text).timestamp()
    except (ValueError, OverflowError, OSError):
        fail(f"--start {text}: a time such as 2026-11-28T10:00 or 2026-11-28T10:00+01:00 is expected")
    if not CLOCK_SET_AFTER_S <= start_s <= clock.now().wall_s:
        first = datetime.fromtimestamp(CLOCK_SET_AFTER_S, timezone.utc).date()
        fail(f"--start {text}: a time from {first} (UTC) until now is allowed")
    return start_s


def _problem(settings: Settings) -> str | None:
    """Why the time of files can't be followed with these settings."""
    for number, stream in enumerate(settings.streams):
        if stream.pace == "realtime":
            return f"streams[{number}].pace: realtime goes by the machine's time; leave it out"
        if stream.is_live:
            return f"streams[{number}].source: {stream.redacted_source} is live; only files have a time of their own"
        if stream.follow:
            return f"streams[{number}].follow: a file that is being written goes by the machine's time; leave it out"
        if stream.watch:
            return f"streams[{number}].watch: pictures that arrive later have no time of their own"
        if stream.is_pictures and stream.fps is None:
            return (
                f"streams[{number}].fps: missing: pictures in a folder have no times; say how many there are a second"
            )
    if settings.listeners:
        return "listeners: their clients send at the machine's time; leave them out"
    if settings.limits.redis is not None:
        return "limits.redis: the other devices go by the machine's time; set it to null"
    if settings.spool.path.exists():
        return (
            f"spool.path: {settings.spool.path} exists already. Its quota belongs to another time: name a new file, in "
            "the settings or as FRAMESIFT_SPOOL__PATH"
        )
    return None

"""`framesift coverage`: what was collected beside what was seen, and what is missing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import datetime, timezone, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from framesift.cli.console import ConfigOption, escape_text, fail, out, to_json_text

if TYPE_CHECKING:
    from framesift.coverage import CountedCoverage, CoverageSummary, Tally

_KINDS = {"brightness": "brightness", "objects": "objects", "class": "classes"}
_LABEL_WIDTH = 12


def coverage(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show what was collected beside what the streams showed, and what is missing."""
    found = _read(config)
    zone = _zone(found.time_zone)
    if as_json:
        sys.stdout.write(to_json_text(_fields(found, zone), indent=2))
        return
    for line in _lines(found, zone):
        out.print(escape_text(line), soft_wrap=True, highlight=False)


def _read(config: Path | None) -> CountedCoverage:
    """What was counted; ends the command where there is nothing."""
    from framesift import settings
    from framesift.config.errors import ConfigError
    from framesift.coverage import CoverageUnreadable, read_coverage

    try:
        file = settings.find_settings_file(config, os.environ)
        path = settings.load_block(file, os.environ, "spool", settings.SpoolSettings).coverage_file
    except ConfigError as error:
        fail(str(error))
    try:
        found = read_coverage(path)
    except CoverageUnreadable as error:
        fail(f"{path}: {error}", code=1)
    if found is None:
        fail(f"{path} does not exist yet: nothing has run with these settings", code=1)
    return found


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # as of a zone that this machine does not have
        return timezone.utc


def _fields(found: CountedCoverage, zone: tzinfo) -> dict[str, Any]:
    from dataclasses import asdict

    from framesift.coverage import find_gaps, summaries

    return {
        "since_s": found.since_s,
        "until_s": found.until_s,
        "time_zone": str(zone),
        "streams": [
            {"stream": one.stream, "seen": _tally(one.seen), "collected": _tally(one.collected)}
            for one in summaries(found, zone)
        ],
        "gaps": [asdict(gap) for gap in find_gaps(found, zone)],
    }


def _tally(tally: Tally) -> dict[str, Any]:
    from framesift.coverage import BRIGHTNESS, OBJECTS

    return {
        "frames": tally.frames,
        "hours": tally.hours,
        "brightness": dict(zip(BRIGHTNESS, tally.brightness, strict=True)),
        "objects": dict(zip(OBJECTS, tally.objects, strict=True)),
        "classes": dict(tally.classes.most_common()),
    }


def _lines(found: CountedCoverage, zone: tzinfo) -> Iterator[str]:
    from framesift.coverage import find_gaps, summaries

    since, until = (f"{datetime.fromtimestamp(at_s, zone):%Y-%m-%d %H:%M}" for at_s in (found.since_s, found.until_s))
    yield f"from {since} to {until} ({zone}); seen: about one frame a second of what each stream shows"
    each = summaries(found, zone)
    for one in each:
        yield ""
        yield from _summary(one)
    yield ""
    gaps = find_gaps(found, zone)
    yield from (gap.text for gap in gaps)
    if not each:  # as in the first minutes of a daemon
        yield f"no frame was counted until {until}; a running daemon writes every five minutes what it has counted"
    elif not gaps:
        yield "nothing is missing, as far as can be told from so much"


def _summary(one: CoverageSummary) -> Iterator[str]:
    from framesift.coverage import share_text

    name = "all streams" if one.stream is None else one.stream
    yield f"{name}: {one.collected.frames:,} collected, {one.seen.frames:,} seen"
    yield _row("hour", [f"{hour:02}" for hour in range(24)])
    yield _row("seen %", _shares(one.seen.hours))
    yield _row("collected %", _shares(one.collected.hours))
    for kind, title in _KINDS.items():
        parts = [
            f"{name} {collected[0]:,} of {collected[1]:,} (seen: {share_text(*seen)})"
            for its_kind, name in one.subjects()
            if its_kind == kind
            for collected, seen in [(one.collected.share(kind, name), one.seen.share(kind, name))]
            if collected[1] or seen[1]
        ]
        if parts:
            yield _row(title, [" " + ", ".join(parts)], width=0)


def _row(label: str, cells: list[str], *, width: int = 4) -> str:
    return f"  {label:<{_LABEL_WIDTH}}" + "".join(cell.rjust(width) for cell in cells)


def _shares(numbers: list[int]) -> list[str]:
    """In whole percent; "." for none."""
    of = sum(numbers)
    return [f"{100 * number / of:.0f}" if number else "." for number in numbers]

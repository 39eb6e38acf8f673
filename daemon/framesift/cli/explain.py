"""`framesift explain`: why a frame was accepted, held or refused, from the decision record."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from framesift.cli.console import ConfigOption, escape_text, fail, out, parse_time_s, to_json_text

if TYPE_CHECKING:
    from framesift.decisions.lookup import QuietMoment
    from framesift.sinks import CommonSinkSettings

_DAY_S = 86_400.0
_MOST_SHOWN = 20

Line = dict[str, Any]


def explain(
    what: Annotated[str, typer.Argument(help="The id of a datapoint, or the name of a stream.", metavar="ID | STREAM")],
    at: Annotated[
        str | None,
        typer.Argument(
            help="With a stream: 14:03, 14:03:20 or 2026-11-28T14:03:20 (UTC), or Unix time.", metavar="TIME"
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="The lines of the record, as JSON.")] = False,
) -> None:
    """Say why a frame was accepted, held or refused: what each strategy measured, and what was in the way."""
    place = _place(config)
    lines = _of_id(place, what) if at is None else _of_time(place, what, _time_s(at))
    if as_json:
        sys.stdout.write("".join(to_json_text(line, indent=None) for line in lines))
        return
    for text in _words(place, lines):
        out.print(escape_text(text), soft_wrap=True, highlight=False)


@dataclass(frozen=True, slots=True)
class _Place:
    """record: the folder of the decision record. spool: the file. sink: where pictures are delivered."""

    record: Path
    spool: Path
    sink: CommonSinkSettings


def _place(config: Path | None) -> _Place:
    from framesift import settings
    from framesift.config.errors import ConfigError
    from framesift.sinks import SinkSettings

    try:
        file = settings.find_settings_file(config, os.environ)
        spool = settings.load_block(file, os.environ, "spool", settings.SpoolSettings).path
        record = settings.load_block(file, os.environ, "decisions", settings.DecisionSettings)
        sink = settings.load_block(file, os.environ, "sink", cast(Any, SinkSettings))
    except ConfigError as error:
        fail(str(error))
    if record.max_bytes is None:
        fail("decisions.max_bytes is null: nothing is recorded", code=1)
    return _Place(record.folder(spool), spool, cast("CommonSinkSettings", sink))


def _of_id(place: _Place, id: str) -> list[Line]:
    """The decision on a datapoint, and what became of it; ends the command where the record has none."""
    from framesift.decisions import lookup

    found = lookup.find_datapoint(place.record, id)
    if not found and id in lookup.span(place.record).streams:
        fail(f"{id} is a stream, which needs a TIME: framesift explain {id} 14:03")
    if not found:
        fail(f"{id}: the record has no such datapoint; it goes back to {_oldest(place)}", code=1)
    return found


def _of_time(place: _Place, stream: str, at_s: float) -> list[Line]:
    """What was decided on a stream at about a time, or that nothing ran; ends the command where nothing is known."""
    from framesift.decisions import lookup

    found = lookup.find_moment(place.record, stream, at_s)
    if found:
        return found
    streams = lookup.span(place.record).streams
    if stream not in streams:
        known = ", ".join(sorted(streams)) or "none"
        fail(f"{stream}: the record has no such stream; it has {known}", code=1)
    quiet = lookup.find_quiet_moment(place.record, stream, at_s)
    if quiet.off is None:
        around = f"the record goes back to {_oldest(place)}" if quiet.before_s is None else _around(quiet)
        fail(f"{stream}: nothing was decided at {_text(at_s)}; {around}", code=1)
    return [quiet.off]


def _around(quiet: QuietMoment) -> str:
    after = "none since" if quiet.after_s is None else f"again from about {_text(quiet.after_s)}"
    before = _text(quiet.before_s or 0.0)
    return f"frames of it were counted until about {before}, and {after}; `stream` in the log says whether it was away"


def _words(place: _Place, lines: list[Line]) -> Iterator[str]:
    from framesift.decisions import explanation, thumbnail_file

    outcomes = [line for line in lines if line["type"] == "outcome"]
    decisions = [line for line in lines if line["type"] == "decision"]
    for line in decisions[:_MOST_SHOWN]:
        of_it = [outcome for outcome in outcomes if outcome["id"] == line.get("id")]
        yield from explanation.explain(line, of_it, _text)
        if line.get("id"):
            yield f"  {line['id']}: {_picture(place, line['id']) or explanation.missing_picture(line, of_it)}"
        for id in explanation.similar_ids(line):
            yield f"  {id}: {_picture(place, id) or explanation.PICTURE_GONE}"
        thumbnail = thumbnail_file(place.record, line)
        if thumbnail is not None:
            yield f"  its thumbnail is {thumbnail}"
        yield ""
    if len(decisions) > _MOST_SHOWN:
        yield f"and {len(decisions) - _MOST_SHOWN} more: --json has them all"
    if not decisions:
        for outcome in outcomes:
            yield f"{_text(outcome['at'])}: {outcome['outcome']} {outcome.get('strategy') or outcome.get('reason', '')}"
    for line in lines:
        if line["type"] == "counts":
            yield from explanation.explain_counts(line, _text)
        elif line["type"] == "down":
            yield explanation.explain_down(line, _text)
        elif line["type"] == "stop":
            yield explanation.explain_stop(line, _text)


def _picture(place: _Place, id: str) -> str:
    """Where the picture of a datapoint is; "" if it is not on this machine."""
    from framesift.spool import admin

    if place.spool.exists() and admin.show(place.spool, id) is not None:
        return "its picture is in the spool (framesift spool list)"
    path = place.sink.picture_of(id)
    return "" if path is None else f"its picture is {path}"


def _oldest(place: _Place) -> str:
    from framesift.decisions import lookup

    oldest_s = lookup.span(place.record).oldest_s
    return f"nothing: {place.record} is empty or does not exist" if oldest_s is None else _text(oldest_s)


def _time_s(text: str) -> float:
    """The Unix time of an argument; ends the command where it is none."""
    from framesift.clock.clock import SystemClock

    if re.fullmatch(r"\d{9,}(\.\d+)?", text):
        return float(text)
    if not re.match(r"\d{1,2}:\d{2}", text):
        if not re.match(r"\d{4}-\d{2}-\d{2}", text):
            fail(f"TIME {text}: a time such as 14:03, 14:03:20, 2026-11-28T14:03:20 or a Unix time is expected")
        return parse_time_s("TIME", text)
    now_s = SystemClock().now().wall_s
    today = datetime.fromtimestamp(now_s, timezone.utc).date()
    at_s = parse_time_s("TIME", f"{today}T{text.zfill(5) if text.count(':') == 1 else text.zfill(8)}")
    return at_s if at_s <= now_s else at_s - _DAY_S  # the last moment with this time


def _text(at_s: float) -> str:
    at = datetime.fromtimestamp(at_s, timezone.utc)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} UTC"

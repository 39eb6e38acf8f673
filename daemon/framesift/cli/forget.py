"""`framesift forget`: removes datapoints from everything that framesift keeps on this machine."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from framesift.cli.console import ConfigOption, counted, err, escape_text, fail, out, parse_time_s

if TYPE_CHECKING:
    from framesift.datapoint import Selection
    from framesift.decisions import ForgottenLines
    from framesift.sinks import CommonSinkSettings
    from framesift.spool.forget import ForgottenRows

# A delivery has at most 45 s; its result is written a moment later.
SENT_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.25
_SHOWN_STREAMS = 10


def forget(
    ids: Annotated[list[str] | None, typer.Option("--id", help="An id; may be given several times.")] = None,
    stream: Annotated[str | None, typer.Option(help="All datapoints of this stream.")] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Captured then or later: 2026-11-28, or 2026-11-28T10:00 (UTC without an offset)."),
    ] = None,
    until: Annotated[str | None, typer.Option(help="Captured before that; default: now.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="Also delete damaged spool files that were moved aside, as a whole.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Remove datapoints everywhere on this machine: pictures, labels, lines, rows, signatures."""
    if bool(ids) == (stream is not None):
        fail("name the datapoints: --id ID (several times), or --stream NAME, perhaps with --since and --until")
    if ids and (since is not None or until is not None):
        fail("--since and --until belong to --stream; an --id is forgotten whenever it was captured")
    place = _place(config)
    selection = _selection(ids, stream, since, until)
    if dry_run or (sys.stdin.isatty() and not yes):
        found = _look(place, selection)
        _report(place, found, set_aside, "would be removed")
        if dry_run:
            _refuse_unknown(place, selection, found)
            return
        typer.confirm("Remove all that for good?", abort=True)
    found = _forget(place, selection, set_aside)
    _refuse_unknown(place, selection, found)
    raise typer.Exit(1 if found.rows is not None and found.rows.sending else 0)


@dataclass(frozen=True, slots=True)
class _Place:
    """record: the folder of the decision record. streams: those that the settings or the counts of coverage name."""

    spool: Path
    streams: frozenset[str]
    sink: CommonSinkSettings
    record: Path


@dataclass(frozen=True, slots=True)
class _Found:
    """rows: None without a spool. lines: of the decision record."""

    rows: ForgottenRows | None
    pictures: int
    elsewhere: str
    lines: ForgottenLines

    @property
    def is_nothing(self) -> bool:
        rows = self.rows
        in_spool = rows is not None and (rows.ids or rows.sending or rows.signatures or rows.held)
        return not in_spool and not self.pictures and not any(self.lines)


def _place(config: Path | None) -> _Place:
    """Where things are kept; the settings' other blocks, and the secrets that they name, are not read."""
    from framesift import settings
    from framesift.config.errors import ConfigError
    from framesift.coverage import CoverageUnreadable, read_coverage
    from framesift.sinks import SinkSettings

    try:
        file = settings.find_settings_file(config, os.environ)
        spool = settings.load_block(file, os.environ, "spool", settings.SpoolSettings)
        sink = settings.load_block(file, os.environ, "sink", cast(Any, SinkSettings))
        decisions = settings.load_block(file, os.environ, "decisions", settings.DecisionSettings)
        streams = set(settings.load_stream_names(file, os.environ))
    except ConfigError as error:
        fail(str(error))
    with contextlib.suppress(CoverageUnreadable):
        coverage = read_coverage(spool.coverage_file)
        streams.update(day.stream for day in (() if coverage is None else coverage.days))
    return _Place(spool.path, frozenset(streams), sink, decisions.folder(spool.path))


def _refuse_unknown(place: _Place, selection: Selection, found: _Found) -> None:
    """Ends the command where nothing was found of what is unknown here: a misspelt name is no proof of a deletion."""
    from framesift.spool.forget import are_charged

    if not found.is_nothing:
        return
    if selection.ids is not None:
        if not (place.spool.exists() and are_charged(place.spool, selection.ids)):
            fail(f"--id {', '.join(sorted(selection.ids))}: not known here, so there was nothing to remove")
    elif selection.stream not in place.streams:
        known = ", ".join(sorted(place.streams)[:_SHOWN_STREAMS]) or "none"
        fail(f"--stream {selection.stream}: not known here, so there was nothing to remove; known streams: {known}")


def _selection(ids: list[str] | None, stream: str | None, since: str | None, until: str | None) -> Selection:
    from framesift.clock.clock import SystemClock
    from framesift.datapoint import Selection

    if ids:
        return Selection(ids=frozenset(ids))
    # Not beyond this moment: what is captured while the command runs belongs to the next one.
    until_s = SystemClock().now().wall_s if until is None else parse_time_s("--until", until)
    since_s = float("-inf") if since is None else parse_time_s("--since", since)
    if since_s >= until_s:
        fail("--since is not before --until: nothing was captured in between")
    return Selection(stream=stream, since_s=since_s, until_s=until_s)


def _look(place: _Place, selection: Selection) -> _Found:
    from framesift.spool.forget import daemon_kept_out, find_rows

    rows = None
    if place.spool.exists():
        with daemon_kept_out(place.spool) as stopped:
            rows = find_rows(place.spool, selection, daemon_runs=not stopped)
    pictures = place.sink.forget(selection, dry_run=True)
    lines = _forget_lines(place, selection, dry_run=True)
    return _Found(rows, pictures.pictures, pictures.elsewhere, lines)


def _forget_lines(place: _Place, selection: Selection, *, dry_run: bool) -> ForgottenLines:
    """Removes the lines of the decision record with their thumbnails, and counts them. dry_run: only counts."""
    from framesift.decisions import forget_lines

    def is_selected(line: dict[str, Any]) -> bool:
        ids = {line.get("id"), line.get("chosen_id")}
        at_s = line.get("at", line.get("to"))
        return any(selection.includes(str(id), str(line.get("stream")), at_s) for id in ids)

    return forget_lines(place.record, is_selected, dry_run=dry_run)


def _forget(place: _Place, selection: Selection, set_aside: bool) -> _Found:
    """Removes everything, and says so. What is still being sent stays."""
    from framesift.clock.clock import SystemClock
    from framesift.spool.forget import daemon_kept_out, forget_rows, scrub_spool, set_aside_files
    from framesift.spool.salvage import finish_interrupted, remove_drafts

    rows: ForgottenRows | None = None
    with daemon_kept_out(place.spool) as stopped:
        if stopped:
            finish_interrupted(place.spool)
            remove_drafts(place.spool)
    if place.spool.exists():
        clock, never = SystemClock(), threading.Event()
        until_s = clock.monotonic() + SENT_WITHIN_S
        with daemon_kept_out(place.spool) as stopped:
            while True:
                found = forget_rows(place.spool, selection, daemon_runs=not stopped)
                rows = found if rows is None else rows.with_later(found)
                if not rows.sending or clock.monotonic() >= until_s:
                    break
                clock.wait(never, _LOOK_EVERY_S)
            # Before the spool is scrubbed: what was delivered meanwhile is in the folder now.
            pictures = place.sink.forget(selection, dry_run=False)
            unread = scrub_spool(place.spool, clock).unread_pages
        if unread:
            err.print(f"[yellow]note:[/] {counted(unread, 'damaged page')} of {place.spool} could not be overwritten")
    else:
        pictures = place.sink.forget(selection, dry_run=False)
    if set_aside:
        for path in set_aside_files(place.spool):
            path.unlink()
            out.print(f"deleted {escape_text(str(path))}")
    lines = _forget_lines(place, selection, dry_run=False)
    gone = _Found(rows, pictures.pictures, pictures.elsewhere, lines)
    _report(place, gone, False, "removed")
    return gone


def _report(place: _Place, found: _Found, set_aside: bool, done: str) -> None:
    """Says what was found, what stays, and what isn't known."""
    from framesift.spool.forget import set_aside_files
    from framesift.spool.salvage import interrupted_drafts

    rows = found.rows
    if rows is not None:
        also = f", {counted(rows.signatures, 'signature')}, {counted(rows.held, 'waiting frame')}"
        more = also if rows.signatures + rows.held else ""
        out.print(f"spool {escape_text(str(place.spool))}: {counted(len(rows.ids), 'datapoint')} {done}{more}")
        for id in rows.sending:
            out.print(f"[yellow]{escape_text(id)} is being sent at this moment and stays: run this again[/]")
    if place.sink.locked_folder is not None:
        folder = escape_text(str(place.sink.locked_folder))
        out.print(f"folder {folder}: {counted(found.pictures, 'picture')} {done}, with labels and lines")
    if any(found.lines):
        more = f", {counted(found.lines.thumbnails, 'thumbnail')}" if found.lines.thumbnails else ""
        out.print(f"record {escape_text(str(place.record))}: {counted(found.lines.lines, 'line')} {done}{more}")
    for id, image_id in sorted((rows.image_ids if rows is not None else {}).items()):
        out.print(f"the sink has {escape_text(id)} as image {escape_text(image_id)}: delete it there")
    if found.elsewhere:
        out.print(f"not removed: {escape_text(found.elsewhere)}")
    for path in interrupted_drafts(place.spool):
        what = "a copy of the spool that an interrupted start left; it may hold them"
        out.print(f"{escape_text(str(path))}: {what}: stop the daemon and run this without --dry-run, which deletes it")
    for path in set_aside_files(place.spool):
        fate = "would be deleted" if set_aside else "may hold them, and can't be searched: --set-aside deletes it"
        out.print(f"{escape_text(str(path))}: {fate}")
    out.print(
        "[dim]Their quota stays charged. Not known here: recordings (run --record), contact sheets and exported"
        " datasets, copies and backups of others. A running daemon knows how the scenes look until it is restarted,"
        " and refuses near duplicates of them.[/]"
    )

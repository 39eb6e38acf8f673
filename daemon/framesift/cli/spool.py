"""`framesift spool`: lists, retries and drops datapoints in the spool, also while the daemon runs."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from framesift.cli.console import ConfigOption, err, escape_text, fail, out
from framesift.cli.examples import GroupWithExamples

if TYPE_CHECKING:
    from framesift.settings import SpoolSettings

spool_app = typer.Typer(
    cls=GroupWithExamples, help="Inspect the spool, and retry or drop datapoints that could not be delivered."
)


@spool_app.command("list")
def spool_list(
    config: ConfigOption = None,
    state: Annotated[str | None, typer.Option(help="Only this state: ready, sending, registered or buried.")] = None,
    limit: Annotated[int, typer.Option(help="Largest number of rows.", min=1)] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """List the datapoints in the spool, and why some are buried."""
    from framesift.spool import State, admin

    if state is not None and state not in {s.value for s in State}:
        fail(f"--state {state}: must be one of {', '.join(s.value for s in State)}")
    path = _spool_path(config)
    rows = admin.list_rows(path, None if state is None else State(state), limit)
    if as_json:
        for row in rows:
            sys.stdout.write(json.dumps(asdict(row), default=str) + "\n")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("id", no_wrap=True, min_width=32)  # to be copied
    for title in ("state", "stream", "frame", "captured", "strategy", "score", "attempts", "why"):
        table.add_column(title, overflow="fold")
    for row in rows:
        score = "" if row.score is None else f"{row.score:.2f}"
        captured = f"{datetime.fromtimestamp(row.captured_at, timezone.utc):%Y-%m-%d %H:%M:%S}"
        first = (row.id, row.state.value, row.stream, str(row.frame), captured, row.strategy, score)
        table.add_row(*first, str(row.attempts), escape_text(row.why or ""))
    out.print(table if rows else "the spool is empty")
    outcomes = ", ".join(f"{count} {outcome.value}" for outcome, count in admin.outcome_counts(path).items())
    out.print(f"[dim]outcomes so far: {outcomes or 'none'}[/]")


@spool_app.command("alike")
def spool_alike(
    config: ConfigOption = None,
    limit: Annotated[int, typer.Option(help="Largest number of rows.", min=1)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """List the accepted frames that stand for the most others, which were refused as near duplicates of them.

    Also those that were delivered, as long as they are remembered.
    """
    from framesift.spool import admin

    rows = admin.list_alike(_spool_path(config), limit)
    if as_json:
        for row in rows:
            sys.stdout.write(json.dumps(asdict(row)) + "\n")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("id", no_wrap=True, min_width=32)  # to be copied
    for title in ("alike", "stream", "captured"):
        table.add_column(title, overflow="fold")
    for row in rows:
        captured = f"{datetime.fromtimestamp(row.captured_at_s, timezone.utc):%Y-%m-%d %H:%M:%S}"
        table.add_row(row.id, str(row.alike), escape_text(row.stream), captured)
    out.print(table if rows else "no accepted frame stands for others")


@spool_app.command("show")
def spool_show(
    id: Annotated[str, typer.Argument(help="The id, as `framesift spool list` shows it.")],
    config: ConfigOption = None,
) -> None:
    """Print everything about one datapoint, as JSON."""
    from framesift.spool import admin

    details = admin.show(_spool_path(config), id)
    if details is None:
        err.print(f"[red]framesift:[/] the spool has no datapoint {escape_text(id)}")
        raise typer.Exit(1)
    fields = {**asdict(details.row), "prediction": json.loads(details.prediction or "null")}
    sys.stdout.write(json.dumps(fields, indent=2, default=str) + "\n")


@spool_app.command("retry")
def spool_retry(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids to retry; without any: all buried ones.")] = None,
    config: ConfigOption = None,
) -> None:
    """Retry datapoints now that are buried or wait for a retry."""
    from framesift.clock.clock import SystemClock
    from framesift.spool import admin

    done = admin.retry(_spool_path(config), ids or None, SystemClock().now())
    _print_result("will be tried again", done, ids)


@spool_app.command("drop")
def spool_drop(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids to drop.")] = None,
    config: ConfigOption = None,
    buried: Annotated[bool, typer.Option("--buried", help="Drop all buried ones.")] = False,
) -> None:
    """Delete datapoints for good."""
    from framesift.spool import admin

    if bool(ids) == buried:
        fail("name the ids to drop, or use --buried for all buried ones")
    done = admin.drop(_spool_path(config), ids or None)
    _print_result("dropped", done, ids)


@spool_app.command("recover")
def spool_recover(
    file: Annotated[Path, typer.Argument(help="A file that was set aside: spool.db.corrupt-<time>.")],
    config: ConfigOption = None,
) -> None:
    """Take datapoints back from a spool file that was set aside as damaged, each once. The daemon may run.

    Beside it, spool.db.taken-<time> says which were taken: keep it as long as the file. Without it, those that have
    left the spool since are taken, and delivered, once more, unless the sink has limits: then their sends are known.
    """
    from framesift.clock.clock import SystemClock
    from framesift.spool import taken
    from framesift.spool.recover import SpoolPlace, recover

    options = _spool_settings(config)
    place = SpoolPlace(options.path, options.max_bytes, options.min_free_bytes)
    record = taken.path_beside(file)
    has_record = record.exists()
    done = recover(place, file, SystemClock().now())
    out.print(f"{done.taken} taken back, {done.known} known already, {done.unreadable} can't be read")
    if done.taken and not has_record:
        err.print(
            f"[yellow]note:[/] there was no {escape_text(str(record))} to say what was taken before: what had left the"
            " spool already may be among these, and is delivered once more (with sink.limits, sends are known for some"
            " days)"
        )
    if done.no_room:
        err.print(f"[red]framesift:[/] no room for {done.no_room} more: run this again when some have been delivered")
        raise typer.Exit(1)


@spool_app.command("downgrade")
def spool_downgrade(config: ConfigOption = None) -> None:
    """Make the spool readable for version 0.2 again, before that is installed. The daemon must be stopped."""
    from framesift.clock.clock import SystemClock
    from framesift.spool.downgrade import downgrade

    path = _spool_path(config)
    done = downgrade(path, SystemClock())
    out.print(f"{escape_text(str(path))} has format 2 again, with {done.datapoints} datapoints")
    dropped = {
        "signatures of near duplicates": done.signatures,
        "held frames": done.held,
        "pictures besides the frames": done.pictures,
    }
    if any(dropped.values()):
        out.print("dropped, because format 2 has no place for them: ", end="")
        out.print(", ".join(f"{number} {what}" for what, number in dropped.items() if number))
    out.print("Now install the older version: this one would upgrade the spool at its next start.")


def _print_result(what: str, done: tuple[str, ...], ids: list[str] | None) -> None:
    out.print(f"{len(done)} {what}")
    missing = sorted(set(ids or ()) - set(done))
    if missing:
        err.print(
            f"[red]framesift:[/] unchanged (not in the spool, ready, or being sent): {escape_text(', '.join(missing))}"
        )
        raise typer.Exit(1)


def _spool_path(config: Path | None) -> Path:
    return _spool_settings(config).path


def _spool_settings(config: Path | None) -> SpoolSettings:
    from framesift import settings
    from framesift.config.errors import ConfigError

    try:
        options = settings.load_block(
            settings.find_settings_file(config, os.environ), os.environ, "spool", settings.SpoolSettings
        )
    except ConfigError as error:
        fail(str(error))
    path = options.path
    if not path.exists():
        err.print(f"[red]framesift:[/] there is no spool at {escape_text(str(path))} yet")
        raise typer.Exit(1)
    return options

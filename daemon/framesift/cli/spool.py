"""`framesift spool`: a look into the spool, and what can be put right by hand, also beside a running daemon."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from framesift.cli.console import ConfigOption, err, escape_text, fail, out

spool_app = typer.Typer(help="Look into the spool, and put right by hand what could not be delivered.")


@spool_app.command("list")
def spool_list(
    config: ConfigOption = None,
    state: Annotated[str | None, typer.Option(help="Only these: ready, sending, registered or buried.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """What waits in the spool, and what was buried and why."""
    from framesift.spool import State
    from framesift.spool import admin as by_hand

    if state is not None and state not in {s.value for s in State}:
        fail(f"--state {state}: it is one of {', '.join(s.value for s in State)}")
    path = _spool_path(config)
    rows = by_hand.list_rows(path, None if state is None else State(state), limit)
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
        who = (row.id, row.state.value, row.stream, str(row.frame), captured, row.strategy, score)
        table.add_row(*who, str(row.attempts), escape_text(row.why or ""))
    out.print(table if rows else "nothing waits")
    exits = ", ".join(f"{count} {exit_.value}" for exit_, count in by_hand.outcome_counts(path).items())
    out.print(f"[dim]left so far: {exits or 'nothing'}[/]")


@spool_app.command("show")
def spool_show(
    id: Annotated[str, typer.Argument(help="As in the list.")],
    config: ConfigOption = None,
) -> None:
    """Everything about one datapoint."""
    from framesift.spool import admin as by_hand

    shown = by_hand.show(_spool_path(config), id)
    if shown is None:
        err.print(f"[red]framesift:[/] the spool has no {escape_text(id)}")
        raise typer.Exit(1)
    told = {**asdict(shown.row), "prediction": json.loads(shown.prediction or "null")}
    sys.stdout.write(json.dumps(told, indent=2, default=str) + "\n")


@spool_app.command("retry")
def spool_retry(
    ids: Annotated[list[str] | None, typer.Argument(help="Which; all that are buried if none is named.")] = None,
    config: ConfigOption = None,
) -> None:
    """Give what was buried, or waits for a date, another chance now."""
    from framesift.clock.clock import SystemClock
    from framesift.spool import admin as by_hand

    done = by_hand.retry(_spool_path(config), ids or None, SystemClock().now())
    _told_of("will be tried again", done, ids)


@spool_app.command("drop")
def spool_drop(
    ids: Annotated[list[str] | None, typer.Argument(help="Which.")] = None,
    config: ConfigOption = None,
    buried: Annotated[bool, typer.Option("--buried", help="All that are buried.")] = False,
) -> None:
    """Throw datapoints away, for good."""
    from framesift.spool import admin as by_hand

    if bool(ids) == buried:
        fail("name what to drop, or say --buried for all that are buried")
    done = by_hand.drop(_spool_path(config), ids or None)
    _told_of("dropped", done, ids)


def _told_of(what: str, done: tuple[str, ...], ids: list[str] | None) -> None:
    out.print(f"{len(done)} {what}")
    missing = sorted(set(ids or ()) - set(done))
    if missing:
        err.print(
            f"[red]framesift:[/] not so (not there, ready anyway, or being sent): {escape_text(', '.join(missing))}"
        )
        raise typer.Exit(1)


def _spool_path(config: Path | None) -> Path:
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
    return path

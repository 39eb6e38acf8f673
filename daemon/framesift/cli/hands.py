"""`framesift take`, `pause` and `resume`: what an operator makes the running daemon do, through its status server."""

from __future__ import annotations

import json
import os
import pwd
import sys
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import typer

from framesift.cli.console import ConfigOption, err, escape_text, fail, out, print_note

_WITHIN_S = 30.0  # the longest take, or a disk that is slow; no answer is reported as a failure


def take(
    stream: Annotated[str, typer.Argument(help="The stream.")],
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="The answer as one JSON object.")] = False,
) -> None:
    """Take the next frame of a stream, whatever it shows; the limits of the strategy manual hold.

    Exit code 1 if none was taken.
    """
    answer = _act(config, "/take", {"stream": stream})
    if as_json:
        sys.stdout.write(json.dumps(answer) + "\n")
    elif answer["id"] is not None:
        out.print(escape_text(f"taken: {answer['id']} (strategy {answer['strategy']})"))
    else:
        err.print(f"[red]framesift:[/] nothing was taken: {escape_text(answer['why'])} ({answer['reason']})")
    raise typer.Exit(0 if answer["id"] is not None else 1)


def pause(
    stream: Annotated[str | None, typer.Argument(help="The stream; without one: all streams.")] = None,
    config: ConfigOption = None,
    for_: Annotated[
        str | None, typer.Option("--for", help="How long, such as 90s, 30m, 2h or 1d; without it: until `resume`.")
    ] = None,
) -> None:
    """Take no frames of a stream, or of all streams, for a while. A restart does not end it."""
    for_s = None if for_ is None else _duration(for_)
    answer = _act(config, "/pause", {"stream": stream, "for_s": for_s})
    until = "until `framesift resume`"
    if answer["until_s"] is not None:
        until = f"until {datetime.fromtimestamp(answer['until_s']).astimezone():%Y-%m-%d %H:%M:%S %Z}"
    out.print(escape_text(f"{_named(stream)} paused {until}"))
    _print_note(answer)


def resume(
    stream: Annotated[str | None, typer.Argument(help="The stream; without one: all streams.")] = None,
    config: ConfigOption = None,
) -> None:
    """Take frames of a paused stream again, or of all streams."""
    answer = _act(config, "/resume", {"stream": stream})
    what = "resumed" if answer["was_paused"] else "not paused: nothing has changed"
    out.print(escape_text(f"{_named(stream)} {what}"))
    _print_note(answer)


def _named(stream: str | None) -> str:
    return "all streams are" if stream is None else f"stream {stream} is"


def _print_note(answer: dict[str, Any]) -> None:
    if answer["note"] is not None:
        print_note(answer["note"])


def _duration(text: str) -> float:
    from framesift.config.schema import parse_duration
    from framesift.status.actions import MAX_PAUSE_S

    try:
        found = float(parse_duration(text))
    except ValueError as error:
        fail(f"--for: {error}")
    if not 1 <= found <= MAX_PAUSE_S:
        fail(f"--for {text}: from 1s to {MAX_PAUSE_S / 86400:g}d is allowed; without --for it is paused until `resume`")
    return found


def _act(config: Path | None, path: str, body: dict[str, object]) -> dict[str, Any]:
    """The answer of the daemon of these settings; ends the command where it refuses, or does not answer."""
    import requests

    from framesift.cli.expected_daemon import ExpectedDaemon, fields_of_header
    from framesift.cli.running_daemon import fetch_page, no_answer_text, post_action
    from framesift.config.errors import ConfigError
    from framesift.settings import StatusSettings, find_settings_file, load_block

    try:
        file = find_settings_file(config, os.environ)
        settings = load_block(file, os.environ, "status", StatusSettings)
    except ConfigError as error:
        fail(str(error))
    if settings.bind is None:
        fail("status.bind is null: this daemon has no status server, and nothing can be asked of it")
    expected = ExpectedDaemon.read(file, os.environ)
    try:
        comparison = expected.compare(fields_of_header(fetch_page(settings, "/healthz").headers))
        if comparison.refusal is not None:
            fail(f"{settings.bind}: {comparison.refusal}; nothing was asked of it", code=1)
        answer = post_action(settings, path, {**body, "by": _user()}, _WITHIN_S)
    except requests.RequestException as error:
        fail(no_answer_text(settings, error, expected.spool), code=1)
    if answer.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        fail("the running daemon is of an older version, which has no hands: restart it", code=1)
    if answer.status_code != HTTPStatus.OK:
        fail(answer.text.strip()[:500], code=1)
    fields: dict[str, Any] = answer.json()
    return fields


def _user() -> str:
    """Who runs this command, for the daemon's log."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name[:64]
    except KeyError:  # a container whose users nobody has listed
        return f"uid {os.getuid()}"

"""The console: where commands print, how they refuse, and the option that all of them share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from framesift.config.redact import Redactor

__all__ = ["ConfigOption", "err", "escape_text", "fail", "out", "print_note", "to_json_text"]

out = Console(highlight=False, soft_wrap=True, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The settings; else FRAMESIFT_CONFIG, ./framesift.yaml, /etc/framesift/."),
]


_redacted = Redactor()


def escape_text(text: str) -> str:
    """A text as it may be printed: nothing in it is markup, and addresses have lost their secrets."""
    return escape(_redacted(text))


def fail(why: str, code: int = 2) -> NoReturn:
    """Ends the command with a message, its lines after our name. code: 2 for bad configuration or wrong use, 1 for what
    failed though it was asked for well.
    """
    for line in why.splitlines():
        err.print(f"[red]framesift:[/] {escape_text(line)}")
    raise typer.Exit(code)


def print_note(what: str) -> None:
    """Something to know beside what was asked for; it hinders nothing."""
    for line in what.splitlines():
        err.print(f"[yellow]note:[/] {escape_text(line)}")


def to_json_text(data: object, *, indent: int | None) -> str:
    """JSON for eyes and terminals: letters of all languages as they are, but nothing that a terminal would obey."""
    text = json.dumps(data, indent=indent, ensure_ascii=False)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text) + "\n"

"""The console: what all commands use to print, to fail, and to choose the settings file."""

from __future__ import annotations

import json
import os
import shutil
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console, ConsoleOptions
from rich.markup import escape

from framesift.config.redact import Redactor

__all__ = [
    "CommandFailed",
    "ConfigOption",
    "counted",
    "err",
    "escape_text",
    "fail",
    "noun",
    "out",
    "parse_time_s",
    "print_next",
    "print_note",
    "redact",
    "to_json_text",
]

_UNWRAPPED = 100_000  # columns: wider than any line


class _LineConsole(Console):
    """A console that wraps nothing in a pipe or a file, where the next program expects one thing a line."""

    @property
    def options(self) -> ConsoleOptions:
        """The terminal's options; without a terminal, a width that is enough for every line."""
        found = super().options
        return found if self.is_terminal else found.update_width(_UNWRAPPED)


out = _LineConsole(highlight=False, soft_wrap=True, emoji=False)
err = _LineConsole(stderr=True, highlight=False, soft_wrap=True, emoji=False)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="The settings file; default: FRAMESIFT_CONFIG, ./framesift.yaml, /etc/framesift/."
    ),
]


_redacted = Redactor()


def redact(text: str) -> str:
    """The text with the secrets in addresses masked."""
    return _redacted(text)


def escape_text(text: str) -> str:
    """A text that is safe to print: rich markup is escaped, and secrets in addresses are masked."""
    return escape(redact(text))


def noun(number: float, one: str, many: str = "") -> str:
    """The noun that stands after a number. many: of several, where it is not `one` with an s."""
    return one if number == 1 else many or f"{one}s"


def print_next(*commands: str, between: str) -> None:
    """Print what to type next. commands: without the program's name."""
    program = _program()
    out.print(f"next: {between.join(f'[bold]{program} {escape_text(command)}[/]' for command in commands)}")


def _program() -> str:
    """How this program is called from here: its name, or its path where a shell would not find it; escaped."""
    called = Path(sys.argv[0])
    if called.name != "framesift" or shutil.which("framesift"):
        return "framesift"
    path, here = called.absolute(), Path.cwd()
    return escape_text(f"./{path.relative_to(here)}" if path.is_relative_to(here) else str(path))


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun: "1 picture", "2 pictures"."""
    return f"{number} {noun(number, one, many)}"


class CommandFailed(typer.Exit):
    """The command ends, and has said why. why: without the program's name; it may have several lines."""

    def __init__(self, why: str, code: int) -> None:
        super().__init__(code)
        self.why = why


def fail(why: str, code: int = 2) -> NoReturn:
    """Prints a message to stderr and ends the command. code: 2 for bad configuration or wrong use, 1 for a failure."""
    for line in why.splitlines():
        err.print(f"[red]framesift:[/] {escape_text(line)}")
    raise CommandFailed(why, code)


def check_output(option: str, path: Path) -> None:
    """Ends the command where no file can be made, before it does what takes long."""
    if path.is_dir():
        fail(f"{option} {path}: is a folder; name a file")
    if not path.parent.is_dir():
        fail(f"{option} {path}: there is no folder {path.parent}")
    place = path if path.exists() else path.parent
    if not os.access(place, os.W_OK, effective_ids=True):
        fail(f"{option} {path}: this user may not write {'it' if place == path else f'into the folder {place}'}")


def print_note(what: str) -> None:
    """Prints a note to stderr. The command goes on."""
    for line in what.splitlines():
        err.print(f"[yellow]note:[/] {escape_text(line)}")


def parse_time_s(option: str, text: str) -> float:
    """The Unix time of an option's value, UTC unless it has an offset; ends the command where it is none."""
    try:
        found = datetime.fromisoformat(text.removesuffix("Z"))
    except ValueError:
        fail(f"{option} {text}: a time such as 2026-11-28 or 2026-11-28T10:00 is expected")
    return (found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)).timestamp()


def to_json_text(data: object, *, indent: int | None) -> str:
    """JSON that is safe for a terminal: letters of all languages stay, control characters are escaped."""
    text = json.dumps(data, indent=indent, ensure_ascii=False)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text) + "\n"

"""The console: where commands print, how they refuse, and the option that all of them share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The settings; else FRAMESIFT_CONFIG, ./framesift.yaml, /etc/framesift/."),
]


def refuse(why: str, code: int = 2) -> NoReturn:
    """Ends the command with a message, its lines after our name. code: 2 for bad configuration or wrong use, 1 for what
    failed though it was asked for well."""
    for line in why.splitlines():
        err.print(f"[red]framesift:[/] {escaped(line)}")
    raise typer.Exit(code)


def escaped(text: str) -> str:
    """A text that rich prints as it is."""
    return text.replace("[", r"\[")

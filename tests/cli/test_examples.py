"""Each command's help ends with an example, which the command understands."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from framesift.cli.examples import EXAMPLES
from framesift.cli.main import app


def commands(group: Any, *path: str) -> Iterator[tuple[str, ...]]:
    """The names of all commands and groups below one."""
    for name, command in group.commands.items():
        yield (*path, name)
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)


ALL = [*commands(typer.main.get_command(app))]


def test_there_is_an_example_for_each_command_and_for_nothing_else() -> None:
    assert sorted(" ".join(path) for path in ALL) == sorted(EXAMPLES)


@pytest.mark.parametrize("path", [(), *ALL], ids=" ".join)
def test_help_ends_with_an_example(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "80"})
    assert shown.exit_code == 0
    last = shown.stdout.rstrip().splitlines()[-1].strip()
    assert last.startswith(f"Example: {' '.join(('framesift', *path))}"), shown.stdout


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_the_command_understands_its_example(path: tuple[str, ...]) -> None:
    words = shlex.split(EXAMPLES[" ".join(path)].partition(" > ")[0])[1:]
    command: Any = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    assert tuple(words[: len(path)]) == path
    command.make_context(path[-1], words[len(path) :])  # raises UsageError

"""`framesift settings`: what framesift.yaml may say."""

from __future__ import annotations

import sys

import typer

from framesift.cli.examples import GroupWithExamples

settings_app = typer.Typer(cls=GroupWithExamples, help="What framesift.yaml may say.")


@settings_app.command()
def schema() -> None:
    """Print the JSON Schema of framesift.yaml (draft 7), for editors."""
    from framesift.settings.editor_schema import editor_schema

    sys.stdout.write(editor_schema())

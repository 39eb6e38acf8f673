"""Whether spool.path names a file or folder that the settings use for something else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from framesift.settings.blocks import Settings
from framesift.streams import StreamSettings


def clash_with_spool(settings: Settings, file: Path) -> str | None:
    """Why spool.path can't be that of a spool; None where nothing else has it. All paths must be absolute.

    file: the settings file.
    """
    spool = settings.spool.path
    for name, path in (("the settings file", file), *_paths(settings, "")):
        if name != "spool.path" and os.path.realpath(path) == os.path.realpath(spool):
            own = spool.with_name("spool.db")
            return f"spool.path: {spool} is {name} too: the spool needs a file of its own, such as {own}"
    return None


def _paths(block: BaseModel, at: str) -> Iterator[tuple[str, Path]]:
    """Each path in a block, and the name of its setting."""
    if isinstance(block, StreamSettings) and block.is_path:
        yield f"{at}source", block.path
    for key in type(block).model_fields:
        value = getattr(block, key)
        many = isinstance(value, tuple)
        for number, one in enumerate(value if many else (value,)):
            name = f"{at}{key}[{number}]" if many else f"{at}{key}"
            if isinstance(one, Path):
                yield name, one
            elif isinstance(one, BaseModel):
                yield from _paths(one, f"{name}.")

"""Forgets pictures of a collected folder, from a process of its own, whether a daemon writes to the folder or not.

What counts is the name of a picture, which framesift made of device, stream, time and id: so pictures are found as well
whose line a person took out or changed, and those that a crash left without a line.
"""

from __future__ import annotations

import contextlib
import re
from datetime import datetime, timezone
from pathlib import Path

from framesift.atomic_files import safe_name
from framesift.datapoint import Selection
from framesift.sinks.metadata_file import MetadataFile
from framesift.sinks.own_lines import OwnLine
from framesift.sinks.picture_removal import changing, remove_pictures

# Device, stream, time and id, as the folder sink joins them; none of them has a "_" of its own.
_NAME = re.compile(r"[A-Za-z0-9-]+_([A-Za-z0-9-]+)_(\d{8}T\d{9})Z_([A-Za-z0-9-]+)")


def forget_pictures(root: Path, selection: Selection, *, dry_run: bool) -> int:
    """Removes all pictures of a selection with their labels and lines. Returns how many there were.

    dry_run: only counts. Raises OSError; the next call or pass then finishes what was begun.
    """
    if not root.is_dir():
        return 0
    with changing(root):
        metadata = MetadataFile(root / "metadata.jsonl")
        if not dry_run:
            metadata.refresh()
        names = {own.name for own in metadata.own_lines() if _includes(selection, own)}
        names |= _unlisted(root, selection)
        if not dry_run:
            remove_pictures(root, metadata, names)
            for folder in (root, root / "images", root / "labels"):  # what a crash left of a picture
                with contextlib.suppress(FileNotFoundError):
                    (folder / ".partial").unlink()
        return len(names)


def _includes(selection: Selection, own: OwnLine) -> bool:
    return selection.includes(own.id, own.stream, own.captured_at_s)


def _unlisted(root: Path, selection: Selection) -> set[str]:
    """The names of pictures of the selection, by their names alone."""
    ids = None if selection.ids is None else frozenset(safe_name(id) for id in selection.ids)
    stream = None if selection.stream is None else safe_name(selection.stream[:64])
    by_name = Selection(ids, stream, selection.since_s, selection.until_s)
    found = set()
    with contextlib.suppress(FileNotFoundError):
        for path in (root / "images").iterdir():
            name = _NAME.fullmatch(path.stem)
            if name is not None and path.suffix == ".jpg" and by_name.includes(name[3], name[1], _time_s(name[2])):
                found.add(path.stem)
    return found


def _time_s(stamp: str) -> float | None:
    try:
        return datetime.strptime(stamp + "000", "%Y%m%dT%H%M%S%f").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None

"""What `framesift check` finds about the setting `group`: whether its members will be able to read what is written."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from framesift.atomic_files import GroupUnusable, share_with_group, usable_group
from framesift.cli.probes import Finding
from framesift.settings import Settings
from framesift.spool.write_obstacles import nearest_existing


def group_findings(settings: Settings) -> Iterator[Finding]:
    """Lets the group read what the checks create, as a run does, and says what prevents that."""
    if settings.group is None:
        return
    try:
        share_with_group(settings.group)
        number = usable_group(settings.group)
    except GroupUnusable as error:
        yield Finding("group", False, str(error), "a run would not start")
        return
    yield Finding("group", True, f"{settings.group} may read what is created here")
    if settings.sink.locked_folder is not None:
        closed = closed_folder(settings.sink.locked_folder, number)
        if closed is not None:
            text = f"{closed} lets the group {settings.group} not in, so it can't reach {settings.sink.locked_folder}"
            yield Finding("group", None, text, f"chgrp {settings.group} {closed} and chmod g+rx, or another sink.path")


def closed_folder(path: Path, group_id: int) -> Path | None:
    """The first existing folder on the way to `path` that members of a group can't enter; None if there is none."""
    there = nearest_existing(path).resolve()
    for folder in (*reversed(there.parents), there):
        found = folder.stat()
        needed = stat.S_IXGRP if found.st_gid == group_id else stat.S_IXOTH
        if not found.st_mode & needed:
            return folder
    return None

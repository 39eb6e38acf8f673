"""What `framesift check` finds about the spool's disk: whether a datapoint could be accepted at this moment."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from framesift.cli.check_beside_daemon import SpoolHolder
from framesift.cli.probes import Finding
from framesift.config.byte_sizes import bytes_text
from framesift.settings import Settings, SpoolSettings
from framesift.spool import SpoolTooNew, SpoolUnusable, database, file_format, space
from framesift.spool.disk_errors import STORAGE_ERRORS
from framesift.spool.disk_reserve import free_bytes
from framesift.spool.page_file import PAGE_BYTES
from framesift.spool.write_obstacles import nearest_existing, write_obstacle

# A picture of a Full HD camera with its prediction.
_DATAPOINT_BYTES = 512 * 2**10


def spool_findings(settings: Settings, holder: SpoolHolder) -> Iterator[Finding]:
    """Measures the disk. Beside a running daemon, whether it accepts datapoints is the daemon's own answer."""
    spool = settings.spool
    folder = spool.path.parent
    files = [database.sibling_path(spool.path, suffix) for suffix in ("-wal", "-shm", ".lock")]
    obstacle = write_obstacle(folder, spool.path, *files)
    if obstacle is not None:
        yield Finding("spool", False, obstacle.what, obstacle.advice)
        return
    refusal = _refusal(spool.path)
    if refusal is not None:
        yield Finding("spool", False, refusal, "correct spool.path: framesift does not start with this file")
        return
    room_bytes = free_bytes(nearest_existing(folder))
    text = f"{bytes_text(room_bytes)} free at {nearest_existing(folder)}"
    why = _no_room(spool, room_bytes)
    component = None if holder.daemon is None else holder.daemon.component("spool")
    if component is not None and component.condition == "failed":
        yield Finding(
            "spool", False, f"{text}: {component.why}", "free some disk space, or see why nothing is delivered"
        )
    elif why is not None and component is not None:
        advice = "the running daemon still accepts; after its next start it would not: free some disk space"
        yield Finding("spool", None, f"{text}: {why}", advice)
    elif why is not None:
        yield Finding("spool", False, f"{text}: nothing can be accepted: {why}", _advice(spool, room_bytes))
    elif room_bytes < spool.max_bytes + spool.min_free_bytes:
        advice = "spool.max_bytes will not be reached before spool.min_free_bytes stops it"
        yield Finding("spool", None, text, advice)
    else:
        yield Finding("spool", True, text)


def decision_findings(settings: Settings) -> Iterator[Finding]:
    """Says where the folder of the decision record can't be one. Beside the spool, the spool's finding says so."""
    decisions = settings.decisions
    folder = decisions.folder(settings.spool.path)
    if decisions.max_bytes is None or (decisions.path is None and not folder.exists()):
        return
    obstacle = write_obstacle(folder)
    if obstacle is not None:
        what = f"nothing can be kept in {folder}: {obstacle.what}"
        yield Finding("decisions", False, what, f"{obstacle.advice} (decisions.path)")


def _refusal(path: Path) -> str | None:
    """Why a run would refuse to start with this file; None if it would not."""
    # What can't be read, a run repairs or moves aside.
    with contextlib.suppress(*STORAGE_ERRORS):
        try:
            file_format.refuse_foreign(path)
            file_format.check_format(path)
        except (SpoolUnusable, SpoolTooNew) as error:
            return str(error)
    return None


def _no_room(spool: SpoolSettings, room_bytes: int) -> str | None:
    """Why a datapoint of usual size would find no room after a start; None if it would, or if nobody can say."""
    size_bytes = min(_DATAPOINT_BYTES, spool.max_bytes // 8)
    if not spool.path.exists() or spool.path.stat().st_size == 0:
        needed_bytes = 2 * space.pages_needed(size_bytes, PAGE_BYTES) * PAGE_BYTES
        if room_bytes - needed_bytes >= spool.min_free_bytes:
            return None
        return f"a datapoint would leave less than spool.min_free_bytes ({spool.min_free_bytes}) free"
    # What can't be read, a run repairs, migrates or moves aside: then the file says nothing about its room.
    with contextlib.suppress(sqlite3.Error), contextlib.closing(database.connect_read_only(spool.path)) as connection:
        budget = space.measure_unopened(
            connection, spool.path, max_bytes=spool.max_bytes, min_free_bytes=spool.min_free_bytes
        )
        return space.Transaction(budget).obstacle(connection.cursor(), size_bytes, spool.when_full)
    return None


def _advice(spool: SpoolSettings, room_bytes: int) -> str:
    if room_bytes <= spool.min_free_bytes + 2 * _DATAPOINT_BYTES:
        return "free some disk space, or lower spool.min_free_bytes"
    return "see why nothing is delivered; raise spool.max_bytes, or let spool.when_full evict"

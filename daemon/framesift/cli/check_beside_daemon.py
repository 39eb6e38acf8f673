"""Beside a running daemon: what `framesift check` says of what the daemon holds, in the daemon's own words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from framesift.cli.disk_space import format_gib, free_bytes, write_problem
from framesift.cli.probes import Finding
from framesift.cli.running_daemon import DaemonUnreachable, RunningDaemon, lock_holder, query_daemon
from framesift.settings import Settings, StreamEntry
from framesift.spool import database as file

# What a component's condition is as a finding; degraded is something to know.
_GOOD = {"ok": True, "failed": False}


@dataclass(frozen=True, slots=True)
class SpoolHolder:
    """What runs on this spool already. who: in words, None where nobody does. daemon: None where it can't be asked."""

    description: str | None = None
    daemon: RunningDaemon | None = None


def inspect_running_daemon(settings: Settings) -> tuple[SpoolHolder, list[Finding]]:
    """Who runs on these settings already, and what it says of itself."""
    try:
        daemon = query_daemon(settings)
    except DaemonUnreachable as error:
        who = lock_holder(file.sibling_path(settings.spool.path, ".lock"))
        if who is None:
            return SpoolHolder(), []
        told = f"{who} holds {settings.spool.path}, and can't be asked: {error}"
        advice = "what it holds was measured, not tried; a second daemon would not start"
        return SpoolHolder(who), [Finding("daemon", False if error.hangs else None, told, advice)]
    ran = timedelta(seconds=round(daemon.uptime_s))
    told = f"process {daemon.pid} runs on these settings, for {ran}"
    found = [Finding("daemon", daemon.alive, told, "a loop of it does not move: its log has the stacks of all threads")]
    streams = {f"stream {name}" for name in daemon.streams}
    for part in daemon.components:
        if part.condition != "ok" and part.name not in streams:
            found.append(Finding(f"daemon: {part.name}", _GOOD.get(part.condition), f"{part.condition}: {part.why}"))
    return SpoolHolder(f"process {daemon.pid}", daemon), found


def stream_finding(options: StreamEntry, daemon: RunningDaemon | None) -> Finding | None:
    """The daemon's word on a camera that it reads: many serve only one or two readers. None where it is to be tried."""
    up = None if daemon is None else daemon.streams.get(options.name)
    if daemon is None or up is None or options.is_file:
        return None
    part = daemon.component(f"stream {options.name}")
    told = "the running daemon reads it" if up else f"the running daemon gets no picture: {part.why if part else ''}"
    return Finding(f"stream {options.name}", up, told, "is the camera on, and its address and password right?")


def folder_findings(settings: Settings, beside: SpoolHolder) -> Iterator[Finding] | None:
    """The daemon's word on the sink's folder, with what can be measured there. None where it is to be tried."""
    if beside.description is None or settings.sink.locked_folder is None:
        return None
    # By what the kernel says of both locks: the daemon may be in a container, which gives it another number.
    of_folder, of_spool = (
        lock_holder(settings.sink.locked_folder / ".lock"),
        lock_holder(file.sibling_path(settings.spool.path, ".lock")),
    )
    if of_folder is None or of_spool not in (None, of_folder):
        return None
    return _held_folder(settings.sink.locked_folder, beside)


def _held_folder(folder: Path, beside: SpoolHolder) -> Iterator[Finding]:
    wrong = write_problem(folder)
    if wrong is not None:
        yield Finding("sink folder", False, *wrong)
        return
    room = f"{format_gib(free_bytes(folder))} free"
    if beside.daemon is None:
        yield Finding("sink folder", None, f"{beside.description} holds it; {room}")
        return
    part = beside.daemon.component("sink")
    good = _GOOD.get(part.condition) if part is not None else True
    yield Finding("sink folder", good, f"the running daemon writes to it; {room}")

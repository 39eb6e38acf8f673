"""What `framesift check` finds beside a running daemon: the daemon's own answers about what only it can use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from framesift.cli.probes import Finding
from framesift.cli.running_daemon import DaemonUnreachable, RunningDaemon, query_daemon
from framesift.config.byte_sizes import bytes_text
from framesift.processes import UNKNOWN_PROCESS, lock_holder
from framesift.settings import Settings, StreamEntry
from framesift.spool import database as file
from framesift.spool.disk_reserve import free_bytes
from framesift.spool.write_obstacles import write_obstacle
from framesift.streams.away_reasons import AwayReason

# The condition of a component as Finding.ok; degraded is a note.
_OK = {"ok": True, "failed": False}


@dataclass(frozen=True, slots=True)
class SpoolHolder:
    """Who uses this spool already.

    description: "process 4711 (framesift)", None where nobody does. daemon: its answers, None where it can't be asked.
    """

    description: str | None = None
    daemon: RunningDaemon | None = None


def inspect_running_daemon(settings: Settings) -> tuple[SpoolHolder, list[Finding]]:
    """Asks the daemon that runs with these settings, if there is one. Returns it with what `check` says of it."""
    process = lock_holder(file.sibling_path(settings.spool.path, ".lock"))
    try:
        daemon = query_daemon(settings)
    except DaemonUnreachable as error:
        if error.is_other:
            advice = "give one of the two another status.bind; if these settings were changed, restart their daemon"
            return SpoolHolder(process), [Finding("daemon", False, str(error), advice)]
        if process is None:
            return SpoolHolder(), []
        text = f"{process} holds {settings.spool.path}, and can't be asked: {error}"
        advice = "what it holds was measured, not tried; a second daemon would not start"
        return SpoolHolder(process), [Finding("daemon", False if error.hangs else None, text, advice)]
    uptime = timedelta(seconds=round(daemon.uptime_s))
    text = f"process {daemon.pid} runs with these settings, for {uptime}"
    found = [Finding("daemon", daemon.alive, text, "one of its threads hangs: its log has the stacks of all threads")]
    if daemon.note is not None:
        found.append(Finding("daemon", None, daemon.note, "restart it, so that it runs with what these settings say"))
    streams = {f"stream {name}" for name in daemon.streams}
    for component in daemon.components:
        if component.condition != "ok" and component.name not in streams:
            found.append(
                Finding(
                    f"daemon: {component.name}", _OK.get(component.condition), f"{component.condition}: {component.why}"
                )
            )
    return SpoolHolder(process or UNKNOWN_PROCESS, daemon), found


def unverified_finding(stream_settings: StreamEntry) -> Finding:
    """The note about a stream whose camera may be anybody."""
    return Finding(
        f"stream {stream_settings.name}",
        None,
        "verify: false: its certificate is not verified, so whoever is between can see its password and pictures",
        "give its certificate, or that of its authority, in ca_file, and remove verify: false",
    )


def stream_finding(stream_settings: StreamEntry, daemon: RunningDaemon | None) -> Finding | None:
    """The daemon's answer about a camera that it reads, since many cameras serve only one or two readers.

    None where `check` has to try the stream itself.
    """
    up = None if daemon is None else daemon.streams.get(stream_settings.name)
    if daemon is None or up is None or not stream_settings.is_camera:
        return None
    subject = f"stream {stream_settings.name}"
    if up:
        return Finding(subject, True, "the running daemon reads it")
    away = daemon.away.get(stream_settings.name)
    why, advice = ("", AwayReason.UNKNOWN.advice) if away is None else (f": {away.why}", away.advice)
    return Finding(subject, False, f"the running daemon gets no picture{why}", advice)


def folder_findings(settings: Settings, holder: SpoolHolder) -> Iterator[Finding] | None:
    """The daemon's answer about the sink's folder, and the free space. None where `check` must try the sink itself."""
    if holder.description is None or settings.sink.locked_folder is None:
        return None
    # Compares what the kernel says of both locks: a daemon in a container has another process id for itself.
    of_folder, of_spool = (
        lock_holder(settings.sink.locked_folder / ".lock"),
        lock_holder(file.sibling_path(settings.spool.path, ".lock")),
    )
    if of_folder is None or of_spool not in (None, of_folder):
        return None
    return _held_folder(settings.sink.locked_folder, holder)


def _held_folder(folder: Path, holder: SpoolHolder) -> Iterator[Finding]:
    obstacle = write_obstacle(folder)
    if obstacle is not None:
        yield Finding("sink folder", False, obstacle.what, obstacle.advice)
        return
    room = f"{bytes_text(free_bytes(folder))} free"
    if holder.daemon is None:
        yield Finding("sink folder", None, f"{holder.description} holds it; {room}")
        return
    component = holder.daemon.component("sink")
    ok = _OK.get(component.condition) if component is not None else True
    collected = "" if holder.daemon.collected is None else f"; {holder.daemon.collected}"
    yield Finding("sink folder", ok, f"the running daemon writes to it; {room}{collected}")

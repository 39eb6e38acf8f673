"""Beside a running daemon: what `framesift check` says of what the daemon holds, in the daemon's own words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from framesift.cli.disk_space import free_bytes, gib, trouble
from framesift.cli.probes import Finding
from framesift.cli.running_daemon import NotAsked, RunningDaemon, ask, holder
from framesift.settings import CollectedStream, Settings
from framesift.spool import database as file

# What a component's condition is as a finding; degraded is something to know.
_GOOD = {"ok": True, "failed": False}


@dataclass(frozen=True, slots=True)
class Beside:
    """What runs on this spool already. who: in words, None where nobody does. daemon: None where it can't be asked."""

    who: str | None = None
    daemon: RunningDaemon | None = None


def look(settings: Settings) -> tuple[Beside, list[Finding]]:
    """Who runs on these settings already, and what it says of itself."""
    try:
        daemon = ask(settings)
    except NotAsked as error:
        who = holder(file.beside(settings.spool.path, ".lock"))
        if who is None:
            return Beside(), []
        told = f"{who} holds {settings.spool.path}, and can't be asked: {error}"
        advice = "what it holds was measured, not tried; a second daemon would not start"
        return Beside(who), [Finding("daemon", False if error.hangs else None, told, advice)]
    ran = timedelta(seconds=round(daemon.uptime_s))
    told = f"process {daemon.pid} runs on these settings, for {ran}"
    found = [Finding("daemon", daemon.alive, told, "a loop of it does not move: its log has the stacks of all threads")]
    streams = {f"stream {name}" for name in daemon.streams}
    for part in daemon.parts:
        if part.condition != "ok" and part.name not in streams:
            found.append(Finding(f"daemon: {part.name}", _GOOD.get(part.condition), f"{part.condition}: {part.why}"))
    return Beside(f"process {daemon.pid}", daemon), found


def word_on_stream(options: CollectedStream, daemon: RunningDaemon | None) -> Finding | None:
    """The daemon's word on a camera that it reads: many serve only one or two readers. None where it is to be tried."""
    up = None if daemon is None else daemon.streams.get(options.name)
    if daemon is None or up is None or options.is_file:
        return None
    part = daemon.part(f"stream {options.name}")
    told = "the running daemon reads it" if up else f"the running daemon gets no picture: {part.why if part else ''}"
    return Finding(f"stream {options.name}", up, told, "is the camera on, and its address and password right?")


def word_on_folder(settings: Settings, beside: Beside) -> Iterator[Finding] | None:
    """The daemon's word on the sink's folder, with what can be measured there. None where it is to be tried."""
    if beside.who is None or settings.sink.type != "folder":
        return None
    # By what the kernel says of both locks: the daemon may be in a container, which gives it another number.
    of_folder, of_spool = holder(settings.sink.path / ".lock"), holder(file.beside(settings.spool.path, ".lock"))
    if of_folder is None or of_spool not in (None, of_folder):
        return None
    return _held_folder(settings.sink.path, beside)


def _held_folder(folder: Path, beside: Beside) -> Iterator[Finding]:
    wrong = trouble(folder)
    if wrong is not None:
        yield Finding("sink folder", False, *wrong)
        return
    room = f"{gib(free_bytes(folder))} free"
    if beside.daemon is None:
        yield Finding("sink folder", None, f"{beside.who} holds it; {room}")
        return
    part = beside.daemon.part("sink")
    good = _GOOD.get(part.condition) if part is not None else True
    yield Finding("sink folder", good, f"the running daemon writes to it; {room}")

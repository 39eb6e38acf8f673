"""Faults of cameras and of their decoders, seeded under a running daemon."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from canaries import PASSWORD
from rigs.clocked_daemon import CLOCKED
from rigs.daemon import Daemon
from rigs.footage import numbered_clip
from rigs.rtsp import CuttableConnection, RtspCamera
from rigs.seeded_faults.situation import Situation, situation
from rigs.stream_reader import reader_pids

_USER = "viewer"
_MOVES = 25  # pictures of the clip that becomes still, before it does


@contextmanager
def _watching(
    folder: Path,
    seed: Callable[[RtspCamera, CuttableConnection], object],
    mend: Callable[[RtspCamera, CuttableConnection], object],
    *,
    password: str | None = None,
    **more: Any,
) -> Iterator[Situation]:
    clips = folder / "camera"
    clips.mkdir(exist_ok=True)
    if not (clips / "clip.mp4").exists():
        numbered_clip(clips / "clip.mp4", frames=60, fps=30)
    credentials = None if password is None else f"{_USER}:{password}"
    with RtspCamera(clips) as camera, CuttableConnection(camera.port, credentials=credentials) as wire:
        stream = {"name": "gate", "source": wire.url("clip.mp4")}
        if password is not None:
            stream |= {"username": _USER, "password": password}
        with situation(
            folder, lambda _: seed(camera, wire), lambda _: mend(camera, wire), **{"streams": [stream], **more}
        ) as made:
            yield made


def camera_dead(folder: Path) -> AbstractContextManager[Situation]:
    return _watching(folder, lambda _, wire: wire.unplug(), lambda _, wire: wire.plug())


def camera_rebooting(folder: Path) -> AbstractContextManager[Situation]:
    """The camera loses its power, and comes back with pictures of another size."""

    def lose_power(camera: RtspCamera, wire: CuttableConnection) -> None:
        camera.stop()
        wire.unplug()  # nothing answers where it was

    def come_back(camera: RtspCamera, wire: CuttableConnection) -> None:
        clip = folder / "camera" / "clip.mp4"
        numbered_clip(folder / "larger.mp4", frames=60, fps=30, size=(640, 384)).replace(clip)
        camera.start()
        wire.plug()

    return _watching(folder, lose_power, come_back)


def camera_hanging(folder: Path) -> AbstractContextManager[Situation]:
    return _watching(folder, lambda _, wire: wire.stall(), lambda _, wire: wire.resume())


def camera_password_changed(folder: Path) -> AbstractContextManager[Situation]:
    def change(wire: CuttableConnection, password: str) -> None:
        wire.require(f"{_USER}:{password}")
        wire.cut()

    return _watching(
        folder,
        lambda _, wire: change(wire, "another"),
        lambda _, wire: change(wire, PASSWORD),
        password=PASSWORD,
    )


def camera_frozen(folder: Path) -> AbstractContextManager[Situation]:
    """The camera's pictures move for a second, and then show the last one for ever."""
    clips = folder / "camera"
    clips.mkdir()
    moving = numbered_clip(clips / "moving.mp4", frames=25 * 30)
    still = numbered_clip(clips / "still.mp4", frames=25 * 30, still_from=0, begin_at=_MOVES)
    numbered_clip(clips / "clip.mp4", frames=25 * 60, still_from=_MOVES)

    def mend(_: RtspCamera, wire: CuttableConnection) -> None:
        moving.replace(clips / "clip.mp4")
        wire.cut()

    # The running session goes on with the clip that it has opened; the next one finds a picture that never moves.
    return _watching(folder, lambda _, __: still.replace(clips / "clip.mp4"), mend, command=CLOCKED)


def decoder_killed(folder: Path) -> AbstractContextManager[Situation]:
    """The process that decodes ends at once, as by a crash of the decoder or for want of memory."""

    def seed(daemon: Daemon) -> None:
        (reader,) = set(reader_pids("gate")) & set(_descendants(daemon.process.pid))
        os.kill(reader, signal.SIGKILL)

    return situation(folder, seed, lambda _: None)


def _descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *_descendants(child)]
    return found

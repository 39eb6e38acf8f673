"""A camera with a sub and a main stream of one scene, whose pictures say their number; a Stream and a SnapshotSource.

with TwoStreams(folder) as camera, Snapshots(camera.sub.url, camera.main.url) as reading:
    picture = reading.snapshot(reading.frame())
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from framesift.clock.clock import SystemClock
from framesift.frame import Frame
from framesift.streams import StreamEvent, StreamObserver, StreamSettings, StreamState
from framesift.streams.snapshots.snapshot_source import SnapshotSource
from framesift.streams.snapshots.ticket import SnapshotMissed, SnapshotPicture, SnapshotTicket
from rigs.footage import numbered_clip, read_number
from rigs.scripted_camera import ScriptedCamera, rtp_payloads
from rigs.stream_reader import RecordedStream, close, reader_pids

PICTURES = 250  # of the scene, which then begins again; 25 a second, a key frame each second
SUB_SIZE, MAIN_SIZE = (320, 192), (640, 384)
_SERIAL = itertools.count(1)


class TwoStreams:
    """late_s: so much later the main stream sends. clock_ahead_s: of both, in sender reports; None sends none."""

    def __init__(self, folder: Path, *, late_s: float = 0.0, clock_ahead_s: float | None = 0.0) -> None:
        since_s = time.monotonic()
        self.sub, self.main = (
            ScriptedCamera(
                pictures=rtp_payloads(_clip(folder, size)),
                films_since_s=since_s,
                late_s=late,
                clock_ahead_s=clock_ahead_s,
            )
            for size, late in ((SUB_SIZE, 0.0), (MAIN_SIZE, late_s))
        )
        self._open = contextlib.ExitStack()

    def __enter__(self) -> TwoStreams:
        self._open.enter_context(self.sub)
        self._open.enter_context(self.main)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


def _clip(folder: Path, size: tuple[int, int]) -> Path:
    path = folder / f"scene-{size[0]}.mp4"
    return path if path.exists() else numbered_clip(path, PICTURES, size)


class Snapshots(StreamObserver):
    """A stream that is read, and the snapshots of its main stream. options: of the stream; snapshot: of that block.

    events: of the main stream.
    """

    def __init__(self, sub: str, main: str, *, snapshot: dict[str, Any] | None = None, **options: Any) -> None:
        self.clock = SystemClock()
        self.events: list[StreamEvent] = []
        self.transports: list[str] = []
        self._changed = threading.Condition()
        given = {"source": main, **(snapshot or {})}
        self._reading = RecordedStream(source=sub, **options)
        self._frames: Iterator[Frame] | None = None
        settings = StreamSettings.model_validate(
            {"name": f"m{next(_SERIAL)}-{self._reading.stream.name}"[:50], "source": sub, "snapshot": given, **options}
        )
        self.main_name = settings.snapshot_stream().name
        self.source = SnapshotSource(settings, clock=self.clock, rng=random.Random(7), observer=self)

    def frame(self) -> Frame:
        """The next frame of the sub stream."""
        if self._frames is None:
            self._frames = self._reading.stream.frames()
        return next(self._frames)

    def request(self, frame: Frame, within_s: float = 3.0) -> SnapshotTicket:
        return self.source.request(frame, deadline_s=self.clock.now().boottime_s + within_s)

    def snapshot(self, frame: Frame, within_s: float = 3.0) -> SnapshotPicture:
        answer = self.request(frame, within_s).wait()
        assert isinstance(answer, SnapshotPicture), answer
        return answer

    def missed(self, frame: Frame, within_s: float = 3.0) -> SnapshotMissed:
        answer = self.request(frame, within_s).wait()
        assert isinstance(answer, SnapshotMissed)
        return answer

    def until(self, state: StreamState, count: int = 1) -> StreamEvent:
        """Wait until the main stream has come into this state so many times."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._of(state)) >= count, 30.0), self.events
            return self._of(state)[-1]

    def _of(self, state: StreamState) -> list[StreamEvent]:
        return [event for event in self.events if event.state is state]

    def keeper_pid(self) -> int:
        (pid,) = reader_pids(self.main_name)
        return pid

    def on_event(self, event: StreamEvent) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def on_transport(self, transport: str) -> None:
        self.transports.append(transport)

    def __enter__(self) -> Snapshots:
        self.source.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._frames is not None:
            close(self._frames)
        assert self.source.stop(10.0)


def numbers_apart(snapshot: SnapshotPicture, frame: Frame) -> int:
    """How many pictures later than the frame the snapshot was taken, by the numbers in both."""
    apart = (read_number(snapshot.pixels) - read_number(frame.pixels)) % PICTURES
    return apart if apart <= PICTURES // 2 else apart - PICTURES

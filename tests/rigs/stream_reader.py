"""A stream whose events are recorded, and the reader processes that belong to it."""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from framesift.clock.clock import Clock, SystemClock
from framesift.clock.moment import Moment
from framesift.frame import Frame, SkipReason
from framesift.streams import Stream, StreamEvent, StreamObserver, StreamSettings, StreamState

_SERIAL = itertools.count(1)


class StepClock:
    """A clock that moves by hand, and by the time of each wait."""

    def __init__(self) -> None:
        self.at_s = 1000.0

    def now(self) -> Moment:
        return Moment(1_750_000_000.0 + self.at_s, self.at_s, "the only boot")

    def monotonic(self) -> float:
        return self.at_s

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.at_s += max(0.0, timeout_s)
        return event.is_set()


class RecordedStream(StreamObserver):
    """A stream whose events and skipped pictures are kept. `options` are those of StreamSettings, less the name."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        on_skip: Callable[[], None] | None = None,
        taken_file: Path | None = None,
        **options: Any,
    ) -> None:
        self.stop = threading.Event()
        self.events: list[StreamEvent] = []
        self.reasons: list[StreamEvent] = []  # of a state that stayed
        self.skipped: Counter[SkipReason] = Counter()
        self.unusable: list[tuple[int, str]] = []
        self.transports: list[str] = []
        self.damaged: list[tuple[int, str]] = []
        self.on_skip = on_skip
        self.changed = threading.Condition()
        self.stream = Stream(
            StreamSettings(**{"name": f"s-{os.getpid()}-{next(_SERIAL)}", **options}),
            clock=clock or SystemClock(),
            stop=self.stop,
            rng=random.Random(7),
            observer=self,
            taken_file=taken_file,
        )

    @property
    def states(self) -> list[StreamState]:
        return [event.state for event in self.events]

    def take(self, count: int) -> list[int]:
        """Read that many frames, then stop the stream; returns their numbers."""
        numbers = []
        frames = self.stream.frames()
        for frame in frames:
            numbers.append(frame.number)
            if len(numbers) == count:
                break
        close(frames)
        return numbers

    def in_thread(self) -> threading.Thread:
        """Reads frames in a thread, and forgets them, until the stop event is set."""

        def read() -> None:
            for _ in self.stream.frames():
                pass

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
        """Waits until the condition, which looks at events and skipped pictures, holds."""
        with self.changed:
            return self.changed.wait_for(condition, timeout_s)

    def reader_pids(self) -> list[int]:
        return reader_pids(self.stream.name)

    def on_event(self, event: StreamEvent) -> None:
        with self.changed:
            self.events.append(event)
            self.changed.notify_all()

    def on_reason(self, event: StreamEvent) -> None:
        with self.changed:
            self.reasons.append(event)
            self.changed.notify_all()

    def on_transport(self, transport: str) -> None:
        self.transports.append(transport)

    def on_skipped(self, reason: SkipReason, count: int) -> None:
        with self.changed:
            self.skipped[reason] += count
            self.changed.notify_all()
        if self.on_skip is not None:
            self.on_skip()

    def on_unusable(self, count: int, why: str) -> None:
        self.unusable.append((count, why))

    def on_damaged(self, count: int, why: str) -> None:
        self.damaged.append((count, why))


class KilledReaders(RecordedStream):
    """A stream of which the first readers are killed before they read anything."""

    def __init__(self, kills: int, source: Path) -> None:
        super().__init__(source=str(source), clock=StepClock())
        self._kills = kills

    def on_reader(self) -> None:
        if self._kills:
            self._kills -= 1
            while not (pids := self.reader_pids()):
                threading.Event().wait(0.002)
            os.kill(pids[0], signal.SIGKILL)


def close(frames: Iterator[Frame]) -> None:
    """Ends a stream's iterator as a `for` loop that is left does not at once."""
    getattr(frames, "close")()  # noqa: B009 - a generator's method that its promised type does not have


def reader_pids(stream: str) -> list[int]:
    """The running reader processes of the stream with this name."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"framesift.streams.reader_template" in words and stream.encode() in words:
                found.append(int(entry.name))
    return found


def has_exited(pid: int, timeout_s: float = 10.0) -> bool:
    """Waits until the process has ended (a zombie that nobody has collected has)."""
    ends_s = time.monotonic() + timeout_s
    while time.monotonic() < ends_s:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        threading.Event().wait(0.02)
    return False


def kill(pid: int, number: int) -> None:
    os.kill(pid, number)

"""Stream: the frames of one source, for as long as somebody wants them.

    CONNECTING ──> RUNNING <──> LOST            RUNNING only after a first decoded picture; LOST is tried again for ever
         │           │ ▲          │
         └──> LOST   │ ├─ FROZEN ─┤             FROZEN: exactly the same picture for a minute (live sources only)
                     │ └ UNUSABLE ┘             UNUSABLE: for seconds nothing but pictures that can't be used, from the
                     └──> ENDED                 beginning or later. ENDED: the end of a file that isn't looped

Live sources show the newest picture, the others are counted; a file waits, so that each of its pictures is shown. A
frame's pixels are a read-only view of memory shared with the reader, valid until the next frame is asked for. Times of
capture are stamped here, never run backwards, and are the time at which the picture left its source.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from framesift.clock.clock import Clock
from framesift.clock.moment import Moment
from framesift.config.redact import Redactor
from framesift.frame import Frame, Pixels, SkipReason
from framesift.streams.backoff import Backoff
from framesift.streams.channel import (
    ChannelClosed,
    FileEnded,
    NoDescriptorForMemory,
    OpenRequest,
    PictureReady,
    SharedMemory,
    SkipCounts,
)
from framesift.streams.freeze_detector import FreezeDetector
from framesift.streams.reader_process import ReaderProcess, printable_line
from framesift.streams.reader_session import POLL_S, ReaderSession, SourceLost
from framesift.streams.stream_settings import StreamSettings
from framesift.streams.unusable_pictures import UnusablePictures

FROZEN_AFTER_S = 60.0
STEADY_AFTER_S = 10.0  # a source that ran for so long is tried again at once when it is lost
_MOST_FRUITLESS_READERS = 3  # for a file: its next picture crashes the decoder
_LONGEST_AGE_S = 60.0
_GRACE_S = 1.0  # for a reader whose channel is closed


class StreamLost(Exception):
    """The source gives no frames, and trying again would not help; the text says why, in one line without secrets."""


class StreamState(str, Enum):
    CONNECTING = "connecting"
    RUNNING = "running"
    LOST = "lost"
    FROZEN = "frozen"
    UNUSABLE = "unusable"
    ENDED = "ended"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """A change of a stream's state. detail: why, in one line for a human, without secrets."""

    stream: str
    state: StreamState
    detail: str


class _Kind(Enum):
    HALTED = "somebody stopped us"
    ENDED = "the file is over"
    LOST = "no more pictures from this reader"
    HOPELESS = "no pictures at all, as the source itself told"
    NO_READER = "none can be had at this moment, which says nothing of the source"
    AGAIN = "a new connection may help"


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How the time with one reader ended."""

    kind: _Kind
    detail: str = ""


class Stream:
    """One source. `frames` and `first_frame` belong to one thread; `close` may be called from any.

    unusable: told of pictures in a row that could not be used, how many and why, where no change of state says so.
    """

    def __init__(
        self,
        settings: StreamSettings,
        *,
        clock: Clock,
        stop: threading.Event,
        on_event: Callable[[StreamEvent], None],
        count_skipped: Callable[[SkipReason, int], None],
        rng: random.Random,
        on_unusable: Callable[[int, str], None] = lambda _count, _why: None,
    ) -> None:
        self.name = settings.name
        self.finite = settings.is_file and not settings.loop
        self.state = StreamState.CONNECTING
        self.detail = ""  # why it is in this state, kept fresh while the state stays
        self._options = settings
        self._clock = clock
        self._stop = stop
        self._notify = on_event
        self._count_skipped = count_skipped
        self._tell_unusable = on_unusable
        self._unusable = UnusablePictures()
        self._backoff = Backoff(rng)
        self._stillness = FreezeDetector()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._reader: ReaderProcess | None = None
        self._number = 0  # the next picture's
        self._epoch = 0
        self._seen_any = False
        self._running_since_s: float | None = None
        self._captured: Moment | None = None

    def frames(self) -> Iterator[Frame]:
        """Endless for live and looped sources; ends at a file's end, and soon after `stop` is set or `close` called.

        Raises StreamLost for a file, not looped, that doesn't exist or can't be decoded; no event says the same again.
        """
        fruitless = 0
        while not self._halted():
            before = self._number
            # A first look that is short opens a camera four times faster, but can be too short for some cameras.
            outcome = yield from self._read(thorough=fruitless % 2 == 1, limit_s=None)
            fruitless = 0 if self._number > before else fruitless + (outcome.kind is not _Kind.NO_READER)
            if outcome.kind is _Kind.HALTED or self._halted():  # whose reader was killed by us is not lost
                return
            if outcome.kind is _Kind.ENDED:
                self._change(StreamState.ENDED, outcome.detail)
                return
            if outcome.kind is _Kind.AGAIN:
                self._wait()
                continue
            if self.finite and (outcome.kind is _Kind.HOPELESS or fruitless >= _MOST_FRUITLESS_READERS):
                raise StreamLost(outcome.detail)
            self._change(StreamState.LOST, outcome.detail)
            self._stillness = FreezeDetector()  # for how long it stood still while nobody looked, nobody knows
            self._wait()

    def first_frame(self, timeout_s: float) -> Frame:
        """Opens the source for a look at its first frame, whose pixels are a copy. For a stream that is not being read.

        Raises StreamLost if there is none within `timeout_s`.
        """
        reading = self._read(thorough=True, limit_s=timeout_s)
        try:
            frame = next(reading)
        except StopIteration as end:
            outcome: _Outcome = end.value
            if outcome.kind in (_Kind.LOST, _Kind.HOPELESS, _Kind.NO_READER):
                raise StreamLost(outcome.detail) from None
            ended = outcome.kind is _Kind.ENDED
            why = self._less("no picture in it can be used") if ended else "stopped before a picture came"
            raise StreamLost(f"{self._options.redacted_source}: {why}") from None
        else:
            return replace(frame, picture=frame.pixels.copy())
        finally:
            reading.close()

    def close(self) -> None:
        """Kills the reader; `frames` ends. Does nothing the second time."""
        with self._lock:
            self._closed.set()
            if self._reader is not None:
                self._reader.kill()

    def _read(self, *, thorough: bool, limit_s: float | None) -> Generator[Frame, None, _Outcome]:
        """The frames of one reader, from its start to its end."""
        problem = self._missing()
        if problem:
            return self._outcome(_Kind.HOPELESS, problem)
        with self._lock:
            if self._closed.is_set():
                return _Outcome(_Kind.HALTED)
            try:
                reader = ReaderProcess(self._options, full_probe=thorough)
            except OSError as error:
                return self._outcome(_Kind.NO_READER, f"no reader can be started: {error.strerror}")
            self._reader = reader
        listening = ReaderSession(reader.channel, self._work())
        try:
            return (yield from self._pictures(listening, limit_s))
        except NoDescriptorForMemory:
            return self._outcome(_Kind.NO_READER, "no file descriptor is free for its pictures")
        except ChannelClosed:
            reader.close(grace_s=_GRACE_S)  # it may be about to say why
            said = reader.failure_reason(or_last_line=True)
            return self._outcome(_Kind.LOST, f"{reader.exit_status()}: {said}" if said else reader.exit_status())
        except SourceLost as gone:
            reader.close()
            kind = _Kind.HOPELESS if gone.reported and not self._seen_any else _Kind.LOST
            return self._outcome(kind, reader.failure_reason(or_last_line=not listening.opened) or str(gone))
        finally:
            with self._lock:
                self._reader = None
            reader.close()
            self._usable()

    def _pictures(self, listening: ReaderSession, limit_s: float | None) -> Generator[Frame, None, _Outcome]:
        listening.start()
        waited_s = 0.0
        first = True
        while not self._halted():
            self._clock.monotonic()  # the pulse: a loop that listens to a silent source moves
            message = listening.next_message()
            if message is None:
                waited_s += POLL_S
                if limit_s is not None and waited_s >= limit_s:
                    return self._outcome(_Kind.LOST, f"no picture within {limit_s:g} s")
            elif isinstance(message, SkipCounts):
                self._number = max(self._number, message.next_number)
                self._skipped(message)
                if message.unusable > 0 and self._nothing_else(message):
                    ran = self.state is StreamState.RUNNING
                    lost = self._outcome(_Kind.LOST, self._less("pictures come, but none can be used"))
                    self._change(StreamState.UNUSABLE, lost.detail)
                    if limit_s is not None:
                        return lost
                    if ran and self._options.is_live:  # their size may have changed
                        return _Outcome(_Kind.AGAIN)
            elif isinstance(message, SharedMemory):
                self._epoch += 0 if first else 1
            elif isinstance(message, PictureReady):
                pixels = listening.pixels(message)
                self._epoch += 1 if first and self._seen_any else 0
                self._seen_any = True
                first = False
                self._usable()
                self._number = max(self._number, message.number + 1)
                if not self._is_frozen(pixels):
                    self._runs(pixels)
                    yield self._frame(message, pixels)
                elif self.state is StreamState.RUNNING:
                    self._count_skipped(SkipReason.FROZEN, 1)
                    detail = f"exactly the same picture for {FROZEN_AFTER_S:g} s; connecting again"
                    self._change(StreamState.FROZEN, f"{self._options.redacted_source}: {detail}")
                    return _Outcome(_Kind.AGAIN)
                else:
                    self._count_skipped(SkipReason.FROZEN, 1)
                    self._change(StreamState.FROZEN, f"{self._options.redacted_source}: still the same picture")
                listening.request_next(message)
            elif isinstance(message, FileEnded):
                unusable = f", {self._unusable.total} of which could not be used" if self._unusable.total else ""
                return self._outcome(_Kind.ENDED, f"the file is over after {self._number} pictures{unusable}")
        return _Outcome(_Kind.HALTED)

    def _work(self) -> OpenRequest:
        options = self._options
        return OpenRequest(
            # The reader works in another folder: a relative path must not mean another file there.
            address=str(Path(options.address()).absolute()) if options.is_file else options.address(),
            webcam_index=-1 if options.webcam_index is None else options.webcam_index,
            live=options.is_live,
            loop=options.loop,
            fps=options.fps or 0.0,
            first_number=self._number,
            resume_at=self._number if self.finite else 0,
            open_timeout_s=options.open_timeout_s,
            read_timeout_s=options.read_timeout_s,
        )

    def _missing(self) -> str:
        """What is wrong with a local source before any reader looks at it; empty if nothing is."""
        options = self._options
        if options.webcam_index is not None:
            device = Path(f"/dev/video{options.webcam_index}")
            if sys.platform != "linux":
                return ""
            if not device.exists():
                return f"no such webcam: {device} does not exist"
            return "" if os.access(device, os.R_OK) else f"{device} may not be read by this user; its group is `video`"
        if not options.is_file:
            return ""
        path = Path(str(options.source))
        try:
            if path.is_dir():
                return "is a folder, not a video"
            path.stat()
        except FileNotFoundError:
            return "no such file"
        except OSError as error:
            return f"can't be read: {error.strerror}"
        return "" if os.access(path, os.R_OK) else "may not be read by this user"

    def _frame(self, picture: PictureReady, pixels: Pixels) -> Frame:
        now = self._clock.now()
        age_s = min(max(0.0, picture.age_s), _LONGEST_AGE_S)
        last = self._captured
        if last is not None and last.boot_id == now.boot_id:
            age_s = min(age_s, now.boottime_s - last.boottime_s)
        self._captured = Moment(now.wall_s - age_s, now.boottime_s - age_s, now.boot_id)
        media_s = picture.media_s if self._options.is_file else None
        return Frame(self.name, picture.number, pixels, self._captured, self._epoch, media_s)

    def _is_frozen(self, pixels: Pixels) -> bool:
        return self._options.is_live and self._stillness.unchanged_s(pixels, self._clock.monotonic()) >= FROZEN_AFTER_S

    def _runs(self, pixels: Pixels) -> None:
        if self.state is not StreamState.RUNNING:
            self._running_since_s = self._clock.monotonic()
            size = f"{pixels.shape[1]} x {pixels.shape[0]}"
            self._change(StreamState.RUNNING, f"{self._options.redacted_source}: pictures of {size}")

    def _skipped(self, tally: SkipCounts) -> None:
        for skip, count in (
            (SkipReason.RATE, tally.rate),
            (SkipReason.BUSY, tally.busy),
            (SkipReason.UNUSABLE, tally.unusable),
        ):
            if count > 0:
                self._count_skipped(skip, count)

    def _nothing_else(self, tally: SkipCounts) -> bool:
        """More unusable pictures: whether there has been nothing else for long enough."""
        why = printable_line(tally.why.encode(errors="replace"), Redactor(self._options.secrets()))
        return self._unusable.add(tally.unusable, why, self._clock.monotonic())

    def _usable(self) -> None:
        """A good picture came, or nothing comes any more."""
        count = self._unusable.end_run()
        if count and self.state is not StreamState.UNUSABLE:
            self._tell_unusable(count, self._unusable.why)

    def _less(self, lack: str) -> str:
        """What is missing, and why if pictures came that can't be used."""
        return f"{lack}: {self._unusable.why}" if self._unusable.why else lack

    def _change(self, state: StreamState, detail: str) -> None:
        self.detail = detail
        if state is not self.state:
            self.state = state
            self._notify(StreamEvent(self.name, state, detail))

    def _wait(self) -> None:
        now_s = self._clock.monotonic()
        if self._running_since_s is not None and now_s - self._running_since_s >= STEADY_AFTER_S:
            self._backoff.reset()
        self._running_since_s = None
        left_s = self._backoff.next_wait_s(now_s)
        while left_s > 0 and not self._halted():
            # In short pieces, because `close` has no event that the clock could wait for beside `stop`.
            self._clock.wait(self._stop, min(left_s, POLL_S))
            left_s -= POLL_S

    def _halted(self) -> bool:
        return self._stop.is_set() or self._closed.is_set()

    def _outcome(self, kind: _Kind, reason: str) -> _Outcome:
        return _Outcome(kind, f"{self._options.redacted_source}: {reason}")

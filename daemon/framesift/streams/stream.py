"""Stream: the frames of one source, for as long as somebody reads them.

    CONNECTING ──> RUNNING <──> LOST            RUNNING only after a first decoded picture; LOST is tried again for ever
         │           │ ▲          │
         └──> LOST   │ ├─ FROZEN ─┤             FROZEN: exactly the same picture for 55 s (live sources only)
                     │ └ UNUSABLE ┘             UNUSABLE: for seconds all pictures are unusable, from the
                     └──> ENDED                 beginning or later. ENDED: the end of a file that does not loop

Of a live source the newest picture is used, the others are counted. A file waits, so that each of its pictures is used.
The pixels of a frame are a read-only view of memory that is shared with the reader; they are valid until the next frame
is requested. Capture times are set here: the time at which the picture left its source, never running backwards.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from framesift.backoff import Backoff, BackoffSchedule
from framesift.clock.clock import Clock
from framesift.clock.moment import Moment
from framesift.config.redact import Redactor
from framesift.frame import Frame, Pixels, SkipReason
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
from framesift.streams.reader_launcher import ReaderProcess, printable_line
from framesift.streams.reader_session import POLL_S, ReaderSession, SourceLost
from framesift.streams.stream_events import StreamEvent, StreamLost, StreamObserver, StreamState
from framesift.streams.stream_settings import StreamSettings
from framesift.streams.unusable_pictures import UnusablePictures

RETRY_SCHEDULE = BackoffSchedule(0.5, 5.0, later_after_s=600.0, later_max_s=15.0)  # well again within 30 s
FROZEN_AFTER_S = 55.0  # with the time until somebody looks, a frozen camera is known within a minute
STEADY_AFTER_S = 10.0  # a source that ran for so long starts with the shortest pause when it is lost
_MAX_FAILED_READERS = 3  # for a file: the decoder crashes on its next picture
_MAX_STUCK_READERS = 3  # in the kernel, where nothing ends them; each takes memory
_MAX_AGE_S = 60.0
_EXIT_GRACE_S = 1.0  # how long a reader whose channel is closed may take to exit


class _EndKind(Enum):
    STOPPED = "the stream is being stopped"
    ENDED = "the file has ended"
    LOST = "no more pictures from this reader"
    HOPELESS = "the source never gave a picture, and trying again will not help"
    NO_READER = "no reader process could be started, which says nothing about the source"
    RECONNECT = "a new connection may help"


@dataclass(frozen=True, slots=True)
class _ReaderEnd:
    """How the reader's run ended, and the details."""

    kind: _EndKind
    detail: str = ""


class Stream:
    """The frames of one source. `frames` and `first_frame` are for one thread; `close` may be called from any.

    finite: a file that does not loop. state, detail: the present state and its reason, which any thread may read.
    """

    def __init__(
        self,
        settings: StreamSettings,
        *,
        clock: Clock,
        stop: threading.Event,
        rng: random.Random,
        observer: StreamObserver | None = None,
    ) -> None:
        """rng: for the jitter of pauses. stop: ends `frames`. observer: receives states and skipped pictures."""
        self.name = settings.name
        self.finite = settings.is_file and not settings.loop
        self.state = StreamState.CONNECTING
        self.detail = ""  # the reason for the state, updated while the state stays
        self._settings = settings
        self._clock = clock
        self._stop = stop
        self._observer = observer or StreamObserver()
        self._unusable = UnusablePictures()
        self._backoff = Backoff(RETRY_SCHEDULE, rng)
        self._freeze_detector = FreezeDetector()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._reader: ReaderProcess | None = None
        self._stuck: list[ReaderProcess] = []
        self._number = 0  # the next picture's
        self._epoch = 0
        self._has_frames = False
        self._running_since_s: float | None = None
        self._last_captured: Moment | None = None

    def frames(self) -> Iterator[Frame]:
        """Yields frames: without end for cameras and looped files, else until the file's end, `stop`, or `close`.

        Raises StreamLost for a file that does not loop and does not exist or can't be decoded. No event reports the
        same.
        """
        failed_readers = 0
        while not self._is_stopping():
            before = self._number
            # A short probe opens a camera four times faster but is too short for some: every second try is full.
            reader_end = yield from self._read_once(full_probe=failed_readers % 2 == 1, limit_s=None)
            if self._number > before:
                failed_readers = 0
            elif reader_end.kind is not _EndKind.NO_READER:
                failed_readers += 1
            # After `close` has killed the reader, its end is no loss.
            if reader_end.kind is _EndKind.STOPPED or self._is_stopping():
                return
            if reader_end.kind is _EndKind.ENDED:
                self._set_state(StreamState.ENDED, reader_end.detail)
                return
            if reader_end.kind is _EndKind.RECONNECT:
                self._pause()
                continue
            if self.finite and (reader_end.kind is _EndKind.HOPELESS or failed_readers >= _MAX_FAILED_READERS):
                raise StreamLost(reader_end.detail)
            self._set_state(StreamState.LOST, reader_end.detail)
            self._freeze_detector = FreezeDetector()  # how long it was frozen in the meantime is unknown
            self._pause()

    def first_frame(self, timeout_s: float) -> Frame:
        """Opens the source and returns its first frame, with a copy of the pixels. Only while `frames` is not in use.

        Raises StreamLost if there is none within `timeout_s` seconds.
        """
        pictures_of_reader = self._read_once(full_probe=True, limit_s=timeout_s)
        try:
            frame = next(pictures_of_reader)
        except StopIteration as end:
            reader_end: _ReaderEnd = end.value
            if reader_end.kind in (_EndKind.LOST, _EndKind.HOPELESS, _EndKind.NO_READER):
                raise StreamLost(reader_end.detail) from None
            is_at_end = reader_end.kind is _EndKind.ENDED
            why = self._with_reason("no picture in it can be used") if is_at_end else "stopped before a picture came"
            raise StreamLost(f"{self._settings.redacted_source}: {why}") from None
        else:
            return replace(frame, picture=frame.pixels.copy())
        finally:
            pictures_of_reader.close()

    def close(self) -> None:
        """Kills the reader; `frames` ends. A second call does nothing."""
        with self._lock:
            self._closed.set()
            if self._reader is not None:
                self._reader.kill()

    def _read_once(self, *, full_probe: bool, limit_s: float | None) -> Generator[Frame, None, _ReaderEnd]:
        """The frames of one reader process, from its start to its end."""
        problem = self._source_problem()
        if problem:
            return self._end(_EndKind.HOPELESS, problem)
        self._stuck = [reader for reader in self._stuck if reader.still_runs()]
        if len(self._stuck) >= _MAX_STUCK_READERS:
            why = f"{len(self._stuck)} readers are stuck in the kernel: the next one is started when one of them ends"
            return self._end(_EndKind.NO_READER, why)
        with self._lock:
            if self._closed.is_set():
                return _ReaderEnd(_EndKind.STOPPED)
            try:
                reader = ReaderProcess(self._settings, full_probe=full_probe)
            except OSError as error:
                return self._end(_EndKind.NO_READER, f"no reader can be started: {error.strerror}")
            self._reader = reader
        self._observer.on_reader()
        session = ReaderSession(reader.channel, self._open_request())
        try:
            return (yield from self._receive_frames(session, limit_s))
        except NoDescriptorForMemory:
            return self._end(_EndKind.NO_READER, "no file descriptor is free for its pictures")
        except ChannelClosed:
            reader.close(grace_s=_EXIT_GRACE_S)  # it may be writing the reason
            explanation = reader.failure_reason(or_last_line=True)
            return self._end(
                _EndKind.LOST, f"{reader.exit_status()}: {explanation}" if explanation else reader.exit_status()
            )
        except SourceLost as lost:
            reader.close()
            kind = _EndKind.HOPELESS if lost.reported and not self._has_frames else _EndKind.LOST
            return self._end(kind, reader.failure_reason(or_last_line=not session.opened) or str(lost))
        finally:
            with self._lock:
                self._reader = None
            reader.close()
            if reader.still_runs():
                self._stuck.append(reader)
            self._end_unusable_run()

    def _receive_frames(self, session: ReaderSession, limit_s: float | None) -> Generator[Frame, None, _ReaderEnd]:
        session.start()
        waited_s = 0.0
        first = True
        while not self._is_stopping():
            self._clock.monotonic()  # heartbeat: this loop is alive although the source sends nothing
            message = session.next_message()
            if message is None:
                waited_s += POLL_S
                if limit_s is not None and waited_s >= limit_s:
                    return self._end(_EndKind.LOST, f"no picture within {limit_s:g} s")
            elif isinstance(message, SkipCounts):
                self._number = max(self._number, message.next_number)
                self._record_skipped(message)
                if message.unusable > 0 and self._record_unusable(message):
                    was_running = self.state is StreamState.RUNNING
                    lost = self._end(_EndKind.LOST, self._with_reason("pictures come, but none can be used"))
                    self._set_state(StreamState.UNUSABLE, lost.detail)
                    if limit_s is not None:
                        return lost
                    if was_running and self._settings.is_live:  # the size of the pictures may have changed
                        return _ReaderEnd(_EndKind.RECONNECT)
            elif isinstance(message, SharedMemory):
                self._epoch += 0 if first else 1
            elif isinstance(message, PictureReady):
                pixels = session.pixels(message)
                self._epoch += 1 if first and self._has_frames else 0
                self._has_frames = True
                first = False
                self._end_unusable_run()
                self._number = max(self._number, message.number + 1)
                if not self._is_frozen(pixels):
                    self._set_running(pixels)
                    yield self._frame(message, pixels)
                elif self.state is StreamState.RUNNING:
                    self._observer.on_skipped(SkipReason.FROZEN, 1)
                    detail = f"exactly the same picture for {FROZEN_AFTER_S:g} s; reconnecting"
                    self._set_state(StreamState.FROZEN, f"{self._settings.redacted_source}: {detail}")
                    return _ReaderEnd(_EndKind.RECONNECT)
                else:
                    self._observer.on_skipped(SkipReason.FROZEN, 1)
                    self._set_state(StreamState.FROZEN, f"{self._settings.redacted_source}: still the same picture")
                session.request_next(message)
            elif isinstance(message, FileEnded):
                unusable = f", {self._unusable.total} of which could not be used" if self._unusable.total else ""
                return self._end(_EndKind.ENDED, f"the file has ended after {self._number} pictures{unusable}")
        return _ReaderEnd(_EndKind.STOPPED)

    def _open_request(self) -> OpenRequest:
        settings = self._settings
        return OpenRequest(
            # The reader has another working directory, where a relative path would mean another file.
            address=str(Path(settings.address()).absolute()) if settings.is_file else settings.address(),
            webcam_index=-1 if settings.webcam_index is None else settings.webcam_index,
            live=settings.is_live,
            loop=settings.loop,
            fps=settings.fps or 0.0,
            first_number=self._number,
            resume_at=self._number if self.finite else 0,
            open_timeout_s=settings.open_timeout_s,
            read_timeout_s=settings.read_timeout_s,
        )

    def _source_problem(self) -> str:
        """What is wrong with a local source before a reader opens it; "" if nothing is."""
        settings = self._settings
        if settings.webcam_index is not None:
            device = Path(f"/dev/video{settings.webcam_index}")
            if sys.platform != "linux":
                return ""
            if not device.exists():
                return f"no such webcam: {device} does not exist"
            return "" if os.access(device, os.R_OK) else f"{device} may not be read by this user; its group is `video`"
        if not settings.is_file:
            return ""
        path = Path(str(settings.source))
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
        age_s = min(max(0.0, picture.age_s), _MAX_AGE_S)
        last = self._last_captured
        if last is not None and last.boot_id == now.boot_id:
            age_s = min(age_s, now.boottime_s - last.boottime_s)
        self._last_captured = Moment(now.wall_s - age_s, now.boottime_s - age_s, now.boot_id)
        media_s = picture.media_s if self._settings.is_file else None
        return Frame(self.name, picture.number, pixels, self._last_captured, self._epoch, media_s)

    def _is_frozen(self, pixels: Pixels) -> bool:
        return (
            self._settings.is_live
            and self._freeze_detector.unchanged_s(pixels, self._clock.monotonic()) >= FROZEN_AFTER_S
        )

    def _set_running(self, pixels: Pixels) -> None:
        if self.state is not StreamState.RUNNING:
            self._running_since_s = self._clock.monotonic()
            size = f"{pixels.shape[1]} x {pixels.shape[0]}"
            self._set_state(StreamState.RUNNING, f"{self._settings.redacted_source}: pictures of {size}")

    def _record_skipped(self, counts: SkipCounts) -> None:
        for skip, count in (
            (SkipReason.RATE, counts.rate),
            (SkipReason.BUSY, counts.busy),
            (SkipReason.UNUSABLE, counts.unusable),
        ):
            if count > 0:
                self._observer.on_skipped(skip, count)

    def _record_unusable(self, counts: SkipCounts) -> bool:
        """Counts unusable pictures. Returns whether all pictures have been unusable for long enough to report it."""
        why = printable_line(counts.why.encode(errors="replace"), Redactor(self._settings.secrets()))
        return self._unusable.add(counts.unusable, why, self._clock.monotonic())

    def _end_unusable_run(self) -> None:
        """A good picture came, or the reader has ended."""
        count = self._unusable.end_run()
        if count and self.state is not StreamState.UNUSABLE:
            self._observer.on_unusable(count, self._unusable.why)

    def _with_reason(self, text: str) -> str:
        """The text, with the reason if pictures came that could not be used."""
        return f"{text}: {self._unusable.why}" if self._unusable.why else text

    def _set_state(self, state: StreamState, detail: str) -> None:
        before, self.detail = self.detail, detail
        if state is not self.state:
            self.state = state
            self._observer.on_event(StreamEvent(self.name, state, detail))
        elif detail != before:
            self._observer.on_reason(StreamEvent(self.name, state, detail))

    def _pause(self) -> None:
        now_s = self._clock.monotonic()
        if self._running_since_s is not None and now_s - self._running_since_s >= STEADY_AFTER_S:
            self._backoff.reset()
        self._running_since_s = None
        left_s = self._backoff.fail(now_s)
        while left_s > 0 and not self._is_stopping():
            # In short steps, because the clock can only wait for `stop`, not for `close` at the same time.
            self._clock.wait(self._stop, min(left_s, POLL_S))
            left_s -= POLL_S

    def _is_stopping(self) -> bool:
        return self._stop.is_set() or self._closed.is_set()

    def _end(self, kind: _EndKind, reason: str) -> _ReaderEnd:
        return _ReaderEnd(kind, f"{self._settings.redacted_source}: {reason}")

"""Stream: the frames of one source, for as long as somebody reads them.

    CONNECTING ──> RUNNING <──> LOST            RUNNING only after a first decoded picture; LOST is tried again for ever
         │           │ ▲          │
         └──> LOST   │ ├─ FROZEN ─┤             FROZEN: the same picture for 55 s (live sources only), until it differs
                     │ └ UNUSABLE ┘             UNUSABLE: for seconds all pictures are unusable, from the
                     └──> ENDED                 beginning or later. ENDED: the end of a file that does not loop

Of a live source the newest picture is used, the others are counted. A file waits, so that each of its pictures is used.
The pixels of a frame are a read-only view of memory that is shared with the reader; they are valid until the next frame
is requested. Capture times are set here: the time at which the picture left its source, never running backwards.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from framesift.backoff import Backoff, BackoffSchedule
from framesift.clock.clock import Clock
from framesift.clock.moment import Moment
from framesift.config.redact import Redactor
from framesift.frame import Frame, LazyPicture, Pixels, SkipReason
from framesift.streams.away_reasons import AwayReason
from framesift.streams.channel import (
    ChannelClosed,
    FileEnded,
    NoDescriptorForMemory,
    PictureReady,
    SharedMemory,
    SkipCounts,
    SourceOpened,
    SourceQuiet,
)
from framesift.streams.freeze_detector import FROZEN_AFTER_S, FreezeDetector
from framesift.streams.open_request import create_open_request
from framesift.streams.reader_launcher import ReaderProcess, printable_line
from framesift.streams.reader_session import POLL_S, ReaderSession, SourceLost
from framesift.streams.source_problem import source_problem
from framesift.streams.stream_events import StreamEvent, StreamLost, StreamObserver, StreamState
from framesift.streams.stream_settings import StreamSettings
from framesift.streams.withheld_pictures import WithheldPictures

RETRY_SCHEDULE = BackoffSchedule(0.5, 5.0, later_after_s=600.0, later_max_s=15.0)  # well again within 30 s
STEADY_AFTER_S = 10.0  # a source that ran for so long starts with the shortest pause when it is lost
_MAX_FAILED_READERS = 3  # for a file: the decoder crashes on its next picture
_MAX_LEFT_OUT = 3  # pictures of a folder in a row that end each reader
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
    """How the reader's run ended, the details, and the reason if the source is away."""

    kind: _EndKind
    detail: str = ""
    reason: AwayReason | None = None


class Stream:
    """The frames of one source. `frames` and `first_frame` are for one thread; `close` may be called from any.

    finite: it ends by itself. state, detail: the present state and its reason, which any thread may read.
    """

    def __init__(
        self,
        settings: StreamSettings,
        *,
        clock: Clock,
        stop: threading.Event,
        rng: random.Random,
        observer: StreamObserver | None = None,
        taken_file: Path | None = None,
    ) -> None:
        """rng: for the jitter of pauses. stop: ends `frames`. observer: receives states and skipped pictures.

        taken_file: keeps which pictures of a watched folder were read; None: that is known as long as a reader runs.
        """
        self.name = settings.name
        self.finite = settings.has_end
        self.state = StreamState.CONNECTING
        self.detail = ""  # the reason for the state, updated while the state stays
        self._settings = settings
        self._taken_file = taken_file
        self._clock = clock
        self._stop = stop
        self._observer = observer or StreamObserver()
        self._withheld = WithheldPictures()
        self._backoff = Backoff(RETRY_SCHEDULE, rng)
        self._freeze_detector = FreezeDetector()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._reader: ReaderProcess | None = None
        self._stuck: list[ReaderProcess] = []
        self._number = 0  # the next picture's
        self._file_began = 0  # the number of the first picture of the file that is followed
        self._epoch = 0
        self._has_frames = False
        self._is_live = self._is_camera = False  # of the present reader's source
        self._running_since_s: float | None = None
        self._transport: str = settings.transport or ""
        self._last_captured: Moment | None = None

    def frames(self) -> Iterator[Frame]:
        """Yields frames: without end for cameras and looped files, else until the file's end, `stop`, or `close`.

        Raises StreamLost for a file that does not loop and does not exist or can't be decoded. No event reports the
        same.
        """
        failed_readers = left_out = 0
        while not self._is_stopping():
            before = self._number
            # A short probe opens a camera four times faster but is too short for some: every second try is full.
            reader_end = yield from self._read_once(full_probe=failed_readers % 2 == 1, limit_s=None)
            if self._number > before:
                failed_readers = left_out = 0
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
            is_hopeless = reader_end.kind is _EndKind.HOPELESS
            if self.finite and (is_hopeless or failed_readers >= _MAX_FAILED_READERS):
                if is_hopeless or not self._settings.is_pictures or left_out == _MAX_LEFT_OUT:
                    raise StreamLost(reader_end.detail, reader_end.reason or AwayReason.UNKNOWN)
                self._leave_out_picture(reader_end.detail)
                failed_readers, left_out = 0, left_out + 1
            self._set_state(StreamState.LOST, reader_end.detail, reader_end.reason)
            self._freeze_detector.source_lost()
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
                raise StreamLost(reader_end.detail, reader_end.reason or AwayReason.UNKNOWN) from None
            is_at_end = reader_end.kind is _EndKind.ENDED
            why = self._with_reason("no picture in it can be used") if is_at_end else "stopped before a picture came"
            reason = AwayReason.UNUSABLE if is_at_end else AwayReason.UNKNOWN
            raise StreamLost(f"{self._settings.redacted_source}: {why}", reason) from None
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
        problem = source_problem(self._settings)
        if problem is not None:
            return self._away(_EndKind.HOPELESS, *problem)
        self._stuck = [reader for reader in self._stuck if reader.still_runs()]
        if len(self._stuck) >= _MAX_STUCK_READERS:
            why = f"{len(self._stuck)} readers are stuck in the kernel: the next one is started when one of them ends"
            return self._away(_EndKind.NO_READER, AwayReason.NO_READER, why)
        with self._lock:
            if self._closed.is_set():
                return _ReaderEnd(_EndKind.STOPPED)
            try:
                reader = ReaderProcess(self._settings)
            except OSError as error:
                detail = f"no reader can be started: {error.strerror}"
                return self._away(_EndKind.NO_READER, AwayReason.NO_READER, detail)
            self._reader = reader
        self._observer.on_reader()
        request = create_open_request(
            self._settings,
            number=self._number,
            resume_at=self._number - self._file_began if self.finite or self._settings.follow else 0,
            transport=self._transport,
            full_probe=full_probe,
            taken_file=self._taken_file,
        )
        session = ReaderSession(reader.channel, request)
        self._is_live, self._is_camera = request.live, self._settings.is_camera  # asked for each picture
        try:
            return (yield from self._receive_frames(session, limit_s))
        except NoDescriptorForMemory:
            return self._away(_EndKind.NO_READER, AwayReason.NO_READER, "no file descriptor is free for its pictures")
        except ChannelClosed:
            reader.close(grace_s=_EXIT_GRACE_S)  # it may be writing the reason
            return self._away(_EndKind.LOST, *reader.failure())
        except SourceLost as lost:
            if lost.reason is AwayReason.TRANSPORT:  # what it offered last time
                self._transport = self._settings.transport or ""
            kind = _EndKind.HOPELESS if lost.reported and not self._has_frames else _EndKind.LOST
            return self._away(kind, lost.reason, self._printable(lost.detail))
        finally:
            with self._lock:
                self._reader = None
            reader.close()
            if reader.still_runs():
                self._stuck.append(reader)
            self._end_withheld_runs()

    def _receive_frames(self, session: ReaderSession, limit_s: float | None) -> Generator[Frame, None, _ReaderEnd]:
        session.start()
        waited_s = 0.0
        first, opened = True, False
        while not self._is_stopping():
            self._clock.monotonic()  # heartbeat: this loop is alive although the source sends nothing
            message = session.next_message()
            if message is None:
                waited_s += POLL_S
                if limit_s is not None and waited_s >= limit_s:
                    return self._away(_EndKind.LOST, AwayReason.SILENT, f"no picture within {limit_s:g} s")
            elif isinstance(message, SkipCounts):
                self._number = max(self._number, message.next_number)
                problem = self._record_skipped(message)
                if problem:
                    was_running = self.state is StreamState.RUNNING
                    lost = self._away(_EndKind.LOST, AwayReason.UNUSABLE, problem)
                    self._set_state(StreamState.UNUSABLE, lost.detail, lost.reason)
                    if limit_s is not None:
                        return lost
                    if was_running and self._is_camera:  # a new connection may bring good pictures
                        return _ReaderEnd(_EndKind.RECONNECT)
            elif isinstance(message, SourceQuiet):
                quiet = f"nothing was written into it for {self._settings.read_timeout_s:g} s"
                lost = self._away(_EndKind.LOST, AwayReason.SILENT, quiet)
                self._set_state(StreamState.LOST, lost.detail, lost.reason)
            elif isinstance(message, SourceOpened):
                if opened and self._settings.follow:  # another file has its name
                    self._file_began = self._number
                opened = True
                if message.transport and message.transport != self._transport:
                    self._transport = message.transport
                    self._observer.on_transport(message.transport)
                if self._settings.watch and self.state is not StreamState.RUNNING:
                    self._set_state(StreamState.RUNNING, f"{self._settings.redacted_source}: waits for pictures")
            elif isinstance(message, SharedMemory):
                self._epoch += 0 if first else 1
            elif isinstance(message, PictureReady):
                pixels = session.pixels(message)
                self._epoch += 1 if first and self._has_frames else 0
                self._has_frames = True
                first = False
                self._end_withheld_runs()
                self._number = max(self._number, message.number + 1)
                if not self._is_frozen(pixels):
                    self._set_running(pixels)
                    yield self._frame(message, session.picture(message))
                elif self.state is StreamState.RUNNING:
                    self._observer.on_skipped(SkipReason.FROZEN, 1)
                    detail = f"the same picture for {FROZEN_AFTER_S:g} s; reconnecting"
                    self._set_frozen(detail)
                    return _ReaderEnd(_EndKind.RECONNECT)
                else:
                    self._observer.on_skipped(SkipReason.FROZEN, 1)
                    self._set_frozen("still the same picture")
                session.request_next(message)
            elif isinstance(message, FileEnded):
                text = f"the file has ended after {self._number} pictures{self._withheld.summary()}"
                return self._end(_EndKind.ENDED, text)
        return _ReaderEnd(_EndKind.STOPPED)

    def _frame(self, ready: PictureReady, picture: Pixels | LazyPicture) -> Frame:
        now = self._clock.now()
        age_s = min(max(0.0, ready.age_s), _MAX_AGE_S)
        last = self._last_captured
        if last is not None and last.boot_id == now.boot_id:
            age_s = min(age_s, now.boottime_s - last.boottime_s)
        self._last_captured = Moment(now.wall_s - age_s, now.boottime_s - age_s, now.boot_id)
        media_s = None if self._is_live else ready.media_s
        return Frame(self.name, ready.number, picture, self._last_captured, self._epoch, media_s, ready.sent_s or None)

    def _leave_out_picture(self, why: str) -> None:
        """Count a picture of a folder that ends each reader as unusable; the next reader begins behind it."""
        self._number += 1
        self._observer.on_skipped(SkipReason.UNUSABLE, 1)
        self._observer.on_unusable(1, why)

    def _is_frozen(self, pixels: Pixels) -> bool:
        return self._is_camera and self._freeze_detector.update(pixels, self._clock.monotonic())

    def _set_frozen(self, detail: str) -> None:
        self._set_state(StreamState.FROZEN, f"{self._settings.redacted_source}: {detail}", AwayReason.FROZEN)

    def _set_running(self, pixels: Pixels) -> None:
        if self.state is not StreamState.RUNNING:
            self._running_since_s = self._clock.monotonic()
            size = f"{pixels.shape[1]} x {pixels.shape[0]}"
            self._set_state(StreamState.RUNNING, f"{self._settings.redacted_source}: pictures of {size}")

    def _record_skipped(self, counts: SkipCounts) -> str:
        """Count skipped pictures. Return what is wrong if for too long none came that may be shown, or ""."""
        for skip, count in (
            (SkipReason.RATE, counts.rate),
            (SkipReason.BUSY, counts.busy),
            (SkipReason.UNUSABLE, counts.unusable),
            (SkipReason.DAMAGED, counts.damaged),
        ):
            if count > 0:
                self._observer.on_skipped(skip, count)
        if counts.rate > 0 or counts.busy > 0:  # they were not damaged
            self._end_damaged_run()
        shown = replace(counts, why=self._printable(counts.why), damage=self._printable(counts.damage))
        return self._withheld.add(shown, self._clock.monotonic())

    def _end_withheld_runs(self) -> None:
        """A good picture came, or the reader has ended."""
        count = self._withheld.unusable.end_run()
        if count and self.state is not StreamState.UNUSABLE:
            self._observer.on_unusable(count, self._withheld.unusable.why)
        self._end_damaged_run()

    def _end_damaged_run(self) -> None:
        count = self._withheld.damaged.end_run()
        if count and self.state is not StreamState.UNUSABLE:
            self._observer.on_damaged(count, self._withheld.damaged.why)

    def _with_reason(self, text: str) -> str:
        """The text, with the reason if pictures came that could not be used."""
        reason = self._withheld.reason()
        return f"{text}: {reason}" if reason else text

    def _printable(self, text: str) -> str:
        return printable_line(text.encode(errors="replace"), Redactor(self._settings.secrets()))

    def _set_state(self, state: StreamState, detail: str, reason: AwayReason | None = None) -> None:
        before, self.detail = self.detail, detail
        if state is not self.state:
            self.state = state
            self._observer.on_event(StreamEvent(self.name, state, detail, reason))
        elif detail != before:
            self._observer.on_reason(StreamEvent(self.name, state, detail, reason))

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

    def _end(self, kind: _EndKind, detail: str) -> _ReaderEnd:
        return _ReaderEnd(kind, f"{self._settings.redacted_source}: {detail}")

    def _away(self, kind: _EndKind, reason: AwayReason, detail: str) -> _ReaderEnd:
        """Return the end of a source that is away. detail: redacted; "" means the reason's meaning."""
        return replace(self._end(kind, detail or reason.meaning), reason=reason)

"""SnapshotSource: the main stream of one camera, which gives single pictures on request.

A reader process keeps the packets (keeper.py). It is replaced, with the pauses of a stream, when its source is lost,
and when it leaves a request without an answer.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence

from framesift.backoff import Backoff
from framesift.clock.clock import Clock, HeartbeatClock, MonitoredThread
from framesift.clock.moment import Moment
from framesift.config.redact import Redactor
from framesift.frame import Frame
from framesift.streams.away_reasons import AwayReason
from framesift.streams.channel import (
    ChannelClosed,
    KeepRequest,
    NoDescriptorForMemory,
    PacketsKept,
    SharedMemory,
    SnapshotReady,
    SnapshotRefused,
    SnapshotRequest,
    SourceOpened,
)
from framesift.streams.open_request import create_open_request
from framesift.streams.picture_slots import PictureSlots
from framesift.streams.reader_launcher import ReaderProcess, printable_line
from framesift.streams.reader_session import POLL_S, SourceLost, TimedMessages
from framesift.streams.snapshots.ticket import (
    SkewMeasure,
    SnapshotMissed,
    SnapshotMissReason,
    SnapshotPicture,
    SnapshotTicket,
)
from framesift.streams.source_problem import source_problem
from framesift.streams.stream import RETRY_SCHEDULE, STEADY_AFTER_S
from framesift.streams.stream_events import StreamEvent, StreamObserver, StreamState
from framesift.streams.stream_settings import StreamSettings

_LATE_S = 5.0  # so far behind a frame may be when its snapshot is asked for
_HUNG_AFTER_S = 2.0  # after the deadline of a request, until which even a refusal must have come
_MAX_PENDING = 32  # requests without an answer
_EXIT_GRACE_S = 1.0  # how long a reader whose channel is closed may take to exit


class SnapshotSource:
    """Keeps a main stream's packets in a process of its own, and gets single pictures of it. A component. Thread-safe.

    name: of the component. state, detail: CONNECTING, RUNNING once its first key frame has come, or LOST with the
    reason; `observer` receives their changes, as events of the stream `<stream>.snapshot`. kept_bytes: of packets.
    wait_s: how long a frame may wait.
    """

    def __init__(
        self, settings: StreamSettings, *, clock: Clock, rng: random.Random, observer: StreamObserver | None = None
    ) -> None:
        """settings: of the stream that the model sees, with a `snapshot` that has a `source`. rng: jitter of pauses."""
        given = settings.snapshot
        if given is None or given.source is None:
            raise ValueError(f"stream {settings.name!r} has no snapshot with a source")
        self.name = f"snapshots of {settings.name}"
        self.state = StreamState.CONNECTING
        self.detail = "it is not open yet"
        self.kept_bytes = 0
        self.wait_s = given.wait_s
        self._main = settings.snapshot_stream()
        self._keep = KeepRequest(given.pre_s + _LATE_S, given.max_bytes, given.max_decode_frames, given.max_skew_s)
        self._clock = clock
        self._heartbeat = HeartbeatClock(clock)
        self._observer = observer or StreamObserver()
        self._redactor = Redactor(settings.secrets())
        self._backoff = Backoff(RETRY_SCHEDULE, rng)
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._reader: ReaderProcess | None = None
        self._pending: dict[int, SnapshotTicket] = {}
        self._number = 0
        self._transport: str = self._main.transport or ""
        self._running_since_s: float | None = None

    @property
    def threads(self) -> Sequence[MonitoredThread]:
        """See Component."""
        return (MonitoredThread(self.name, self._thread, self._heartbeat),)

    def start(self) -> None:
        """Start to open the main stream; returns at once."""
        self._thread.start()

    def stop(self, within_s: float) -> bool:
        """End the process and the thread, and return whether both ended in time. Waiting requests are answered."""
        self.close()
        if self._thread.is_alive():
            self._thread.join(within_s)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Kill the process; the thread then ends by itself. Never waits."""
        with self._lock:
            self._stop.set()
            if self._reader is not None:
                self._reader.kill()

    def idle_s(self) -> float:
        """Return the seconds since its thread last moved; 0 if it has not started or has ended."""
        return self.threads[0].idle_s()

    def request(self, frame: Frame, *, deadline_s: float) -> SnapshotTicket:
        """Ask for the picture that is nearest in time to a frame. Never blocks; `wait` of the ticket does.

        deadline_s: the boot time until which there must be an answer. Where the main stream is away, the ticket is
        answered already.
        """
        ticket = SnapshotTicket(self._clock, deadline_s)
        now = self._clock.now()
        with self._lock:
            reader = self._reader
            if reader is None or self.state is not StreamState.RUNNING:
                detail = self.detail if self.state is not StreamState.RUNNING else "the connection has just ended"
                ticket.answer(SnapshotMissed(SnapshotMissReason.AWAY, detail))
                return ticket
            self._number += 1
            request = SnapshotRequest(
                self._number, frame.captured.age_s(now), frame.sent_s or 0.0, max(0.0, deadline_s - now.boottime_s)
            )
            if len(self._pending) >= _MAX_PENDING or not _send(reader, request):
                ticket.answer(SnapshotMissed(SnapshotMissReason.NO_PICTURE, "too many requests have no answer yet"))
                return ticket
            self._pending[self._number] = ticket
        return ticket

    def _run(self) -> None:
        while not self._stop.is_set():
            full_probe = self._backoff.failures % 2 == 1  # a short one opens a camera sooner, and is too short for some
            reason, detail = self._keep_once(full_probe=full_probe)
            if self._stop.is_set():
                break
            self._set_state(StreamState.LOST, detail or reason.meaning, reason)
            self._pause()
        self._answer_all("it is being stopped")

    def _keep_once(self, *, full_probe: bool) -> tuple[AwayReason, str]:
        """Run one reader process to its end. Return why it ended, and the details, redacted; "" if there are none."""
        problem = source_problem(self._main)
        if problem is not None:
            return problem
        try:
            reader = ReaderProcess(self._main)
        except OSError as error:
            return AwayReason.NO_READER, f"no reader can be started: {error.strerror}"
        with self._lock:
            self._reader = reader
            if self._stop.is_set():  # `close` came when there was none
                reader.kill()
        self._observer.on_reader()
        request = create_open_request(
            self._main, number=0, resume_at=0, transport=self._transport, full_probe=full_probe, taken_file=None
        )
        try:
            reader.channel.send(self._keep)
            reader.channel.send(request)
            self._receive(TimedMessages(reader.channel, request))
        except NoDescriptorForMemory:
            return AwayReason.NO_READER, "no file descriptor is free for its pictures"
        except ChannelClosed:
            reader.close(grace_s=_EXIT_GRACE_S)
            return reader.failure()
        except SourceLost as lost:
            if lost.reason is AwayReason.TRANSPORT:  # what it offered last time
                self._transport = self._main.transport or ""
            return lost.reason, printable_line(lost.detail.encode(errors="replace"), self._redactor)
        finally:
            with self._lock:
                self._reader = None
                self.kept_bytes = 0
            reader.close()
            while (
                reader.still_runs() and not self._stop.is_set()
            ):  # in the kernel: another one would be stuck there too
                self._wait(POLL_S)
        return AwayReason.ENDED, ""

    def _receive(self, messages: TimedMessages) -> None:
        """Receive until `close`. Raises SourceLost, and ChannelClosed when the reader ended."""
        memory: tuple[int, PictureSlots] | None = None
        while not self._stop.is_set():
            self._heartbeat.monotonic()
            message = messages.next_message()
            if isinstance(message, SourceOpened):
                if message.transport and message.transport != self._transport:
                    self._transport = message.transport
                    self._observer.on_transport(message.transport)
            elif isinstance(message, PacketsKept):
                self.kept_bytes = message.kept_bytes
                if message.packets > 0:
                    self._set_running()
            elif isinstance(message, SharedMemory):
                memory = message.memory_id, PictureSlots.attach(message)
            elif isinstance(message, SnapshotReady):
                if memory is None or memory[0] != message.number:
                    raise ChannelClosed("a snapshot lies in memory that was not announced")
                (slots, memory) = memory[1], None
                self._answer(message.number, self._picture(message, slots))
            elif isinstance(message, SnapshotRefused):
                detail = printable_line(message.detail.encode(errors="replace"), self._redactor)
                self._answer(message.number, SnapshotMissed(message.reason, detail))
            self._check_answers()

    def _picture(self, ready: SnapshotReady, slots: PictureSlots) -> SnapshotPicture:
        now = self._clock.now()
        age_s = max(0.0, ready.age_s)
        return SnapshotPicture(
            slots[0],
            skew_s=ready.skew_s,
            measured_by=SkewMeasure.SENDER if ready.by_sender else SkewMeasure.ARRIVAL,
            sent_s=ready.sent_s or None,
            taken_at=Moment(now.wall_s - age_s, now.boottime_s - age_s, now.boot_id),
        )

    def _answer(self, number: int, answer: SnapshotPicture | SnapshotMissed) -> None:
        with self._lock:
            ticket = self._pending.pop(number, None)
        if ticket is not None:
            ticket.answer(answer)

    def _answer_all(self, detail: str) -> None:
        with self._lock:
            pending, self._pending = self._pending, {}
        for ticket in pending.values():
            ticket.answer(SnapshotMissed(SnapshotMissReason.AWAY, detail))

    def _check_answers(self) -> None:
        """Raise SourceLost where even a refusal is missing: then the process hangs."""
        with self._lock:
            deadlines_s = [ticket.deadline_s for ticket in self._pending.values()]
        if deadlines_s and self._clock.now().boottime_s >= min(deadlines_s) + _HUNG_AFTER_S:
            raise SourceLost(AwayReason.SILENT, "the process that keeps its packets does not answer", reported=False)

    def _set_running(self) -> None:
        if self.state is not StreamState.RUNNING:
            self._running_since_s = self._clock.monotonic()
            self._set_state(StreamState.RUNNING, "packets are kept", None)

    def _set_state(self, state: StreamState, what: str, reason: AwayReason | None) -> None:
        detail = f"{self._main.redacted_source}: {what}"
        with self._lock:
            before, self.state, self.detail = (self.state, self.detail), state, detail
        if state is not StreamState.RUNNING:
            self._answer_all(detail)
        event = StreamEvent(self._main.name, state, detail, reason)
        if before[0] is not state:
            self._observer.on_event(event)
        elif before[1] != detail:
            self._observer.on_reason(event)

    def _pause(self) -> None:
        now_s = self._clock.monotonic()
        if self._running_since_s is not None and now_s - self._running_since_s >= STEADY_AFTER_S:
            self._backoff.reset()
        self._running_since_s = None
        self._wait(self._backoff.fail(now_s))

    def _wait(self, pause_s: float) -> None:
        ends_s = self._heartbeat.monotonic() + pause_s
        while not self._stop.is_set() and (left_s := ends_s - self._heartbeat.monotonic()) > 0:
            self._heartbeat.wait(self._stop, left_s)


def _send(reader: ReaderProcess, request: SnapshotRequest) -> bool:
    """Send a request without waiting. False if it can't be sent."""
    try:
        return reader.channel.send(request, wait=False)
    except ChannelClosed:  # its thread sees that too
        return False

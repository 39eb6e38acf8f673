"""Reports: what the components of a run report to the operator, as log lines, metrics and health."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timezone

import cv2

from framesift import __version__
from framesift.clock.moment import CLOCK_SET_AFTER_S, Moment
from framesift.frame import SkipReason
from framesift.sinks import Delivered, Duplicate, Registered, Rejected, RetryLater
from framesift.spool import Spool
from framesift.streams import StreamEvent, StreamLost, StreamObserver, StreamState
from framesift.streams.opencv_faults import OPENCV_ADVICE, known_fault
from framesift.telemetry import Condition, SpoolNumbers, StateEvent, StatusReport, StreamAbsence, Telemetry
from framesift.telemetry.file_descriptors import shortage
from framesift.upload.uploader import ATTEMPT_WITHIN_S, DeliveryAttempt, SinkProblem

# The label `outcome` of the metric framesift_delivery_attempts, which is stable.
DELIVERY_OUTCOMES = {
    Delivered: "done",
    Duplicate: "already_there",
    Registered: "registered",
    RetryLater: "later",
    Rejected: "never",
}
# Slow networks take this long for a large picture. A server that says nothing would be known after 45 s only.
SINK_SILENT_AFTER_S = 20.0
_DOWN = (StreamState.LOST, StreamState.FROZEN, StreamState.UNUSABLE)


def report_faulty_opencv(telemetry: Telemetry) -> None:
    """Log one line at the start if the installed OpenCV, which reads a stream, is known to decode some wrongly."""
    fault = known_fault(cv2.__version__, cv2.getBuildInformation())
    if fault is not None:
        telemetry.warning("opencv_faulty", why=f"OpenCV {cv2.__version__} {fault}", advice=OPENCV_ADVICE)


def report_build(telemetry: Telemetry) -> None:
    """Set what the metrics say of the versions that run here."""
    telemetry.set_build(version=__version__, opencv=cv2.__version__)


class StreamReports(StreamObserver):
    """Reports the states of one stream, its skipped pictures, and those that can't be used. Thread-safe."""

    def __init__(self, telemetry: Telemetry, stream: str) -> None:
        self._telemetry = telemetry
        self._stream = stream
        self._was_running = False

    def on_event(self, event: StreamEvent) -> None:
        """Set the stream's health, and log its new state as often as the health of any component is logged."""
        telemetry = self._telemetry
        reason = {} if event.reason is None else {"reason": event.reason.value, "advice": event.reason.advice}
        name = f"stream {event.stream}"
        fields = {"stream": event.stream, "state": event.state.value, "why": event.detail, **reason}
        change = StateEvent("stream", fields)
        self._set_away(event)
        if event.state is not StreamState.CONNECTING:
            telemetry.set_stream_up(event.stream, event.state is StreamState.RUNNING)
        if self._was_running and event.state in _DOWN:
            telemetry.record_loss(event.stream, event.detail)
        self._was_running = event.state is StreamState.RUNNING
        if event.state in _DOWN:
            telemetry.health.set(name, Condition.DEGRADED, _with_advice(event), event=change)
        elif event.state is StreamState.RUNNING:
            telemetry.health.set(name, Condition.OK, event=change)
        else:
            telemetry.state_changed(change.name, **change.fields)
        if event.state is StreamState.ENDED:
            telemetry.health.remove(name)

    def on_reason(self, event: StreamEvent) -> None:
        """Set the reason why the stream gives no pictures: the first one need not be the one that lasts."""
        if event.state in _DOWN:
            self._set_away(event)
            self._telemetry.health.set(f"stream {event.stream}", Condition.DEGRADED, _with_advice(event))

    def on_transport(self, transport: str) -> None:
        """Log that the camera is read over another transport than TCP."""
        why = "the camera does not offer TCP (461)"
        self._telemetry.info("stream_transport", stream=self._stream, transport=transport, why=why)

    def on_reader(self) -> None:
        """Count a reader process."""
        self._telemetry.count_reader(self._stream)

    def on_skipped(self, reason: SkipReason, count: int) -> None:
        """Count pictures that were not shown to the model."""
        self._telemetry.count_skipped(self._stream, reason, count)

    def on_unusable(self, count: int, why: str) -> None:
        """Log that `count` pictures in a row could not be used."""
        self._telemetry.warning("pictures_unusable", stream=self._stream, count=count, why=why)

    def on_damaged(self, count: int, why: str) -> None:
        """Log that `count` pictures in a row were damaged. why: the latest sign of damage."""
        self._telemetry.warning("pictures_damaged", stream=self._stream, count=count, why=why)

    def stream_lost(self, lost: StreamLost) -> None:
        """Log that the stream can't continue, and mark it as failed."""
        why, advice = str(lost), lost.reason.advice
        self._telemetry.error("stream_lost", stream=self._stream, why=why, reason=lost.reason.value, advice=advice)
        self._telemetry.set_stream_away(self._stream, StreamAbsence(lost.reason.value, why, advice))
        self._telemetry.health.set(f"stream {self._stream}", Condition.FAILED, f"{why}; {advice}", quietly=True)

    def _set_away(self, event: StreamEvent) -> None:
        reason = event.reason
        absence = None if reason is None else StreamAbsence(reason.value, event.detail, reason.advice)
        self._telemetry.set_stream_away(event.stream, absence)


class SnapshotReports(StreamObserver):
    """Reports whether a stream has snapshots at present. Thread-safe."""

    def __init__(self, telemetry: Telemetry, stream: str) -> None:
        self._telemetry = telemetry
        self._stream = stream
        self._name = f"snapshots of {stream}"

    def on_event(self, event: StreamEvent) -> None:
        """Set the health of the stream's snapshots, and log the change. Frames go on with their own pictures."""
        reason = {} if event.reason is None else {"reason": event.reason.value, "advice": event.reason.advice}
        fields = {"stream": self._stream, "state": event.state.value, "why": event.detail, **reason}
        change = StateEvent("snapshots", fields)
        if event.state in _DOWN:
            self._telemetry.health.set(self._name, Condition.DEGRADED, _without_snapshots(event), event=change)
        elif event.state is StreamState.RUNNING:
            self._telemetry.health.set(self._name, Condition.OK, event=change)

    def on_reason(self, event: StreamEvent) -> None:
        """Set the reason for the same state: the first one need not be the one that lasts."""
        if event.state in _DOWN:
            self._telemetry.health.set(self._name, Condition.DEGRADED, _without_snapshots(event))


def _without_snapshots(event: StreamEvent) -> str:
    return f"{_with_advice(event)}; the frames' own pictures are kept meanwhile"


def _with_advice(event: StreamEvent) -> str:
    return event.detail if event.reason is None else f"{event.detail}; {event.reason.advice}"


class UploadReports:
    """An `UploadObserver`: reports deliveries and problems of the sink. Thread-safe."""

    def __init__(self, telemetry: Telemetry, sink_type: str) -> None:
        """sink_type: as in the settings, for the log."""
        self._telemetry = telemetry
        self._sink_type = sink_type
        self._lock = threading.Lock()  # of the sink's health
        self._has_problem = False
        self._is_silent = False

    def delivery_attempted(self, attempt: DeliveryAttempt) -> None:
        """Count a delivery attempt, and log it if the datapoint did not arrive."""
        result = attempt.outcome
        label = DELIVERY_OUTCOMES[type(result)]
        self._telemetry.record_delivery(label, attempt.took_s)
        if isinstance(result, RetryLater | Rejected):
            self._telemetry.warning("not_delivered", sink=self._sink_type, reason=label, why=result.reason)
        if not isinstance(result, RetryLater):
            self._end_silence()

    def sink_changed(self, problem: SinkProblem | None) -> None:
        """Set the sink's health. problem: why nothing gets through; None when deliveries succeed again."""
        health = self._telemetry.health
        with self._lock:
            self._has_problem = problem is not None
            if problem is None:
                health.set_ok("sink")
            elif problem.all_refused:
                why = (
                    f"it refuses nearly everything, most recently: {problem.why}; nothing is dropped, please check the "
                    "sink"
                )
                health.set("sink", Condition.FAILED, why)
            else:
                health.set("sink", Condition.DEGRADED, problem.why)

    def report_silence(self, read_silent_s: Callable[[], float]) -> None:
        """Set the sink's health while it answers no delivery, and has not failed yet. To be called about once a second.

        read_silent_s: returns for how many seconds it has not answered; it must not wait.
        """
        with self._lock:  # also while it is read: an answer that comes now ends the silence after it was reported
            silent_s = read_silent_s()
            if silent_s >= SINK_SILENT_AFTER_S and not self._has_problem:
                self._is_silent = True
                given_up = f"a delivery is given up after {ATTEMPT_WITHIN_S:g} s, and tried again"
                why = f"no answer for {silent_s:.0f} s; {given_up}"
                self._telemetry.health.set("sink", Condition.DEGRADED, why)

    def _end_silence(self) -> None:
        with self._lock:
            if self._is_silent and not self._has_problem:
                self._telemetry.health.set_ok("sink")
            self._is_silent = False


def report_batches(telemetry: Telemetry, problem: str | None) -> None:
    """Set the health of "batches". problem: why the fill of labelling batches is unknown; None when it is known."""
    telemetry.health.set("batches", Condition.OK if problem is None else Condition.DEGRADED, problem or "")


def report_file_descriptors(telemetry: Telemetry) -> None:
    """Set the health of "descriptors": degraded while this process can't open another file or connection."""
    problem = shortage()
    why = "" if problem is None else f"{problem}: opening a file or a connection has to wait until another is closed"
    telemetry.health.set("descriptors", Condition.OK if problem is None else Condition.DEGRADED, why)


def report_clock(telemetry: Telemetry, now: Moment) -> None:
    """Set the health of "clock": degraded while this machine's wall clock was never set."""
    if now.wall_s >= CLOCK_SET_AFTER_S:
        telemetry.health.set_ok("clock")
        return
    day = datetime.fromtimestamp(now.wall_s, timezone.utc).strftime("%Y-%m-%d")
    why = (
        f"this machine's clock is not set, it says {day}: what is collected gets wrong times, and TLS fails; set it, "
        "or connect the machine to a time server (NTP)"
    )
    telemetry.health.set("clock", Condition.DEGRADED, why)


def spool_numbers(spool: Spool) -> SpoolNumbers:
    """Return the present numbers of the spool. Raises SpoolBroken."""
    counts = spool.counts()
    outcomes = {outcome.value: count for outcome, count in spool.outcome_counts().items()}
    return SpoolNumbers(
        counts.ready,
        counts.sending,
        counts.registered,
        counts.buried,
        counts.live_bytes,
        outcomes,
        log_bytes=counts.wal_bytes,
        max_bytes=counts.max_bytes,
        oldest_at_s=counts.oldest_at_s,
    )


def summary_line(report: StatusReport, streams: int) -> str:
    """Return the line for `systemctl status`. streams: how many the settings name."""
    up = sum(1 for stream in report.streams if stream.up)
    queue = report.queue
    waiting = 0 if queue is None else queue.ready + queue.registered + queue.sending
    frames = f"{report.frames_read} frames seen, {report.frames_accepted} accepted, {waiting} waiting"
    return f"{up} of {streams} streams up; {frames}"

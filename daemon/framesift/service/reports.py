"""Tell: what the two loops report, as lines, numbers and health."""

from __future__ import annotations

import cv2

from framesift.sinks import Delivered, Duplicate, Registered, Rejected, RetryLater
from framesift.spool import Spool
from framesift.streams import StreamEvent, StreamState
from framesift.streams.opencv_faults import OPENCV_ADVICE, known_fault
from framesift.telemetry import Condition, SpoolNumbers, StatusReport, Telemetry
from framesift.telemetry.file_descriptors import shortage
from framesift.upload.uploader import DeliveryAttempt, SinkProblem

_WORDS = {
    Delivered: "done",
    Duplicate: "already_there",
    Registered: "registered",
    RetryLater: "later",
    Rejected: "never",
}
_DOWN = (StreamState.LOST, StreamState.FROZEN, StreamState.UNUSABLE)


def report_faulty_opencv(telemetry: Telemetry) -> None:
    """At the start: one line where the OpenCV that streams are read with is known to be faulty."""
    why = known_fault(cv2.__version__, cv2.getBuildInformation())
    if why is not None:
        telemetry.warning("opencv_faulty", why=f"OpenCV {cv2.__version__} {why}", advice=OPENCV_ADVICE)


def report_stream_event(telemetry: Telemetry, event: StreamEvent) -> None:
    """A stream changed its state: one line. Its health changes quietly."""
    telemetry.state_changed("stream", stream=event.stream, state=event.state.value, why=event.detail)
    name = f"stream {event.stream}"
    if event.state is not StreamState.CONNECTING:
        telemetry.set_stream_up(event.stream, event.state is StreamState.RUNNING)
    if event.state in _DOWN:
        telemetry.health.set(name, Condition.DEGRADED, event.detail, quietly=True)
    elif event.state is StreamState.RUNNING:
        telemetry.health.set_ok(name, quietly=True)
    elif event.state is StreamState.ENDED:
        telemetry.health.remove(name)


def report_unusable_pictures(telemetry: Telemetry, stream: str, count: int, why: str) -> None:
    """Pictures in a row could not be used, between good ones or where a source ended."""
    telemetry.warning("pictures_unusable", stream=stream, count=count, why=why)


def report_stream_lost(telemetry: Telemetry, name: str, why: str) -> None:
    """A stream can't go on."""
    telemetry.error("stream_gone", stream=name, why=why)
    telemetry.health.set(f"stream {name}", Condition.FAILED, why, quietly=True)


def report_delivery(telemetry: Telemetry, sink: str, attempted: DeliveryAttempt) -> None:
    """A delivery was tried; what did not arrive is a line."""
    outcome = attempted.outcome
    word = _WORDS[type(outcome)]
    telemetry.record_delivery(word, attempted.took_s)
    if isinstance(outcome, RetryLater | Rejected):
        telemetry.warning("not_delivered", sink=sink, reason=word, why=outcome.reason)


def report_sink_state(telemetry: Telemetry, paused: SinkProblem | None) -> None:
    """Nothing gets through to the sink, or it does again (None)."""
    if paused is None:
        telemetry.health.set_ok("sink")
    elif paused.all_refused:
        why = f"it refuses nearly everything, at last: {paused.why}; nothing is given up, a person has to look"
        telemetry.health.set("sink", Condition.FAILED, why)
    else:
        telemetry.health.set("sink", Condition.DEGRADED, paused.why)


def report_batches(telemetry: Telemetry, why: str | None) -> None:
    """Nobody says how full the labelling batches are (why), or somebody does again (None)."""
    telemetry.health.set("batches", Condition.OK if why is None else Condition.DEGRADED, why or "")


def report_file_descriptors(telemetry: Telemetry) -> None:
    """Whether this process can open anything at this moment."""
    why = shortage()
    said = "" if why is None else f"{why}: whatever needs a file or a connection waits until one is closed"
    telemetry.health.set("descriptors", Condition.OK if why is None else Condition.DEGRADED, said)


def spool_numbers(spool: Spool) -> SpoolNumbers:
    """The spool's numbers, as rows have them at this moment."""
    counts = spool.counts()
    exits = {exit_.value: count for exit_, count in spool.outcome_counts().items()}
    return SpoolNumbers(counts.ready, counts.sending, counts.registered, counts.buried, counts.live_bytes, exits)


def summary_line(seen: StatusReport, streams: int) -> str:
    """What a daemon with so many streams says of itself to the service manager."""
    up = sum(1 for stream in seen.streams if stream.up)
    waiting = 0 if seen.queue is None else seen.queue.ready + seen.queue.registered + seen.queue.sending
    frames = f"{seen.frames_read} frames seen, {seen.frames_accepted} accepted, {waiting} waiting"
    return f"{up} of {streams} streams up; {frames}"

"""StreamAbsences: which streams give no pictures at present, and why."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from prometheus_client import Gauge


@dataclass(frozen=True, slots=True)
class StreamAbsence:
    """Why a stream gives no pictures. reason: a word of a closed list. why, advice: one line each, without secrets."""

    reason: str
    why: str
    advice: str


class StreamAbsences:
    """Thread-safe. Stream names come from the settings and reasons from a closed list, so their number is bounded."""

    def __init__(self, gauge: Gauge) -> None:
        """gauge: with the labels `stream` and `reason`; it gets those reasons that a stream has had."""
        self._gauge = gauge
        self._lock = threading.Lock()
        self._present: dict[str, StreamAbsence] = {}

    def set(self, stream: str, absence: StreamAbsence | None) -> None:
        """Set why the stream gives no pictures; None if it does, or has ended."""
        with self._lock:
            before = self._present.pop(stream, None)
            if before is not None:
                self._gauge.labels(stream, before.reason).set(0.0)
            if absence is not None:
                self._present[stream] = absence
                self._gauge.labels(stream, absence.reason).set(1.0)

    def of(self, stream: str) -> StreamAbsence | None:
        """Return why the stream gives no pictures; None if nothing is known against it."""
        with self._lock:
            return self._present.get(stream)

"""StreamLosses: how often each stream was lost while it ran, and why most recently.

A camera that comes back within seconds is well again before anybody looks; that it was away must still be seen.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from prometheus_client import Counter


@dataclass(frozen=True, slots=True)
class StreamLoss:
    """The most recent loss of a stream. at_s: Unix time. why: one line without secrets."""

    at_s: float
    why: str


class StreamLosses:
    """Thread-safe. Stream names come from the settings, so their number is bounded."""

    def __init__(self, counter: Counter) -> None:
        """counter: with the label `stream`."""
        self._counter = counter
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._latest: dict[str, StreamLoss] = {}

    def record(self, stream: str, loss: StreamLoss) -> None:
        """Count one more loss."""
        self._counter.labels(stream).inc()
        with self._lock:
            self._counts[stream] = self._counts.get(stream, 0) + 1
            self._latest[stream] = loss

    def of(self, stream: str) -> tuple[int, StreamLoss | None]:
        """Return how often the stream was lost, and the most recent loss."""
        with self._lock:
            return self._counts.get(stream, 0), self._latest.get(stream)

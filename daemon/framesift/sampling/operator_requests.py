"""OperatorRequests: what an operator has asked of the streams of this device: which of them are paused."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from framesift.clock.clock import Clock
from framesift.sampling.pauses import Pauses
from framesift.telemetry import PausedStream


class OperatorRequests:
    """Thread-safe. pauses: of the streams."""

    def __init__(self, clock: Clock, streams: Iterable[str] = (), pauses: Pauses | None = None) -> None:
        """streams: the names that are known at the start. pauses: None for those of nobody, which are kept nowhere."""
        self.pauses = pauses or Pauses(clock)
        self._lock = threading.Lock()
        self._streams = dict.fromkeys(streams)

    @property
    def stream_names(self) -> tuple[str, ...]:
        """The names of all streams, those included that clients have named."""
        with self._lock:
            return tuple(self._streams)

    def add_stream(self, name: str) -> None:
        """A stream has an intake; it may be known already."""
        with self._lock:
            self._streams[name] = None

    def paused_streams(self) -> Mapping[str, PausedStream | None]:
        """Each stream with its pause, None where it has none."""
        return {name: self._paused(name) for name in self.stream_names}

    def _paused(self, name: str) -> PausedStream | None:
        pause = self.pauses.of(name)
        return None if pause is None else PausedStream(name, pause.since_s, pause.until_s, pause.by)

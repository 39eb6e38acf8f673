"""OperatorRequests: what an operator has asked of the streams here: pauses, frames to be taken, thumbnails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

from framesift.clock.clock import Clock
from framesift.frame import RefusalReason
from framesift.sampling.pauses import Pauses
from framesift.sampling.takes import Takes
from framesift.sampling.thumbnails import Thumbnails
from framesift.telemetry import PausedStream


class OperatorRequests:
    """Thread-safe. pauses, takes, thumbnails: of the streams."""

    def __init__(self, clock: Clock, streams: Iterable[str] = (), pauses: Pauses | None = None) -> None:
        """streams: the names that are known at the start. pauses: None for those of nobody, which are kept nowhere."""
        self.pauses = pauses or Pauses(clock)
        self.takes = Takes(clock)
        self.thumbnails = Thumbnails(clock)
        self._lock = threading.Lock()
        self._streams: dict[str, list[Callable[[], RefusalReason | None]]] = {name: [] for name in streams}

    @property
    def stream_names(self) -> tuple[str, ...]:
        """The names of all streams, those included that clients have named."""
        with self._lock:
            return tuple(self._streams)

    def add_stream(self, name: str, standing_refusal: Callable[[], RefusalReason | None]) -> None:
        """A stream has an intake, or another one. standing_refusal: of the intake."""
        with self._lock:
            self._streams.setdefault(name, []).append(standing_refusal)

    def standing_refusal(self, stream: str) -> RefusalReason | None:
        """Why no frame of a stream is taken at present, whatever it shows; None where one may be."""
        if self.pauses.of(stream) is not None:
            return RefusalReason.PAUSED
        with self._lock:
            refusals = [refusal() for refusal in self._streams.get(stream, ())]
        return refusals[0] if refusals and all(refusals) else None

    def paused_streams(self) -> Mapping[str, PausedStream | None]:
        """Each stream with its pause, None where it has none."""
        return {name: self._paused(name) for name in self.stream_names}

    def _paused(self, name: str) -> PausedStream | None:
        pause = self.pauses.of(name)
        return None if pause is None else PausedStream(name, pause.since_s, pause.until_s, pause.by)

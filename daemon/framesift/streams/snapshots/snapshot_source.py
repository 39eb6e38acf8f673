"""SnapshotSource: the main stream of one camera, which gives single pictures on request."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence

from framesift.clock.clock import Clock, MonitoredThread
from framesift.frame import Frame
from framesift.streams.snapshots.ticket import SnapshotMissed, SnapshotMissReason, SnapshotTicket
from framesift.streams.stream_events import StreamObserver, StreamState
from framesift.streams.stream_settings import StreamSettings


class SnapshotSource:
    """Keeps a main stream's packets in a process of its own, and gets single pictures of it. A component. Thread-safe.

    name: of the component. state, detail: CONNECTING, RUNNING once its first key frame has come, or LOST with the
    reason; `observer` receives their changes, as events of the stream `<stream>.snapshot`.
    """

    def __init__(
        self, settings: StreamSettings, *, clock: Clock, rng: random.Random, observer: StreamObserver | None = None
    ) -> None:
        """settings: of the stream that the model sees, with a `snapshot` that has a `source`. rng: jitter of pauses."""
        self._main = settings.snapshot_stream()
        self._clock = clock
        self._rng = rng
        self._observer = observer or StreamObserver()
        self._stop = threading.Event()
        self.name = f"snapshots of {settings.name}"
        self.state = StreamState.CONNECTING
        self.detail = ""
        self.threads: Sequence[MonitoredThread] = ()

    def start(self) -> None:
        """Start to open the main stream; returns at once."""

    def stop(self, within_s: float) -> bool:  # noqa: ARG002
        """End the process and the thread, and return whether both ended in time. Waiting requests are answered."""
        self._stop.set()
        return True

    def close(self) -> None:
        """Kill the process; the thread then ends by itself. Never waits."""
        self._stop.set()

    def idle_s(self) -> float:
        """Return the seconds since its thread last moved; 0 if it has not started or has ended."""
        return max((thread.idle_s() for thread in self.threads), default=0.0)

    def request(self, frame: Frame, *, deadline_s: float) -> SnapshotTicket:  # noqa: ARG002
        """Ask for the picture that is nearest in time to a frame. Never blocks; `wait` of the ticket does.

        deadline_s: the boot time until which there must be an answer. Where the main stream is away, the ticket is
        answered already.
        """
        ticket = SnapshotTicket(self._clock, deadline_s)
        ticket.answer(SnapshotMissed(SnapshotMissReason.AWAY, self.detail))
        return ticket

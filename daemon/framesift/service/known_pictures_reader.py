"""KnownPicturesReader: reads the pictures that policies name as known, beside the streams, and reports it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from framesift.clock.clock import Clock, MonitoredThread
from framesift.known.known_pictures import KnownPictures
from framesift.periodic import NextRun, PeriodicTask
from framesift.policy.policy import Policy
from framesift.telemetry import Telemetry

_IDLE_S = 3600.0
_NAMED = 10  # of what could not be read; the rest is counted


class KnownPicturesReader:
    """A component. Its thread begins with the first policy that names known pictures."""

    name = "known pictures"

    def __init__(
        self,
        pictures: KnownPictures,
        telemetry: Telemetry,
        clock: Clock,
        *,
        stop: threading.Event,
        on_failure: Callable[[BaseException], None],
        waits: bool,
    ) -> None:
        """stop: ends the reading. waits: `want` reads them itself, so that no frame is decided before."""
        self._pictures = pictures
        self._telemetry = telemetry
        self._stop = stop
        self._waits = waits
        self._task = PeriodicTask(self.name, self._run, clock, on_failure=on_failure)
        self._lock = threading.Lock()  # of what follows
        self._wanted: list[tuple[str, ...]] = []
        self._has_begun = False

    @property
    def threads(self) -> Sequence[MonitoredThread]:
        """See Component."""
        return self._task.threads

    def start(self) -> None:
        """See Component."""

    def stop(self, within_s: float) -> bool:
        """See Component."""
        return self._task.stop(within_s)

    def idle_s(self) -> float:
        """See Component."""
        return self._task.idle_s()

    def want(self, policy: Policy) -> None:
        """Read what a policy names, once. From any thread."""
        with self._lock:
            new = [paths for paths in policy.known_paths if paths not in self._wanted]
            self._wanted += new
            if not new:
                return
            if self._waits:
                self._run()
            elif not self._has_begun:
                self._has_begun = True
                self._task.start()
            else:
                self._task.wake()

    def _run(self) -> NextRun:
        for paths in tuple(self._wanted):
            if not self._pictures.is_read(paths):
                self._read(paths)
        return NextRun(in_s=_IDLE_S)

    def _read(self, paths: tuple[str, ...]) -> None:
        read = self._pictures.read(paths, self._keep_on)
        if read is None:
            return
        self._telemetry.info(
            "known_pictures_read",
            paths=list(paths),
            pictures=read.pictures,
            left_out=read.left_out,
            unreadable=len(read.unreadable),
        )
        if read.unreadable:
            first = list(read.unreadable[:_NAMED])
            self._telemetry.warning("known_pictures_unreadable", number=len(read.unreadable), first=first)
        if read.cache_problem is not None:
            self._telemetry.warning("known_pictures_not_kept", why=read.cache_problem)

    def _keep_on(self) -> bool:
        self._task.heartbeat.monotonic()
        return not self._stop.is_set() and not self._task.is_stopping

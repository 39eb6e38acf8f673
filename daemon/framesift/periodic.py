"""Rounds: a thread that looks at something, rests for as long as that look says, and looks again.

It looks at once when it starts. Woken, it looks earlier than it would have, but not before the least rest is over. A
bug in a look ends the thread and is told: none dies in silence.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from framesift.clock.clock import MAX_WAIT_S, Clock, HeartbeatClock, MonitoredThread


@dataclass(frozen=True, slots=True)
class NextRun:
    """How long until the next look. least_s: how long even if it is woken."""

    in_s: float
    min_s: float = 0.0


class PeriodicTask:
    """look: one round. failed: told of a bug. pulse: the clock for whatever a round does, so that the watchdog sees it
    move.
    """

    def __init__(
        self, name: str, run: Callable[[], NextRun], clock: Clock, *, failed: Callable[[BaseException], None]
    ) -> None:
        self.pulse = HeartbeatClock(clock)
        self._look = run
        self._clock = clock
        self._failed = failed
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._looked = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.loop = MonitoredThread(name, self._thread, self.pulse)

    def start(self) -> None:
        self._thread.start()

    def wait_for_first_run(self, within_s: float) -> bool:
        """Whether it was taken."""
        return self._clock.wait(self._looked, within_s)

    def wake(self) -> None:
        """There is something to look at."""
        self._wake.set()

    @property
    def is_stopping(self) -> bool:
        return self._stop.is_set()

    def stop(self, within_s: float) -> bool:
        """Tells whether the thread has ended, or never began."""
        self._stop.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(within_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._wake.clear()
                rest = self._look()
                self._looked.set()
                self._take(rest)
        except BaseException as error:  # noqa: BLE001  # whatever it is: the service ends the process
            self._failed(error)

    def _take(self, rest: NextRun) -> None:
        began_s = self.pulse.monotonic()
        until_s = began_s + rest.in_s
        while not self._stop.is_set() and (left_s := until_s - self.pulse.monotonic()) > 0:
            if self.pulse.wait(self._wake, min(left_s, MAX_WAIT_S)):
                self._wake.clear()
                until_s = min(until_s, began_s + rest.min_s)

"""PeriodicTask: runs a function in a background thread, again and again.

The function returns when its next run is due. It runs at once when the task starts. `wake()` runs it earlier, but not
before the minimum pause that the function asked for. An unexpected error ends the thread, and is reported.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from framesift.clock.clock import MAX_WAIT_S, Clock, HeartbeatClock, MonitoredThread


@dataclass(frozen=True, slots=True)
class NextRun:
    """When to run again: in `in_s` seconds, or when woken, but then not before `min_s` seconds have passed."""

    in_s: float
    min_s: float = 0.0


class PeriodicTask:
    """A component: see service/components.py. `wake` and `is_stopping` may be used by any thread."""

    def __init__(
        self, name: str, run: Callable[[], NextRun], clock: Clock, *, on_failure: Callable[[BaseException], None]
    ) -> None:
        """run: one run. on_failure: called, by the task's thread, with an unexpected error that ended the thread."""
        self.name = name
        # The clock for whatever a run does, so that the watchdog sees that the thread moves.
        self.heartbeat = HeartbeatClock(clock)
        self._run_once = run
        self._wait_clock = clock
        self._on_failure = on_failure
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._first_run_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.monitored = MonitoredThread(name, self._thread, self.heartbeat)

    @property
    def threads(self) -> tuple[MonitoredThread, ...]:
        """See Component."""
        return (self.monitored,)

    def start(self) -> None:
        """Start the thread, which runs the function at once."""
        self._thread.start()

    def wait_for_first_run(self, within_s: float) -> bool:
        """Wait until the first run is over, at most so long; return whether it is."""
        return self._wait_clock.wait(self._first_run_over, within_s)

    def wake(self) -> None:
        """Run the function soon, as something changed."""
        self._wake.set()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called: a long run should end."""
        return self._stop.is_set()

    def stop(self, within_s: float) -> bool:
        """End the thread after its present run; return whether it has ended in time, or was never started."""
        self._stop.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(within_s)
        return not self._thread.is_alive()

    def idle_s(self) -> float:
        """Return the seconds since the thread last moved; 0 if it doesn't run."""
        return self.monitored.idle_s()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._wake.clear()
                next_run = self._run_once()
                self._first_run_over.set()
                self._wait_for(next_run)
        except BaseException as error:  # noqa: BLE001  # whatever it is: the service ends the process
            self._on_failure(error)

    def _wait_for(self, next_run: NextRun) -> None:
        began_s = self.heartbeat.monotonic()
        until_s = began_s + next_run.in_s
        while not self._stop.is_set() and (left_s := until_s - self.heartbeat.monotonic()) > 0:
            if self.heartbeat.wait(self._wake, min(left_s, MAX_WAIT_S)):
                self._wake.clear()
                until_s = min(until_s, began_s + next_run.min_s)


class BackgroundWriter(PeriodicTask, ABC):
    """A PeriodicTask that writes what others have counted now and then, and the rest of it when it is stopped.

    The daemon can do without: a disk that hangs or fails is no reason to start it again. So nobody watches the thread.
    """

    @property
    def threads(self) -> tuple[MonitoredThread, ...]:
        """None."""
        return ()

    def stop(self, within_s: float) -> bool:
        """Write what came last, once the thread has ended; return whether it has ended in time."""
        has_ended = super().stop(within_s)
        if has_ended:
            self.write_rest()
        return has_ended

    @abstractmethod
    def write_rest(self) -> None:
        """Write what came since the last run. Called after the thread has ended, also where an error ended it."""

"""The clock as an argument: the time, and waits that a stop can interrupt.

Other modules take a `Clock` instead of asking the operating system for the time. So tests can use a clock of their own,
with which a day of limits passes in a millisecond.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from framesift.clock.moment import Moment

# The longest wait. It lets every thread show the watchdog that it moves.
MAX_WAIT_S = 20.0


class Clock(Protocol):
    """Tells the time and waits. Thread-safe."""

    def now(self) -> Moment:
        """The present moment: wall time, boot time and boot id."""

    def monotonic(self) -> float:
        """Seconds since some fixed instant. It never steps; for intervals and deadlines."""

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Waits until the event is set or `timeout_s` has passed. Returns whether the event is set.

        It waits at most MAX_WAIT_S and may return early, so call it in a loop.
        """


class SystemClock:
    """The real clock of a Linux machine (elsewhere the monotonic clock stands in for CLOCK_BOOTTIME)."""

    def __init__(self) -> None:
        self._boot_id = _boot_id()
        self._boottime = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def now(self) -> Moment:
        """See Clock."""
        return Moment(time.time(), time.clock_gettime(self._boottime), self._boot_id)

    def monotonic(self) -> float:
        """See Clock."""
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """See Clock."""
        return event.wait(min(max(timeout_s, 0.0), MAX_WAIT_S))


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux: a new id per start, so that ages across starts use the wall clock
        return f"start-{time.time_ns()}"


class HeartbeatClock:
    """A clock for one thread that remembers when it was last used: a thread that moves uses its clock.

    The systemd watchdog is fed while all threads use their clocks. A wait counts as used when it begins, and no wait is
    longer than MAX_WAIT_S.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_s = clock.monotonic()

    def now(self) -> Moment:
        """See Clock."""
        self._last_s = self._clock.monotonic()
        return self._clock.now()

    def monotonic(self) -> float:
        """See Clock."""
        self._last_s = self._clock.monotonic()
        return self._last_s

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """See Clock."""
        self._last_s = self._clock.monotonic()
        return self._clock.wait(event, timeout_s)

    def idle_s(self) -> float:
        """Seconds since the thread last used this clock. Any thread may call it."""
        return self._clock.monotonic() - self._last_s


@dataclass(frozen=True)
class MonitoredThread:
    """A thread with the clock that shows whether it moves.

    name: unique, shown to the operator. max_idle_s: how long it may be idle in normal operation.
    """

    name: str
    thread: threading.Thread
    heartbeat: HeartbeatClock
    max_idle_s: float = 35.0

    def idle_s(self) -> float:
        """Seconds since the thread last moved; 0 if it has not started or has ended."""
        return self.heartbeat.idle_s() if self.thread.is_alive() else 0.0

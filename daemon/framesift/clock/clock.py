"""The clock as an argument: what time it is, and waiting that a stop interrupts.

Nothing else in framesift asks the operating system for the time. Tests hand in a clock of their own, so that a day of
limits passes in a millisecond.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from framesift.clock.moment import Moment

# A wait may end early and never lasts longer than this, so that every loop shows the watchdog that it moves.
MAX_WAIT_S = 20.0


class Clock(Protocol):
    def now(self) -> Moment:
        """The present moment."""

    def monotonic(self) -> float:
        """Seconds since some fixed instant; never steps. For intervals and deadlines."""

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Waits until the event is set or `timeout_s` (at most LONGEST_WAIT_S) has passed; tells whether it is set."""


class SystemClock:
    """The real clock of a Linux machine (elsewhere the monotonic clock stands in for CLOCK_BOOTTIME)."""

    def __init__(self) -> None:
        self._boot_id = _boot_id()
        self._boottime = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def now(self) -> Moment:
        return Moment(time.time(), time.clock_gettime(self._boottime), self._boot_id)

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.wait(min(max(timeout_s, 0.0), MAX_WAIT_S))


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux: one id per start of the program, so ages across starts use the wall clock
        return f"start-{time.time_ns()}"


class HeartbeatClock:
    """A clock for one loop, which remembers when it was last used: a loop that moves looks at its clock.

    The watchdog is fed while every loop has a pulse. A wait counts from its beginning, and none is long.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_s = clock.monotonic()

    def now(self) -> Moment:
        self._last_s = self._clock.monotonic()
        return self._clock.now()

    def monotonic(self) -> float:
        self._last_s = self._clock.monotonic()
        return self._last_s

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self._last_s = self._clock.monotonic()
        return self._clock.wait(event, timeout_s)

    def idle_s(self) -> float:
        """Seconds since the loop last looked at its clock."""
        return self._clock.monotonic() - self._last_s


@dataclass(frozen=True)
class MonitoredThread:
    """A thread that shows by its pulse that it moves. name: unique, for the operator. patience_s: how long it may be
    silent while all is well.
    """

    name: str
    thread: threading.Thread
    heartbeat: HeartbeatClock
    max_idle_s: float = 35.0

    def idle_s(self) -> float:
        """Seconds since it last moved; 0 where it has not begun, or has ended."""
        return self.heartbeat.idle_s() if self.thread.is_alive() else 0.0

"""ManualClock: a clock that a test moves by hand, or that moves by itself once every thread which uses it waits.

    clock = ManualClock()                  # stands still until advance() or step_wall()
    clock = ManualClock(waiters=4)         # four threads: when all four wait, the next of their alarms rings

So a day of limits passes in milliseconds, and time never passes while a thread still has work to do.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from framesift.clock.clock import MAX_WAIT_S, SystemClock
from framesift.clock.moment import Moment

NOON_S = 1_789_041_600.0  # 2026-09-10T12:00:00Z, a Thursday

# How often a waiting thread looks at its event: an Event cannot tell a clock that it was set.
_LOOK_S = 0.002


class SetClock(SystemClock):
    """The machine's clock, set forward by `set_s`."""

    def __init__(self, set_s: float) -> None:
        super().__init__()
        self._set_s = set_s

    def now(self) -> Moment:
        now = super().now()
        return Moment(now.wall_s + self._set_s, now.boottime_s, now.boot_id)


@dataclass(eq=False)
class _Waiter:
    event: threading.Event
    alarm_s: float


class ManualClock:
    """A `framesift.clock.clock.Clock`. wall_s: Unix time at the start; boot and monotonic time begin at 1000 s.

    waiters: how many threads wait with this clock; 0 means that only the test moves it.
    """

    def __init__(self, wall_s: float = NOON_S, *, waiters: int = 0, boot_id: str = "boot-1") -> None:
        self._changed = threading.Condition()
        self._wall_offset_s = wall_s - 1000.0
        self._elapsed_s = 1000.0
        self._boot_id = boot_id
        self._needed = waiters
        self._waiting: list[_Waiter] = []

    def now(self) -> Moment:
        with self._changed:
            return Moment(self._wall_offset_s + self._elapsed_s, self._elapsed_s, self._boot_id)

    def monotonic(self) -> float:
        with self._changed:
            return self._elapsed_s

    def advance(self, seconds: float) -> None:
        """Time passes: wall, boot and monotonic time alike."""
        with self._changed:
            self._elapsed_s += seconds
            self._changed.notify_all()

    def step_wall(self, seconds: float) -> None:
        """Somebody sets the wall clock; no time passes."""
        with self._changed:
            self._wall_offset_s += seconds

    def reboot(self, boot_id: str, boottime_s: float = 10.0) -> None:
        """Another boot of the machine at the same wall time. Not while threads wait."""
        with self._changed:
            self._wall_offset_s += self._elapsed_s - boottime_s
            self._elapsed_s = boottime_s
            self._boot_id = boot_id

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        with self._changed:
            waiter = _Waiter(event, self._elapsed_s + min(max(timeout_s, 0.0), MAX_WAIT_S))
            self._waiting.append(waiter)
            self._changed.notify_all()
            try:
                while not event.is_set() and self._elapsed_s < waiter.alarm_s:
                    self._ring_if_all_wait()
                    if self._elapsed_s < waiter.alarm_s:
                        self._changed.wait(_LOOK_S)
                return event.is_set()
            finally:
                self._waiting.remove(waiter)

    def waiting(self) -> int:
        """How many threads wait at this moment, without those whose wait has ended and which are about to go on."""
        with self._changed:
            return self._still_waiting()

    def until_waiting(self, number: int, within_s: float = 20.0) -> bool:
        """Returns once so many threads wait, and whether they do."""
        with self._changed:
            return self._changed.wait_for(lambda: self._still_waiting() >= number, within_s)

    def _still_waiting(self) -> int:
        return sum(not w.event.is_set() and w.alarm_s > self._elapsed_s for w in self._waiting)

    def _ring_if_all_wait(self) -> None:
        if not self._needed or len(self._waiting) < self._needed:
            return
        # A waiter whose alarm has rung, or whose event is set, has work to do at this instant and only hasn't been
        # scheduled yet: time must not pass over its head.
        if any(w.event.is_set() or w.alarm_s <= self._elapsed_s for w in self._waiting):
            return
        self._elapsed_s = min(w.alarm_s for w in self._waiting)
        self._changed.notify_all()

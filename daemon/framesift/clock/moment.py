"""Moment: a point in time as one device knows it, which stays meaningful when the wall clock steps or was never set."""

from __future__ import annotations

from dataclasses import dataclass

# No frame of this program was captured before it was written: an earlier wall time means that the clock was not set
# (a board without a battery starts in 1970, or at its firmware's date).
CLOCK_SET_AFTER_S = 1_704_067_200.0  # 2024-01-01T00:00:00Z


@dataclass(frozen=True, slots=True)
class Moment:
    """Wall time, boot time and the boot they belong to.

    wall_s: Unix time in seconds. boottime_s: CLOCK_BOOTTIME in seconds (runs on during suspend, never steps).
    boot_id: the kernel's random id of this boot.
    """

    wall_s: float
    boottime_s: float
    boot_id: str

    @property
    def clock_is_set(self) -> bool:
        return self.wall_s >= CLOCK_SET_AFTER_S

    def age_s(self, now: Moment) -> float:
        """Seconds from this moment to `now`, at least 0: boot time within one boot, the wall clock across boots.

        Across boots a moment whose clock was not set has no age that could be known: 0.
        """
        if self.boot_id == now.boot_id:
            return max(0.0, now.boottime_s - self.boottime_s)
        return max(0.0, now.wall_s - self.wall_s) if self.clock_is_set else 0.0

    def wall_s_as_of(self, now: Moment) -> float:
        """Unix time of this moment as the clock of `now` would have read it: steps between the two are undone."""
        return now.wall_s - self.age_s(now)

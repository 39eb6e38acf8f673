"""Moment: a point in time of one device, which stays usable when the wall clock steps or was never set."""

from __future__ import annotations

from dataclasses import dataclass

# An earlier wall time means that the clock was not set: the program did not exist then. (A board without a battery
# starts in 1970, or at the date of its firmware.)
CLOCK_SET_AFTER_S = 1_704_067_200.0  # 2024-01-01T00:00:00Z


@dataclass(frozen=True, slots=True)
class Moment:
    """Wall time, boot time and the boot to which they belong.

    wall_s: Unix time in seconds. boottime_s: CLOCK_BOOTTIME in seconds (it runs during suspend and never steps).
    boot_id: the kernel's random id of this boot.
    """

    wall_s: float
    boottime_s: float
    boot_id: str

    @property
    def clock_is_set(self) -> bool:
        """Whether the wall clock was set, judged by its date."""
        return self.wall_s >= CLOCK_SET_AFTER_S

    def age_s(self, now: Moment) -> float:
        """Seconds from this moment to `now`, at least 0: by boot time within one boot, by the wall clock across boots.

        Across boots, the age of a moment whose clock was not set is unknown; it counts as 0.
        """
        if self.boot_id == now.boot_id:
            return max(0.0, now.boottime_s - self.boottime_s)
        return max(0.0, now.wall_s - self.wall_s) if self.clock_is_set else 0.0

    def wall_s_as_of(self, now: Moment) -> float:
        """The Unix time of this moment by the clock of `now`: clock steps between the two are corrected."""
        return now.wall_s - self.age_s(now)

"""Backoff: growing pauses between retries, with jitter and a cap. The only implementation; every retry uses it.

A `BackoffSchedule` says how long the pauses are; it has no state. A `Backoff` counts failures in a row and remembers
when the next try is allowed. Time and random numbers are arguments, so tests need no real waiting.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

# After failures that need a person; more frequent retries would only fill the log. With what spreads the devices of a
# fleet, it is tried every five minutes.
MENDED_BY_HAND_RETRY_S = 270.0
_MAX_DOUBLINGS = 62  # of a float that stays far from overflow


@dataclass(frozen=True, slots=True)
class BackoffSchedule:
    """How long to pause after a number of failures in a row. All times in seconds.

    The pause doubles from `first_s` up to `max_s`. Its jitter keeps many devices that fail together from retrying
    together: each pause is random between `min_fraction` of the doubled pause (but at least `min_s`) and all of it.
    `min_fraction=1.0` means no jitter, `0.0` full jitter.

    After `later_after_s` of failing without a break the cap is `later_max_s` (None: it stays `max_s`).
    """

    first_s: float
    max_s: float
    min_fraction: float = 0.5
    min_s: float = 0.0
    later_after_s: float = float("inf")
    later_max_s: float | None = None

    def pause_s(self, failures: int, rng: random.Random | None = None, *, failing_for_s: float = 0.0) -> float:
        """Return the pause after so many failures in a row (at least 1). rng: None for no jitter."""
        is_later = self.later_max_s is not None and failing_for_s >= self.later_after_s
        cap_s = self.later_max_s if is_later and self.later_max_s is not None else self.max_s
        longest_s = min(cap_s, self.first_s * 2.0 ** min(max(failures, 1) - 1, _MAX_DOUBLINGS))
        shortest_s = min(longest_s, max(self.min_s, longest_s * self.min_fraction))
        return longest_s if rng is None else rng.uniform(shortest_s, longest_s)


class Backoff:
    """Failures in a row, and the time of the next try. Not thread-safe: its owner holds a lock where threads share it.

    Times are seconds of one monotonic clock, which the caller reads.
    """

    def __init__(self, schedule: BackoffSchedule, rng: random.Random | None) -> None:
        """rng: the source of the jitter; None for no jitter."""
        self._schedule = schedule
        self._rng = rng
        self._failing_since_s = 0.0
        self.failures = 0
        self.retry_at_s = float("-inf")

    def fail(self, now_s: float, *, at_least_s: float = 0.0) -> float:
        """Count a failure and return the pause until the next try. at_least_s: what the other side asked for."""
        if self.failures == 0:
            self._failing_since_s = now_s
        self.failures += 1
        failing_for_s = now_s - self._failing_since_s
        pause_s = max(self._schedule.pause_s(self.failures, self._rng, failing_for_s=failing_for_s), at_least_s)
        self.retry_at_s = now_s + pause_s
        return pause_s

    def remaining_s(self, now_s: float) -> float:
        """Return the seconds until the next try is allowed; 0 when it is."""
        return max(0.0, self.retry_at_s - now_s)

    def reset(self) -> None:
        """Forget all failures: the last try succeeded."""
        self.failures = 0
        self.retry_at_s = float("-inf")

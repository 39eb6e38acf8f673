"""Turns: how many images a paced strategy may have collected at a moment of a limit's window.

One turn is earned every T / L seconds of a window of T seconds with the limit L; the first one T / L seconds after the
window opens. A turn is due while fewer images are charged in the window than turns were earned. So turns are no state:
the charges are counted anyway, by whoever counts the limit, and a fleet earns L turns together. Turns that are not used
stay due until the window closes; there are none of an earlier window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from framesift.limits.windows import Limit

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Turns:
    """limit: in whose windows turns are earned. ahead: how many more than were earned may be used."""

    limit: Limit
    ahead: float = 0.0

    def is_due(self, used: int, elapsed_s: float, window_s: float) -> bool:
        """Whether one more image may be collected.

        used: charged in the window so far. elapsed_s: since the window opened. window_s: its length.
        """
        earned = min(elapsed_s, window_s) * self.limit.value / window_s
        return used + 1 <= earned + self.ahead + _ROUNDING

    def next_earned_s(self, elapsed_s: float, window_s: float) -> float:
        """Seconds from the opening of the window to the next time at which a turn is earned; inf after the last."""
        if self.limit.value == 0:
            return math.inf
        number = math.floor(elapsed_s * self.limit.value / window_s + _ROUNDING) + 1
        return number * window_s / self.limit.value if number <= self.limit.value else math.inf

"""AdaptiveThreshold: accepts a frame at once if its score is among the best of the last ones, and holds nothing.

    r = (L - used) / (eligible frames per second so far x seconds that are left of the window)
    accepted if   score >= quantile(1 - r) of the last 2,000 scores, and at least 50 scores were seen

where L is the limit of the window. Besides, no more may be used than L t / T + max(2, L / 24) after t of T seconds:
that is decided with the limits themselves, see `turns_of`.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from datetime import tzinfo

from framesift.limits import Limit, Turns, window_end, window_start

SCORES = 2000
LEAST_SCORES = 50


def turns_of(limit: Limit) -> Turns:
    """How far a strategy may be ahead of an even use of its limit."""
    return Turns(limit, ahead=1.0 + max(2.0, limit.value / 24))


class AdaptiveThreshold:
    """The scores of one strategy, over all streams that share its limits. For one thread at a time."""

    def __init__(self, limit: Limit, zone: tzinfo) -> None:
        """limit: of the window whose budget is spread."""
        self.limit = limit
        self._zone = zone
        self._last: deque[float] = deque()
        self._sorted: list[float] = []
        self._opened_s = self._closes_s = -math.inf
        self._began_s = 0.0
        self._eligible = 0
        self._used = 0

    def accepts(self, score: float, now_s: float) -> bool:
        """Whether an eligible frame may be collected. To be called once for each. now_s: Unix time of its capture."""
        self._enter_window(now_s)
        self._eligible += 1
        threshold = self._threshold(now_s)
        self._add(score)
        return threshold is not None and score >= threshold

    def record_used(self, at_s: float) -> None:
        """One image more was charged. at_s: Unix time of its capture."""
        self._enter_window(at_s)
        if at_s >= self._opened_s:
            self._used += 1

    def set_used(self, used: int, now_s: float) -> None:
        """What is charged in the window now, whoever has collected it."""
        self._enter_window(now_s)
        self._used = used

    def _enter_window(self, now_s: float) -> None:
        if now_s >= self._closes_s:
            self._opened_s = window_start(self.limit.window, now_s, self._zone)
            self._closes_s = window_end(self.limit.window, now_s, self._zone)
            self._began_s, self._eligible, self._used = now_s, 0, 0

    def _threshold(self, now_s: float) -> float | None:
        """The score that is needed now; None while too few were seen, or nothing is left."""
        left = self.limit.value - self._used
        if len(self._sorted) < LEAST_SCORES or left <= 0:
            return None
        expected = self._eligible / max(1.0, now_s - self._began_s) * max(0.0, self._closes_s - now_s)
        share = 1.0 if expected <= left else left / expected
        return self._sorted[min(len(self._sorted) - 1, math.floor((1.0 - share) * len(self._sorted)))]

    def _add(self, score: float) -> None:
        self._last.append(score)
        bisect.insort(self._sorted, score)
        if len(self._last) > SCORES:
            del self._sorted[bisect.bisect_left(self._sorted, self._last.popleft())]

"""Backoff: how long to wait before a lost source is tried again."""

from __future__ import annotations

import random

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 5.0
LONGEST_WAIT_LATER_S = 30.0
LATER_S = 600.0


class Backoff:
    """Doubles from 0.5 s up to 5 s in the first ten minutes and 30 s later, for ever; each wait is 50 to 100 % of it.

    The chance keeps a site's cameras, which come back together after a power cut, from being tried all at once.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._began_s: float | None = None
        self._wait_s = FIRST_WAIT_S

    def next_wait_s(self, now_s: float) -> float:
        if self._began_s is None:
            self._began_s = now_s
        longest_s = LONGEST_WAIT_LATER_S if now_s - self._began_s >= LATER_S else LONGEST_WAIT_S
        wait_s = min(self._wait_s, longest_s)
        self._wait_s = min(self._wait_s * 2, LONGEST_WAIT_LATER_S)
        return wait_s * self._chance.uniform(0.5, 1.0)

    def reset(self) -> None:
        self._began_s = None
        self._wait_s = FIRST_WAIT_S

"""A breaker before a server that several threads ask: while it is away, nobody waits for it.

    shut no:   everybody asks.  MOST_IN_A_ROW failures in a row, or one that says when to come again  -->  shut
    shut yes:  nobody asks, until the date; then one does.  It fails  -->  a later date.  It is answered  -->  shut no

The date is SHORTEST_S away at first, then twice as far each time up to LONGEST_S, with jitter, so that a fleet does not
come back as one. What the server itself says goes before, up to LONGEST_ORDERED_S.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

MAX_FAILURES_IN_A_ROW = 3
MIN_OPEN_S = 0.5
MAX_OPEN_S = 10.0
MAX_RETRY_AFTER_S = 60.0


@dataclass(frozen=True, slots=True)
class RequestPermit:
    """Permission to ask once, to be handed back with what came of it."""

    openings: int  # how often the breaker had shut when it was given


@dataclass(frozen=True, slots=True)
class BreakerOpen:
    """Nobody may ask. why: the failure that shut it. wait_s: until somebody may."""

    why: str
    wait_s: float


class InferenceCircuitBreaker:
    """For several threads at once. patience_s: how long an asking may take; a turn that is not handed back by then is
    as good as lost, and another one may ask. now_s: a clock that never steps.
    """

    def __init__(self, probe_timeout_s: float, *, now_s: Callable[[], float], rng: random.Random) -> None:
        self._patience_s = probe_timeout_s
        self._now_s = now_s
        self._chance = rng
        self._lock = threading.Lock()
        self._failures = 0  # in a row
        self._shuts = 0
        self._next_s = MIN_OPEN_S
        self._until_s: float | None = None
        self._why = ""

    def acquire(self) -> RequestPermit | BreakerOpen:
        with self._lock:
            if self._until_s is not None:
                now_s = self._now_s()
                if now_s < self._until_s:
                    return BreakerOpen(self._why, self._until_s - now_s)
                self._until_s = now_s + self._patience_s
            return RequestPermit(self._shuts)

    def record_success(self) -> None:
        """The server is there."""
        with self._lock:
            self._failures = 0
            self._next_s = MIN_OPEN_S
            self._until_s = None

    def record_failure(self, permit: RequestPermit, why: str, retry_after_s: float | None) -> float:
        """The server is not there. come_again_s: when it wants to be asked again, where it said so. Returns how long
        not to ask, in seconds.
        """
        with self._lock:
            if permit.openings == self._shuts:  # of those that were under way when it shut, none says anything new
                self._failures += 1
                asked_in_vain = self._until_s is not None
                if asked_in_vain or retry_after_s is not None or self._failures >= MAX_FAILURES_IN_A_ROW:
                    self._shut(why, retry_after_s)
            return MIN_OPEN_S if self._until_s is None else max(0.0, self._until_s - self._now_s())

    def _shut(self, why: str, come_again_s: float | None) -> None:
        wait_s = self._next_s * self._chance.uniform(0.5, 1.0)
        self._next_s = min(2 * self._next_s, MAX_OPEN_S)
        if come_again_s is not None:
            wait_s = max(wait_s, min(come_again_s, MAX_RETRY_AFTER_S))
        self._shuts += 1
        self._why = why
        self._until_s = self._now_s() + wait_s

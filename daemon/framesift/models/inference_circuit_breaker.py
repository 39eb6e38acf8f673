"""A circuit breaker for an inference server that several threads ask: while the server is unavailable, nobody waits.

    closed:     everybody asks. MAX_FAILURES_IN_A_ROW failures, or one with a Retry-After  -->  open
    open:       nobody asks, until a certain time  -->  half-open
    half-open:  one thread asks. It fails  -->  open for longer. It succeeds  -->  closed

It is open for MIN_OPEN_S at first, then for twice as long each time, up to MAX_OPEN_S. Jitter keeps the devices of a
fleet from returning at the same moment. A Retry-After of the server makes it longer, up to MAX_RETRY_AFTER_S.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from framesift.backoff import Backoff, BackoffSchedule

MAX_FAILURES_IN_A_ROW = 3
MIN_OPEN_S = 0.5
MAX_OPEN_S = 10.0
MAX_RETRY_AFTER_S = 60.0
_SCHEDULE = BackoffSchedule(MIN_OPEN_S, MAX_OPEN_S)


@dataclass(frozen=True, slots=True)
class RequestPermit:
    """Permission to send one request, to be given to `record_failure` if the request fails."""

    openings: int  # how often the breaker had opened when the permit was given


@dataclass(frozen=True, slots=True)
class BreakerOpen:
    """Nobody may ask now. why: the failure that opened the breaker. wait_s: seconds until somebody may."""

    why: str
    wait_s: float


class InferenceCircuitBreaker:
    """Decides whether a request may be sent. Thread-safe."""

    def __init__(self, probe_timeout_s: float, *, now_s: Callable[[], float], rng: random.Random) -> None:
        """probe_timeout_s: how long a probe may take; after that another one is allowed. now_s: a monotonic clock."""
        self._probe_timeout_s = probe_timeout_s
        self._now_s = now_s
        self._lock = threading.Lock()
        self._backoff = Backoff(_SCHEDULE, rng)
        self._failures = 0  # in a row
        self._openings = 0
        self._open_until_s: float | None = None
        self._why = ""

    def acquire(self) -> RequestPermit | BreakerOpen:
        """Asks for permission to send a request."""
        with self._lock:
            if self._open_until_s is not None:
                now_s = self._now_s()
                if now_s < self._open_until_s:
                    return BreakerOpen(self._why, self._open_until_s - now_s)
                self._open_until_s = now_s + self._probe_timeout_s
            return RequestPermit(self._openings)

    def record_success(self) -> None:
        """The server has answered: closes the breaker."""
        with self._lock:
            self._failures = 0
            self._backoff.reset()
            self._open_until_s = None

    def record_failure(self, permit: RequestPermit, why: str, retry_after_s: float | None) -> float:
        """The server is unavailable. retry_after_s: what the server asked for, None if nothing.

        Returns for how many seconds not to ask.
        """
        with self._lock:
            if permit.openings == self._openings:  # requests that were sent before it opened say nothing new
                self._failures += 1
                was_probe = self._open_until_s is not None
                if was_probe or retry_after_s is not None or self._failures >= MAX_FAILURES_IN_A_ROW:
                    self._open(why, retry_after_s)
            return MIN_OPEN_S if self._open_until_s is None else max(0.0, self._open_until_s - self._now_s())

    def _open(self, why: str, retry_after_s: float | None) -> None:
        self._openings += 1
        self._why = why
        self._backoff.fail(self._now_s(), at_least_s=min(retry_after_s or 0.0, MAX_RETRY_AFTER_S))
        self._open_until_s = self._backoff.retry_at_s

"""Silence: for how long something that was asked has not answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from framesift.clock.clock import Clock


class Silence:
    """Watches the questions of several threads to one other side, such as a model or a sink. Thread-safe.

    Many threads may wait for their turn: the other side is silent only while it answers none of them.
    """

    def __init__(self, clock: Clock) -> None:
        """clock: not the one of a thread that is monitored, which would seem to move whenever this is read."""
        self._clock = clock
        self._lock = threading.Lock()
        self._asked_s: dict[int, float] = {}  # by thread: when it asked
        self._answered_s = float("-inf")

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Enclose one question, from the request to the answer, or to the error that comes instead of one."""
        thread = threading.get_ident()
        with self._lock:
            self._asked_s[thread] = self._clock.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._answered_s = self._clock.monotonic()
                del self._asked_s[thread]

    def lasts_s(self) -> float:
        """Return for how many seconds there has been a question and no answer to any; 0 while nothing is asked."""
        with self._lock:
            if not self._asked_s:
                return 0.0
            since_s = max(self._answered_s, min(self._asked_s.values()))
            return max(0.0, self._clock.monotonic() - since_s)

"""AlikeCounts: for how many refused frames each accepted one stands, until the numbers are stored."""

from __future__ import annotations

import threading
from collections import Counter

_MOST_IDS = 65_536  # as many as there are signatures; more are not counted until these are stored


class AlikeCounts:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, id: str) -> None:
        """One more frame was refused because it looks like this accepted one. id: of the datapoint."""
        with self._lock:
            if id in self._counts or len(self._counts) < _MOST_IDS:
                self._counts[id] += 1

    def take(self) -> dict[str, int]:
        """What was counted since the last call, by id."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
        return dict(taken)

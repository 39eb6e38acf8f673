"""Kept: copies of what passes, as many bytes of each and of all together as are allowed, and no more."""

from __future__ import annotations

import threading

MOST_OF_ONE_BYTES = 24 << 20
MOST_OF_ALL_BYTES = 128 << 20


class Budget:
    """Bytes that all copies of a door share. Used by any number of threads."""

    def __init__(self, most_bytes: int = MOST_OF_ALL_BYTES) -> None:
        self._lock = threading.Lock()
        self._left = most_bytes

    def take(self, count: int) -> bool:
        with self._lock:
            if count > self._left:
                return False
            self._left -= count
            return True

    def give(self, count: int) -> None:
        with self._lock:
            self._left += count


class Kept:
    """A copy of one body, as long as it fits. To be let go when nobody needs it."""

    def __init__(self, budget: Budget, most_bytes: int = MOST_OF_ONE_BYTES) -> None:
        self._budget = budget
        self._most = most_bytes
        self._parts: list[bytes] = []
        self._size = 0
        self.whole = True  # nothing of it is missing

    def add(self, content: bytes) -> bool:
        """False where it does not fit any more: then nothing of it is kept."""
        if not self.whole or not content:
            return self.whole
        if self._size + len(content) > self._most or not self._budget.take(len(content)):
            self.let_go()
            self.whole = False
            return False
        self._parts.append(content)
        self._size += len(content)
        return True

    def content(self) -> bytes:
        return b"".join(self._parts)

    def let_go(self) -> None:
        self._parts.clear()
        self._budget.give(self._size)
        self._size = 0

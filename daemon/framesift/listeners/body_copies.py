"""Kept: copies of what passes, as many bytes of each and of all together as are allowed, and no more."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from framesift.listeners.http1 import BLOCK_BYTES

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
        self._content = bytearray()  # and no list: a part of one byte would cost 40
        self.whole = True  # nothing of it is missing

    def add(self, content: bytes) -> bool:
        """False where it does not fit any more, from then on. What was kept before stays until it is let go."""
        if self.whole and content:
            fits = len(self._content) + len(content) <= self._most and self._budget.take(len(content))
            if fits:
                self._content += content
            self.whole = fits
        return self.whole

    def content(self) -> bytes:
        return bytes(self._content)

    def blocks(self) -> Iterator[bytes]:
        """The same, in parts."""
        for at in range(0, len(self._content), BLOCK_BYTES):
            yield bytes(self._content[at : at + BLOCK_BYTES])

    def let_go(self) -> None:
        self._budget.give(len(self._content))
        self._content = bytearray()

"""Kept: copies of what passes, as many bytes of each and of all together as are allowed, and no more."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from framesift.listeners.http1 import BLOCK_BYTES

MAX_COPY_BYTES = 24 << 20
MAX_TOTAL_BYTES = 128 << 20


class MemoryBudget:
    """Bytes that all copies of a door share. Used by any number of threads."""

    def __init__(self, most_bytes: int = MAX_TOTAL_BYTES) -> None:
        self._lock = threading.Lock()
        self._left = most_bytes

    def reserve(self, count: int) -> bool:
        with self._lock:
            if count > self._left:
                return False
            self._left -= count
            return True

    def release(self, count: int) -> None:
        with self._lock:
            self._left += count


class BodyCopy:
    """A copy of one body, as long as it fits. To be let go when nobody needs it."""

    def __init__(self, budget: MemoryBudget, most_bytes: int = MAX_COPY_BYTES) -> None:
        self._budget = budget
        self._most = most_bytes
        self._content = bytearray()  # and no list: a part of one byte would cost 40
        self.is_complete = True  # nothing of it is missing

    def add(self, content: bytes) -> bool:
        """False where it does not fit any more, from then on. What was kept before stays until it is let go."""
        if self.is_complete and content:
            fits = len(self._content) + len(content) <= self._most and self._budget.reserve(len(content))
            if fits:
                self._content += content
            self.is_complete = fits
        return self.is_complete

    def content(self) -> bytes:
        return bytes(self._content)

    def blocks(self) -> Iterator[bytes]:
        """The same, in parts."""
        for at in range(0, len(self._content), BLOCK_BYTES):
            yield bytes(self._content[at : at + BLOCK_BYTES])

    def release(self) -> None:
        self._budget.release(len(self._content))
        self._content = bytearray()

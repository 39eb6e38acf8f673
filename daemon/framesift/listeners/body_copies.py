"""Copies of forwarded bodies, with a limit for each copy and one for all copies together."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from framesift.listeners.http1 import BLOCK_BYTES

MAX_COPY_BYTES = 24 << 20
MAX_TOTAL_BYTES = 128 << 20


class MemoryBudget:
    """The bytes that all copies of a listener may use together. Thread-safe."""

    def __init__(self, max_bytes: int = MAX_TOTAL_BYTES) -> None:
        self._lock = threading.Lock()
        self._free_bytes = max_bytes

    def reserve(self, count: int) -> bool:
        """Reserve so many bytes. Return False, and reserve nothing, if fewer are free."""
        with self._lock:
            if count > self._free_bytes:
                return False
            self._free_bytes -= count
            return True

    def release(self, count: int) -> None:
        """Give back so many reserved bytes."""
        with self._lock:
            self._free_bytes += count


class BodyCopy:
    """A copy of one body, as far as it fits. Call `release` when it is no longer needed. Not thread-safe."""

    def __init__(self, budget: MemoryBudget, max_bytes: int = MAX_COPY_BYTES) -> None:
        self._budget = budget
        self._max_bytes = max_bytes
        self._content = bytearray()  # not a list of pieces: a piece of one byte would need 40
        self.is_complete = True  # False once something did not fit

    def add(self, content: bytes) -> bool:
        """Append bytes. Return False if they don't fit; then this and all later bytes are left out.

        What was added before stays until `release`.
        """
        if self.is_complete and content:
            fits = len(self._content) + len(content) <= self._max_bytes and self._budget.reserve(len(content))
            if fits:
                self._content += content
            self.is_complete = fits
        return self.is_complete

    def content(self) -> bytes:
        """Return the bytes that were added."""
        return bytes(self._content)

    def blocks(self) -> Iterator[bytes]:
        """Yield the same bytes in blocks of at most BLOCK_BYTES."""
        for at in range(0, len(self._content), BLOCK_BYTES):
            yield bytes(self._content[at : at + BLOCK_BYTES])

    def release(self) -> None:
        """Drop the content and give its bytes back to the budget. May be called again."""
        self._budget.release(len(self._content))
        self._content = bytearray()

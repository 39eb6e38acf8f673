"""UnusablePictures: counts pictures that can't be used, and measures for how long there has been nothing else.

One unusable picture between good ones is a log line. When all pictures are unusable, the stream reports that state.
"""

from __future__ import annotations

UNUSABLE_AFTER_S = 2.0


class UnusablePictures:
    """Counts unusable pictures. For one thread.

    total: all so far. in_a_row: since the last good one. why: the reason of the latest.
    """

    def __init__(self) -> None:
        self.total = 0
        self.in_a_row = 0
        self.why = ""
        self._since_s = 0.0

    def add(self, count: int, why: str, now_s: float) -> bool:
        """Counts unusable pictures. Returns whether there has been nothing else for UNUSABLE_AFTER_S."""
        if not self.in_a_row:
            self._since_s = now_s
        self.total += count
        self.in_a_row += count
        self.why = why
        return now_s - self._since_s >= UNUSABLE_AFTER_S

    def end_run(self) -> int:
        """Ends a run of unusable pictures, because a good one came or the source ended. Returns how many were in it."""
        ended, self.in_a_row = self.in_a_row, 0
        return ended

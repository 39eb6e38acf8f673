"""Unusable: the pictures that nothing can be done with, and for how long there has been nothing else.

One between good ones is a line in the log; where there is nothing else, the stream gives no pictures, and says why.
"""

from __future__ import annotations

UNUSABLE_AFTER_S = 2.0


class UnusablePictures:
    """total: of all pictures so far. in_a_row: since the last good one. why: of the latest, for a human."""

    def __init__(self) -> None:
        self.total = 0
        self.in_a_row = 0
        self.why = ""
        self._since_s = 0.0

    def add(self, count: int, why: str, now_s: float) -> bool:
        """So many more. Tells whether there has been nothing else for long enough."""
        if not self.in_a_row:
            self._since_s = now_s
        self.total += count
        self.in_a_row += count
        self.why = why
        return now_s - self._since_s >= UNUSABLE_AFTER_S

    def end_run(self) -> int:
        """A good picture came, or nothing comes any more: how many there were in a row."""
        ended, self.in_a_row = self.in_a_row, 0
        return ended

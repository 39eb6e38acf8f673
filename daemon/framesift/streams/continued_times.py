"""ContinuedTimes: the times of a file that is read again and again, as if it went on."""

from __future__ import annotations

_INTERVAL_S = 0.04  # between the pictures of a file that has only one


class ContinuedTimes:
    """Where a file begins again, its length is added: the time of its last picture and one more interval.

    For one thread.
    """

    def __init__(self) -> None:
        self._passed_s = 0.0  # of the passes before
        self._last_s = -1.0
        self._interval_s = _INTERVAL_S

    def continued_s(self, media_s: float) -> float:
        """Return the time of the next picture since the beginning of the first pass. media_s: in the file."""
        media_s = max(0.0, media_s)
        if media_s <= self._last_s:
            self._passed_s += self._last_s + self._interval_s
        elif self._last_s >= 0.0:
            self._interval_s = media_s - self._last_s
        self._last_s = media_s
        return self._passed_s + media_s

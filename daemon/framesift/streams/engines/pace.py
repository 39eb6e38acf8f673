"""Pace: when it is the turn of each picture of a source that sends seconds of video at once, as HLS does.

Without it a stream would show a burst, then nothing until the next segment, and a model would see few of its pictures.
"""

from __future__ import annotations

_MAX_AHEAD_S = 30.0  # a longer wait would be a jump in the source's times


class Pace:
    """The turns of pictures, by their own times. For one thread."""

    def __init__(self) -> None:
        self._offset_s: float | None = None  # from a picture's time to its turn

    def turn_s(self, media_s: float, now_s: float) -> float:
        """Return when it is the turn of the picture of this time, by the same clock as now_s; not before now_s.

        A picture that is late moves the turns of all that follow: what was missed is not caught up on in a burst.
        """
        turn_s = now_s if self._offset_s is None else media_s + self._offset_s
        if not now_s <= turn_s <= now_s + _MAX_AHEAD_S:
            turn_s = now_s
        self._offset_s = turn_s - media_s
        return turn_s

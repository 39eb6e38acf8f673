"""MediaTimes: the position of each picture of a source, from the times that its container states."""

from __future__ import annotations

_BEGAN_ANEW_S = 0.5  # back by more than this; less is a container that states the order badly


class MediaTimes:
    """Positions in seconds from the first picture on, which never run backwards. For one thread.

    Recordings that were joined byte by byte begin their times anew at each joint: there the next picture comes one
    interval after the one before it.
    """

    def __init__(self) -> None:
        self._begin_s: float | None = None
        self._interval_s = 0.0
        self._position_s = 0.0

    @property
    def position_s(self) -> float:
        """The position of the latest picture."""
        return self._position_s

    def move_to(self, stated_s: float) -> None:
        """The next picture has come. stated_s: its time, as the container states it."""
        if self._begin_s is None:
            self._begin_s = stated_s
        position_s = stated_s - self._begin_s
        if position_s < self._position_s - _BEGAN_ANEW_S:
            position_s = self._position_s + self._interval_s
            self._begin_s = stated_s - position_s
        elif position_s > self._position_s:
            self._interval_s = position_s - self._position_s
        self._position_s = max(self._position_s, position_s)

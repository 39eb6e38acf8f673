"""Frame selectors: which pictures of a source are used when a stream limits its rate with `fps`."""

from __future__ import annotations

import math

_ROUNDING_S = 0.0006


class FileFrameSelector:
    """Selects the pictures of a file for a rate of `fps`, by their own times: a second run selects the same ones.

    The first picture of each period of 1 / fps seconds is selected. Times may run at any rate, with gaps.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        # Many containers round times to a millisecond, which must not move a picture into the period before.
        self._allowance = min(0.25, _ROUNDING_S * fps) + 1e-9
        self._period: int | None = None

    def wants(self, media_s: float) -> bool:
        """Whether the picture at this time is selected. Call it for each picture that can be used, in order."""
        if self._fps <= 0:
            return True
        period = math.floor(media_s * self._fps + self._allowance)
        if period == self._period:
            return False
        self._period = period
        return True


class LiveFrameSelector:
    """Selects pictures of a live source: `fps` a second on average, without catching up after a gap.

    A picture may come half a period early. Otherwise a camera with exactly this rate, and some jitter, would lose every
    other picture.
    """

    def __init__(self, fps: float) -> None:
        self._period_s = 1.0 / fps if fps > 0 else 0.0
        self._due_s = -math.inf

    def wants(self, now_s: float) -> bool:
        """Whether the picture that comes now is selected."""
        if now_s < self._due_s - self._period_s / 2:
            return False
        is_late = now_s >= self._due_s + self._period_s
        self._due_s = (now_s if is_late else self._due_s) + self._period_s
        return True

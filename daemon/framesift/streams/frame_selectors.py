"""Frame selectors: which pictures of a source are used when a stream limits its rate with `fps`."""

from __future__ import annotations

import math


class FileFrameSelector:
    """Selects the pictures of a file for a rate of `fps`, by their index alone: a second run selects the same ones.

    Picture i lies i / file_fps seconds into the file. The first picture of each period of 1 / fps seconds is selected.
    """

    def __init__(self, fps: float, file_fps: float) -> None:
        self._ratio = min(1.0, fps / file_fps) if fps > 0 else 1.0

    def wants(self, index: int) -> bool:
        """Whether the picture with this index (from 0) is selected."""
        if index == 0 or self._ratio >= 1.0:
            return True
        # 1e-9 allows for the rounding of the ratio, which could move a picture into the next period.
        return math.floor(index * self._ratio + 1e-9) > math.floor((index - 1) * self._ratio + 1e-9)


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

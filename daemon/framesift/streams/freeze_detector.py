"""Stillness: since when a source has shown exactly the same picture.

A camera that hangs may go on sending its last picture for ever. A real scene, even an empty one at night, changes by a
little noise; so only exact equality counts.
"""

from __future__ import annotations

import numpy as np

from framesift.frame import Pixels

_EVERY = (
    16  # rows and columns of the sample that tells nearly all different pictures apart, for a hundredth of the cost
)


class FreezeDetector:
    def __init__(self) -> None:
        self._sample: Pixels | None = None
        self._whole: Pixels | None = None
        self._since_s = 0.0

    def unchanged_s(self, pixels: Pixels, now_s: float) -> float:
        """Seconds for which this picture, shape (height, width, 3), has been shown; 0 if it differs from the last."""
        sample = pixels[::_EVERY, ::_EVERY]
        if self._sample is None or not np.array_equal(self._sample, sample):
            self._sample = sample.copy()
            self._since_s = now_s
        elif self._whole is None or not np.array_equal(self._whole, pixels):
            self._whole = pixels.copy()
            self._since_s = now_s
        return max(0.0, now_s - self._since_s)

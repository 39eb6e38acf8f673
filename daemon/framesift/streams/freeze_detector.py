"""FreezeDetector: measures for how long a source has shown exactly the same picture.

A camera that hangs may send its last picture for ever. A real scene, even an empty one at night, changes by a little
noise; so only exact equality counts.
"""

from __future__ import annotations

import numpy as np

from framesift.frame import Pixels

# Every 16th row and column: this sample differs for nearly all different pictures, at a hundredth of the cost.
_SAMPLE_STEP = 16


class FreezeDetector:
    """Compares each picture with the one before. For one thread."""

    def __init__(self) -> None:
        self._sample: Pixels | None = None
        self._full: Pixels | None = None
        self._since_s = 0.0

    def unchanged_s(self, pixels: Pixels, now_s: float) -> float:
        """Seconds for which this picture, shape (height, width, 3), has been shown; 0 if it differs from the last."""
        sample = pixels[::_SAMPLE_STEP, ::_SAMPLE_STEP]
        if self._sample is None or not np.array_equal(self._sample, sample):
            self._sample = sample.copy()
            self._since_s = now_s
        elif self._full is None or not np.array_equal(self._full, pixels):
            self._full = pixels.copy()
            self._since_s = now_s
        return max(0.0, now_s - self._since_s)

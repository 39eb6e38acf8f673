"""FreezeDetector: tells whether a live source shows the same picture for ever, as a camera that hangs does.

Exact equality is not enough: a camera whose sensor hangs encodes the same picture again and again, and the encoder
makes it differ by 0.005 to 0.03 of 255; its clock, drawn by software, still ticks in a few blocks. A real scene, even
an empty one at night, has the noise of its sensor in many blocks, and what an encoder makes of it.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from framesift.frame import Pixels

FROZEN_AFTER_S = 55.0  # with the time until somebody looks, a frozen camera is known within a minute

_ROWS, _COLUMNS = 12, 16
_SAMPLED_PIXELS = 57_600  # 320 x 180: so many of a picture are looked at, whatever its size
_COMPARE_EVERY_S = 0.5
_STILL_BLOCKS = 0.95
_LEARN_S = 600.0
_LEARN_QUARTILE = 0.25
_NOISE_SHARE = 0.25
# A picture is still if 95 % of its blocks differ by less than this, of 255, ...
_STILL_BELOW = 0.03
# ... or, where the noise of the stream is known, by less than this at most: rain that ends is less movement too.
_STILL_BELOW_AT_MOST = 0.1
_OTHER_SCENE = 8.0  # by which half of the blocks differ when the light is switched, or the camera is turned
_MOVES_AFTER = 2  # comparisons in a row, since one may be torn

_Blocks = NDArray[np.float64]


class FreezeDetector:
    """Compares the pictures of one source, twice a second, with the first one of those that look the same.

    Two pictures look the same if the means of 95 % of their 16 x 12 blocks differ by less than a quarter of what they
    differ by as a rule, within bounds. For one thread. is_frozen: the answer to the latest picture.
    """

    def __init__(self) -> None:
        self.is_frozen = False
        self._noise = _Noise()
        self._first: _Blocks | None = None  # of the pictures that look the same
        self._size = (0, 0)
        self._since_s = 0.0
        self._compared_s = float("-inf")
        self._still: list[float] = []  # differences of the pictures that look the same: noise, unless it is frozen
        self._moved = 0

    def update(self, pixels: Pixels, now_s: float) -> bool:
        """Take the next picture, uint8 of shape (height, width, 3), and return whether the source is frozen.

        Once it is, it stays so until pictures differ from the one that stands still. now_s: of the monotonic clock.
        """
        if now_s - self._compared_s < _COMPARE_EVERY_S:
            return self.is_frozen
        self._compared_s = now_s
        blocks = _block_means(pixels)
        size = pixels.shape[:2]
        if self._first is None or self._size != size:
            self._size = size
            self._noise.forget()
            self._begin(blocks, now_s)
            return False
        differences = np.sort(np.abs(blocks - self._first))
        difference = float(differences[int(_STILL_BLOCKS * len(differences))])
        if self._is_still(difference, now_s):
            self._moved = 0
            self.is_frozen = self.is_frozen or now_s - self._since_s >= FROZEN_AFTER_S
            self._still = [] if self.is_frozen else [*self._still, difference]
        elif self.is_frozen and self._moved + 1 < _MOVES_AFTER:
            self._moved += 1
        else:
            if differences[len(differences) // 2] >= _OTHER_SCENE:
                self._noise.forget()
            else:
                self._noise.add([*self._still, difference], now_s)
            self._begin(blocks, now_s)
        return self.is_frozen

    def source_lost(self) -> None:
        """There are no pictures for a while. How still the source is meanwhile is unknown; a frozen one stays so."""
        self._compared_s = float("-inf")
        self._moved = _MOVES_AFTER - 1  # the first picture that differs will do, whatever came before
        if not self.is_frozen:
            self._first = None

    def _begin(self, blocks: _Blocks, now_s: float) -> None:
        self._first = blocks
        self._since_s = now_s
        self._still = []
        self._moved = 0
        self.is_frozen = False

    def _is_still(self, difference: float, now_s: float) -> bool:
        if not _STILL_BELOW <= difference < _STILL_BELOW_AT_MOST:
            return difference < _STILL_BELOW
        return difference < self._noise.level(now_s) * _NOISE_SHARE  # asked only where the answer depends on it


class _Noise:
    """What a source differs by as a rule: the lower quartile of ten minutes, so that no movement counts."""

    def __init__(self) -> None:
        self._differences: deque[tuple[float, float]] = deque()  # when, and by how much
        self._since_s: float | None = None

    def add(self, differences: list[float], now_s: float) -> None:
        """Add what was seen until now."""
        if self._since_s is None:
            self._since_s = now_s
        self._differences.extend((now_s, difference) for difference in differences)
        while self._differences[0][0] < now_s - _LEARN_S:
            self._differences.popleft()

    def forget(self) -> None:
        """The source shows something else."""
        self._differences.clear()
        self._since_s = None

    def level(self, now_s: float) -> float:
        """The noise, of 255; 0 before it has been learnt for ten minutes."""
        if self._since_s is None or now_s - self._since_s < _LEARN_S:
            return 0.0
        return float(np.quantile([difference for _, difference in self._differences], _LEARN_QUARTILE))


def _block_means(pixels: Pixels) -> _Blocks:
    """The mean green of each block, by every n-th pixel and row. What is left at the edges belongs to no block."""
    height, width = pixels.shape[:2]
    step = max(1, round((height * width / _SAMPLED_PIXELS) ** 0.5))
    sample = np.ascontiguousarray(pixels[::step, ::step, 1])
    rows, columns = max(1, sample.shape[0] // _ROWS), max(1, sample.shape[1] // _COLUMNS)
    corners = cv2.integral(sample)[::rows, ::columns]
    means: _Blocks = np.diff(np.diff(corners, axis=0), axis=1) / (rows * columns)
    return means.ravel()

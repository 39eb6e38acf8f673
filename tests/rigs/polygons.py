"""Which pixels a polygon covers, by both rules that readers of labels use."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def covered(corners: ArrayLike, height: int, width: int) -> NDArray[np.bool_]:
    """The pixels whose centres are inside a polygon of corners x, y in pixels, shape (n, 2).

    Asserts that the even-odd rule and the nonzero rule agree."""
    points = np.asarray(corners, np.float64)
    # Beside the very middle, which an edge may run through.
    x, y = np.arange(width) + 0.5 + 1e-7, np.arange(height) + 0.5 + 1e-7
    turns = np.zeros((height, width), np.int64)
    odd = np.zeros((height, width), bool)
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0), strict=True):
        rows = np.flatnonzero((y >= min(y1, y2)) & (y < max(y1, y2)))
        if rows.size:
            left = (x1 + (y[rows] - y1) * (x2 - x1) / (y2 - y1))[:, None] > x[None]
            odd[rows] ^= left
            turns[rows] += np.where(left, 1 if y2 > y1 else -1, 0)
    assert (odd == (turns != 0)).all(), "the rules differ"
    return odd


def iou(one: NDArray[np.bool_ | np.uint8], other: NDArray[np.bool_ | np.uint8]) -> float:
    """Of two masks, where anything but 0 counts."""
    one, other = one != 0, other != 0
    return float((one & other).sum() / (one | other).sum())

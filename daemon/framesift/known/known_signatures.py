"""KnownSignatures: many signatures, and a quick answer to whether one of them is near another one.

The distance of two signatures is their mean absolute difference over 192 cells. That of their means over blocks of
cells is never larger, so it rules out most of them: first 1 block, then 12 blocks of 4 x 4 cells. What is left is
compared cell by cell, the most promising first, since one is enough.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from framesift.strategies.near_duplicate import HEIGHT, WIDTH, Signature

_BLOCK = 4
_AT_ONCE = 64
# The means of blocks are rounded; a signature's steps are larger than this.
_ROUNDING = np.float32(1e-5)


class KnownSignatures:
    """Any number of signatures, which never change. Thread-safe."""

    def __init__(self, signatures: NDArray[np.float32]) -> None:
        """signatures: of shape (n, 192)."""
        means = signatures.mean(axis=1)
        order = np.argsort(means)
        self._means = means[order]
        self._signatures = signatures[order]
        self._blocks = _block_means(self._signatures)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._signatures)

    def similar_distance(self, new: Signature, threshold: float) -> float | None:
        """The distance of one that lies within `threshold` of `new`, perhaps not the nearest; None if none does."""
        limit = np.float32(threshold) + _ROUNDING
        mean = new.mean()
        first = int(self._means.searchsorted(mean - limit, "left"))
        last = int(self._means.searchsorted(mean + limit, "right"))
        bounds = np.abs(self._blocks[:, first:last] - _block_means(new[np.newaxis])).sum(axis=0)
        left = np.flatnonzero(bounds <= limit * len(self._blocks))
        if len(left) > _AT_ONCE:
            left = left[np.argpartition(bounds[left], _AT_ONCE)]
        for start in range(0, len(left), _AT_ONCE):
            some = self._signatures[first + left[start : start + _AT_ONCE]]
            nearest = np.abs(some - new).mean(axis=1).min()
            if nearest <= threshold:
                return float(nearest)
        return None


def _block_means(signatures: NDArray[np.float32]) -> NDArray[np.float32]:
    """The means of blocks of cells: shape (12, n)."""
    count, down, across = len(signatures), HEIGHT // _BLOCK, WIDTH // _BLOCK
    means = signatures.reshape(count, down, _BLOCK, across, _BLOCK).mean(axis=(2, 4), dtype=np.float32)
    return np.ascontiguousarray(means.reshape(count, down * across).T)

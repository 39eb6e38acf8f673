"""Outlines of masks: polygons along the edges of their pixels.

Of an object in several pieces the largest is outlined: an outline is one polygon, and it has no holes.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# A polygon within a pixel of the edge is as good as the edge, with a tenth of its corners.
_ERROR_PX = 1.0
# A mask of noise has no outline worth more corners than this.
MOST_CORNERS = 1000


def outline(mask: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """The outline of the largest piece of a mask of shape (height, width), as corners x, y, shape (n, 2), n at least 3,
    in its pixels: one pixel alone is a square from (0, 0) to (1, 1). None where the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    top, left = int(rows[0]), int(columns[0])
    part = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    # Contours run through the middles of pixels. On a grid twice as fine, where a pixel covers its corners too, they
    # run along its edges.
    fine = np.zeros((2 * part.shape[0] + 1, 2 * part.shape[1] + 1), np.uint8)
    fine[1::2, 1::2] = part
    found, _ = cv2.findContours(cv2.dilate(fine, np.ones((3, 3), np.uint8)), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest = max(found, key=cv2.contourArea)
    error = 2 * _ERROR_PX
    corners = cv2.approxPolyDP(largest, error, True)
    while len(corners) > MOST_CORNERS:
        error *= 2
        corners = cv2.approxPolyDP(largest, error, True)
    if len(corners) < 3:
        corners = largest
    there: NDArray[np.float64] = np.asarray(corners, np.float64).reshape(-1, 2) / 2 + (left, top)
    return there


def outline_of_logits(
    logits: NDArray[np.floating], box: NDArray[np.float64], height: int, width: int
) -> NDArray[np.float64] | None:
    """The outline of the largest piece, inside `box`, of where `logits` are above 0.

    logits: shape (h, w), finite or not, spread over a picture of `height` x `width` pixels. box: x1, y1, x2, y2 in
    that picture's pixels, finite. Returns corners in the same pixels, shape (n, 2), or None where nothing is inside.
    """
    # A pixel belongs to the box where its middle does.
    left, top, right, bottom = np.clip(np.ceil(box - 0.5), 0, (width, height, width, height)).astype(int).tolist()
    if right <= left or bottom <= top:
        return None
    down, across = logits.shape[0] / height, logits.shape[1] / width
    # From a pixel's middle to its place among the middles of the logits.
    way = np.array([[across, 0.0, (left + 0.5) * across - 0.5], [0.0, down, (top + 0.5) * down - 0.5]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    spread = cv2.warpAffine(
        np.ascontiguousarray(logits, np.float32),
        way,
        (right - left, bottom - top),
        flags=how,
        borderMode=cv2.BORDER_REPLICATE,
    )
    corners = outline(np.asarray(spread) > 0)
    return None if corners is None else corners + np.array((left, top))

"""Polygons of masks that networks give as logits, on a grid coarser than the picture's."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from framesift.prediction import masks


def polygon_of_logits(
    logits: NDArray[np.floating], box: NDArray[np.float64], height: int, width: int
) -> NDArray[np.float64] | None:
    """The polygon (see `masks.polygon`) around where `logits` are above 0 inside `box`.

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
    # What is no number is nowhere; what OpenCV makes of it is another with every version.
    corners = masks.mask_to_polygon((np.asarray(spread) > 0) & np.isfinite(spread))
    return None if corners is None else corners + np.array((left, top))

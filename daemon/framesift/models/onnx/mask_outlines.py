"""Polygons of masks that a network gives as logits, on a grid coarser than the picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from framesift.prediction import masks


def polygon_of_logits(
    logits: NDArray[np.floating], box: NDArray[np.float64], height: int, width: int
) -> NDArray[np.float64] | None:
    """The polygon (see `masks.mask_to_polygon`) around the logits above 0 inside `box`.

    logits: shape (h, w), finite or not, spread over a picture of `height` x `width` pixels. box: x1, y1, x2, y2 in
    pixels of that picture, finite. Returns corners in the same pixels, shape (n, 2), or None if nothing is inside.
    """
    # A pixel belongs to the box if its middle does.
    left, top, right, bottom = np.clip(np.ceil(box - 0.5), 0, (width, height, width, height)).astype(int).tolist()
    if right <= left or bottom <= top:
        return None
    rows_per_pixel, columns_per_pixel = logits.shape[0] / height, logits.shape[1] / width
    # Maps the middle of a pixel to its position among the middles of the logits.
    transform = np.array(
        [
            [columns_per_pixel, 0.0, (left + 0.5) * columns_per_pixel - 0.5],
            [0.0, rows_per_pixel, (top + 0.5) * rows_per_pixel - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    enlarged = cv2.warpAffine(
        np.ascontiguousarray(logits, np.float32),
        transform,
        (right - left, bottom - top),
        flags=flags,
        borderMode=cv2.BORDER_REPLICATE,
    )
    # Values that are not finite are outside; what OpenCV makes of them differs between versions.
    corners = masks.mask_to_polygon((np.asarray(enlarged) > 0) & np.isfinite(enlarged))
    return None if corners is None else corners + np.array((left, top))

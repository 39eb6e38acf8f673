"""Figures in one saturated colour over a busy grey background, and whether anything of that colour is left."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from framesift.frame import Pixels

# Magenta: no grey has any of it, however coarsely it is encoded.
FIGURE_BGR = (255, 0, 255)
# How much less green than blue and red a pixel has that shows some of the colour; an encoder leaves up to 6 on grey.
_VISIBLE = 14

Box = tuple[float, float, float, float]


def background(width: int, height: int, seed: int = 0) -> Pixels:
    """Grey noise and stripes. BGR, uint8."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 120, (height, width), np.uint8)
    stripes = ((np.arange(width) // 5 % 2) * 90).astype(np.uint8)
    return np.repeat((noise + stripes)[:, :, np.newaxis], 3, axis=2)


def draw(pixels: Pixels, boxes: Iterable[Box]) -> Pixels:
    """Draws a figure into each box (left, top, right and bottom in pixels), in every pixel that the box touches."""
    for left, top, right, bottom in boxes:
        first, last = np.floor((left, top)).astype(int), np.ceil((right, bottom)).astype(int)
        (x1, y1), (x2, y2) = np.maximum(first, 0), np.maximum(last, 0)
        pixels[y1:y2, x1:x2] = FIGURE_BGR
    return pixels


def coloured_pixels(pixels: Pixels) -> int:
    """How many pixels show something of the figures' colour."""
    blue, green, red = (pixels[:, :, channel].astype(np.int16) for channel in range(3))
    return int((np.minimum(blue, red) - green > _VISIBLE).sum())


def as_jpeg(pixels: Pixels, quality: int) -> Pixels:
    """What a JPEG shows whose colours have a quarter of the picture's resolution, as a camera's have."""
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)
    parameters = [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling]
    _, content = cv2.imencode(".jpg", pixels, parameters)
    shown: Pixels = cv2.imdecode(content, cv2.IMREAD_COLOR)  # type: ignore[assignment]
    return shown

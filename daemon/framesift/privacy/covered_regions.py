"""CoveredRegions: a mask of rectangles and polygons. What it covers can't be worked out from the picture again.

A rectangle becomes a few grey cells, each the mean of its part of the picture: at most MAX_CELLS along the longer side,
and never smaller than MIN_CELL_PX. They are shown as they are, or as a smooth transition from one to the next, which
holds no more than they do. Colours go, since clothes tell who somebody is.

Rectangles are widened by MIN_MARGIN_PX at least. JPEG and video store colours for blocks of up to 16 x 16 pixels, and a
coarse encoder smears what is in a block over all of it: beside an object, its colour can be that far away.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from framesift.frame import Pixels
from framesift.pictures.outgoing import Unmasked
from framesift.privacy.privacy_settings import CoverStyle

MAX_CELLS = 8
MIN_CELL_PX = 4
MIN_MARGIN_PX = 18  # a block, and what a decoder's interpolation takes from the next one

Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class CoveredRegions:
    """A PictureMask: see there. It suits a picture at any scale.

    rectangles: x1, y1, x2, y2, and polygons: corners x, y, as parts of width and height; all polygons are black.
    margin: part of a rectangle's size by which it is widened on each side. frame_size: (width, height) of the frame for
    which they were found, in pixels. Raises Unmasked if a number is not finite, or a rectangle is turned inside out.
    """

    rectangles: tuple[Rectangle, ...]
    polygons: tuple[tuple[tuple[float, float], ...], ...]
    style: CoverStyle
    margin: float
    frame_size: tuple[int, int]

    def __post_init__(self) -> None:
        """See the class."""
        numbers = chain(chain.from_iterable(self.rectangles), chain.from_iterable(chain.from_iterable(self.polygons)))
        if not all(map(math.isfinite, numbers)):
            raise Unmasked("an object is at a place that is no number")
        if any(x2 < x1 or y2 < y1 for x1, y1, x2, y2 in self.rectangles):
            raise Unmasked("an object has a negative size")

    @property
    def is_empty(self) -> bool:
        """See PictureMask."""
        return not self.rectangles and not self.polygons

    def apply(self, pixels: Pixels) -> Pixels:
        """See PictureMask."""
        covered: Pixels = pixels.copy()
        inside = self._inside_polygons(pixels.shape[1], pixels.shape[0]) if self.polygons else None
        if inside is not None:
            covered[inside] = 0  # before anything of it gets into a cell
        # One after the other, on what is covered already: where several overlap, each has had its effect.
        for left, top, right, bottom in self._places(pixels.shape[1], pixels.shape[0]):
            region = covered[top:bottom, left:right]
            region[:] = _covered(region, self.style)
        if inside is not None:
            covered[inside] = 0
        return covered

    def _places(self, width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
        """Left, top, right and bottom of each rectangle, in whole pixels of a picture of that size."""
        for x1, y1, x2, y2 in self.rectangles:
            left, right = _place(x1, x2, width, self.frame_size[0], self.margin)
            top, bottom = _place(y1, y2, height, self.frame_size[1], self.margin)
            if left < right and top < bottom:
                yield left, top, right, bottom

    def _inside_polygons(self, width: int, height: int) -> NDArray[np.bool_]:
        """Which pixels any polygon touches: shape (height, width)."""
        inside: Any = np.zeros((height, width), np.uint8)
        for polygon in self.polygons:
            parts = np.clip(np.array(polygon, np.float64), 0.0, 1.0)
            corners = np.minimum(np.floor(parts * (width, height)), (width - 1, height - 1)).astype(np.int32)
            filled: Any = np.zeros((height, width), np.uint8)
            cv2.fillPoly(filled, [corners], (1,))
            # Where its outline crosses itself there would be holes.
            outlines, _ = cv2.findContours(filled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(inside, outlines, -1, (1,), cv2.FILLED)
        touched: NDArray[np.bool_] = cv2.dilate(inside, np.ones((3, 3), np.uint8)) > 0
        return touched


def _place(start: float, end: float, side: int, frame_side: int, margin: float) -> tuple[int, int]:
    """From and to which pixel of a side a rectangle is covered. start, end: as parts of the side."""
    start, end = min(max(start, -1.0), 2.0), min(max(end, -1.0), 2.0)
    widened = max(margin * (end - start) * side, MIN_MARGIN_PX * side / max(side, frame_side))
    # One pixel more: to scale a picture down mixes neighbours.
    first, last = math.floor(start * side - widened) - 1, math.ceil(end * side + widened) + 1
    return max(0, first), min(side, last)


def _covered(region: Pixels, style: CoverStyle) -> Any:
    """What a region shows instead: its shape, or a value for all of it."""
    if style == "black":
        return 0
    height, width = region.shape[:2]
    longer = max(width, height)
    cells = max(1, min(MAX_CELLS, longer // MIN_CELL_PX))
    columns, rows = (max(1, round(cells * side / longer)) for side in (width, height))
    means = cv2.cvtColor(cv2.resize(region, (columns, rows), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    shown_as = cv2.INTER_NEAREST if style == "pixelate" else cv2.INTER_LINEAR
    return cv2.resize(means, (width, height), interpolation=shown_as)[:, :, np.newaxis]

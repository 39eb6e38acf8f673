"""Orientation: how a picture has to be turned and mirrored so that it stands upright."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MATRIX = struct.Struct("=9i")


@dataclass(frozen=True, slots=True)
class Orientation:
    """What is done to a picture, in this order: rows become columns (swapped), then both axes may be reversed."""

    swapped: bool = False
    upside_down: bool = False
    mirrored: bool = False

    @classmethod
    def of_matrix(cls, display_matrix: bytes) -> Orientation:
        """Return what a display matrix asks for, to the nearest quarter turn.

        display_matrix: nine 32-bit integers in the machine's byte order, as FFmpeg gives them (libavutil/display.h): a
        point (x, y) of the picture is shown at (a x + c y, b x + d y), with a, b, c, d at 0, 1, 3, 4.
        """
        if len(display_matrix) < _MATRIX.size:
            return cls()
        a, b, _, c, d, *_ = _MATRIX.unpack_from(display_matrix)
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, d < 0, a < 0)
        return cls(True, b < 0, c < 0)

    def turned(self, clockwise_degrees: int) -> Orientation:
        """Return this orientation followed by a turn of 0, 90, 180 or 270 degrees."""
        turned = self
        for _ in range(clockwise_degrees % 360 // 90):
            # A quarter turn: rows become columns, then left and right change places.
            turned = Orientation(not turned.swapped, turned.mirrored, not turned.upside_down)
        return turned

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a view of the pixels, of shape (height, width, 3), upright."""
        if self.swapped:
            pixels = pixels.transpose(1, 0, 2)
        return pixels[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]

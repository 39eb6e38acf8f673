"""How a picture is to be turned, from its EXIF: one number, read without decoding anything."""

from __future__ import annotations

import cv2
import numpy as np

from framesift.frame import Pixels

UPRIGHT = 1
UNKNOWN = 0
_ORIENTATION, _SHORT = 0x0112, 3
_ENTRY_BYTES = 12


def read_orientation(segment: bytes) -> int:
    """Return 1 to 8, or UNKNOWN where it is not told in the one way that all programs read alike.

    segment: the data of a JPEG's APP1. One that is no EXIF, or does not tell it, means UPRIGHT. UNKNOWN: EXIF that is
    cut or contradicts itself.
    """
    tiff = segment[6:]
    if tiff[:2] not in (b"II", b"MM"):  # decoders look at these two letters, whatever the six bytes before them say
        return UPRIGHT
    order = "little" if tiff[:2] == b"II" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(tiff[at : at + size], order)  # type: ignore[arg-type]  # "little" or "big"

    first = number(4, 4)
    if len(tiff) < 8 or number(2, 2) != 42 or not 8 <= first <= len(tiff) - 2:
        return UNKNOWN
    count = number(first, 2)
    if first + 2 + count * _ENTRY_BYTES > len(tiff):
        return UNKNOWN
    found = UPRIGHT
    is_found = False
    for entry in range(first + 2, first + 2 + count * _ENTRY_BYTES, _ENTRY_BYTES):
        if number(entry, 2) == _ORIENTATION:
            is_short = number(entry + 2, 2) == _SHORT and number(entry + 4, 4) == 1
            if is_found or not is_short or not 1 <= number(entry + 8, 2) <= 8:
                return UNKNOWN
            found, is_found = number(entry + 8, 2), True
    return found


def swaps_sides(orientation: int) -> bool:
    """Whether width and height change their places."""
    return orientation >= 5


def turn(pixels: Pixels, orientation: int) -> Pixels:
    """Return the pixels, shape (height, width, 3), as they are to be seen. orientation: 1 to 8."""
    turned = cv2.transpose(pixels) if swaps_sides(orientation) else pixels
    flips = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}
    if orientation in flips:
        turned = cv2.flip(turned, flips[orientation])
    return np.asarray(turned, np.uint8)

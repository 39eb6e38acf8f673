"""Run-length masks as COCO spells them: columns first, runs of zeros and ones in turn, packed as text."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# No camera's picture has more pixels, and a mask that claims more must not be unpacked.
MOST_PIXELS = 2**28
_MOST_BITS = 30


@dataclass(frozen=True, slots=True)
class Rle:
    """A binary mask of `height` x `width` pixels. counts: COCO's compressed string."""

    height: int
    width: int
    counts: str


def unpacked(counts: str) -> list[int]:
    """The run lengths in a COCO string: 5 bits a character, the 6th says that more follow, from the 4th run on as a
    difference to the run two places before. Raises ValueError where the string ends inside a number."""
    runs: list[int] = []
    position = 0
    while position < len(counts):
        value = shift = 0
        while True:
            if position == len(counts):
                raise ValueError("the mask's counts end inside a number")
            code = ord(counts[position]) - 48
            if not 0 <= code < 64:
                raise ValueError(f"the mask's counts hold the character {counts[position]!r}")
            if shift > _MOST_BITS:
                raise ValueError("the mask's counts hold a number that no picture has pixels for")
            position += 1
            value |= (code & 31) << shift
            shift += 5
            if not code & 32:
                if code & 16:
                    value -= 1 << shift
                break
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs


def packed(runs: list[int]) -> str:
    """The inverse of `unpacked`."""
    letters: list[str] = []
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        while True:
            code = value & 31
            value >>= 5
            more = value != (-1 if code & 16 else 0)
            letters.append(chr((code | (32 if more else 0)) + 48))
            if not more:
                break
    return "".join(letters)


def to_mask(rle: Rle) -> NDArray[np.uint8]:
    """The mask as 0 and 1, shape (height, width). Raises ValueError where the runs don't fill it exactly."""
    return _from_runs(unpacked(rle.counts), rle.height, rle.width)


def _from_runs(runs: list[int], height: int, width: int) -> NDArray[np.uint8]:
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"the mask's runs add up to {sum(runs)}, not to {height} x {width}")
    values = np.zeros(len(runs), np.uint8)
    values[1::2] = 1
    mask: NDArray[np.uint8] = np.repeat(values, runs).reshape((width, height)).T
    return mask


def from_mask(mask: NDArray[np.uint8]) -> Rle:
    """Packs a mask of shape (height, width); whatever is not 0 counts as 1."""
    height, width = mask.shape
    flat = (mask.T != 0).ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate(([0], edges, [flat.size]))
    runs = np.diff(bounds).tolist()
    if flat.size and flat[0]:
        runs.insert(0, 0)
    return Rle(height, width, packed(runs))


def parsed(size: tuple[int, int], counts: str | list[int]) -> Rle:
    """An Rle from its wire form (size: height, width; counts packed or plain). Raises ValueError if it is broken."""
    height, width = size
    if height * width > MOST_PIXELS:
        raise ValueError(f"a mask of {height} x {width} is larger than any camera's picture")
    runs = unpacked(counts) if isinstance(counts, str) else counts
    if height < 1 or width < 1 or min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"the mask's runs do not fill {height} x {width}")
    return Rle(height, width, packed(runs))


def resized(rle: Rle, height: int, width: int) -> Rle:
    """The mask for the picture at another size, nearest pixel."""
    if (height, width) == (rle.height, rle.width):
        return rle
    mask = cv2.resize(np.ascontiguousarray(to_mask(rle)), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return from_mask(np.asarray(mask, np.uint8))

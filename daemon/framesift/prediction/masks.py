"""Masks: run lengths as COCO spells them (columns first, runs of zeros and ones in turn, packed as text), and polygons.

A polygon runs along the edges of the mask's pixels. One polygon stands for the whole mask, as labels of one polygon per
object want it: pieces and holes are joined to it by bridges of no width, there and back, so that it encloses the mask's
area by the even-odd rule and by the nonzero rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# No camera's picture has more pixels, and a mask that claims more must not be unpacked.
MAX_PIXELS = 2**28
_MOST_BITS = 30
# Of a polygon, whatever the mask.
MAX_CORNERS = 1000
# The smallest pieces and holes, which together are less than this share of the mask, are noise; and so is what is more
# than so many.
_NOISE = 0.01
_MOST_CONTOURS = 64
# The edges of a mask that is no noise are not as long, in pixels; and a picture of a video not as large.
_LONGEST_EDGES = 100_000
_LARGEST = 2**24
# How far a polygon may leave the pixels' edges: no farther than a pixel, and than this share of the mask's thickness.
_ERROR_PX = 1.0
_ERROR_OF_THICKNESS = 1 / 16

Corners = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rle:
    """A binary mask of `height` x `width` pixels. counts: COCO's compressed string."""

    height: int
    width: int
    counts: str


def decode_counts(counts: str) -> list[int]:
    """The run lengths in a COCO string: 5 bits a character, the 6th says that more follow, from the 4th run on as a
    difference to the run two places before. Raises ValueError where the string ends inside a number.
    """
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


def encode_counts(runs: list[int]) -> str:
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


def decode_mask(rle: Rle) -> NDArray[np.uint8]:
    """The mask as 0 and 1, shape (height, width). Raises ValueError where the runs don't fill it exactly."""
    return _from_runs(decode_counts(rle.counts), rle.height, rle.width)


def _from_runs(runs: list[int], height: int, width: int) -> NDArray[np.uint8]:
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"the mask's runs add up to {sum(runs)}, not to {height} x {width}")
    values = np.zeros(len(runs), np.uint8)
    values[1::2] = 1
    mask: NDArray[np.uint8] = np.repeat(values, runs).reshape((width, height)).T
    return mask


def encode_mask(mask: NDArray[np.uint8]) -> Rle:
    """Packs a mask of shape (height, width); whatever is not 0 counts as 1."""
    height, width = mask.shape
    flat = (mask.T != 0).ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate(([0], edges, [flat.size]))
    runs = np.diff(bounds).tolist()
    if flat.size and flat[0]:
        runs.insert(0, 0)
    return Rle(height, width, encode_counts(runs))


def parse_rle(size: tuple[int, int], counts: str | list[int]) -> Rle:
    """An Rle from its wire form (size: height, width; counts packed or plain). Raises ValueError if it is broken."""
    height, width = size
    if height * width > MAX_PIXELS:
        raise ValueError(f"a mask of {height} x {width} is larger than any camera's picture")
    runs = decode_counts(counts) if isinstance(counts, str) else counts
    if height < 1 or width < 1 or min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"the mask's runs do not fill {height} x {width}")
    return Rle(height, width, encode_counts(runs))


def resize_rle(rle: Rle, height: int, width: int) -> Rle:
    """The mask for the picture at another size, nearest pixel."""
    if (height, width) == (rle.height, rle.width):
        return rle
    mask = cv2.resize(np.ascontiguousarray(decode_mask(rle)), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return encode_mask(np.asarray(mask, np.uint8))


def mask_to_polygon(mask: NDArray[np.bool_] | NDArray[np.uint8]) -> Corners | None:
    """One polygon around all that is not 0 in a mask of shape (height, width).

    Returns its corners x, y, shape (n, 2), n from 3 to MOST_CORNERS, in pixels: the first pixel of the first row is the
    square from (0, 0) to (1, 1). None where the mask is empty.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    top, left = int(rows[0]), int(columns[0])
    part = mask[top : rows[-1] + 1, left : columns[-1] + 1] != 0
    height, width = part.shape
    # What is larger is seen from farther away, so that it takes neither memory nor time.
    while part.size > _LARGEST or _edges(part) > _LONGEST_EDGES:
        part = np.maximum.reduceat(part, np.arange(0, part.shape[0], 2), axis=0)
        part = np.maximum.reduceat(part, np.arange(0, part.shape[1], 2), axis=1)
    contours = _contours(part)
    # A bridge takes two corners more.
    room = MAX_CORNERS - 2 * (len(contours) - 1)
    coarser = 1.0
    parts = [_simplified(contour, coarser) for contour in contours]
    while sum(map(len, parts)) > room:
        coarser *= 2
        parts = [_simplified(contour, coarser) for contour in contours]
    # What has fallen to a line was small beside the rest; the rest of it all is a rectangle.
    parts = [part for part in parts if len(part) >= 3] or [_rectangle(contours[0])]
    scale = np.array((width / part.shape[1], height / part.shape[0]))
    corners: Corners = _joined(parts) * scale + np.array((left, top))
    return corners


def _edges(mask: NDArray[np.bool_]) -> int:
    """How long the edges inside a mask are, in pixels."""
    return int(np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1]))


def _contours(mask: NDArray[np.bool_]) -> list[Corners]:
    """The edges of the pieces of a mask and, the other way round, of their holes, largest first, without the noise."""
    # OpenCV's contours run through the middles of pixels. On a grid twice as fine, where a pixel covers its corners
    # too, they run along its edges; these are where a number is even.
    fine = np.zeros((2 * mask.shape[0] + 1, 2 * mask.shape[1] + 1), np.uint8)
    fine[1::2, 1::2] = mask
    fine = np.asarray(cv2.dilate(fine, np.ones((3, 3), np.uint8)), np.uint8)
    found, _ = cv2.findContours(fine, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    areas = np.array([cv2.contourArea(contour) for contour in found]) / 4
    order = np.argsort(-areas, kind="stable")  # a piece is larger than its holes: they never come without it
    left_out = np.cumsum(areas[order][::-1])[::-1]
    wanted = max(1, int((left_out >= _NOISE * np.count_nonzero(mask)).sum()))
    return [_squared(np.asarray(found[i], np.int64).reshape(-1, 2)) for i in order[: min(wanted, _MOST_CONTOURS)]]


def _squared(contour: NDArray[np.int64]) -> Corners:
    """A contour of the fine grid as corners in pixels, with the inner ones that OpenCV cuts off by a diagonal step."""
    after = np.roll(contour, -1, axis=0)
    # Between two middles of edges, one of them upright and one level, lies the corner: where both numbers are even.
    upright = contour[:, 1] % 2 == 1
    between = np.where(
        upright[:, None], np.stack((contour[:, 0], after[:, 1]), 1), np.stack((after[:, 0], contour[:, 1]), 1)
    )
    diagonal = (contour != after).all(axis=1)
    path = np.stack((contour, between), 1).reshape(-1, 2)
    kept = np.stack(((contour % 2 == 0).all(axis=1), diagonal), 1).ravel()
    corners: Corners = path[kept] / 2
    return corners


def _simplified(contour: Corners, coarser: float) -> Corners:
    """With fewer corners. coarser: how many times the error is what it may be."""
    points = contour.astype(np.float32)
    thickness = 2 * cv2.contourArea(points) / cv2.arcLength(points, True)
    error = min(_ERROR_PX, _ERROR_OF_THICKNESS * thickness) * coarser
    return np.asarray(cv2.approxPolyDP(points, error, True), np.float64).reshape(-1, 2)


def _rectangle(contour: Corners) -> Corners:
    (x1, y1), (x2, y2) = contour.min(axis=0), contour.max(axis=0)
    return np.array([(x1, y1), (x1, y2), (x2, y2), (x2, y1)])


def _joined(parts: list[Corners]) -> Corners:
    """One polygon of all: again and again the part that is nearest to it is tied to it, corner to corner."""
    whole, *others = parts
    # Of each corner of each other part: how far it is from the polygon, squared, and from which of its corners.
    reach = [_nearest(part, whole) for part in others]
    while others:
        part_at = int(np.argmin([apart.min() for apart, _ in reach]))
        part, (apart, nearest) = others.pop(part_at), reach.pop(part_at)
        there = int(apart.argmin())
        here = int(np.flatnonzero((whole == nearest[there]).all(axis=1))[0])
        whole = np.concatenate((whole[: here + 1], part[there:], part[: there + 1], whole[here:]))
        for other, (so_far, places) in zip(others, reach, strict=True):
            now, new_places = _nearest(other, part)
            closer = now < so_far
            so_far[closer], places[closer] = now[closer], new_places[closer]
    return whole


def _nearest(corners: Corners, of: Corners) -> tuple[NDArray[np.float64], Corners]:
    """For each corner the nearest one `of` others: how far it is, squared, and where."""
    apart = ((corners[:, None] - of[None]) ** 2).sum(axis=2)
    best = apart.argmin(axis=1)
    return apart[np.arange(len(corners)), best], of[best]

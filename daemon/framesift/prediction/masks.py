"""Masks: COCO's run lengths (columns first, alternating runs of zeros and ones, compressed as text), and polygons.

A polygon runs along the edges of the mask's pixels. One polygon stands for the whole mask, because labels have one
polygon per object: pieces and holes are joined to it by bridges of zero width, there and back, so that it encloses the
area of the mask by the even-odd rule and by the nonzero rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# No camera's picture has more pixels. A mask that claims more must not be decoded.
MAX_PIXELS = 2**28
_MAX_BITS = 30
# The most corners of a polygon, for any mask.
MAX_CORNERS = 1000
# The smallest pieces and holes are left out as noise: as many as have less than this share of the mask's area together,
# and all but the largest _MAX_CONTOURS.
_NOISE_SHARE = 0.01
_MAX_CONTOURS = 64
# A mask with longer edges (in pixels) or more pixels is reduced before its outline is computed.
_MAX_EDGE_LENGTH = 100_000
_MAX_OUTLINE_PIXELS = 2**24
# How far a polygon may deviate from the edges of the pixels: at most one pixel, and this share of the mask's thickness.
_MAX_ERROR_PX = 1.0
_MAX_ERROR_SHARE = 1 / 16

Corners = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rle:
    """A binary mask of `height` x `width` pixels. counts: COCO's compressed string."""

    height: int
    width: int
    counts: str


def decode_counts(counts: str) -> list[int]:
    """Decodes the run lengths in COCO's compressed string.

    A character has 5 bits, and a 6th that says whether more follow. From the 4th run on, a number is the difference to
    the run two places before. Raises ValueError if the string is not valid.
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
            if shift > _MAX_BITS:
                raise ValueError("the mask's counts hold a number that is larger than any picture")
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
    """Encodes run lengths as COCO's compressed string, the inverse of `decode_counts`."""
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
    """Decodes the mask: 0 and 1, uint8, shape (height, width). Raises ValueError if the runs don't fill it exactly."""
    return _from_runs(decode_counts(rle.counts), rle.height, rle.width)


def _from_runs(runs: list[int], height: int, width: int) -> NDArray[np.uint8]:
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"the mask's runs add up to {sum(runs)}, not to {height} x {width}")
    values = np.zeros(len(runs), np.uint8)
    values[1::2] = 1
    mask: NDArray[np.uint8] = np.repeat(values, runs).reshape((width, height)).T
    return mask


def encode_mask(mask: NDArray[np.uint8]) -> Rle:
    """Encodes a mask of shape (height, width). All values except 0 count as 1."""
    height, width = mask.shape
    flat = (mask.T != 0).ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate(([0], edges, [flat.size]))
    runs = np.diff(bounds).tolist()
    if flat.size and flat[0]:
        runs.insert(0, 0)
    return Rle(height, width, encode_counts(runs))


def parse_rle(size: tuple[int, int], counts: str | list[int]) -> Rle:
    """Makes an Rle from its JSON form. size: (height, width). counts: compressed, or a list of run lengths.

    Raises ValueError if it is not valid.
    """
    height, width = size
    if height * width > MAX_PIXELS:
        raise ValueError(f"a mask of {height} x {width} is larger than any camera's picture")
    runs = decode_counts(counts) if isinstance(counts, str) else counts
    if height < 1 or width < 1 or min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"the mask's runs do not fill {height} x {width}")
    return Rle(height, width, encode_counts(runs))


def resize_rle(rle: Rle, height: int, width: int) -> Rle:
    """Resizes the mask to `height` x `width` pixels. Each pixel gets the value of the nearest one."""
    if (height, width) == (rle.height, rle.width):
        return rle
    mask = cv2.resize(np.ascontiguousarray(decode_mask(rle)), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return encode_mask(np.asarray(mask, np.uint8))


def mask_to_polygon(mask: NDArray[np.bool_] | NDArray[np.uint8]) -> Corners | None:
    """Computes one polygon around everything that is not 0 in a mask of shape (height, width).

    Returns the corners x, y in pixels, shape (n, 2), with n from 3 to MAX_CORNERS. The first pixel of the first row is
    the square from (0, 0) to (1, 1). Returns None for an empty mask.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    top, left = int(rows[0]), int(columns[0])
    part = mask[top : rows[-1] + 1, left : columns[-1] + 1] != 0
    height, width = part.shape
    # Halve a mask that is too large, to save memory and time.
    while part.size > _MAX_OUTLINE_PIXELS or _edge_length(part) > _MAX_EDGE_LENGTH:
        part = np.maximum.reduceat(part, np.arange(0, part.shape[0], 2), axis=0)
        part = np.maximum.reduceat(part, np.arange(0, part.shape[1], 2), axis=1)
    contours = _contours(part)
    # Each bridge adds two corners.
    max_corners = MAX_CORNERS - 2 * (len(contours) - 1)
    error_factor = 1.0
    parts = [_simplify(contour, error_factor) for contour in contours]
    while sum(map(len, parts)) > max_corners:
        error_factor *= 2
        parts = [_simplify(contour, error_factor) for contour in contours]
    # A part that has become a line was small compared with the rest. If none is left, a rectangle stands for the mask.
    parts = [part for part in parts if len(part) >= 3] or [_bounding_rectangle(contours[0])]
    scale = np.array((width / part.shape[1], height / part.shape[0]))
    corners: Corners = _join(parts) * scale + np.array((left, top))
    return corners


def _edge_length(mask: NDArray[np.bool_]) -> int:
    """The total length of the edges inside a mask, in pixels."""
    return int(np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1]))


def _contours(mask: NDArray[np.bool_]) -> list[Corners]:
    """The outlines of the pieces of a mask and (in the other direction) of their holes: largest first, no noise."""
    # OpenCV's contours run through the centres of pixels. On a grid that is twice as fine, where a pixel also covers
    # its corners, they run along the edges of pixels; edges have even coordinates.
    fine = np.zeros((2 * mask.shape[0] + 1, 2 * mask.shape[1] + 1), np.uint8)
    fine[1::2, 1::2] = mask
    fine = np.asarray(cv2.dilate(fine, np.ones((3, 3), np.uint8)), np.uint8)
    found, _ = cv2.findContours(fine, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    areas = np.array([cv2.contourArea(contour) for contour in found]) / 4
    order = np.argsort(-areas, kind="stable")  # a piece is larger than its holes, so it comes first
    left_out = np.cumsum(areas[order][::-1])[::-1]
    wanted = max(1, int((left_out >= _NOISE_SHARE * np.count_nonzero(mask)).sum()))
    return [_to_corners(np.asarray(found[i], np.int64).reshape(-1, 2)) for i in order[: min(wanted, _MAX_CONTOURS)]]


def _to_corners(contour: NDArray[np.int64]) -> Corners:
    """A contour of the fine grid as corners in pixels. It adds the inner corners that OpenCV skips diagonally."""
    after = np.roll(contour, -1, axis=0)
    # The corner lies between the middle of a vertical edge and of a horizontal one, where both coordinates are even.
    is_vertical = contour[:, 1] % 2 == 1
    between = np.where(
        is_vertical[:, None], np.stack((contour[:, 0], after[:, 1]), 1), np.stack((after[:, 0], contour[:, 1]), 1)
    )
    diagonal = (contour != after).all(axis=1)
    path = np.stack((contour, between), 1).reshape(-1, 2)
    is_corner = np.stack(((contour % 2 == 0).all(axis=1), diagonal), 1).ravel()
    corners: Corners = path[is_corner] / 2
    return corners


def _simplify(contour: Corners, error_factor: float) -> Corners:
    """The contour with fewer corners. error_factor: multiplies the allowed deviation."""
    points = contour.astype(np.float32)
    thickness = 2 * cv2.contourArea(points) / cv2.arcLength(points, True)
    error = min(_MAX_ERROR_PX, _MAX_ERROR_SHARE * thickness) * error_factor
    return np.asarray(cv2.approxPolyDP(points, error, True), np.float64).reshape(-1, 2)


def _bounding_rectangle(contour: Corners) -> Corners:
    (x1, y1), (x2, y2) = contour.min(axis=0), contour.max(axis=0)
    return np.array([(x1, y1), (x1, y2), (x2, y2), (x2, y1)])


def _join(parts: list[Corners]) -> Corners:
    """Joins all parts to one polygon: each time the nearest part, at the two corners that are closest together."""
    whole, *others = parts
    # For each corner of each other part: the squared distance to the polygon, and the nearest corner there.
    reach = [_nearest(part, whole) for part in others]
    while others:
        part_index = int(np.argmin([distances.min() for distances, _ in reach]))
        part, (distances, nearest) = others.pop(part_index), reach.pop(part_index)
        there = int(distances.argmin())
        here = int(np.flatnonzero((whole == nearest[there]).all(axis=1))[0])
        whole = np.concatenate((whole[: here + 1], part[there:], part[: there + 1], whole[here:]))
        for other, (so_far, places) in zip(others, reach, strict=True):
            now, new_places = _nearest(other, part)
            closer = now < so_far
            so_far[closer], places[closer] = now[closer], new_places[closer]
    return whole


def _nearest(corners: Corners, others: Corners) -> tuple[NDArray[np.float64], Corners]:
    """For each corner the nearest one of `others`: the squared distance, and that corner."""
    distances = ((corners[:, None] - others[None]) ** 2).sum(axis=2)
    best = distances.argmin(axis=1)
    return distances[np.arange(len(corners)), best], others[best]

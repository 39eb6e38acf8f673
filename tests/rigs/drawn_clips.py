"""Lossless clips with one white object at a known place on a dark ground, and the predictions that a model would make.

Coordinates have their origin at the upper left corner of the upper left pixel, so that pixel (0, 0) covers 0 to 1.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Corner = tuple[float, float]

_DOT = 9  # pixels; the side of the square around a keypoint


@dataclass(frozen=True)
class Shape:
    """A polygon, or the squares around keypoints, in a picture of `width` x `height`."""

    width: int
    height: int
    corners: tuple[Corner, ...]
    dots: bool = False

    def mask(self) -> Mask:
        if not self.dots:
            return filled(self.corners, self.width, self.height)
        mask = np.zeros((self.height, self.width), np.bool_)
        for x, y in self.corners:
            left, top = int(x) - _DOT // 2, int(y) - _DOT // 2
            mask[top : top + _DOT, left : left + _DOT] = True
        return mask


def shape(kind: Literal["box", "triangle", "dots"], width: int, height: int, frame: int) -> Shape:
    """Another one in each frame; it lies to the lower right, far from the origin, which no scaling moves."""
    left, top = int(width * 0.42) + 7 * frame, int(height * 0.37) + 5 * frame
    right, bottom = int(width * 0.83) + 3 * frame, int(height * 0.81) + 4 * frame
    if kind == "box":
        return Shape(width, height, ((left, top), (right, top), (right, bottom), (left, bottom)))
    half = 0.5 if kind == "dots" else 0.0  # the middle of a pixel, where a dot has its centre
    corners = ((left + half, bottom + half), ((left + right) // 2 + half, top + half), (right + half, bottom + half))
    return Shape(width, height, corners, dots=kind == "dots")


def filled(corners: Sequence[Corner], width: int, height: int) -> Mask:
    """The pixels whose centre lies in the polygon (even-odd rule)."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    inside = np.zeros((height, width), np.bool_)
    for (x1, y1), (x2, y2) in zip(corners, (*corners[1:], corners[0]), strict=True):
        if y1 != y2:
            crosses = (y1 <= y) != (y2 <= y)
            inside ^= crosses & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    return inside


def box_of(mask: Mask) -> tuple[int, int, int, int]:
    """left, top, right, bottom of what is set, the last two beyond it."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def runs_of(mask: Mask) -> list[int]:
    """Run lengths as COCO counts them: down the columns, zeros first."""
    flat = [False, *mask.T.ravel().tolist()]
    edges = [0, *(index for index in range(1, len(flat)) if flat[index] != flat[index - 1]), len(flat)]
    runs = [after - before for before, after in itertools.pairwise(edges)]
    return [runs[0] - 1, *runs[1:]]


def from_runs(runs: Sequence[int], width: int, height: int) -> Mask:
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    mask: Mask = values.reshape((width, height)).T
    return mask


def white(jpeg: bytes) -> Mask:
    """Where a stored picture is white: lighter than half-way from its darkest to its lightest."""
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None, "this is no picture"
    found: Mask = pixels > (float(pixels.min()) + float(pixels.max())) / 2
    return found


def near(one: Mask, other: Mask) -> bool:
    """Whether two masks differ at most by the pixels along their edges."""
    square = np.ones((3, 3), np.uint8)

    def within(inner: Mask, outer: Mask) -> bool:
        grown = cv2.dilate(outer.astype(np.uint8), square) > 0
        return not (inner & ~grown).any()

    return within(one, other) and within(other, one)


def clip(path: Path, shapes: Sequence[Shape], fps: int = 5) -> Path:
    """A clip that is decoded to exactly what was drawn, one frame for each shape; sides may be odd."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.width, stream.height, stream.pix_fmt = shapes[0].width, shapes[0].height, "bgr0"
        for number, drawn in enumerate(shapes):
            # The ground of each is a shade lighter, so that no two pictures are equal.
            pixels = np.full((drawn.height, drawn.width, 3), min(number, 60), np.uint8)
            pixels[drawn.mask()] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def write_recording(path: Path, lines: Sequence[dict[str, Any]]) -> Path:
    """A recording of predictions, for a model of the type `recorded`."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path

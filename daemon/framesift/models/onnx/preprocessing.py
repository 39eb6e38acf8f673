"""Preprocessing: a picture is resized and converted for a network, and positions are converted back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from framesift.frame import Pixels
from framesift.models.onnx.onnx_settings import PerChannel, Resize

_Pixels = NDArray[np.uint8] | NDArray[np.float32]

GREY = 114  # the colour of the bars with which detectors are trained


@dataclass(frozen=True, slots=True)
class PreparedPicture:
    """The input for a network. tensor: float or uint8, shape (1, 3, height, width) or (1, height, width, 3).

    A point of the network's input lies in the picture, on each axis, at (point - offset) x scale.
    """

    tensor: NDArray[Any]
    offset_x: float
    offset_y: float
    scale_x: float
    scale_y: float

    def to_picture(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Converts points x, y, x, y, ..., shape (n, 2 k), from the network's input to pixels of the picture."""
        pairs = points.shape[1] // 2
        offsets = np.array((self.offset_x, self.offset_y) * pairs)
        scales = np.array((self.scale_x, self.scale_y) * pairs)
        positions: NDArray[np.float64] = (points - offsets) * scales
        return positions

    def picture_area(self, width: int, height: int) -> NDArray[np.float64]:
        """x1, y1, x2, y2 of a picture of this size in the network's input; outside of it are bars."""
        x, y = self.offset_x, self.offset_y
        return np.array((x, y, x + width / self.scale_x, y + height / self.scale_y))


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How pictures are prepared for one network.

    height, width: of its input in pixels. centred: letterbox bars on both sides (otherwise to the right and below).
    rgb: the order of its channels (otherwise bgr). A value is (pixel x scale - mean) / std, with mean and std in that
    order. rounds_down: a letterboxed picture's sides are rounded down, and both are scaled alike (otherwise to the
    nearest pixel, each with its own scale). smooths: where a stretched picture shrinks, pixels are averaged, as Pillow
    and torchvision do it (otherwise some are taken, as OpenCV does it). rounds: what lies between the pixels of a
    stretched picture becomes whole numbers, as those do it (otherwise fractions stay). channels_last: shape (1, height,
    width, 3). value_type: of its input; uint8 means unchanged pixels.
    """

    height: int
    width: int
    resize: Resize
    centred: bool
    rgb: bool
    scale: float
    mean: PerChannel = (0.0, 0.0, 0.0)
    std: PerChannel = (1.0, 1.0, 1.0)
    rounds_down: bool = False
    smooths: bool = False
    rounds: bool = True
    channels_last: bool = False
    value_type: Literal["float32", "float16", "uint8"] = "float32"

    def describe(self) -> str:
        """The same as a text."""
        interpolation = {
            Resize.LETTERBOX: f"letterboxed, grey bars {'on both sides' if self.centred else 'to the right and below'}",
            Resize.STRETCH: "stretched, smoothed where it shrinks" if self.smooths else "stretched",
            Resize.CROP: "the middle cut out",
        }[self.resize]
        values = f"pixels from 0 to {255 * self.scale:.4g}, mean {_joined(self.mean)}, std {_joined(self.std)}"
        shape = "(1, height, width, 3)" if self.channels_last else "(1, 3, height, width)"
        if self.value_type == "uint8":
            values = "pixels as they are, from 0 to 255"
        channels = "RGB" if self.rgb else "BGR"
        return f"{self.width} x {self.height}, {interpolation}; {channels}, {values}; {self.value_type} {shape}"

    def __call__(self, pixels: Pixels) -> PreparedPicture:
        """Prepares a picture. pixels: BGR, uint8, shape (h, w, 3), with h and w at least 1."""
        picture, offset_x, offset_y, scale_x, scale_y = self._fitted(pixels)
        if self.value_type == "uint8":
            planes = picture[None, :, :, ::-1] if self.rgb else picture[None]
            tensor: NDArray[Any] = np.ascontiguousarray(planes if self.channels_last else planes.transpose(0, 3, 1, 2))
        else:
            tensor = self._floats(picture)
        return PreparedPicture(tensor, offset_x, offset_y, scale_x, scale_y)

    def _floats(self, picture: _Pixels) -> NDArray[np.floating]:
        sides = (self.height, self.width)
        tensor = np.empty((1, *sides, 3) if self.channels_last else (1, 3, *sides), np.float32)
        planes = tensor[0].transpose(2, 0, 1) if self.channels_last else tensor[0]
        # Plane by plane, from uint8 directly into its place: six times faster than reordering the whole picture.
        for channel, plane in enumerate(cv2.split(picture)[:: -1 if self.rgb else 1]):
            std = self.std[channel]
            np.multiply(plane, np.float32(self.scale / std), out=planes[channel])
            if self.mean[channel]:
                planes[channel] -= np.float32(self.mean[channel] / std)
        return tensor.astype(np.float16) if self.value_type == "float16" else tensor

    def _fitted(self, pixels: Pixels) -> tuple[_Pixels, float, float, float, float]:
        """The picture at the network's size; offset x, y and scale x, y for the way back."""
        height, width = pixels.shape[:2]
        if self.resize is Resize.CROP:
            return self._cropped(pixels)
        if self.resize is Resize.STRETCH:
            scale_x, scale_y = width / self.width, height / self.height
            if self.smooths:
                pixels = _smoothed(pixels, scale_x, scale_y)
            stretched: _Pixels = pixels
            if not self.rounds and self.value_type != "uint8":
                stretched = pixels.astype(np.float32)
            return _resized(stretched, self.height, self.width), 0.0, 0.0, scale_x, scale_y
        ratio = min(self.height / height, self.width / width)
        rounded = int if self.rounds_down else round
        new_h, new_w = max(1, rounded(height * ratio)), max(1, rounded(width * ratio))
        top = (self.height - new_h) // 2 if self.centred else 0
        left = (self.width - new_w) // 2 if self.centred else 0
        canvas = np.full((self.height, self.width, 3), GREY, np.uint8)
        canvas[top : top + new_h, left : left + new_w] = _resized(pixels, new_h, new_w)
        if self.rounds_down:
            return canvas, float(left), float(top), 1 / ratio, 1 / ratio
        # Each axis has its own ratio, because of rounding to whole pixels.
        return canvas, float(left), float(top), width / new_w, height / new_h

    def _cropped(self, pixels: Pixels) -> tuple[Pixels, float, float, float, float]:
        """See `_fitted`. As torchvision does it: the picture is shrunk as Pillow does, and its middle cut out.

        Only what is left of it is worked on.
        """
        height, width = pixels.shape[:2]
        ratio = max(self.height / height, self.width / width)
        whole_h, whole_w = max(self.height, int(height * ratio)), max(self.width, int(width * ratio))
        top, left = round((whole_h - self.height) / 2), round((whole_w - self.width) / 2)
        scale_x, scale_y = width / whole_w, height / whole_h
        from_y, to_y = _needed(top, self.height, scale_y, height)
        from_x, to_x = _needed(left, self.width, scale_x, width)
        cut = _smoothed(pixels[from_y:to_y, from_x:to_x], scale_x, scale_y)
        # Where the middle of each pixel lies in what was cut out.
        begin_x, begin_y = (left + 0.5) * scale_x - 0.5 - from_x, (top + 0.5) * scale_y - 0.5 - from_y
        sampled = cv2.warpAffine(
            cut,
            np.array([[scale_x, 0.0, begin_x], [0.0, scale_y, begin_y]]),
            (self.width, self.height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(sampled, np.uint8), -float(left), -float(top), scale_x, scale_y


def _needed(first: int, count: int, scale: float, side: int) -> tuple[int, int]:
    """Which pixels of a side are needed for so many of the shrunk picture, from `first` on."""
    margin = math.ceil(2 * scale)
    return max(0, math.floor(first * scale) - margin), min(side, math.ceil((first + count) * scale) + margin)


def _smoothed(pixels: Pixels, scale_x: float, scale_y: float) -> Pixels:
    """The picture, averaged over the pixels that become one: with a triangle of twice their number.

    The sampling that follows averages two neighbours, which is taken off here: their spreads add up as squares.
    """
    if max(scale_x, scale_y) <= 1:
        return pixels
    across, down = (_triangle(math.sqrt(max(1.0, scale) ** 2 - 1)) for scale in (scale_x, scale_y))
    return np.asarray(cv2.sepFilter2D(pixels, -1, across, down, borderType=cv2.BORDER_REPLICATE), np.uint8)


def _triangle(half: float) -> NDArray[np.float32]:
    """Weights that fall from the middle to 0 at `half` pixels from it; their sum is 1."""
    steps = np.arange(-math.floor(half), math.floor(half) + 1)
    weights = np.maximum(0.0, 1.0 - np.abs(steps) / max(half, 1.0))
    normed: NDArray[np.float32] = (weights / weights.sum()).astype(np.float32)
    return normed


def _joined(channels: PerChannel) -> str:
    texts = [f"{value:.4g}" for value in channels]
    return texts[0] if len(set(texts)) == 1 else f"[{', '.join(texts)}]"


def _resized(pixels: _Pixels, height: int, width: int) -> _Pixels:
    if pixels.shape[:2] == (height, width):
        return pixels
    resized: _Pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    return resized

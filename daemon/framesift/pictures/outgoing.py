"""The one way out for pixels: everything that makes a picture for somebody calls `encode_outgoing`.

A picture goes out masked, or not at all: the mask is an argument without a default, and is applied to the pixels before
anything is encoded. `encode_for_model` is the exception that is named: what an inference server is asked about is the
picture as the camera gave it. No other file may encode pixels; tests/test_import_rules.py holds that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from framesift.frame import LazyPicture, Pixels

DEFAULT_JPEG_QUALITY = 95


class JpegEncodingError(ValueError):
    """The picture cannot be encoded."""


class Unmasked(Exception):
    """The picture can't be masked as the settings demand, so nothing of it may be kept. str(error) says why."""


class PictureMask(Protocol):
    """What must not be seen on a picture."""

    @property
    def is_empty(self) -> bool:
        """Whether it covers nothing, so that a picture may go out as it came."""
        ...

    def apply(self, pixels: Pixels) -> Pixels:
        """Return a copy with everything covered. pixels: the whole picture at any scale. Raises Unmasked."""
        ...


class _NoMask:
    is_empty = True

    def apply(self, pixels: Pixels) -> Pixels:
        return pixels


# For pictures of streams without privacy settings, and pictures that were made of masked ones.
NO_MASK: PictureMask = _NoMask()


@dataclass(frozen=True, slots=True)
class OutgoingPicture:
    """An encoded picture that may be kept and shown. width, height: in pixels."""

    content: bytes
    width: int
    height: int


def encode_outgoing(
    picture: Pixels | LazyPicture,
    *,
    mask: PictureMask,
    max_size: tuple[int, int] | None = None,
    jpeg_quality: int | None = None,
    suffix: str = ".jpg",
) -> OutgoingPicture:
    """Encode a picture for somebody: masked, scaled down if necessary, then encoded.

    max_size: (height, width) in pixels into which it must fit, with its aspect ratio kept, or None. jpeg_quality: 1 to
    100; None: what came as a JPEG and need not be changed goes out as it came, everything else with
    DEFAULT_JPEG_QUALITY. suffix: ".jpg" or ".png". Raises Unmasked, JpegEncodingError (a side of a JPEG has at most
    65,535 pixels), and what the picture's pixels raise.
    """
    full_width, full_height = _size(picture)
    width, height = fit_size(full_width, full_height, max_size)
    is_whole = (width, height) == (full_width, full_height)
    is_unchanged = is_whole and mask.is_empty and suffix == ".jpg" and jpeg_quality is None
    if is_unchanged and not isinstance(picture, np.ndarray):
        jpeg = picture.jpeg
        if jpeg is not None:
            return OutgoingPicture(jpeg, width, height)
    pixels = scale_to_fit(picture, max_size)
    masked = mask.apply(pixels)
    if masked.shape != pixels.shape:
        raise Unmasked("the mask gave a picture of another size")
    return OutgoingPicture(_encode(masked, suffix, jpeg_quality or DEFAULT_JPEG_QUALITY), width, height)


def encode_for_model(pixels: Pixels, size: tuple[int, int], jpeg_quality: int) -> bytes:
    """Encode a picture, unmasked, for an inference server: never for anything that keeps it.

    size: (width, height) in pixels to which it is scaled. jpeg_quality: 1 to 100. Raises JpegEncodingError.
    """
    scaled: Any = pixels
    if size != _size(pixels):
        try:
            scaled = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        except cv2.error as error:
            raise JpegEncodingError(f"a picture cannot be scaled to {size[0]} x {size[1]}: {error.err}") from None
    return _encode(scaled, ".jpg", jpeg_quality)


def scale_to_fit(picture: Pixels | LazyPicture, max_size: tuple[int, int] | None) -> Pixels:
    """The pixels, unmasked, scaled down if necessary; the picture's own array where it fits as it is.

    max_size: (height, width) in pixels into which they must fit, with their aspect ratio kept, or None. Raises what
    the picture's pixels raise.
    """
    width, height = fit_size(*_size(picture), max_size)
    is_whole = (width, height) == _size(picture)
    if isinstance(picture, np.ndarray):
        pixels: Pixels = picture
    elif is_whole:
        pixels = picture.pixels
    else:  # twice as large is enough: all pixels of a large picture need a lot of memory
        pixels = picture.overview(2 * width, 2 * height)
    if is_whole:
        return pixels
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]  # cv2's types don't say that uint8 stays uint8


def fit_size(width: int, height: int, max_size: tuple[int, int] | None) -> tuple[int, int]:
    """The size (width, height) to which a picture is scaled to fit into max_size = (height, width).

    The aspect ratio is kept, and both sides are truncated to whole pixels, at least 1. The order of the operations is
    the same as on the platform, since truncation makes every rounding visible.
    """
    if max_size is None:
        return width, height
    max_height, max_width = max_size
    if height <= max_height and width <= max_width:
        return width, height
    ratio = width / height
    if ratio >= max_width / max_height:
        return max_width, max(1, int(max_width / ratio))
    return max(1, int(max_height * ratio)), max_height


def _size(picture: Pixels | LazyPicture) -> tuple[int, int]:
    """(width, height), in pixels."""
    if isinstance(picture, np.ndarray):
        return int(picture.shape[1]), int(picture.shape[0])
    return picture.width, picture.height


def _encode(pixels: Pixels, suffix: str, jpeg_quality: int) -> bytes:
    width, height = _size(pixels)
    parameters = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if suffix == ".jpg" else []
    try:
        made, content = cv2.imencode(suffix, pixels, parameters)
    except cv2.error as error:
        raise JpegEncodingError(f"a picture of {width} x {height} cannot be encoded as a JPEG: {error.err}") from None
    if not made:
        raise JpegEncodingError(f"a picture of {width} x {height} cannot be encoded as a JPEG")
    return content.tobytes()

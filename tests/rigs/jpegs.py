"""JPEG files, and what other programs write into them beside the picture."""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence

import cv2
import numpy as np

from framesift.frame import Pixels

APP0, APP1, APP2, APP13, APP14, COMMENT = 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE


def scene(width: int = 320, height: int = 240) -> Pixels:
    """Smooth colours with some noise, as a camera gives them."""
    return np.array(_scene(width, height))


@functools.cache
def _scene(width: int, height: int) -> Pixels:
    random = np.random.default_rng(1)
    smooth = cv2.resize(random.integers(0, 255, (9, 12, 3), np.uint8), (width, height)).astype(np.int16)
    smooth += random.integers(-8, 9, smooth.shape, np.int8)
    return np.asarray(np.clip(smooth, 0, 255, out=smooth), np.uint8)


def jpeg_of(pixels: Pixels, *parameters: int) -> bytes:
    """A JPEG file. parameters: of cv2.imencode."""
    return cv2.imencode(".jpg", pixels, parameters)[1].tobytes()


def pixels_of(jpeg: bytes) -> Pixels:
    """What a decoder shows of a file."""
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def with_segment(jpeg: bytes, marker: int, data: bytes) -> bytes:
    """The file with one segment more, behind JFIF's."""
    place = 2 + (2 + int.from_bytes(jpeg[4:6], "big") if jpeg[2:4] == b"\xff\xe0" else 0)
    return jpeg[:place] + bytes((0xFF, marker)) + (len(data) + 2).to_bytes(2, "big") + data + jpeg[place:]


def exif(orientation: int, order: str = ">", others: Sequence[tuple[int, int]] = ()) -> bytes:
    """EXIF for APP1. order: ">" or "<" (of the bytes). others: more tags, each with a short number, before it."""
    entries = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, n, 0) for tag, n in (*others, (0x0112, orientation)))
    head = {">": b"MM", "<": b"II"}[order] + struct.pack(f"{order}HIH", 42, 8, len(others) + 1)
    return b"Exif\0\0" + head + entries + struct.pack(f"{order}I", 0)

"""The engine for a folder of pictures: each file is a picture, in the order of their names.

Names are compared as people count: frame2.jpg comes before frame10.jpg. A folder may hold any number of files, as only
the next 30,000 names are in memory; so what is added behind the present picture is still read.
"""

from __future__ import annotations

import heapq
import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from framesift.pictures.exif_orientation import UNKNOWN, UPRIGHT, turn
from framesift.pictures.jpeg_completeness import ends_early
from framesift.pictures.jpeg_file import ENDS_EARLY, parse_jpeg
from framesift.pictures.picture_limits import BadPicture
from framesift.streams.away_reasons import AwayReason
from framesift.streams.channel import MAX_PICTURE_PIXELS, OpenRequest
from framesift.streams.engines.capture import CapturedPicture, PictureUnusable, SourceError
from framesift.streams.engines.opencv import as_bgr
from framesift.streams.engines.orientation import Orientation
from framesift.streams.picture_names import PICTURE_SUFFIXES, NameOrder, name_order

NAMES_IN_MEMORY = 30_000
MAX_FILE_BYTES = 256 << 20
DEFAULT_FPS = 1.0


@dataclass(frozen=True, slots=True)
class DecodedFile:
    """A picture that was decoded. pixels: BGR, uint8, shape (height, width, 3). jpeg: see Capture.jpeg."""

    pixels: NDArray[np.uint8]
    jpeg: bytes


def pictures_in(folder: str, pattern: str) -> Iterator[os.DirEntry[str]]:
    """Yield the files that count as pictures, in no order. pattern: of their names, "" for all. Raises SourceError.

    Names that begin with a dot don't count: many programs write a file under such a name, then give it its own.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if (
                    name.lower().endswith(PICTURE_SUFFIXES)
                    and not name.startswith(".")
                    and (not pattern or fnmatchcase(name, pattern))
                    and entry.is_file()
                ):
                    yield entry
    except FileNotFoundError:
        raise SourceError(AwayReason.NO_FILE, "no such folder") from None
    except PermissionError:
        raise SourceError(AwayReason.NOT_PERMITTED) from None
    except OSError as error:
        raise SourceError(AwayReason.NO_FILE, f"the folder can't be read: {error.strerror}") from None


def read_picture_file(path: Path) -> tuple[bytes, os.stat_result] | None:
    """Return a file's content and what the system says of it, from before it was read; None if it is gone.

    Raises PictureUnusable if it can't be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            described = os.fstat(file.fileno())
            if described.st_size > MAX_FILE_BYTES:
                raise PictureUnusable(f"a file of {described.st_size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
            return file.read(MAX_FILE_BYTES), described
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PictureUnusable(f"it can't be read: {error.strerror}") from None


def decode_picture(content: bytes, rotate: int) -> DecodedFile:
    """Return the picture, turned as its EXIF says, then by `rotate` degrees.

    Raises PictureUnusable for what is no picture, or not a whole one. Of a picture larger than MAX_PICTURE_PIXELS only
    the header is read: reader_forks.py sets OpenCV's own limit.
    """
    import cv2

    # OpenCV makes what is missing of a JPEG grey, without an error. Other formats it refuses then.
    try:
        jpeg = parse_jpeg(content) if content.startswith(b"\xff\xd8") else None
    except BadPicture as error:
        raise PictureUnusable(str(error)) from None
    try:
        encoded = content if jpeg is None else jpeg.content
        decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR) if content else None
    except cv2.error as error:
        too_large = "PIXELS" in str(error.err)
        why = f"more than {MAX_PICTURE_PIXELS:,} pixels" if too_large else error.err
        raise PictureUnusable(f"it can't be decoded: {why}") from None
    if decoded is None:
        raise PictureUnusable("it can't be decoded")
    picture = as_bgr(decoded)
    if picture is None:
        raise PictureUnusable("its size is not a camera's")
    if jpeg is None:
        return DecodedFile(Orientation().turned(rotate).apply(picture), b"")
    if jpeg.orientation != UNKNOWN and ends_early(jpeg.content, picture):
        raise PictureUnusable(ENDS_EARLY)
    is_kept = jpeg.is_plain and jpeg.orientation == UPRIGHT and not rotate
    turned = Orientation().turned(rotate).apply(turn(picture, jpeg.orientation))
    return DecodedFile(turned, jpeg.content if is_kept else b"")


class ImageFilesCapture:
    """The pictures of a folder. Their times are those of `fps` pictures a second."""

    def __init__(self, request: OpenRequest) -> None:
        """Look into the folder. Raises SourceError."""
        self._request = request
        self._last: NameOrder | None = None
        self._names: deque[str] = deque(self._names_after(None))
        if not self._names:
            raise SourceError(AwayReason.NO_PICTURES)
        self.jpeg = b""
        self._name = ""
        self._content: bytes | PictureUnusable = b""
        self._index = -1

    def next_picture(self) -> CapturedPicture | None:
        """Read the next file. Raises SourceError if the folder is gone."""
        while self._names or self._look_again():
            self._name = self._names.popleft()
            self._last = name_order(self._name)
            try:
                found = read_picture_file(Path(self._request.address, self._name))
            except PictureUnusable as error:
                self._content = error
            else:
                if found is None:  # deleted meanwhile
                    continue
                self._content = found[0]
            self._index += 1
            return CapturedPicture(time.monotonic(), self._index / (self._request.fps or DEFAULT_FPS))
        return None

    def convert(self, target: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """Decode the picture. Raises PictureUnusable, which names the file."""
        decoded = decode_named(self._name, self._content, self._request.rotate)
        pixels, self.jpeg = decoded.pixels, decoded.jpeg
        if target is None or target.shape != pixels.shape:
            return pixels
        np.copyto(target, pixels)
        return target

    def close(self) -> None:
        """Close the source."""

    def _look_again(self) -> bool:
        self._names.extend(self._names_after(self._last))
        return bool(self._names)

    def _names_after(self, last: NameOrder | None) -> list[str]:
        orders = (name_order(entry.name) for entry in pictures_in(self._request.address, self._request.pattern))
        following = (order for order in orders if last is None or order > last)
        return [name for _, name in heapq.nsmallest(NAMES_IN_MEMORY, following)]


def decode_named(name: str, content: bytes | PictureUnusable, rotate: int) -> DecodedFile:
    """Do as decode_picture, or raise what reading the file raised; the error names the file."""
    try:
        if isinstance(content, PictureUnusable):
            raise content
        return decode_picture(content, rotate)
    except PictureUnusable as error:
        raise PictureUnusable(f"{name}: {error}") from None

"""Decodes JPEG and PNG files of untrusted clients into BGR pixels. Limits are checked before anything is decoded.

Guarantees:
1. A picture is not decoded if its header says more than MAX_PIXELS or MAX_SIDE, if it is animated, or if its scans
   would cost many times its size.
2. A picture whose end is missing, or whose data end before it, is refused, not filled up with grey (jpeg_completeness
   says what can't be told). Bytes after the end are ignored.
3. A JPEG is turned as its EXIF says, as inference servers and viewers do: the prediction's coordinates are those of the
   turned picture. Other metadata is left out, before anything is decoded. 16-bit values become 8-bit values, grey and
   CMYK become BGR, transparency is dropped.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import cv2
import numpy as np

from framesift.frame import Pixels
from framesift.pictures.exif_orientation import UNKNOWN, UPRIGHT, swaps_sides, turn
from framesift.pictures.jpeg_completeness import ends_early
from framesift.pictures.jpeg_file import ENDS_EARLY, parse_jpeg
from framesift.pictures.picture_limits import MAX_BYTES as MAX_BYTES
from framesift.pictures.picture_limits import MAX_SCANS, check_size
from framesift.pictures.picture_limits import BadPicture as BadPicture

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_NEEDED_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_UNPACKED_AT_ONCE = 1 << 20
_LARGE_PIXELS = 8_000_000
# The smallest part first: of its width and height -> OpenCV's flag.
_REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
_large_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """A picture that may be decoded, because its headers are within the limits.

    content: the file, without parts that a decoder does not need. width, height: in pixels, before it is turned.
    orientation: how it is turned, see exif_orientation. is_jpeg: else it is a PNG. is_plain_jpeg: `content` is what
    every viewer shows alike, and is not turned: it can be kept as it is.
    """

    content: bytes = field(repr=False)
    width: int
    height: int
    orientation: int = UPRIGHT
    is_jpeg: bool = False
    is_plain_jpeg: bool = False

    @property
    def is_large(self) -> bool:
        """Whether its pixels need so much memory that they should not be decoded without need."""
        return self.width * self.height > _LARGE_PIXELS


def parse_picture(content: bytes) -> EncodedPicture:
    """Check the headers of a JPEG or PNG file. Raises BadPicture."""
    if len(content) > MAX_BYTES:
        raise BadPicture(f"it has {len(content):,} bytes; at most {MAX_BYTES:,} are allowed")
    if content[:3] == b"\xff\xd8\xff":
        return _jpeg(content)
    if content[:8] == _PNG:
        return _png(content)
    raise BadPicture("it is neither a JPEG nor a PNG")


@contextmanager
def large_picture_lock(picture: EncodedPicture) -> Iterator[None]:
    """Hold this while a picture is decoded and its pixels are used: large pictures one at a time in the whole process.

    So memory is limited by one large picture, however many arrive at once. Small pictures don't wait.
    """
    if not picture.is_large:
        yield
        return
    with _large_lock:
        yield


def decode(picture: EncodedPicture, *, fraction: int = 1) -> Pixels:
    """Return the pixels: BGR, uint8, shape (height, width, 3), turned as EXIF says. Raises BadPicture.

    fraction: of a JPEG, at so small a part of its width and height (2, 4 or 8), rounded up.
    """
    kind = _REDUCED.get(fraction, cv2.IMREAD_COLOR)
    try:
        pixels = cv2.imdecode(np.frombuffer(picture.content, np.uint8), kind)
    except cv2.error:
        pixels = None
    if pixels is None or pixels.ndim != 3 or pixels.dtype != np.uint8:
        raise BadPicture("its content is damaged and can't be decoded")
    size = -(-picture.height // fraction), -(-picture.width // fraction)
    is_turned_by_decoder = picture.orientation == UNKNOWN
    if pixels.shape[:2] != size and not (is_turned_by_decoder and pixels.shape[1::-1] == size):
        raise BadPicture("its content is of another size than its header says")
    found = np.asarray(pixels, np.uint8)
    if picture.is_jpeg and not is_turned_by_decoder and ends_early(picture.content, found, fraction):
        raise BadPicture(ENDS_EARLY)
    return turn(found, picture.orientation)


class LazyEncodedPicture:
    """A picture that is decoded once, when its pixels are needed; at once only if its size depends on the decoder.

    The overview of a large JPEG is decoded at a fraction of its size, which needs little memory and yet reads all of
    its content. width, height: in pixels, turned. Not thread-safe.
    """

    def __init__(self, sized: EncodedPicture) -> None:
        """Raises BadPicture if it is decoded at once and fails."""
        self._sized = sized
        self._overview: Pixels | None = None
        self._pixels: Pixels | None = None
        self.height, self.width = sized.height, sized.width
        if sized.orientation == UNKNOWN:
            self._pixels = decode(sized)
            self.height, self.width = map(int, self._pixels.shape[:2])
        elif swaps_sides(sized.orientation):
            self.height, self.width = sized.width, sized.height

    @property
    def pixels(self) -> Pixels:
        """The pixels: BGR, uint8, shape (height, width, 3). Raises BadPicture."""
        if self._pixels is None:
            self._pixels = decode(self._sized)
        return self._pixels

    def overview(self, width: int = 1, height: int = 1) -> Pixels:
        """The picture, or a large JPEG at a fraction of its size, but at least so large. Raises BadPicture."""
        if self._sized.is_jpeg and self._sized.is_large and self._pixels is None:
            for fraction in _REDUCED:
                reduced_height, reduced_width = -(-self.height // fraction), -(-self.width // fraction)
                if reduced_width >= width and reduced_height >= height:
                    return self._reduced(fraction, (reduced_height, reduced_width))
        return self.pixels

    def _reduced(self, fraction: int, size: tuple[int, int]) -> Pixels:
        if self._overview is None or self._overview.shape[:2] != size:
            self._overview = decode(self._sized, fraction=fraction)
        return self._overview

    @property
    def jpeg(self) -> bytes | None:
        """The file itself if it is a JPEG, without what does not belong to the picture; it was decoded once.

        None where it is no JPEG, is turned, or not everybody sees it in the same colours. Raises BadPicture.
        """
        if not self._sized.is_plain_jpeg:
            return None
        if self._overview is None:
            self.overview()
        return self._sized.content


def _jpeg(content: bytes) -> EncodedPicture:
    jpeg = parse_jpeg(content)
    check_size(jpeg.width, jpeg.height, progressive=jpeg.is_progressive)
    if jpeg.scans > MAX_SCANS:
        raise BadPicture(f"it has more than {MAX_SCANS} scans")
    is_plain = jpeg.is_plain and jpeg.orientation == UPRIGHT
    return EncodedPicture(jpeg.content, jpeg.width, jpeg.height, jpeg.orientation, is_jpeg=True, is_plain_jpeg=is_plain)


# -- PNG (ISO/IEC 15948)


def _png(content: bytes) -> EncodedPicture:
    parts = [_PNG]
    header: bytes | None = None
    compressed: list[memoryview] = []
    whole = memoryview(content)
    position = len(_PNG)
    name = b""
    while name != b"IEND":
        if position + 12 > len(content):
            raise BadPicture("its end is missing")
        length, name = struct.unpack(">I4s", whole[position : position + 8])
        end = position + 12 + length
        if end > len(content):
            raise BadPicture("its end is missing")
        if zlib.crc32(whole[position + 4 : end - 4]) != int.from_bytes(whole[end - 4 : end], "big"):
            raise BadPicture(f"its content is damaged at byte {position}")
        if (header is None) != (name == b"IHDR"):
            raise BadPicture("it does not begin with its header, or has two")
        data = whole[position + 8 : end - 4]
        if name == b"IHDR":
            header = bytes(data)
        elif name == b"acTL":
            raise BadPicture("it is animated; one picture is allowed")
        elif name == b"IDAT":
            compressed.append(data)
        elif not name[0] & 0x20 and name not in _PNG_NEEDED_CHUNKS:
            raise BadPicture("it has a chunk that no decoder knows")
        if (
            name in _PNG_NEEDED_CHUNKS
        ):  # other chunks only describe the picture, and some of them unpack into a lot of data
            parts.append(content[position:end])
        position = end
    width, height, inflated_bytes = _png_size(header or b"")
    _check_inflated(compressed, inflated_bytes)
    return EncodedPicture(b"".join(parts), width, height)


def _png_size(header: bytes) -> tuple[int, int, int]:
    """Return width, height, and the number of bytes of its rows after unpacking."""
    if len(header) != 13:
        raise BadPicture("its header is damaged")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", header)
    if depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise BadPicture("its header is damaged")
    check_size(width, height)
    bits = depth * _CHANNELS[colour]
    passes = _ADAM7 if interlace else ((0, 0, 1, 1),)
    total = 0
    for left, top, step_x, step_y in passes:
        columns, rows = -(-(width - left) // step_x), -(-(height - top) // step_y)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return width, height, total


def _check_inflated(compressed: list[memoryview], expected_bytes: int) -> None:
    """Unpack without keeping the result. A decoder would fill up missing rows and print a warning to stderr."""
    inflate = zlib.decompressobj()
    count = 0
    try:
        for data in compressed:
            rest: bytes | memoryview = data
            while rest and not inflate.eof and count <= expected_bytes:
                count += len(inflate.decompress(rest, _UNPACKED_AT_ONCE))
                rest = inflate.unconsumed_tail
        while not inflate.eof and count <= expected_bytes:
            more = len(inflate.decompress(b"", _UNPACKED_AT_ONCE))
            count += more
            if not more:
                break
    except zlib.error:
        raise BadPicture("its content is damaged and can't be unpacked") from None
    if count != expected_bytes or not inflate.eof:
        raise BadPicture(f"its content has not the {expected_bytes:,} bytes that its header promises")

"""The structure of a JPEG file (ITU T.81, annex B), of which nothing is decoded: its size, and what of it is kept.

Kept are the parts of which the picture is made. Everything else goes: EXIF with its place and its small picture, XMP,
IPTC, comments, small pictures in JFIF, and what stands behind the end. Colour profiles go too: neither the model nor
anything here looks at them, so the picture is the one that the model saw; and they may name a device.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from framesift.pictures.exif_orientation import UNKNOWN, UPRIGHT, read_orientation
from framesift.pictures.picture_limits import BadPicture

_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # ends a scan: neither a stuffed byte nor a restart marker
_FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended, progressive: known to every decoder
_OTHER_FRAMES = {0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)}
_DHT, _EOI, _SOS, _DQT, _DRI, _COM = 0xC4, 0xD9, 0xDA, 0xDB, 0xDD, 0xFE
_APP0, _APP1, _APP14 = 0xE0, 0xE1, 0xEE
_APPLICATION = range(0xE0, 0xF0)
_JFIF_BYTES, _ADOBE_BYTES = 14, 12
_SMALL_PICTURE_AT = 12  # width and height of the one in JFIF


@dataclass(frozen=True, slots=True)
class JpegFile:
    """What a JPEG file says of itself.

    content: the file, without what does not belong to the picture. width, height: in pixels, before it is turned.
    orientation: see exif_orientation; where it is UNKNOWN, `content` still has the EXIF. scans: how many.
    is_progressive: or of several scans, which cost the same. is_plain: every viewer shows `content` in the same
    colours: it is grey, or of the usual three components.
    """

    content: bytes = field(repr=False)
    width: int
    height: int
    orientation: int
    scans: int
    is_progressive: bool
    is_plain: bool


@dataclass(frozen=True, slots=True)
class _Segment:
    """A marker with its data. start, end: where it lies in the file; of a scan up to the next marker."""

    code: int
    data: bytes
    start: int
    end: int


def parse_jpeg(content: bytes) -> JpegFile:
    """Read the structure. Raises BadPicture for what is not a whole JPEG of a kind that every program reads."""
    frame: _Segment | None = None
    scans = 0
    orientations: set[int] = set()
    colours = _Colours()
    is_usual = True
    parts: list[tuple[bytes | memoryview, bool]] = [(content[:2], False)]  # with whether it is EXIF
    whole = memoryview(content)
    for segment in _segments(content):
        part: bytes | memoryview | None = whole[segment.start : segment.end]
        code = segment.code
        if code in _OTHER_FRAMES:
            raise BadPicture("it is a JPEG of a kind that few programs read (arithmetic, lossless, hierarchical)")
        if code in _FRAMES:
            if frame is not None:
                raise BadPicture("it has two frame headers")
            frame = segment
            _check_frame(segment.data)
        elif code == _SOS:
            scans += 1
            if frame is None:
                raise BadPicture("it has scans without a size")
        elif code in _APPLICATION or code == _COM:
            part = _needed_part(segment, whole)
            colours.add(code, part)
            if code == _APP1:
                orientations.add(read_orientation(segment.data))
                parts.append((whole[segment.start : segment.end], True))
        elif code not in (_DHT, _DQT, _DRI, _EOI):
            is_usual = False
        if part is not None:
            parts.append((part, False))
    if frame is None or not scans:
        raise BadPicture("it holds no picture")
    orientation = (orientations or {UPRIGHT}).pop() if len(orientations) <= 1 else UNKNOWN
    height, width = struct.unpack(">HH", frame.data[1:5])
    return JpegFile(
        content=b"".join(part for part, is_exif in parts if not is_exif or orientation == UNKNOWN),
        width=width,
        height=height,
        orientation=orientation,
        scans=scans,
        is_progressive=frame.code == 0xC2 or scans > 1,
        is_plain=is_usual and colours.are_usual(frame.data),
    )


def _segments(content: bytes) -> Iterator[_Segment]:
    """Yield all segments, the end's marker last."""
    position = 2
    code = 0
    while code != _EOI:
        start = position
        code, position = _marker(content, position)
        data = b""
        if code != _EOI:
            data, position = _data(content, position)
        if code == _SOS:
            found = _MARKER.search(content, position)
            if found is None:
                raise BadPicture("its end is missing")
            position = found.start()
        yield _Segment(code, data, start, position)


def _marker(content: bytes, position: int) -> tuple[int, int]:
    """Return the next marker's code, and where it ends. Any number of FF bytes may stand before it."""
    start = position
    while position < len(content) and content[position] == 0xFF:
        position += 1
    if position >= len(content):
        raise BadPicture("its end is missing")
    if position == start or content[position] in (0x00, 0x01, 0xD8) or 0xD0 <= content[position] <= 0xD7:
        raise BadPicture(f"it is not a valid JPEG at byte {start}")
    return content[position], position + 1


def _data(content: bytes, position: int) -> tuple[bytes, int]:
    length = int.from_bytes(content[position : position + 2], "big")
    if position + max(2, length) > len(content):
        raise BadPicture("its end is missing")
    if length < 2:
        raise BadPicture(f"it is not a valid JPEG at byte {position}")
    return content[position + 2 : position + length], position + length


def _check_frame(data: bytes) -> None:
    if len(data) < 6 or data[0] != 8 or data[5] not in (1, 3, 4) or len(data) != 6 + 3 * data[5]:
        raise BadPicture("it is a JPEG of a kind that few programs read: 8 bits and 1, 3 or 4 components are allowed")


def _needed_part(segment: _Segment, whole: memoryview) -> bytes | memoryview | None:
    """What is kept of application data: that it is JFIF, and Adobe's colours, without any other data."""
    data = segment.data
    if segment.code == _APP0 and data[:5] == b"JFIF\0" and len(data) >= _JFIF_BYTES:
        plain = data[:_SMALL_PICTURE_AT] + b"\0\0"
    elif segment.code == _APP14 and data[:5] == b"Adobe" and len(data) >= _ADOBE_BYTES:
        plain = data[:_ADOBE_BYTES]
    else:
        return None
    if plain == data:
        return whole[segment.start : segment.end]
    return bytes((0xFF, segment.code)) + (len(plain) + 2).to_bytes(2, "big") + plain


class _Colours:
    """What the application data say of the colours."""

    def __init__(self) -> None:
        self._has_jfif = False
        self._transforms: set[int] = set()

    def add(self, code: int, part: bytes | memoryview | None) -> None:
        """Add application data of which `part` is kept."""
        if part is not None and code == _APP0:
            self._has_jfif = True
        elif part is not None and code == _APP14:
            self._transforms.add(part[-1])

    def are_usual(self, frame: bytes) -> bool:
        """Whether all viewers agree: grey, or YCbCr by all that is said. frame: the data of the frame header."""
        if frame[5] == 1:
            return True
        if frame[5] != 3 or self._transforms - {1}:
            return False
        return self._has_jfif or bool(self._transforms) or tuple(frame[6::3]) == (1, 2, 3)

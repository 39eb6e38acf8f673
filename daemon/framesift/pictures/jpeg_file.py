"""The structure of a JPEG file (ITU T.81, annex B), of which nothing is decoded: its size, and what of it is kept.

Kept are the parts of which the picture is made. Everything else goes: EXIF with its place and its small picture, XMP,
IPTC, comments, small pictures in JFIF, and what stands behind the end. Colour profiles go too: neither the model nor
anything here looks at them, so the picture is the one that the model saw; and they may name a device.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from framesift.pictures.exif_orientation import UNKNOWN, UPRIGHT, read_orientation
from framesift.pictures.jpeg_frame import COEFFICIENTS, JpegFrame
from framesift.pictures.picture_limits import BadPicture

_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # ends a scan: neither a stuffed byte nor a restart marker
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended, progressive: known to every decoder
_OTHER_FRAMES = {0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)}
EOI, SOS, DRI = 0xD9, 0xDA, 0xDD
_DHT, _DQT, _COM = 0xC4, 0xDB, 0xFE
_APP0, _APP1, _APP14 = 0xE0, 0xE1, 0xEE
_APPLICATION = range(0xE0, 0xF0)
_JFIF_BYTES, _ADOBE_BYTES = 14, 12
ENDS_EARLY = "its data end early, before its end marker"
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
class JpegSegment:
    """A marker with its data. start, end: where it lies in the file; of a scan up to the next marker.

    scan_at: where the data behind a scan's header begin; else the end.
    """

    code: int
    data: bytes
    start: int
    scan_at: int
    end: int


def parse_jpeg(content: bytes) -> JpegFile:
    """Read the structure. Raises BadPicture for what is not a whole JPEG of a kind that every program reads."""
    frame: JpegFrame | None = None
    scans = interval = 0
    progress = _ScanProgress()
    orientations: set[int] = set()
    colours = _Colours()
    is_usual = True
    has_tables = False
    parts: list[tuple[bytes | memoryview, bool]] = [(content[:2], False)]  # with whether it is EXIF
    whole = memoryview(content)
    for segment in jpeg_segments(content):
        part: bytes | memoryview | None = whole[segment.start : segment.end]
        code = segment.code
        if code in _OTHER_FRAMES:
            raise BadPicture("it is a JPEG of a kind that few programs read (arithmetic, lossless, hierarchical)")
        if code in FRAMES:
            if frame is not None:
                raise BadPicture("it has two frame headers")
            frame = JpegFrame.parse(code, segment.data)
            colours.set_frame(segment.data)
        elif code == SOS:
            scans += 1
            if frame is None:
                raise BadPicture("it has scans without a size")
            progress.add(frame, segment.data)
            _check_restarts(content, segment, frame, interval)
        elif code == DRI:
            interval = int.from_bytes(segment.data[:2], "big")
        elif code in _APPLICATION or code == _COM:
            part = _needed_part(segment, whole)
            colours.add(code, part)
            if code == _APP1:
                orientations.add(read_orientation(segment.data))
                parts.append((whole[segment.start : segment.end], True))
        elif code == _DHT:
            has_tables = True
        elif code not in (_DQT, EOI):
            is_usual = False
        if part is not None:
            parts.append((part, False))
    if frame is None or not scans:
        raise BadPicture("it holds no picture")
    if not progress.is_complete(frame):
        raise BadPicture(ENDS_EARLY)
    orientation = (orientations or {UPRIGHT}).pop() if len(orientations) <= 1 else UNKNOWN
    return JpegFile(
        content=b"".join(part for part, is_exif in parts if not is_exif or orientation == UNKNOWN),
        width=frame.width,
        height=frame.height,
        orientation=orientation,
        scans=scans,
        is_progressive=frame.is_progressive or scans > 1,
        is_plain=is_usual and has_tables and colours.are_usual,
    )


def jpeg_segments(content: bytes) -> Iterator[JpegSegment]:
    """Yield all segments, the end's marker last. Raises BadPicture."""
    position = 2
    code = 0
    while code != EOI:
        start = position
        code, position = _marker(content, position)
        data = b""
        if code != EOI:
            data, position = _data(content, position)
        scan_at = position
        if code == SOS:
            found = _MARKER.search(content, position)
            if found is None:
                raise BadPicture("its end is missing")
            position = found.start()
        yield JpegSegment(code, data, start, scan_at, position)


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


def _check_restarts(content: bytes, segment: JpegSegment, frame: JpegFrame, interval: int) -> None:
    """Raise BadPicture if a scan has fewer restart markers than its size demands. interval: units between them."""
    across, down = frame.units(frame.components_of(segment.data))
    if interval and len(RESTART.findall(content, segment.scan_at, segment.end)) < (across * down - 1) // interval:
        raise BadPicture(ENDS_EARLY)


def _needed_part(segment: JpegSegment, whole: memoryview) -> bytes | memoryview | None:
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


class _ScanProgress:
    """Which bits of which coefficients the scans have brought. Programs write all; a file that was cut lacks some."""

    def __init__(self) -> None:
        self._bits_left: dict[tuple[int, int], int] = {}  # of a component's coefficient

    def add(self, frame: JpegFrame, scan: bytes) -> None:
        """Add a scan. scan: the data of its header."""
        components = frame.components_of(scan)
        first, last, bits = scan[-3:] if frame.is_progressive else (0, COEFFICIENTS - 1, 0)
        for component in components:
            self._bits_left.update(((component, k), bits & 15) for k in range(first, last + 1))

    def is_complete(self, frame: JpegFrame) -> bool:
        """Whether nothing is left to come."""
        wanted = ((component, k) for component in frame.samplings for k in range(COEFFICIENTS))
        return all(self._bits_left.get(coefficient) == 0 for coefficient in wanted)


class _Colours:
    """What the application data say of the colours."""

    def __init__(self) -> None:
        self._frame = b""
        self._has_jfif = False
        self._transforms: set[int] = set()

    def set_frame(self, frame: bytes) -> None:
        """frame: the data of the frame header."""
        self._frame = frame

    def add(self, code: int, part: bytes | memoryview | None) -> None:
        """Add application data of which `part` is kept."""
        if part is not None and code == _APP0:
            self._has_jfif = True
        elif part is not None and code == _APP14:
            self._transforms.add(part[-1])

    @property
    def are_usual(self) -> bool:
        """Whether all viewers agree: grey, or YCbCr by all that is said."""
        frame = self._frame
        if frame[5] == 1:
            return True
        if frame[5] != 3 or self._transforms - {1}:
            return False
        return self._has_jfif or bool(self._transforms) or tuple(frame[6::3]) == (1, 2, 3)

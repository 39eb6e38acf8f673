"""Tells whether a JPEG's data end before its end marker: decoders show grey from there on, and report nothing.

Where the last unit of the data is not grey, the data are complete, but for the unit itself. Where it is, the part is
decoded once more with other data behind it: whatever was complete stays as it was. Restart markers divide the data into
parts that end for themselves; how many there must be is known from the headers (see jpeg_file).

What can't be told: data that end in the very last unit of a part; those of a JPEG of several scans (progressive) that
end in its last scan (one whose last scans are missing is told by its headers); CMYK; what is turned in a way that only
the decoder knows; parts that can't be arranged as a picture, and grey ones after the first thousand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from framesift.frame import Pixels
from framesift.pictures.jpeg_file import DRI, EOI, FRAMES, RESTART, SOS, JpegSegment, jpeg_segments
from framesift.pictures.jpeg_frame import BLOCK, JpegFrame

_MAX_SIDE = 65_500  # of the decoder
_LOOKED_AT_AT_ONCE = 4096  # units: their pixels are copied
_MAX_SUSPECTS = 1000  # parts that are decoded once more: a grey picture may have a part for each unit
_GREY, _GREY_WITHIN = 128.0, 1.5
_LUMA = np.array((0.114, 0.587, 0.299))  # of blue, green, red
_END = bytes((0xFF, EOI))
# Any data but FF, which begins markers. So much that a picture goes on for many units.
_OTHER_DATA = np.random.default_rng(0).integers(0, 255, 1 << 16, np.uint8).tobytes()


@dataclass(frozen=True, slots=True)
class _Sequential:
    """A JPEG of one scan. head: all before the scan's data, without a restart interval. frame_at: of its header."""

    frame: JpegFrame
    head: bytes
    frame_at: int
    data: memoryview
    components: list[int]
    interval: int

    def ends(self) -> NDArray[np.intp]:
        """The numbers of the units that end a part."""
        across, down = self.frame.units(self.components)
        interval = self.interval or across * down
        return np.minimum(np.arange(interval, across * down + interval, interval), across * down) - 1

    def parts(self) -> Iterator[memoryview]:
        """Yield the data of each part, without the markers between them."""
        begin = 0
        for marker in RESTART.finditer(self.data) if self.interval else ():
            yield self.data[begin : marker.start()]
            begin = marker.end()
        yield self.data[begin:]

    def head_for(self, units: int) -> bytes | None:
        """The head of a picture of so many units; None if they can't be arranged as one."""
        if not self.interval:
            return self.head
        unit_width, unit_height = self.frame.unit_size(self.components)
        for across in range(1, 17):
            if units % across == 0 and units // across * unit_height <= _MAX_SIDE:
                size = (units // across * unit_height).to_bytes(2, "big") + (across * unit_width).to_bytes(2, "big")
                return self.head[: self.frame_at] + size + self.head[self.frame_at + 4 :]
        return None


def ends_early(content: bytes, pixels: Pixels, fraction: int = 1) -> bool:
    """Whether the data of a JPEG end before its end marker.

    content: a file of which jpeg_file has read the structure. pixels: as decoded, not turned, at this fraction (1, 2, 4
    or 8) of width and height.
    """
    jpeg = _sequential(content)
    if jpeg is None:
        return False
    ends = jpeg.ends()
    at_once = range(0, len(ends), _LOOKED_AT_AT_ONCE)
    found = [
        first + np.flatnonzero(_are_grey(jpeg, ends[first : first + _LOOKED_AT_AT_ONCE], pixels, fraction))
        for first in at_once
    ]
    suspects = np.concatenate(found)[:_MAX_SUSPECTS]
    if not len(suspects):
        return False
    parts = list(jpeg.parts())
    lengths = np.diff(ends, prepend=-1)
    return any(_reads_beyond(jpeg, parts[n], int(lengths[n])) for n in suspects if n < len(parts))


def _sequential(content: bytes) -> _Sequential | None:
    """Return the JPEG if it is one of which something can be told."""
    frame: JpegFrame | None = None
    frame_at = interval = 0
    scan: JpegSegment | None = None
    head = bytearray(content[:2])
    for segment in jpeg_segments(content):
        if scan is not None and segment.code == SOS:
            return None
        if segment.code == SOS:
            scan = segment
            head += content[segment.start : segment.scan_at]
        elif segment.code == DRI:
            interval = int.from_bytes(segment.data[:2], "big")
        elif scan is None:
            head += content[segment.start : segment.end]
        if segment.code in FRAMES:
            frame = JpegFrame.parse(segment.code, segment.data)
            frame_at = len(head) - len(segment.data) + 1
    if frame is None or scan is None or frame.is_progressive or len(frame.samplings) == 4:
        return None
    components = frame.components_of(scan.data)
    if len(components) > 1 and next(iter(frame.samplings.values())) != frame.most_samples:
        return None  # the first component is brightness, which has to be the finest
    data = memoryview(content)[scan.scan_at : scan.end]
    return _Sequential(frame, bytes(head), frame_at, data, components, interval)


def _are_grey(jpeg: _Sequential, ends: NDArray[np.intp], pixels: Pixels, fraction: int) -> NDArray[np.bool_]:
    """Whether the first block of each of these units has the brightness of nothing; colours bleed from beside it."""
    across, _ = jpeg.frame.units(jpeg.components)
    unit_width, unit_height = jpeg.frame.unit_size(jpeg.components)
    inside = np.arange(max(1, BLOCK // fraction))
    rows = ends[:, None] // across * (unit_height // fraction) + inside
    columns = ends[:, None] % across * (unit_width // fraction) + inside
    height, width = pixels.shape[:2]
    blocks = pixels[np.minimum(rows, height - 1)[:, :, None], np.minimum(columns, width - 1)[:, None, :]]
    return np.asarray((np.abs(blocks @ _LUMA - _GREY) <= _GREY_WITHIN).all(axis=(1, 2)), np.bool_)


def _reads_beyond(jpeg: _Sequential, data: memoryview, units: int) -> bool:
    """Whether a part is another picture with other data behind it.

    Without an end marker behind these, since a decoder says on stderr what it skipped before one.
    """
    head = jpeg.head_for(units)
    if head is None:
        return False
    begun = head + bytes(data)
    alone = _decoded(begun + _END)
    followed = _decoded(begun + _OTHER_DATA)
    if followed is None:  # a decoder that wants the marker
        followed = _decoded(begun + _OTHER_DATA + _END)
    return alone is None or followed is None or not np.array_equal(alone, followed)


def _decoded(content: bytes) -> NDArray[np.generic] | None:
    try:
        kind = cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION
        return cv2.imdecode(np.frombuffer(content, np.uint8), kind)
    except cv2.error:
        return None

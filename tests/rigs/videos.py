"""Short clips of one kind of video each, whose pictures say their number and have four fields of known colours."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray

from rigs.footage import draw_number

WIDTH, HEIGHT = 320, 192
COLOURS = ((40, 60, 200), (60, 190, 60), (200, 90, 40), (180, 180, 180))  # BGR, of four fields side by side
_PICTURES_PER_KEY_FRAME = 6


@dataclass(frozen=True)
class Video:
    """How a clip is written. times: of its pictures, in 1/1000 s; 25 a second unless they are given."""

    name: str
    codec: str = "libx264"
    suffix: str = "mp4"
    pixel_format: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    size: tuple[int, int] = (WIDTH, HEIGHT)
    interlaced: bool = False
    times: Sequence[int] = ()
    is_grey: bool = False
    pixel_aspect: Fraction | None = None

    def write(self, folder: Path, count: int = 12, *, first: int = 0) -> Path:
        """Write the clip of so many pictures, the first of which has the number `first`."""
        path = folder / f"clip.{self.suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(self.codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = *self.size, self.pixel_format
            stream.options, stream.gop_size, stream.bit_rate = dict(self.options), _PICTURES_PER_KEY_FRAME, 4_000_000
            if self.times:
                stream.codec_context.time_base = Fraction(1, 1000)
            if self.interlaced:
                stream.codec_context.flags |= Flags.interlaced_dct | Flags.interlaced_me
            if self.pixel_aspect is not None:
                stream.codec_context.sample_aspect_ratio = self.pixel_aspect
            for index in range(len(self.times) or count):
                frame = av.VideoFrame.from_ndarray(drawn(first + index, self.size), format="bgr24")
                frame = frame.reformat(format=self.pixel_format)
                if self.times:
                    frame.pts, frame.time_base = self.times[index], Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path


def drawn(number: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> NDArray[np.uint8]:
    """The picture of this number, BGR. size: (width, height)."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    for index, colour in enumerate(COLOURS):
        pixels[:, index * width // 4 : (index + 1) * width // 4] = colour
    draw_number(pixels, number)
    return pixels


def field_colours(pixels: NDArray[np.uint8], fields: int = len(COLOURS)) -> NDArray[np.float64]:
    """The mean colours, BGR, of so many fields side by side, away from their edges and from the number."""
    height, width = pixels.shape[:2]
    found = [
        pixels[height // 2 : height - 8, index * width // fields + 8 : (index + 1) * width // fields - 8]
        for index in range(fields)
    ]
    return np.array([colours.reshape(-1, 3).mean(axis=0) for colours in found])


def shows_the_colours(pixels: NDArray[np.uint8], *, is_grey: bool = False, tolerance: int = 12) -> bool:
    """Whether the fields of a picture have the colours that were drawn."""
    wanted = np.array(COLOURS, np.float64)
    if is_grey:
        wanted = (wanted @ (0.114, 0.587, 0.299))[:, None].repeat(3, axis=1)
    return bool(np.abs(field_colours(pixels) - wanted).max() <= tolerance)


def set_display_matrix(clip: Path, a: int, b: int, c: int, d: int) -> Path:
    """Let an MP4 file ask for its pictures to be shown at (a x + c y, b x + d y)."""
    data = bytearray(clip.read_bytes())
    matrix = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, data.index(b"tkhd") + 44, *matrix)
    clip.write_bytes(data)
    return clip


def cut_by_edit_list(clip: Path, seconds: float) -> Path:
    """Let an MP4 file of our own begin so much later: all of its data stays, and is needed for what is shown."""
    with av.open(str(clip)) as container:
        time_base = container.streams.video[0].time_base
    assert time_base is not None
    data = bytearray(clip.read_bytes())
    at = data.index(b"elst") + 16
    (begin,) = struct.unpack_from(">i", data, at)
    struct.pack_into(">i", data, at, begin + round(seconds / time_base))
    clip.write_bytes(data)
    return clip


def joined_in_one_stream(path: Path, videos: Sequence[Video], count: int) -> Path:
    """Write H.264 clips of so many pictures each as one stream: what they differ in stands in the stream alone.

    That is what a camera sends whose settings are changed while somebody watches it. Numbers and times go on.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *videos[0].size, videos[0].pixel_format
        number = 0
        for video in videos:
            encoder = av.CodecContext.create("libx264", "w")
            encoder.width, encoder.height, encoder.pix_fmt = *video.size, video.pixel_format
            encoder.framerate, encoder.time_base, encoder.gop_size = Fraction(25), Fraction(1, 25), count
            encoder.color_range = 2 if "yuvj" in video.pixel_format else 1  # full, limited
            encoder.colorspace = 5  # x264 states the range only beside it
            encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "repeat-headers=1"}
            for _ in range(count):
                frame = av.VideoFrame.from_ndarray(drawn(number, video.size), format="bgr24")
                frame = frame.reformat(format=video.pixel_format)
                frame.pts, frame.time_base = number, Fraction(1, 25)
                for packet in encoder.encode(frame):  # without latency: each frame's packet at once
                    packet.stream, packet.time_base = stream, Fraction(1, 25)
                    container.mux(packet)
                number += 1
    return path

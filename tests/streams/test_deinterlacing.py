"""Interlaced pictures of what moves: the two fields of each show two moments, and must not be shown as one comb."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.codec.context import Flags

from framesift.frame import Pixels
from rigs.footage import draw_number, read_number
from rigs.stream_reader import RecordedStream

WIDTH, HEIGHT, STEP, COUNT = 320, 192, 12, 12
BAR = 40  # pixels


def moment(number: int, half: int) -> Pixels:
    """The scene at the time of a field: a light bar that moves to the right before a dark ground."""
    pixels = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    left = (2 * number + half) * STEP // 2
    pixels[32:, left : left + BAR] = 220
    draw_number(pixels, number)
    return pixels


def interlaced_clip(path: Path, codec: str, *, upper_first: bool) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", 8_000_000
        stream.gop_size = 6
        if codec == "libx264":
            order = "tff=1" if upper_first else "bff=1"
            stream.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": order}
        stream.codec_context.flags |= Flags.interlaced_dct | Flags.interlaced_me
        for number in range(COUNT):
            pixels = moment(number, 0 if upper_first else 1)
            pixels[1::2] = moment(number, 1 if upper_first else 0)[1::2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def comb(pixels: Pixels) -> float:
    """By how much lines differ from the mean of those above and below, at the most in any column."""
    light = pixels[40:-8, :, 1].astype(float)
    return float(np.abs(light[1:-1] - (light[:-2] + light[2:]) / 2).mean(axis=0).max())


@pytest.mark.parametrize(
    ("codec", "suffix", "upper_first"),
    [("libx264", "mp4", True), ("libx264", "mp4", False), ("libx264", "ts", True), ("mpeg2video", "ts", False)],
)
def test_pictures_with_motion_show_no_comb(tmp_path: Path, codec: str, suffix: str, upper_first: bool) -> None:
    clip = interlaced_clip(tmp_path / f"clip.{suffix}", codec, upper_first=upper_first)
    numbers, combs = [], []
    for frame in RecordedStream(source=str(clip), engine="av").stream.frames():
        numbers.append(read_number(frame.pixels))
        combs.append(comb(frame.pixels))
        bar = np.flatnonzero(frame.pixels[HEIGHT // 2, :, 1] > 130)
        left = numbers[-1] * STEP
        assert left - 2 <= bar[0] <= left + STEP // 2 + 2, "it is the moment of the first field"
    assert numbers == list(range(COUNT))
    assert max(combs) < 12


def test_opencv_shows_both_moments_as_the_documentation_says(tmp_path: Path) -> None:
    clip = interlaced_clip(tmp_path / "clip.mp4", "libx264", upper_first=True)
    combs = [comb(frame.pixels) for frame in RecordedStream(source=str(clip), engine="opencv").stream.frames()]
    assert len(combs) == COUNT
    assert min(combs) > 60

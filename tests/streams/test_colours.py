"""Colours: what a picture's own matrix, range and depth say, compared with the formulas of the standards.

A clip's samples are computed here from known colours (ITU-R BT.601, BT.709 and BT.2020; HLG and PQ are stored like the
last), so that no library's conversion is compared with itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from rigs.stream_reader import RecordedStream
from rigs.videos import field_colours

ENGINES = ("av", "opencv")
WIDTH, HEIGHT = 320, 192
BLACK, WHITE, RED, CYAN = (0, 0, 0), (255, 255, 255), (0, 0, 255), (255, 255, 0)  # BGR
COLOURS = np.array([(40, 60, 200), (60, 190, 60), (200, 90, 40), (180, 180, 180), BLACK, WHITE, RED, CYAN], float)
# The shares of red and blue in the light, and the number of the matrix in FFmpeg.
MATRICES = {
    "bt601": (0.299, 0.114, 5),
    "bt709": (0.2126, 0.0722, 1),
    "bt2020": (0.2627, 0.0593, 9),
    "not said": (0.299, 0.114, 2),
}
TRANSFERS = {"": 2, "PQ": 16, "HLG": 18}
EXACT = 3  # of 255: the rounding of 8 bit and of the conversion
LOSSLESS = {"preset": "ultrafast", "qp": "0"}
LOSSLESS_265 = {"preset": "ultrafast", "x265-params": "log-level=error:lossless=1"}
VP9 = {"deadline": "realtime", "cpu-used": "8", "lossless": "1"}


@dataclass(frozen=True)
class Kind:
    """How colours are stored. opencv_error: by how much of 255 OpenCV below 4.13 is wrong, as docs/streams.md says."""

    matrix: str
    is_full: bool = False
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    transfer: str = ""
    options: dict[str, str] = field(default_factory=lambda: LOSSLESS)
    opencv_error: int = EXACT
    interlaced: bool = False

    def __str__(self) -> str:
        extent = "full" if self.is_full else "limited"
        words = (self.matrix, extent, self.codec, self.pixel_format, self.transfer, "interlaced" * self.interlaced)
        return " ".join(word for word in words if word)

    def write(self, path: Path) -> Path:
        depth = 12 if "12" in self.pixel_format else 10 if "10" in self.pixel_format else 8
        planes = samples(self.matrix, is_full=self.is_full, depth=depth)
        if "444" not in self.pixel_format:
            rows = 1 if "422" in self.pixel_format else 2
            planes = [planes[0], *(plane[::rows, ::2] for plane in planes[1:])]
        with av.open(str(path), "w") as container:
            stream = container.add_stream(self.codec, rate=25)
            stream.width, stream.height, stream.pix_fmt, stream.options = WIDTH, HEIGHT, self.pixel_format, self.options
            self._mark(stream.codec_context)
            if self.interlaced:
                stream.codec_context.flags |= av.codec.context.Flags.interlaced_dct
            for _ in range(3):
                frame = av.VideoFrame(WIDTH, HEIGHT, self.pixel_format)
                self._mark(frame)
                for plane, values in zip(frame.planes, planes, strict=True):
                    plane.update(padded(values, plane.line_size))
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    def _mark(self, target: Any) -> None:
        target.colorspace = MATRICES[self.matrix][2]
        target.color_range = 2 if self.is_full else 1
        target.color_trc = TRANSFERS[self.transfer]
        target.color_primaries = 9 if self.matrix == "bt2020" else 2


def samples(matrix: str, *, is_full: bool, depth: int) -> list[NDArray[np.uint16]]:
    """The planes of light and of the two differences of colour, for COLOURS side by side."""
    red_share, blue_share, _ = MATRICES[matrix]
    blue, green, red = COLOURS.T / 255
    light = red_share * red + (1 - red_share - blue_share) * green + blue_share * blue
    differences = (blue - light) / (1 - blue_share) / 2, (red - light) / (1 - red_share) / 2
    step, most = 2 ** (depth - 8), 2**depth - 1
    if is_full:
        planes = [light * most, *(difference * most + 128 * step for difference in differences)]
    else:
        planes = [(16 + 219 * light) * step, *((128 + 224 * difference) * step for difference in differences)]
    across = np.arange(WIDTH) * len(COLOURS) // WIDTH
    return [np.clip(np.rint(plane), 0, most).astype(np.uint16)[across][None].repeat(HEIGHT, axis=0) for plane in planes]


def padded(values: NDArray[np.uint16], line_bytes: int) -> bytes:
    """The bytes of a plane, each line of so many."""
    stored = values.astype(np.uint8) if line_bytes < 2 * values.shape[1] else values
    lines = np.ascontiguousarray(stored).view(np.uint8).reshape(len(values), -1)
    return np.pad(lines, ((0, 0), (0, line_bytes - lines.shape[1]))).tobytes()


KINDS = [
    Kind("bt601"),
    Kind("bt601", is_full=True),
    Kind("bt601", codec="libvpx-vp9", options=VP9),
    Kind("bt601", is_full=True, codec="libvpx-vp9", options=VP9, opencv_error=16),
    Kind("bt601", interlaced=True),
    Kind("not said"),
    Kind("not said", pixel_format="yuv420p10le", codec="libx265", options=LOSSLESS_265),
    Kind("bt709", opencv_error=25),
    Kind("bt709", is_full=True, opencv_error=25),
    Kind("bt709", pixel_format="yuv422p", opencv_error=25),
    Kind("bt709", pixel_format="yuv444p", opencv_error=25),
    Kind("bt709", interlaced=True, opencv_error=25),
    Kind("bt709", pixel_format="yuv420p10le", codec="libx265", options=LOSSLESS_265, opencv_error=25),
    Kind("bt709", is_full=True, pixel_format="yuv420p10le", opencv_error=40),
    Kind("bt709", pixel_format="yuv444p12le", codec="libx265", options=LOSSLESS_265, opencv_error=25),
    Kind("bt2020", opencv_error=25),
    Kind("bt2020", transfer="HLG", pixel_format="yuv420p10le", codec="libx265", options=LOSSLESS_265, opencv_error=25),
    Kind("bt2020", transfer="PQ", pixel_format="yuv420p10le", codec="libx265", options=LOSSLESS_265, opencv_error=25),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_colours_are_what_the_video_says_of_itself(tmp_path: Path, kind: Kind, engine: str) -> None:
    clip = kind.write(tmp_path / ("clip.webm" if "vp9" in kind.codec else "clip.mp4"))
    watched = RecordedStream(source=str(clip), engine=engine)
    allowed = EXACT if engine == "av" else kind.opencv_error
    count = 0
    for frame in watched.stream.frames():
        assert np.abs(field_colours(frame.pixels, len(COLOURS)) - COLOURS).max() <= allowed
        count += 1
    assert count == 3

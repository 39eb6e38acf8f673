"""Pictures and their times, of the kinds of video that cameras, recorders and telephones write, with both engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.codec.context import Flags
from numpy.typing import NDArray

from framesift.streams.stream_settings import StreamSettings
from rigs.footage import draw_number, growing_clip, read_number
from rigs.stream_reader import RecordedStream

ENGINES = ("av", "opencv")
WIDTH, HEIGHT = 320, 192
COLOURS = ((40, 60, 200), (60, 190, 60), (200, 90, 40), (180, 180, 180))  # BGR, of four fields side by side


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

    def write(self, folder: Path, count: int = 12) -> Path:
        path = folder / f"clip.{self.suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(self.codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = *self.size, self.pixel_format
            stream.options, stream.gop_size, stream.bit_rate = dict(self.options), 6, 4_000_000
            if self.times:
                stream.codec_context.time_base = Fraction(1, 1000)
            if self.interlaced:
                stream.codec_context.flags |= Flags.interlaced_dct | Flags.interlaced_me
            for index in range(len(self.times) or count):
                frame = av.VideoFrame.from_ndarray(drawn(index, self.size), format="bgr24")
                frame = frame.reformat(format=self.pixel_format)
                if self.times:
                    frame.pts, frame.time_base = self.times[index], Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path


def drawn(number: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> NDArray[np.uint8]:
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    for index, colour in enumerate(COLOURS):
        pixels[:, index * width // 4 : (index + 1) * width // 4] = colour
    draw_number(pixels, number)
    return pixels


def shows_the_colours(pixels: NDArray[np.uint8], *, is_grey: bool, tolerance: int = 12) -> bool:
    height, width = pixels.shape[:2]
    for index, (blue, green, red) in enumerate(COLOURS):
        field_ = pixels[height // 2 : height - 8, index * width // 4 + 8 : (index + 1) * width // 4 - 8]
        light = round(0.114 * blue + 0.587 * green + 0.299 * red)
        wanted = np.array([light] * 3 if is_grey else [blue, green, red])
        if np.abs(field_.reshape(-1, 3).mean(axis=0) - wanted).max() > tolerance:
            return False
    return True


X264 = {"preset": "ultrafast"}
VIDEOS = [
    Video("h264", options=X264),
    Video("h264 with B-frames", options={"preset": "fast", "bf": "3", "b-pyramid": "normal"}),
    Video("h264 4:4:4", pixel_format="yuv444p", options=X264),
    Video("h264 4:2:2", pixel_format="yuv422p", options=X264),
    Video("h264 10 bit", pixel_format="yuv420p10le", options=X264),
    Video("h264 full range", pixel_format="yuvj420p", options=X264),
    Video("h264 in ts, which begins at 1.4 s", suffix="ts", options=X264),
    Video("h264 in mkv", suffix="mkv", options=X264),
    Video("h264 in avi", suffix="avi", options={**X264, "bf": "0"}),
    Video("h264 of odd size", size=(321, 193), pixel_format="yuv444p", options=X264),
    Video("h264 interlaced", interlaced=True, options={**X264, "tune": "zerolatency"}),
    Video("mpeg2 interlaced", codec="mpeg2video", suffix="ts", interlaced=True),
    Video("hevc", codec="libx265", options={**X264, "x265-params": "log-level=error"}),
    Video(
        "hevc 10 bit", codec="libx265", pixel_format="yuv420p10le", options={**X264, "x265-params": "log-level=error"}
    ),
    Video("mpeg4", codec="mpeg4"),
    Video("mpeg2", codec="mpeg2video", suffix="ts"),
    Video("mjpeg", codec="mjpeg", suffix="avi", pixel_format="yuvj420p"),
    Video("mjpeg 4:2:2", codec="mjpeg", suffix="mkv", pixel_format="yuvj422p"),
    Video("vp8", codec="libvpx", suffix="webm", options={"deadline": "realtime"}),
    Video("vp9", codec="libvpx-vp9", suffix="webm", options={"deadline": "realtime", "cpu-used": "8"}),
    Video("lossless with alpha", codec="ffv1", suffix="mkv", pixel_format="bgra"),
    Video("lossless rgb", codec="ffv1", suffix="mkv", pixel_format="bgr0"),
    Video("grey", codec="ffv1", suffix="mkv", pixel_format="gray", is_grey=True),
    Video("png with alpha", codec="png", suffix="mov", pixel_format="rgba"),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("video", VIDEOS, ids=[video.name for video in VIDEOS])
def test_each_picture_comes_once_in_order_in_the_drawn_colours_at_its_time(
    tmp_path: Path, video: Video, engine: str
) -> None:
    watched = RecordedStream(source=str(video.write(tmp_path)), engine=engine)
    seen = []
    for frame in watched.stream.frames():
        seen.append((read_number(frame.pixels), round(frame.media_s or 0.0, 2)))
        assert frame.pixels.shape == (video.size[1], video.size[0], 3)
        assert shows_the_colours(frame.pixels, is_grey=video.is_grey), frame.number
    assert seen == [(index, round(index / 25, 2)) for index in range(12)]
    assert not watched.skipped


TIMES = {
    "variable rate": [0, 20, 100, 130, 500, 510, 900, 1000],
    "a gap of a minute": [0, 40, 80, 120, 60_120, 60_160, 60_200],
    "one picture in ten seconds": [0, 10_000, 20_000, 30_000],
}


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_a_file_has_the_times_of_its_container(tmp_path: Path, times: list[int], suffix: str) -> None:
    video = Video("", suffix=suffix, times=times, options={**X264, "bf": "2"})
    watched = RecordedStream(source=str(video.write(tmp_path)), engine="av")
    seen = [(read_number(frame.pixels), round((frame.media_s or 0.0) * 1000)) for frame in watched.stream.frames()]
    assert seen == list(enumerate(times))


def test_fps_thins_a_file_by_the_times_of_its_container(tmp_path: Path) -> None:
    video = Video("", times=[0, 40, 80, 1000, 1040, 61_000, 61_500, 62_000], options=X264)
    watched = RecordedStream(source=str(video.write(tmp_path)), engine="av", fps=1.0)
    assert [read_number(frame.pixels) for frame in watched.stream.frames()] == [0, 3, 5, 7]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_pictures_are_turned_as_the_settings_say(tmp_path: Path, engine: str, degrees: int) -> None:
    watched = RecordedStream(source=str(VIDEOS[0].write(tmp_path)), engine=engine, rotate=degrees)
    for number, frame in enumerate(watched.stream.frames()):
        upright = np.rot90(frame.pixels, degrees // 90)
        assert read_number(upright) == number
        assert shows_the_colours(upright, is_grey=False)


def test_a_change_of_size_in_mid_stream_is_a_new_epoch_with_the_right_pictures(tmp_path: Path) -> None:
    watched = RecordedStream(source=str(growing_clip(tmp_path / "clip.mp4", 25, 25)), engine="av")
    seen = [(read_number(frame.pixels), frame.pixels.shape[:2], frame.epoch) for frame in watched.stream.frames()]
    assert seen == [(n, (192, 320), 0) if n < 25 else (n, (384, 640), 1) for n in range(50)]


@pytest.mark.parametrize("options", [{**X264, "bf": "0"}, {"preset": "fast", "bf": "3"}], ids=["simple", "B-frames"])
def test_only_key_frames_are_decoded_where_nothing_else_is_wanted(tmp_path: Path, options: dict[str, str]) -> None:
    video = Video("", options={**options, "sc_threshold": "0"})
    watched = RecordedStream(source=str(video.write(tmp_path, 30)), engine="av", decode="keyframes")
    assert [read_number(frame.pixels) for frame in watched.stream.frames()] == [0, 6, 12, 18, 24]


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_of_the_decoder_change_no_picture(tmp_path: Path, threads: int) -> None:
    video = Video("", options={"preset": "fast", "bf": "3"})
    watched = RecordedStream(source=str(video.write(tmp_path, 40)), engine="av", threads=threads)
    assert [read_number(frame.pixels) for frame in watched.stream.frames()] == list(range(40))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": 0, "engine": "av"}, "engine av reads no webcams"),
        ({"engine": "opencv", "decode": "keyframes"}, "decode: keyframes need the engine av; engine is opencv"),
        ({"engine": "opencv", "threads": 2, "show_damaged": True}, "threads and show_damaged need the engine av"),
        ({"source": 0, "threads": 2}, "threads need the engine av; webcams"),
    ],
)
def test_what_an_engine_can_not_do_is_an_error_of_the_settings(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamSettings.model_validate({"name": "gate", "source": "clip.mp4", **options})

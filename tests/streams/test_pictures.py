"""Pictures and their times, of the kinds of video that cameras, recorders and telephones write, with both engines."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from exhaustive import some_of
from framesift.frame import Frame, Pixels
from framesift.streams import StreamLost
from framesift.streams.stream_settings import StreamSettings
from rigs.footage import read_number, sparse_clip
from rigs.stream_reader import RecordedStream
from rigs.videos import Video, cut_by_edit_list, set_display_matrix, shows_the_colours

ENGINES = ("av", "opencv")
X264 = {"preset": "ultrafast"}
X265 = {**X264, "x265-params": "log-level=error"}
VPX = {"deadline": "realtime", "cpu-used": "8"}
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
    Video("h264 with intra refresh", options={**X264, "bf": "0", "intra-refresh": "1"}),
    Video("h264 with open groups", options={"preset": "fast", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}),
    Video("h264 of pixels that are not square", pixel_aspect=Fraction(16, 11), options=X264),
    Video("hevc", codec="libx265", options=X265),
    Video("hevc 10 bit", codec="libx265", pixel_format="yuv420p10le", options=X265),
    Video("hevc 12 bit 4:4:4", codec="libx265", pixel_format="yuv444p12le", options=X265),
    Video("hevc with open groups", codec="libx265", options={**X264, "x265-params": "log-level=error:open-gop=1"}),
    Video("mpeg4", codec="mpeg4"),
    Video("mpeg1", codec="mpeg1video", suffix="mpg"),
    Video("mpeg2", codec="mpeg2video", suffix="ts"),
    Video("mjpeg", codec="mjpeg", suffix="avi", pixel_format="yuvj420p"),
    Video("mjpeg 4:2:2", codec="mjpeg", suffix="mkv", pixel_format="yuvj422p"),
    Video("vp8", codec="libvpx", suffix="webm", options=VPX),
    Video("vp9", codec="libvpx-vp9", suffix="webm", options=VPX),
    Video("vp9 with alpha", codec="libvpx-vp9", suffix="webm", pixel_format="yuva420p", options=VPX),
    Video("lossless with alpha", codec="ffv1", suffix="mkv", pixel_format="bgra"),
    Video("lossless rgb", codec="ffv1", suffix="mkv", pixel_format="bgr0"),
    Video("grey", codec="ffv1", suffix="mkv", pixel_format="gray", is_grey=True),
    Video("lossless of odd size", codec="ffv1", suffix="mkv", size=(321, 193)),
    Video("grey 10 bit", pixel_format="gray10le", options=X264, is_grey=True),
    Video("grey 16 bit", codec="ffv1", suffix="mkv", pixel_format="gray16le", is_grey=True),
    Video("png with alpha", codec="png", suffix="mov", pixel_format="rgba"),
    Video("png 16 bit", codec="png", suffix="mov", pixel_format="rgb48be"),
    Video("png grey with alpha", codec="png", suffix="mov", pixel_format="ya8", is_grey=True),
    Video("prores 10 bit 4:4:4 with alpha", codec="prores_ks", suffix="mov", pixel_format="yuva444p10le"),
    Video("quicktime animation with alpha", codec="qtrle", suffix="mov", pixel_format="argb"),
    Video("cineform", codec="cfhd", suffix="mov", pixel_format="yuv422p10le"),
    Video("mjpeg of odd size", codec="mjpeg", suffix="avi", pixel_format="yuvj420p", size=(321, 193)),
]
AV1 = Video("av1", codec="libsvtav1", suffix="mkv", options={"preset": "12"})


def frames(clip: Path, engine: str) -> Iterator[Frame]:
    """The frames of a clip, of which none may be left out."""
    watched = RecordedStream(source=str(clip), engine=engine)
    yield from watched.stream.frames()
    assert not watched.skipped


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "video", some_of(VIDEOS, lambda video: video in VIDEOS[::3]), ids=[video.name for video in VIDEOS]
)
def test_each_picture_comes_once_in_order_in_the_drawn_colours_at_its_time(
    tmp_path: Path, video: Video, engine: str
) -> None:
    assert_as_drawn(video.write(tmp_path), video, engine)


def test_av1_is_right_or_opencv_says_that_it_can_not_decode_it(tmp_path: Path) -> None:
    clip = AV1.write(tmp_path)
    assert_as_drawn(clip, AV1, "av")
    stated = ""
    try:
        assert_as_drawn(clip, AV1, "opencv")
    except StreamLost as lost:  # its wheels have no decoder in software
        stated = str(lost)
    assert stated == "" or stated.endswith("no picture in it could be decoded")


def assert_as_drawn(clip: Path, video: Video, engine: str) -> None:
    seen = []
    for frame in frames(clip, engine):
        seen.append((read_number(frame.pixels), round(frame.media_s or 0.0, 2)))
        assert frame.pixels.shape == (video.size[1], video.size[0], 3)
        assert shows_the_colours(frame.pixels, is_grey=video.is_grey), frame.number
    assert seen == [(index, round(index / 25, 2)) for index in range(12)]


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
        assert shows_the_colours(upright)


ORIENTATIONS = {  # display matrix (a, b, c, d); quarter turns clockwise after mirroring left and right
    "upright": ((1, 0, 0, 1), 0, False),
    "90": ((0, 1, -1, 0), 1, False),
    "180": ((-1, 0, 0, -1), 2, False),
    "270": ((0, -1, 1, 0), 3, False),
    "mirrored": ((-1, 0, 0, 1), 0, True),
    "upside down": ((1, 0, 0, -1), 2, True),
    "mirrored and 90": ((0, -1, -1, 0), 1, True),
    "mirrored and 270": ((0, 1, 1, 0), 3, True),
}


def as_drawn(pixels: Pixels, turns: int, *, mirrored: bool) -> Pixels:
    """Undo what a display matrix asks for."""
    unturned = np.rot90(pixels, turns)
    return unturned[:, ::-1] if mirrored else unturned


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("matrix", "turns", "mirrored"), ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_pictures_stand_as_their_file_says(
    tmp_path: Path, matrix: tuple[int, int, int, int], turns: int, mirrored: bool, engine: str
) -> None:
    clip = set_display_matrix(VIDEOS[0].write(tmp_path, 3), *matrix)
    if engine == "opencv" and mirrored:  # as docs/streams.md says: it turns, and does not mirror
        turns, mirrored = {0: 2, 1: 3, 2: 0, 3: 1}[turns], False
    numbers = []
    for frame in frames(clip, engine):
        pixels = as_drawn(frame.pixels, turns, mirrored=mirrored)
        numbers.append(read_number(pixels))
        assert shows_the_colours(pixels)
    assert numbers == [0, 1, 2]


@pytest.mark.parametrize("engine", ENGINES)
def test_what_an_edit_list_cuts_off_does_not_come(tmp_path: Path, engine: str) -> None:
    clip = cut_by_edit_list(Video("", options={"preset": "fast", "bf": "3"}).write(tmp_path, 40), 10 / 25)
    seen = [(read_number(frame.pixels), round((frame.media_s or 0.0) * 25)) for frame in frames(clip, engine)]
    assert seen == [(10 + index, index) for index in range(30)]


@pytest.mark.parametrize("options", [{**X264, "bf": "0"}, {"preset": "fast", "bf": "3"}], ids=["simple", "B-frames"])
def test_only_key_frames_are_decoded_where_nothing_else_is_wanted(tmp_path: Path, options: dict[str, str]) -> None:
    video = Video("", options={**options, "sc_threshold": "0"})
    watched = RecordedStream(source=str(video.write(tmp_path, 30)), engine="av", decode="keyframes")
    assert [read_number(frame.pixels) for frame in watched.stream.frames()] == [0, 6, 12, 18, 24]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("threads", [1, 4])
def test_threads_of_the_decoder_change_no_picture(tmp_path: Path, threads: int, engine: str) -> None:
    video = Video("", options={"preset": "fast", "bf": "3"})
    watched = RecordedStream(source=str(video.write(tmp_path, 40)), engine=engine, threads=threads)
    assert [read_number(frame.pixels) for frame in watched.stream.frames()] == list(range(40))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": 0, "engine": "av"}, "engine av reads no webcams"),
        ({"engine": "opencv", "decode": "keyframes"}, "decode: keyframes need the engine av; engine is opencv"),
        ({"engine": "opencv", "threads": 2, "show_damaged": True}, ": show_damaged need the engine av"),
        ({"source": 0, "threads": 2}, "threads need the engine av; webcams"),
    ],
)
def test_what_an_engine_can_not_do_is_an_error_of_the_settings(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamSettings.model_validate({"name": "gate", "source": "clip.mp4", **options})


@pytest.mark.parametrize("stated_rate", [1000, 30_000, Fraction(1, 10)])
def test_a_rate_that_the_header_invents_changes_no_time_and_no_choice(tmp_path: Path, stated_rate: int) -> None:
    times_s = [number * 0.04 for number in range(50)]
    clip = str(sparse_clip(tmp_path / "clip.mkv", times_s, stated_rate=stated_rate))
    with av.open(clip) as container:
        assert container.streams.video[0].average_rate == stated_rate
    frames = {read_number(frame.pixels): frame.media_s for frame in RecordedStream(source=clip).stream.frames()}
    assert list(frames) == list(range(50))
    assert list(frames.values()) == pytest.approx(times_s)
    thinned = RecordedStream(source=clip, fps=5)
    assert [read_number(frame.pixels) for frame in thinned.stream.frames()] == list(range(0, 50, 5))

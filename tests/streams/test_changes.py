"""Changes in mid-stream: of the size, the format or the range of the samples, as when a camera is set up anew."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from rigs.footage import growing_clip, read_number
from rigs.rtsp import RtspCamera
from rigs.stream_reader import RecordedStream, close
from rigs.videos import Video, joined_in_one_stream, shows_the_colours

PLAIN = Video("plain")
CHANGES = {
    "4:2:2": Video("", pixel_format="yuv422p"),
    "4:4:4": Video("", pixel_format="yuv444p"),
    "10 bit": Video("", pixel_format="yuv420p10le"),
    "full range": Video("", pixel_format="yuvj420p"),
    "grey": Video("", pixel_format="gray", is_grey=True),
    "larger": Video("", size=(640, 384)),
    "smaller": Video("", size=(304, 160)),
    "upright": Video("", size=(288, 352)),
}


@pytest.mark.parametrize("video", CHANGES.values(), ids=CHANGES)
def test_pictures_are_right_before_and_after_a_change_and_back(tmp_path: Path, video: Video) -> None:
    parts = [PLAIN, video, PLAIN]
    clip = joined_in_one_stream(tmp_path / "clip.mkv", parts, 5)
    watched = RecordedStream(source=str(clip), engine="av")
    changes_size = video.size != PLAIN.size
    for number, frame in enumerate(watched.stream.frames()):
        part = parts[number // 5]
        assert (read_number(frame.pixels), frame.epoch) == (number, number // 5 if changes_size else 0)
        assert frame.pixels.shape == (part.size[1], part.size[0], 3)
        assert shows_the_colours(frame.pixels, is_grey=part.is_grey)
        assert frame.media_s == pytest.approx(number / 25, abs=0.001)
    assert number == 14
    assert not watched.skipped


def test_recordings_that_were_joined_byte_by_byte_are_read_through_with_times_that_go_on(tmp_path: Path) -> None:
    """What the demuxer had not finished at a joint counts as damaged."""
    videos = [Video("", suffix="ts", size=size) for size in ((320, 192), (640, 384), (288, 160))]
    parts = [video.write(tmp_path, 24, first=index * 24).read_bytes() for index, video in enumerate(videos)]
    (tmp_path / "joined.ts").write_bytes(b"".join(parts))
    watched = RecordedStream(source=str(tmp_path / "joined.ts"), engine="av")
    seen = []
    for frame in watched.stream.frames():
        number = read_number(frame.pixels)
        assert frame.pixels.shape[:2] == videos[number // 24].size[::-1]
        assert shows_the_colours(frame.pixels)
        assert frame.media_s == pytest.approx(number / 25, abs=0.001)
        seen.append(number)
    assert {0, *range(24, 40), *range(48, 72)} <= set(seen)
    assert len(seen) >= 66
    assert seen == sorted(set(seen))
    assert watched.skipped.total() == 72 - len(seen)


def test_fps_thins_a_file_whose_times_begin_anew(tmp_path: Path) -> None:
    clip = Video("", suffix="ts").write(tmp_path, 50).read_bytes()
    (tmp_path / "joined.ts").write_bytes(clip * 3)
    watched = RecordedStream(source=str(tmp_path / "joined.ts"), engine="av", fps=1.0, show_damaged=True)
    assert [round(frame.media_s or 0.0, 2) for frame in watched.stream.frames()] == [0, 1, 2, 3, 4, 5]


def test_a_camera_that_changes_its_size_and_back_is_shown_without_a_new_connection(tmp_path: Path) -> None:
    growing_clip(tmp_path / "clip.mp4", 50, 50)
    with RtspCamera(tmp_path) as camera:
        watched = RecordedStream(source=camera.url("clip.mp4"), engine="av")
        shapes = []
        frames = watched.stream.frames()
        for frame in frames:
            assert frame.pixels.shape == ((192, 320, 3) if read_number(frame.pixels) < 50 else (384, 640, 3))
            shapes.append((frame.pixels.shape[1], frame.epoch))
            if frame.epoch == 2:
                break
        close(frames)
    assert [key for key, _ in itertools.groupby(shapes)] == [(320, 0), (640, 1), (320, 2)]

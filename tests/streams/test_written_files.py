"""What another program is still writing: FIFOs, whose writers come and go, and files that grow and are replaced."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from framesift.frame import SkipReason
from framesift.streams import StreamState
from framesift.streams.away_reasons import AwayReason
from rigs.footage import draw_number, numbered_clip, read_number
from rigs.stream_reader import RecordedStream

RUNNING, LOST = StreamState.RUNNING, StreamState.LOST


class Frames:
    """A stream whose numbers are collected in a thread."""

    def __init__(self, recorded: RecordedStream) -> None:
        self.recorded = recorded
        self.numbers: list[int] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for frame in self.recorded.stream.frames():
            with self.recorded.changed:
                self.numbers.append(read_number(frame.pixels))
                self.recorded.changed.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        assert self.recorded.wait_for(condition), (self.numbers, self.recorded.events)

    def close(self) -> None:
        self.recorded.stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def opened() -> Iterator[list[Frames]]:
    streams: list[Frames] = []
    yield streams
    for stream in streams:
        stream.close()


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "camera")
    return tmp_path / "camera"


def mux_numbered(container: Any, stream: Any, frames: int) -> None:
    for number in range(frames):
        pixels = np.full((192, 320, 3), 90, np.uint8)
        draw_number(pixels, number)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
    container.mux(stream.encode(None))


def mjpeg(path: Path, frames: int) -> Path:
    """JPEGs one behind the other, as `ffmpeg -f mjpeg` writes them."""
    with av.open(str(path), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 192, "yuvj420p"
        mux_numbered(container, stream, frames)
    return path


def write_into(fifo: Path, content: bytes) -> None:
    """Be a program that opens the FIFO, which waits for a reader, writes, and ends."""
    with fifo.open("wb") as file:
        file.write(content)


@pytest.mark.parametrize("ending", ["ts", "mkv", "mjpeg"])
def test_a_fifo_shows_what_is_written_into_it_and_its_writer_may_come_again(
    fifo: Path, tmp_path: Path, opened: list[Frames], ending: str
) -> None:
    make = mjpeg if ending == "mjpeg" else numbered_clip
    content = make(tmp_path / f"clip.{ending}", 50).read_bytes()
    stream = Frames(RecordedStream(source=str(fifo)))
    opened.append(stream)
    write_into(fifo, content)
    stream.wait_for(lambda: stream.recorded.states == [RUNNING, LOST])
    assert stream.recorded.events[1].reason is AwayReason.ENDED
    assert stream.numbers == sorted(set(stream.numbers))
    assert len(stream.numbers) + stream.recorded.skipped[SkipReason.BUSY] == 50  # all at once: it is live
    write_into(fifo, content)
    stream.wait_for(lambda: stream.recorded.states[:3] == [RUNNING, LOST, RUNNING])


def test_a_fifo_without_a_writer_is_silent_and_hangs_nothing(fifo: Path) -> None:
    stream = Frames(RecordedStream(source=str(fifo), open_timeout_s=0.5))
    stream.wait_for(lambda: stream.recorded.states == [LOST])
    assert stream.recorded.events[0].reason is AwayReason.SILENT
    assert "nothing was written into it for 0.5 s" in stream.recorded.events[0].detail
    stream.close()
    assert stream.recorded.reader_pids() == []


def test_a_writer_that_writes_nothing_more_is_silent(fifo: Path, tmp_path: Path, opened: list[Frames]) -> None:
    content = numbered_clip(tmp_path / "clip.ts", 50).read_bytes()
    stream = Frames(RecordedStream(source=str(fifo), read_timeout_s=0.5))
    opened.append(stream)
    with fifo.open("wb") as file:
        file.write(content)
        file.flush()
        stream.wait_for(lambda: stream.recorded.states == [RUNNING, LOST])
    assert stream.recorded.events[1].reason is AwayReason.SILENT


def test_opencv_does_not_wait_for_the_writer_of_a_fifo(fifo: Path, opened: list[Frames]) -> None:
    stream = Frames(RecordedStream(source=str(fifo), engine="opencv"))
    opened.append(stream)
    stream.wait_for(lambda: stream.recorded.states == [LOST])
    assert stream.recorded.events[0].reason is AwayReason.ENGINE


def fragmented_mp4(path: Path, frames: int) -> Path:
    with av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 192, "yuv420p"
        stream.options = {"bf": "0", "preset": "ultrafast", "g": "10"}
        mux_numbered(container, stream, frames)
    return path


@pytest.mark.parametrize("ending", ["ts", "mkv", "mp4"])
def test_a_file_is_read_on_while_it_grows(tmp_path: Path, opened: list[Frames], ending: str) -> None:
    make = fragmented_mp4 if ending == "mp4" else numbered_clip
    content = make(tmp_path / f"whole.{ending}", 60).read_bytes()
    growing = tmp_path / f"growing.{ending}"
    growing.write_bytes(content[: len(content) // 2])
    stream = Frames(RecordedStream(source=str(growing), follow=True))
    opened.append(stream)
    stream.wait_for(lambda: len(stream.numbers) >= 15)
    assert len(stream.numbers) < 45
    with growing.open("ab") as file:
        file.write(content[len(content) // 2 :])
    stream.wait_for(lambda: len(stream.numbers) >= 55)
    assert stream.numbers == list(range(len(stream.numbers)))  # each once, in order
    assert stream.recorded.states == [RUNNING]


def test_a_file_that_does_not_grow_is_silent_until_it_does(tmp_path: Path, opened: list[Frames]) -> None:
    content = numbered_clip(tmp_path / "whole.ts", 60).read_bytes()
    growing = tmp_path / "growing.ts"
    growing.write_bytes(content[: len(content) // 2])
    stream = Frames(RecordedStream(source=str(growing), follow=True, read_timeout_s=0.5))
    opened.append(stream)
    stream.wait_for(lambda: stream.recorded.states == [RUNNING, LOST])
    assert stream.recorded.events[1].reason is AwayReason.SILENT
    with growing.open("ab") as file:
        file.write(content[len(content) // 2 :])
    stream.wait_for(lambda: len(stream.numbers) >= 55)
    assert stream.numbers == list(range(len(stream.numbers)))
    assert stream.recorded.states[:3] == [RUNNING, LOST, RUNNING]


@pytest.mark.parametrize("how", ["another file", "cut and written anew"])
def test_a_file_that_takes_the_place_of_another_is_read_from_its_beginning(
    tmp_path: Path, opened: list[Frames], how: str
) -> None:
    growing = numbered_clip(tmp_path / "growing.ts", 60)
    following = numbered_clip(tmp_path / "following.ts", 30, begin_at=100)
    stream = Frames(RecordedStream(source=str(growing), follow=True))
    opened.append(stream)
    stream.wait_for(lambda: len(stream.numbers) >= 55)
    if how == "another file":
        growing.rename(tmp_path / "growing.ts.1")
        following.rename(growing)
    else:
        growing.write_bytes(following.read_bytes())
    stream.wait_for(lambda: len(stream.numbers) >= 85)
    assert stream.numbers[:60] == list(range(60))  # the last ones too, which its end brings
    assert stream.numbers[60:] == list(range(100, 40 + len(stream.numbers)))
    assert stream.recorded.states == [RUNNING]


def test_a_reader_that_dies_reads_no_picture_of_a_followed_file_again(tmp_path: Path, opened: list[Frames]) -> None:
    growing = numbered_clip(tmp_path / "growing.ts", 30)
    following = numbered_clip(tmp_path / "following.ts", 60, begin_at=100)
    content = following.read_bytes()
    following.write_bytes(content[: len(content) // 2])
    stream = Frames(RecordedStream(source=str(growing), follow=True))
    opened.append(stream)
    stream.wait_for(lambda: len(stream.numbers) >= 25)
    following.rename(growing)
    stream.wait_for(lambda: len(stream.numbers) >= 50)
    os.kill(stream.recorded.reader_pids()[0], 9)
    stream.wait_for(lambda: stream.recorded.states == [RUNNING, LOST])
    with growing.open("ab") as file:
        file.write(content[len(content) // 2 :])
    stream.wait_for(lambda: len(stream.numbers) >= 85)
    assert stream.numbers == [*range(30), *range(100, 70 + len(stream.numbers))]

"""Files: every picture counts, in order; the end is an end; a reader that dies in the middle loses none."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path

import av
import numpy as np
import pytest

from framesift.frame import SkipReason
from framesift.streams import StreamLost, StreamState
from rigs.footage import numbered_clip, read_number, real_clip
from rigs.stream_reader import KilledReaders, RecordedStream, StepClock

RUNNING, LOST, ENDED = StreamState.RUNNING, StreamState.LOST, StreamState.ENDED


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 60, fps=20)


def test_every_picture_of_a_file_comes_once_and_in_order(clip: Path) -> None:
    watched = RecordedStream(source=str(clip))
    seen = [(frame.number, read_number(frame.pixels), frame.media_s, frame.epoch) for frame in watched.stream.frames()]
    assert seen == [(number, number, number / 20, 0) for number in range(60)]
    assert watched.states == [RUNNING, ENDED]
    assert "320 x 192" in watched.events[0].detail
    assert not watched.skipped
    assert watched.reader_pids() == []


def test_real_footage_is_read_to_its_end() -> None:
    watched = RecordedStream(source=str(real_clip()))
    shapes = {frame.pixels.shape for frame in watched.stream.frames()}
    assert shapes == {(272, 640, 3)}
    assert "250 pictures" in watched.events[-1].detail


def test_a_file_waits_for_a_model_that_is_slow(clip: Path) -> None:
    slow, quick = RecordedStream(source=str(clip)), RecordedStream(source=str(clip))
    frames = slow.stream.frames()
    next(frames)
    next(frames)
    for _ in quick.stream.frames():  # while the slow model looks at one picture, a quick one sees the whole file
        pass
    assert [frame.number for frame in frames] == list(range(2, 60))
    assert not slow.skipped


def test_fps_thins_a_file_by_its_own_time_and_counts_the_rest(clip: Path) -> None:
    watched = RecordedStream(source=str(clip), fps=5.0)
    seen = [(frame.number, read_number(frame.pixels), frame.media_s) for frame in watched.stream.frames()]
    assert seen == [(number, number, number / 20) for number in range(0, 60, 4)]
    assert watched.skipped == {SkipReason.RATE: 45}


def test_a_looped_file_begins_again_and_its_numbers_go_on(clip: Path) -> None:
    watched = RecordedStream(source=str(clip), loop=True)
    assert not watched.stream.finite
    for index, frame in enumerate(watched.stream.frames()):
        assert (frame.number, read_number(frame.pixels), frame.media_s) == (index, index % 60, index % 60 / 20)
        if index == 150:
            break
    assert watched.states == [RUNNING]


def test_the_pixels_are_a_view_that_can_not_be_written(clip: Path) -> None:
    frame = next(RecordedStream(source=str(clip)).stream.frames())
    assert not frame.pixels.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        frame.pixels[0, 0, 0] = 1


def test_captures_carry_the_time_of_the_clock_that_was_handed_in(clip: Path) -> None:
    clock = StepClock()
    captured = []
    for frame in RecordedStream(source=str(clip), clock=clock).stream.frames():
        captured.append(frame.captured)
        clock.at_s += 1.0
    assert [moment.boottime_s for moment in captured] == [1000.0 + index for index in range(60)]
    assert captured[0].boot_id == "the only boot"


def test_captures_never_run_backwards_whatever_the_clock_does(clip: Path) -> None:
    clock = StepClock()
    captured = []
    for frame in RecordedStream(source=str(clip), clock=clock).stream.frames():
        captured.append(frame.captured.boottime_s)
        clock.at_s -= 1.0
    assert captured == [1000.0] * 60


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_reader_that_dies_in_the_middle_of_a_file_costs_no_picture(clip: Path, number: signal.Signals) -> None:
    watched = RecordedStream(source=str(clip), clock=StepClock())
    seen = []
    for frame in watched.stream.frames():
        seen.append((frame.number, read_number(frame.pixels), frame.epoch))
        if frame.number in (10, 40):
            [pid] = watched.reader_pids()
            os.kill(pid, number)
    assert [(number, drawn) for number, drawn, _ in seen] == [(number, number) for number in range(60)]
    assert seen[-1][2] == 2
    assert watched.states == [RUNNING, LOST, RUNNING, LOST, RUNNING, ENDED]
    assert f"killed by {number.name}" in watched.events[1].detail


def test_a_thinned_file_whose_reader_dies_shows_and_counts_each_picture_once(clip: Path) -> None:
    watched = RecordedStream(source=str(clip), clock=StepClock(), fps=5.0)
    seen = []
    for frame in watched.stream.frames():
        seen.append(frame.number)
        if frame.number == 20:
            os.kill(watched.reader_pids()[0], signal.SIGKILL)
    assert seen == list(range(0, 60, 4))
    assert watched.skipped == {SkipReason.RATE: 45}


def test_a_file_whose_readers_all_die_is_given_up(clip: Path) -> None:
    watched = KilledReaders(100, clip)
    with pytest.raises(StreamLost, match="killed by SIGKILL"):
        list(watched.stream.frames())
    assert LOST in watched.states


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: None, "no such file"),
        (lambda path: path.mkdir(), "no picture is in the folder"),
        (lambda path: path.write_text("this is no video\n" * 100), "not a video that can be decoded"),
        (lambda path: path.touch(), "not a video that can be decoded"),
    ],
)
def test_a_file_that_can_not_be_read_is_an_error_and_no_endless_loop(
    tmp_path: Path, make: object, message: str
) -> None:
    assert callable(make)
    path = tmp_path / "clip.mp4"
    make(path)
    watched = RecordedStream(source=str(path))
    with pytest.raises(StreamLost, match=message) as lost:
        list(watched.stream.frames())
    assert str(path) in str(lost.value)
    assert watched.events == []
    with pytest.raises(StreamLost, match=message):
        watched.stream.first_frame(10.0)


def test_a_looped_file_that_is_missing_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "late.mp4"
    clock = StepClock()
    watched = RecordedStream(source=str(path), loop=True, clock=clock)
    thread = watched.in_thread()
    assert watched.wait_for(lambda: watched.states == [LOST])
    numbered_clip(tmp_path / "other.mp4", 10).rename(path)
    assert watched.wait_for(lambda: watched.states == [LOST, RUNNING])
    watched.stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_a_change_of_size_is_a_new_epoch_and_loses_no_picture(tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / "clip.mp4", 20, size=(320, 192))
    other = numbered_clip(tmp_path / "other.mp4", 20, size=(480, 272), begin_at=20)
    watched = RecordedStream(source=str(path), loop=True)
    seen = []
    for frame in watched.stream.frames():
        seen.append((frame.number, read_number(frame.pixels), frame.pixels.shape, frame.epoch))
        if frame.number == 0:
            other.rename(path)  # the pass that has begun goes on with the old one
        if frame.number == 39:
            break
    assert seen == [
        *((number, number, (192, 320, 3), 0) for number in range(20)),
        *((number, number, (272, 480, 3), 1) for number in range(20, 40)),
    ]
    assert watched.states == [RUNNING]


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Ten pictures that are one pixel high."""
    path = tmp_path / "flat.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 1, "bgr0"
        for index in range(10):
            pixels = np.full((1, 64, 3), index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24").reformat(format="bgr0")))
        container.mux(stream.encode(None))
    return path


def test_unusable_pictures_are_counted_and_not_used(flat: Path) -> None:
    watched = RecordedStream(source=str(flat))
    assert list(watched.stream.frames()) == []
    assert watched.skipped == {SkipReason.UNUSABLE: 10}
    assert watched.states == [ENDED]
    with pytest.raises(StreamLost, match="no picture"):
        watched.stream.first_frame(10.0)


def test_a_loop_of_such_pictures_is_not_run_through_at_full_speed_for_ever(flat: Path) -> None:
    watched = RecordedStream(source=str(flat), loop=True)
    thread = watched.in_thread()
    assert watched.wait_for(lambda: LOST in watched.states)
    watched.stop.set()
    thread.join(10)
    assert "no picture in it can be used" in watched.events[0].detail
    assert watched.skipped[SkipReason.UNUSABLE] % 10 == 0


def test_the_first_frame_is_a_copy_and_leaves_no_reader_behind(clip: Path) -> None:
    watched = RecordedStream(source=str(clip))
    frame = watched.stream.first_frame(10.0)
    assert read_number(frame.pixels) == 0
    frame.pixels[:] = 0
    assert watched.reader_pids() == []


def test_a_stop_ends_the_frames_of_a_file_that_goes_on(clip: Path) -> None:
    watched = RecordedStream(source=str(clip), loop=True)
    numbers = []
    for frame in watched.stream.frames():
        numbers.append(frame.number)
        if frame.number == 5:
            watched.stop.set()
    assert numbers == list(range(6))
    assert watched.reader_pids() == []
    assert watched.states == [RUNNING]


def test_a_close_from_another_thread_ends_the_frames(clip: Path) -> None:
    watched = RecordedStream(source=str(clip), loop=True)
    thread = watched.in_thread()
    assert watched.wait_for(lambda: watched.states == [RUNNING])
    watched.stream.close()
    watched.stream.close()
    thread.join(10)
    assert not thread.is_alive()
    assert watched.reader_pids() == []
    assert list(watched.stream.frames()) == []


def test_frames_that_are_left_early_leave_no_reader_behind(clip: Path) -> None:
    watched = RecordedStream(source=str(clip))
    assert watched.take(3) == [0, 1, 2]
    assert watched.reader_pids() == []


def test_media_time_is_finite_for_every_picture_of_a_file(clip: Path) -> None:
    for frame in RecordedStream(source=str(clip)).stream.frames():
        assert frame.media_s is not None
        assert math.isfinite(frame.media_s)

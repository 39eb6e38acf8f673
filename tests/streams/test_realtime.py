"""`pace: realtime`: a file plays like a camera, at its own times, and goes on where it begins again."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from framesift.frame import SkipReason
from framesift.streams import StreamState
from framesift.streams.continued_times import ContinuedTimes
from rigs.footage import numbered_clip, read_number, sparse_clip
from rigs.stream_reader import RecordedStream, StepClock


def test_a_clip_comes_at_its_own_times_to_its_end(tmp_path: Path) -> None:
    clip = numbered_clip(tmp_path / "clip.mp4", 10, fps=20)
    watched = RecordedStream(source=str(clip), pace="realtime")
    frames = [
        (read_number(frame.pixels), frame.media_s, frame.captured.boottime_s) for frame in watched.stream.frames()
    ]
    assert watched.states == [StreamState.RUNNING, StreamState.ENDED]
    assert len(frames) + watched.skipped[SkipReason.BUSY] == 10
    assert {media_s for _, media_s, _ in frames} == {None}
    (first, _, first_s), (last, _, last_s) = frames[0], frames[-1]
    assert last_s - first_s >= (last - first) / 20 - 0.05  # never sooner; later on a busy machine


@pytest.mark.parametrize("engine", ["av", "opencv"])
def test_what_a_slow_model_has_no_time_for_is_counted_and_the_newest_is_used(tmp_path: Path, engine: str) -> None:
    clip = numbered_clip(tmp_path / "clip.mp4", 25, fps=25)
    slow = RecordedStream(source=str(clip), pace="realtime", loop=True, engine=engine)
    meanwhile = RecordedStream(source=str(clip), pace="realtime")
    frames = slow.stream.frames()
    first = next(frames)
    for _ in meanwhile.stream.frames():  # a second passes before the model is done
        pass
    then = next(frames)
    assert then.number - first.number > 10
    assert read_number(then.pixels) == then.number % 25
    assert slow.skipped[SkipReason.BUSY] > 10
    slow.stream.close()


def test_a_still_clip_is_not_frozen(tmp_path: Path) -> None:
    clip = sparse_clip(tmp_path / "clip.mp4", [0.0])
    clock = StepClock()
    watched = RecordedStream(source=str(clip), pace="realtime", loop=True, clock=clock)
    for _ in itertools.islice(watched.stream.frames(), 6):
        clock.at_s += 60.0
    assert watched.states == [StreamState.RUNNING]


def test_a_pause_in_the_clip_is_no_stall(tmp_path: Path) -> None:
    clip = sparse_clip(tmp_path / "clip.mp4", [0.0, 2.8, 2.9])
    watched = RecordedStream(source=str(clip), pace="realtime", read_timeout_s=0.5)
    assert len(list(watched.stream.frames())) >= 2
    assert watched.states == [StreamState.RUNNING, StreamState.ENDED]


def test_times_go_on_where_a_file_begins_again() -> None:
    times = ContinuedTimes()
    found = [times.continued_s(media_s) for media_s in (0.0, 0.5, 0.75, 0.0, 0.5, 0.75, 0.0)]
    assert found == [0.0, 0.5, 0.75, 1.0, 1.5, 1.75, 2.0]
    alone = ContinuedTimes()
    assert [alone.continued_s(0.0) for _ in range(3)] == pytest.approx([0.0, 0.04, 0.08])

"""A camera's own clock, from its sender reports: it comes with each picture after the first report, right or wrong."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from framesift.frame import Frame
from rigs.footage import numbered_clip
from rigs.scripted_camera import ScriptedCamera, rtp_payloads
from rigs.stream_reader import RecordedStream, close

Pictures = Sequence[Sequence[bytes]]
HOUR_S = 3600.0


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    return rtp_payloads(numbered_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 50))


def first_frames(camera: ScriptedCamera, count: int, engine: str = "av") -> list[Frame]:
    frames = RecordedStream(source=camera.url, engine=engine).stream.frames()
    taken = list(itertools.islice(frames, count))
    close(frames)
    return taken


@pytest.mark.parametrize("ahead_s", [0.0, HOUR_S, -24 * HOUR_S])
def test_each_picture_has_its_time_by_the_clock_of_the_camera(pictures: Pictures, ahead_s: float) -> None:
    with ScriptedCamera(pictures=pictures, clock_ahead_s=ahead_s) as camera:
        frames = first_frames(camera, 10)
    for earlier, later in itertools.pairwise(frames):
        assert earlier.sent_s is not None
        assert later.sent_s is not None
        assert later.sent_s - earlier.sent_s == pytest.approx((later.number - earlier.number) / 25, abs=0.001)
        assert later.sent_s - later.captured.wall_s == pytest.approx(ahead_s, abs=5.0)


@pytest.mark.parametrize(("ahead_s", "engine"), [(None, "av"), (0.0, "opencv")])
def test_a_time_that_is_not_told_or_not_read_is_none(pictures: Pictures, ahead_s: float | None, engine: str) -> None:
    with ScriptedCamera(pictures=pictures, clock_ahead_s=ahead_s) as camera:
        frames = first_frames(camera, 3, engine)
    assert [frame.sent_s for frame in frames] == [None] * 3


def test_the_time_of_a_clock_from_before_1970_is_none(pictures: Pictures) -> None:
    """A camera that has never been told the time may count from 1900, as NTP does."""
    with ScriptedCamera(pictures=pictures, clock_ahead_s=-2_000_000_000) as camera:
        frames = first_frames(camera, 3)
    assert [frame.sent_s for frame in frames] == [None] * 3

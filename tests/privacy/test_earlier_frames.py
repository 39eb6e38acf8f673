"""The mask of a frame that is kept when the frames after it were seen already."""

from __future__ import annotations

import pytest

from framesift.privacy.stream_privacy import StreamPrivacy
from privacy.test_stream_privacy import Detector, at, found, is_covered, video
from rigs.figures import Box

LEFT: Box = (100.0, 200.0, 140.0, 240.0)
MIDDLE: Box = (120.0, 200.0, 160.0, 240.0)
RIGHT: Box = (140.0, 200.0, 180.0, 240.0)


def shown(privacy: StreamPrivacy, count: int, *, interval_s: float = 0.1) -> None:
    """Frames in which a person walks to the right, and is missed in the second."""
    for number, boxes in enumerate(((LEFT,), (), (RIGHT,), (), ())[:count]):
        privacy.observe(at(number, interval_s=interval_s), found(*boxes), frames_back=1)


def test_an_earlier_frame_is_settled_and_covered_by_the_frames_on_both_sides() -> None:
    privacy = video()
    shown(privacy, 3)
    pending = privacy.begin(at(1), found())
    assert pending.is_settled
    assert is_covered(pending.mask(), LEFT)
    assert is_covered(pending.mask(), MIDDLE)
    assert is_covered(pending.mask(), RIGHT)


def test_the_newest_frame_waits_for_the_one_after_it_as_ever() -> None:
    privacy = video()
    shown(privacy, 3)
    pending = privacy.begin(at(2), found(RIGHT))
    assert not pending.is_settled
    privacy.observe(at(3), found(MIDDLE), frames_back=1)
    assert pending.is_settled


def test_the_frame_before_an_earlier_one_is_remembered_as_long_as_it_may_tell() -> None:
    privacy = video(over_time_s=0.5)
    shown(privacy, 3, interval_s=0.4)  # the first is too long ago for the third, but not for the second
    mask = privacy.begin(at(1, interval_s=0.4), found()).mask()
    assert is_covered(mask, LEFT)
    assert is_covered(mask, RIGHT)


@pytest.mark.parametrize("interval_s", [0.1, 0.4])
def test_a_detector_is_asked_about_an_earlier_frame_and_those_beside_it_with_their_own_pixels(
    interval_s: float,
) -> None:
    detector = Detector({0: found(LEFT), 1: found(), 2: found(RIGHT)})
    privacy = video(detector, over_time_s=0.5)
    for number in range(3):
        privacy.observe(at(number, interval_s=interval_s), found(), frames_back=1)
    mask = privacy.begin(at(1, interval_s=interval_s), found()).mask()
    assert is_covered(mask, MIDDLE)
    assert sorted((number, pixels) for number, pixels, _ in detector.asked) == [(0, 0), (1, 1), (2, 2)]


def test_a_frame_that_may_be_kept_later_is_covered_by_those_beside_it_and_nothing_is_asked_before() -> None:
    detector = Detector({0: found(LEFT), 1: found(), 2: found(RIGHT)})
    privacy = video(detector, over_time_s=0.5)
    for number in range(2):
        privacy.observe(at(number), found())
    pending = privacy.prepare(at(1), found())
    was_settled = pending.is_settled
    for number in range(2, 9):
        privacy.observe(at(number), found())
    assert (was_settled, pending.is_settled) == (False, True)
    assert detector.asked == []
    assert is_covered(pending.mask(), MIDDLE)
    assert sorted((number, pixels) for number, pixels, _ in detector.asked) == [(0, 0), (1, 1), (2, 2)]

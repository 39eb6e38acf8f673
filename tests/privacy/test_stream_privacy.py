from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from framesift.clock.moment import Moment
from framesift.frame import Frame
from framesift.pictures.outgoing import PictureMask, Unmasked
from framesift.prediction.prediction import (
    Classification,
    Detection,
    Detections,
    MultiLabel,
    Point,
    Prediction,
    Stub,
    Task,
)
from framesift.privacy.privacy_settings import PrivacySettings
from framesift.privacy.stream_privacy import PendingMask, StreamPrivacy
from rigs.figures import Box

WIDTH, HEIGHT = 640, 480
BOX: Box = (300.0, 200.0, 340.0, 240.0)


def settings(**fields: object) -> PrivacySettings:
    return PrivacySettings.model_validate_json(
        json.dumps({"classes": ["person"], "margin": 0, "style": "black", **fields})
    )


def found(*boxes: Box, name: str = "person", size: tuple[int, int] = (WIDTH, HEIGHT), dropped: int = 0) -> Detections:
    objects = tuple(Detection((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, 0.9, name, 0) for x1, y1, x2, y2 in boxes)
    return Detections(task=Task.OBJECT_DETECTION, objects=objects, width=size[0], height=size[1], dropped=dropped)


def at(
    number: int, *, interval_s: float = 0.1, epoch: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT), file: bool = False
) -> Frame:
    """The frame of a camera, or of a file, so many intervals after the first."""
    moment = Moment(1_800_000_000.0, 0.0 if file else 50.0 + number * interval_s, "boot")
    pixels = np.full((size[1], size[0], 3), number % 250 + 1, np.uint8)
    return Frame("gate", number, pixels, moment, epoch, number * interval_s if file else None)


def video(detector: Detector | None = None, **fields: object) -> StreamPrivacy:
    return StreamPrivacy(settings(**fields), detect=None if detector is None else detector.detect, is_video=True)


def is_covered(mask: PictureMask, box: Box) -> bool:
    """Whether a whole box is black on a white picture."""
    x1, y1, x2, y2 = map(round, box)
    shown = mask.apply(np.full((HEIGHT, WIDTH, 3), 255, np.uint8))
    return bool((shown[y1:y2, x1:x2] == 0).all())


def begun(privacy: StreamPrivacy, frame: Frame, prediction: Prediction) -> PendingMask:
    privacy.observe(frame, prediction)
    return privacy.begin(frame, prediction)


def mask_at_once(privacy: StreamPrivacy, frame: Frame, prediction: Prediction) -> PictureMask:
    return privacy.begin(frame, prediction).mask()


class Detector:
    """Finds what it is told to in each frame, by its number, and takes note of what it was asked."""

    def __init__(self, answers: dict[int, Prediction | Exception]) -> None:
        self.answers = answers
        self.asked: list[tuple[int, int, str]] = []  # number of the frame, what its pixels are, and the thread

    def detect(self, frame: Frame) -> Prediction:
        self.asked.append((frame.number, int(frame.pixels[0, 0, 0]) - 1, threading.current_thread().name))
        answer = self.answers.get(frame.number, found())
        if isinstance(answer, Exception):
            raise answer
        return answer


NO_BOXES: list[tuple[Prediction, str]] = [
    (Stub(task=Task.OBJECT_DETECTION, width=WIDTH, height=HEIGHT), "no boxes"),
    (Classification(top="person", confidence=0.9, scores=(), width=WIDTH, height=HEIGHT), "no boxes"),
    (MultiLabel(scores=(), predicted=("person",), width=WIDTH, height=HEIGHT), "no boxes"),
]
UNUSABLE: list[tuple[Prediction, str]] = [
    *NO_BOXES,
    (found(BOX, size=(WIDTH, HEIGHT + 1)), "of a picture of 640 x 481, the frame has 640 x 480"),
    (found(BOX, dropped=1), r"parts of the prediction that could not be read, .*: 1"),
    (found((math.nan, 1.0, 2.0, 3.0)), "no number"),
    (found((0.0, 1.0, math.inf, 3.0)), "no number"),
    (found((40.0, 1.0, 20.0, 3.0)), "negative size"),
]


@pytest.mark.parametrize(("prediction", "why"), UNUSABLE)
def test_a_prediction_that_tells_no_places_is_unmasked(prediction: Prediction, why: str) -> None:
    with pytest.raises(Unmasked, match=why):
        mask_at_once(StreamPrivacy(settings()), at(0), prediction)


def test_polygons_alone_need_no_boxes() -> None:
    triangle = [[0.4, 0.3], [0.6, 0.3], [0.5, 0.6]]
    privacy = StreamPrivacy(settings(classes=[], polygons=[triangle]))
    assert is_covered(mask_at_once(privacy, at(0), NO_BOXES[0][0]), (310.0, 150.0, 330.0, 160.0))


def test_only_the_chosen_classes_are_covered() -> None:
    privacy = StreamPrivacy(settings(classes=["face", "person"]))
    for name, covered in (("person", True), ("face", True), ("car", False)):
        assert is_covered(mask_at_once(privacy, at(0), found(BOX, name=name)), BOX) is covered


def outlined(*corners: tuple[float, float]) -> Detections:
    (person,) = found(BOX).objects
    person = replace(person, points=tuple(Point(x, y) for x, y in corners))
    return Detections(task=Task.INSTANCE_SEGMENTATION, objects=(person,), width=WIDTH, height=HEIGHT)


def test_an_outlined_object_is_covered_by_its_box_and_as_far_as_its_outline_goes() -> None:
    privacy = StreamPrivacy(settings())
    mask = mask_at_once(privacy, at(0), outlined((310.0, 210.0), (420.0, 215.0), (330.0, 300.0)))
    assert is_covered(mask, BOX)
    assert is_covered(mask, (340.0, 240.0, 420.0, 300.0))
    with pytest.raises(Unmasked, match="outline"):
        privacy.begin(at(1), outlined((310.0, 210.0), (math.nan, 215.0), (330.0, 300.0)))


class Observer:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def masked(self) -> None:
        self.seen.append("masked")

    def unmasked(self, why: str) -> None:
        self.seen.append(why)

    def stream_ended(self) -> None:
        self.seen.append("ended")


def test_each_mask_and_each_failure_is_reported() -> None:
    observer = Observer()
    privacy = StreamPrivacy(settings(), observer=observer)
    mask_at_once(privacy, at(0), found(BOX))
    with pytest.raises(Unmasked) as unmasked:
        privacy.begin(at(1), found(BOX, dropped=2))
    pending = privacy.begin(at(2), found(BOX))
    with pytest.raises(Unmasked):  # a picture of another time: the frame's own is still there
        pending.mask(at(3).captured.boottime_s)
    privacy.end_stream()
    assert observer.seen == ["masked", str(unmasked.value), "ended"]


# -- over time


@pytest.mark.parametrize("file", [False, True])
def test_an_object_that_is_missed_in_one_frame_between_two_is_covered(file: bool) -> None:
    privacy = video()
    before, between, after = ((x, 200.0, x + 40.0, 240.0) for x in (200.0, 260.0, 320.0))
    privacy.observe(at(0, file=file), found(before))
    pending = begun(privacy, at(1, file=file), found())
    assert not pending.wait(0.0)
    assert not is_covered(pending.mask(), between)
    privacy.observe(at(2, file=file), found(after))
    assert pending.is_settled
    mask = pending.mask()
    assert is_covered(mask, before)
    assert is_covered(mask, between)
    assert is_covered(mask, after)
    assert not is_covered(mask, (400.0, 300.0, 410.0, 310.0))


def test_without_what_follows_the_frame_before_counts() -> None:
    privacy = video()
    privacy.observe(at(0), found(BOX))
    privacy.observe(at(1), found())
    assert is_covered(mask_at_once(privacy, at(1), found()), BOX)


def test_the_nearest_of_the_class_may_be_the_same_object_however_far() -> None:
    privacy = video()
    privacy.observe(at(0), found((10.0, 10.0, 20.0, 20.0)))
    pending = begun(privacy, at(1), found())
    privacy.observe(at(2), found((500.0, 400.0, 510.0, 410.0)))
    assert is_covered(pending.mask(), (250.0, 200.0, 260.0, 210.0))


def test_objects_of_two_classes_are_not_one() -> None:
    privacy = video(classes=["person", "face"])
    privacy.observe(at(0), found((10.0, 10.0, 20.0, 20.0)))
    pending = begun(privacy, at(1), found())
    privacy.observe(at(2), found((500.0, 400.0, 510.0, 410.0), name="face"))
    assert not is_covered(pending.mask(), (250.0, 200.0, 260.0, 210.0))


@pytest.mark.parametrize(
    "other",
    [at(0, epoch=1), at(0, size=(WIDTH, HEIGHT - 2)), at(-11)],
    ids=["another epoch", "another size", "too long ago"],
)
def test_no_neighbour_is_a_frame_of(other: Frame) -> None:
    privacy = video()
    privacy.observe(other, found(BOX, size=(other.width, other.height)))
    assert not is_covered(begun(privacy, at(1), found()).mask(), BOX)


@pytest.mark.parametrize(
    "other",
    [at(2, epoch=1), at(2, size=(WIDTH, HEIGHT - 2)), at(13)],
    ids=["another epoch", "another size", "too late"],
)
def test_a_frame_that_is_no_neighbour_settles_the_mask(other: Frame) -> None:
    privacy = video()
    pending = begun(privacy, at(1), found())
    privacy.observe(other, found(BOX, size=(other.width, other.height)))
    assert pending.is_settled
    assert not is_covered(pending.mask(), BOX)


@pytest.mark.parametrize("privacy", [StreamPrivacy(settings()), video(over_time_s=0)], ids=["pictures", "0 s"])
def test_pictures_that_do_not_follow_each_other_tell_nothing_of_another(privacy: StreamPrivacy) -> None:
    privacy.observe(at(0), found(BOX))
    pending = begun(privacy, at(1), found())
    assert pending.is_settled
    assert pending.mask().is_empty


def test_a_frame_whose_neighbour_can_not_be_read_is_unmasked() -> None:
    privacy = video()
    privacy.observe(at(0), found(dropped=1))
    with pytest.raises(Unmasked):
        begun(privacy, at(1), found(BOX))
    privacy.observe(at(2), found(BOX))
    pending = begun(privacy, at(3), found(BOX))
    privacy.observe(at(4), found(dropped=1))
    with pytest.raises(Unmasked):
        pending.mask()


def test_the_end_of_the_stream_settles_what_waits_and_is_forgotten() -> None:
    privacy = video()
    pending = begun(privacy, at(1), found(BOX))
    waited: list[bool] = []
    waiter = threading.Thread(target=lambda: waited.append(pending.wait(60.0)))
    waiter.start()
    privacy.end_stream()
    waiter.join(60.0)
    assert waited == [True]
    assert is_covered(pending.mask(), BOX)
    assert not is_covered(begun(privacy, at(2), found()).mask(), BOX)


def test_a_wait_ends_when_the_next_frame_was_observed_or_in_time() -> None:
    privacy = video()
    pending = begun(privacy, at(1), found())
    assert not pending.wait(0.0)
    waited: list[bool] = []
    waiter = threading.Thread(target=lambda: waited.append(pending.wait(60.0)))
    waiter.start()
    privacy.observe(at(2), found())
    waiter.join(60.0)
    assert waited == [True]


# -- a picture that was taken at another time


def moving(privacy: StreamPrivacy, numbers: Sequence[int], missed: int = -1) -> PendingMask:
    """The pending mask of frame 5; an object moves by 40 pixels a frame."""
    pending: list[PendingMask] = []
    for number in numbers:
        prediction = found() if number == missed else found(moved(number))
        privacy.observe(at(number), prediction)
        if number == 5:
            pending.append(privacy.begin(at(number), prediction))
    return pending[0]


def moved(number: float) -> Box:
    return (40.0 * number, 200.0, 40.0 * number + 30.0, 240.0)


@pytest.mark.parametrize("shown", [2.0, 2.5, 4.9, 5.0, 7.3, 9.0])
@pytest.mark.parametrize("missed", [-1, 2, 3, 5, 7, 8])
def test_frames_around_the_time_of_the_picture_count(shown: float, missed: int) -> None:
    pending = moving(video(), range(11), missed)
    mask = pending.mask(at(0).captured.boottime_s + shown * 0.1)
    assert is_covered(mask, moved(shown))
    assert not is_covered(mask, moved(shown + 5))


@pytest.mark.parametrize("missed", range(11))
def test_wherever_a_picture_of_uncertain_time_was_taken_the_object_is_covered(missed: int) -> None:
    pending = moving(video(), range(11), missed)
    mask = pending.mask(at(0).captured.boottime_s + 0.52, uncertain_s=0.21)  # frame 3.1 to 7.3
    for tenth in range(31, 74):
        assert is_covered(mask, moved(tenth / 10))
    assert not is_covered(mask, moved(0))


def test_a_wait_for_a_time_goes_on_until_a_frame_has_reached_it_or_none_can() -> None:
    privacy = video(over_time_s=0.35)
    pending = begun(privacy, at(1), found())
    until_s = at(3).captured.boottime_s
    privacy.observe(at(2), found())
    assert pending.wait(0.0)
    assert not pending.wait(0.0, shown_until_s=until_s)
    privacy.observe(at(3), found())
    assert not pending.wait(0.0, shown_until_s=until_s)  # what was missed in that one is found in the next
    privacy.observe(at(4), found())
    assert pending.wait(0.0, shown_until_s=until_s)
    assert not pending.wait(0.0, shown_until_s=until_s + 1.0)
    privacy.observe(at(6), found())  # too late to be a neighbour
    assert pending.wait(0.0, shown_until_s=until_s + 1.0)


def test_a_picture_just_before_a_frame_that_missed_the_object_waits_for_the_frame_after() -> None:
    shown_at_s = at(0).captured.boottime_s + 0.599  # frame 6 misses what 5 and 7 have
    with pytest.raises(Unmasked, match="both sides"):
        moving(video(), range(7), missed=6).mask(shown_at_s)
    assert is_covered(moving(video(), range(8), missed=6).mask(shown_at_s), moved(5.99))


@pytest.mark.parametrize("shown", [-0.5, 10.5])
def test_a_picture_with_frames_on_one_side_only_is_unmasked(shown: float) -> None:
    pending = moving(video(), range(11))
    with pytest.raises(Unmasked, match="both sides"):
        pending.mask(at(0).captured.boottime_s + shown * 0.1)


def test_frames_that_are_too_far_from_the_picture_do_not_count() -> None:
    pending = moving(video(over_time_s=0.2), range(11))
    with pytest.raises(Unmasked, match=r"within 0\.2 s"):
        pending.mask(at(0).captured.boottime_s + 0.9)


# -- a dedicated detector


def test_the_detector_is_asked_about_the_frame_and_those_beside_it_alone() -> None:
    detector = Detector({0: found(moved(0)), 1: found(), 2: found(moved(2))})
    privacy = video(detector)
    for number in range(-5, 1):
        privacy.observe(at(number), found())
    pending = begun(privacy, at(1), found())
    asked = [(number, value) for number, value, _ in detector.asked]
    assert asked == [(0, 0), (1, 1)]
    for number in range(2, 6):
        privacy.observe(at(number), found())
    mask = pending.mask()
    assert [(number, value) for number, value, _ in detector.asked] == [(0, 0), (1, 1), (2, 2)]
    assert is_covered(mask, moved(1))
    pending.mask()
    assert len(detector.asked) == 3


def test_the_pixels_that_the_detector_sees_later_are_copies() -> None:
    detector = Detector({})
    privacy = video(detector)
    before, frame, after = at(0), at(1), at(2)
    privacy.observe(before, found())
    before.pixels[:] = 9  # the stream's next frame is in the same place
    pending = begun(privacy, frame, found())
    privacy.observe(after, found())
    after.pixels[:] = 17
    pending.mask()
    assert [(number, value) for number, value, _ in detector.asked] == [(0, 0), (1, 1), (2, 2)]


def test_the_boxes_of_the_model_are_covered_beside_those_of_the_detector() -> None:
    other: Box = (10.0, 10.0, 50.0, 50.0)
    privacy = StreamPrivacy(settings(), detect=Detector({0: found(other)}).detect)
    mask = mask_at_once(privacy, at(0), found(BOX))
    assert is_covered(mask, BOX)
    assert is_covered(mask, other)


@pytest.mark.parametrize("prediction", [prediction for prediction, _ in NO_BOXES])
def test_with_a_detector_the_model_need_not_find_boxes(prediction: Prediction) -> None:
    privacy = StreamPrivacy(settings(), detect=Detector({0: found(BOX)}).detect)
    assert is_covered(mask_at_once(privacy, at(0), prediction), BOX)


@pytest.mark.parametrize(
    ("answer", "why"),
    [*UNUSABLE, (RuntimeError("no memory"), "the detector failed: no memory"), (KeyError(), "the detector failed")],
)
def test_a_frame_on_which_the_detector_fails_is_unmasked(answer: Prediction | Exception, why: str) -> None:
    privacy = StreamPrivacy(settings(), detect=Detector({0: answer}).detect)
    with pytest.raises(Unmasked, match=why):
        mask_at_once(privacy, at(0), found(BOX))


@pytest.mark.parametrize("failing", [0, 2])
def test_a_detector_that_fails_on_a_neighbour_leaves_the_frame_unmasked(failing: int) -> None:
    detector = Detector({failing: TimeoutError()})
    privacy = video(detector)
    privacy.observe(at(0), found())

    def whole() -> PictureMask:
        pending = begun(privacy, at(1), found(BOX))
        privacy.observe(at(2), found())
        return pending.mask()

    with pytest.raises(Unmasked, match="TimeoutError"):
        whole()


def test_a_required_detector_that_is_not_there_leaves_everything_unmasked() -> None:
    triangle = [[0, 0], [1, 0], [1, 1]]
    for privacy in (video(require="detector"), video(require="detector", classes=[], polygons=[triangle])):
        with pytest.raises(Unmasked, match="require a detector"):
            mask_at_once(privacy, at(0), found(BOX))


class BrokenPicture:
    """A LazyPicture that can't be decoded."""

    width, height, jpeg = WIDTH, HEIGHT, None

    @property
    def pixels(self) -> Any:
        raise EOFError("the picture ends early")

    def overview(self, width: int = 1, height: int = 1) -> Any:  # noqa: ARG002
        return self.pixels


def test_a_picture_that_can_not_be_decoded_is_no_failure_of_the_detector() -> None:
    detector = Detector({})
    privacy = StreamPrivacy(settings(), detect=detector.detect)
    with pytest.raises(EOFError):
        mask_at_once(privacy, Frame("gate", 0, BrokenPicture(), at(0).captured), found(BOX))
    assert detector.asked == []

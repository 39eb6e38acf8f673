"""Objects that are missed, found or named wrongly in one frame of three, and labels that change back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from framesift.clock.moment import Moment
from framesift.frame import Frame
from framesift.prediction.prediction import Detection, Detections, Prediction, Task
from framesift.strategies import AcceptedClasses, Match, ModelFacts
from sampling_data import FixedRandom, label, labels, options, stub

WIDTH, HEIGHT = 200, 100
At = tuple[str, float, float]  # the class and the centre of an object of 20 x 20 pixels
CAR: At = ("car", 100.0, 50.0)
TRUCK: At = ("truck", 100.0, 50.0)
FAR: At = ("car", 50.0, 50.0)
NO_FRAME: tuple[At, ...] = ()


def seen(*found: At, confidence: float = 1.0, task: Task = Task.OBJECT_DETECTION) -> Detections:
    parts = tuple(Detection(x, y, 20.0, 20.0, confidence, name, 0) for name, x, y in found)
    return Detections(task=task, objects=parts, width=WIDTH, height=HEIGHT)


def at(number: int, *, time_s: float | None = None, epoch: int = 0, media_s: float | None = None) -> Frame:
    boottime_s = 100.0 + (number / 25 if time_s is None else time_s)
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    return Frame("gate", number, pixels, Moment(1_800_000_000.0, boottime_s, "boot"), epoch, media_s)


def matches(*predictions: Prediction, frames: list[Frame] | None = None, **fields: Any) -> list[Match | None]:
    """What the strategy says of each frame of a video."""
    rng = FixedRandom()
    strategy = options(type="temporal_inconsistency", **fields).create(rng, AcceptedClasses())
    shown = frames or [at(number) for number in range(len(predictions))]
    found = [strategy.evaluate(one, prediction) for one, prediction in zip(shown, predictions, strict=True)]
    assert rng.drawn == 0
    return found


def events(before: tuple[At, ...], middle: tuple[At, ...], after: tuple[At, ...], **fields: Any) -> float:
    """The score of the middle one of three frames, all of whose confidences are 1; 0 where it does not match."""
    first, second, match = matches(seen(*before), seen(*middle), seen(*after), **fields)
    assert (first, second) == (None, None)
    assert match is None or (match.strategy, match.frames_back) == ("it", 1)
    return 0.0 if match is None else match.score or 0.0


def moved(by: float, what: At = CAR) -> At:
    return what[0], what[1] + by, what[2]


@pytest.mark.parametrize(
    ("before", "middle", "after", "score"),
    [
        pytest.param((CAR,), NO_FRAME, (CAR,), 1, id="hole"),
        pytest.param((CAR, FAR), NO_FRAME, (FAR, CAR), 2, id="two holes"),
        pytest.param((CAR,), (moved(0, FAR),), (CAR,), 2, id="hole and blip"),
        pytest.param(NO_FRAME, (CAR,), NO_FRAME, 1, id="blip"),
        pytest.param((CAR,), (TRUCK,), (CAR,), 1, id="switch"),
        pytest.param((CAR,), (CAR, TRUCK), (CAR,), 1, id="blip of another class on an object"),
        pytest.param((CAR,), (CAR,), (CAR,), 0, id="nothing happens"),
        pytest.param(NO_FRAME, NO_FRAME, NO_FRAME, 0, id="nothing is there"),
        pytest.param(NO_FRAME, (CAR,), (CAR,), 0, id="it appears"),
        pytest.param((CAR,), (CAR,), NO_FRAME, 0, id="it goes"),
        pytest.param((CAR,), NO_FRAME, NO_FRAME, 0, id="it went"),
        pytest.param(NO_FRAME, NO_FRAME, (CAR,), 0, id="it comes"),
        pytest.param((CAR,), (TRUCK,), (TRUCK,), 0, id="it is named otherwise from now on"),
        pytest.param((CAR,), NO_FRAME, (TRUCK,), 0, id="another one comes"),
        pytest.param((CAR,), NO_FRAME, (moved(40),), 0, id="too far to be the same"),
        pytest.param((moved(-5),), (CAR,), (moved(5),), 0, id="it moves"),
        pytest.param((moved(-30),), (CAR,), (moved(30),), 0, id="it moves faster than it is wide"),
        pytest.param((moved(-30),), (moved(-15, FAR), CAR), (moved(30),), 1, id="a blip beside a fast one"),
    ],
)
def test_an_event_is_what_the_frames_on_both_sides_contradict(
    before: tuple[At, ...], middle: tuple[At, ...], after: tuple[At, ...], score: float
) -> None:
    assert events(before, middle, after) == score


def test_two_objects_that_cross_are_no_event() -> None:
    left, right = [moved(by) for by in (-12, 0, 12)], [moved(by) for by in (12, 0, -12)]
    assert events(*zip(left, right, strict=True), match_iou=0.1) == 0
    assert events((left[0], right[0]), (CAR,), (left[2], right[2]), match_iou=0.1) == 0  # one hides the other


def test_the_box_in_the_middle_is_compared_with_the_mean_of_those_beside_it() -> None:
    # Moved by a half, an IoU of a third.
    assert events((CAR,), (moved(9.9),), (CAR,), match_iou=1 / 3) == 0
    assert events((CAR,), (moved(10.1),), (CAR,), match_iou=1 / 3) == 2
    assert events((moved(-6),), (moved(9),), (moved(4),), match_iou=1 / 3) == 0
    assert events((CAR,), NO_FRAME, (moved(9.9),), match_iou=1 / 3) == 1
    assert events((CAR,), NO_FRAME, (moved(10.1),), match_iou=1 / 3) == 0


@pytest.mark.parametrize(("x", "y", "score"), [(20, 50, 1), (19.9, 50, 0), (180, 50, 1), (180.1, 50, 0), (50, 14.9, 0)])
def test_what_comes_and_goes_at_the_border_is_no_false_alarm(x: float, y: float, score: float) -> None:
    assert events(NO_FRAME, (("car", x, y),), NO_FRAME) == score  # 10 pixels from the left and right, 5 above
    assert events(NO_FRAME, (("car", x, y),), NO_FRAME, border=0) == 1


def test_a_hole_counts_at_the_border_too() -> None:
    edge: At = ("car", 12.0, 50.0)
    assert events((edge,), NO_FRAME, (edge,)) == 1


@pytest.mark.parametrize(("confidence", "counts"), [(0.3, True), (0.29, False)])
def test_only_objects_of_the_minimum_confidence_count(confidence: float, counts: bool) -> None:
    *_, match = matches(seen(), seen(CAR, confidence=confidence), seen())
    assert (match is not None) is counts


def test_an_object_that_falls_below_the_minimum_confidence_is_a_hole() -> None:
    *_, match = matches(seen(CAR), seen(CAR, confidence=0.2), seen(CAR))
    assert match is not None


def test_of_equal_events_the_less_certain_frame_scores_higher() -> None:
    *_, match = matches(seen(), seen(CAR, confidence=0.75), seen())
    assert match is not None
    assert match.score == pytest.approx(1 + 0.001 * 0.5)


def test_fewer_events_than_the_minimum_are_no_match() -> None:
    assert events((CAR, FAR), NO_FRAME, (CAR, FAR), minimum_events=2) == 2
    assert events((CAR,), NO_FRAME, (CAR,), minimum_events=2) == 0


def test_each_three_frames_in_a_row_are_compared() -> None:
    found = matches(seen(CAR), seen(), seen(CAR), seen(), seen(CAR), seen(CAR))
    # The car of the third frame, which neither neighbour has, is as contradictory as the holes beside it.
    assert [match and (match.score, match.frames_back) for match in found] == [None, None, *[(1.0, 1)] * 3, None]


@pytest.mark.parametrize(
    ("frames", "matched"),
    [
        ([at(0), at(1), at(2)], True),
        ([at(0), at(1, epoch=1), at(2, epoch=1)], False),
        ([at(0, time_s=0), at(1, time_s=1), at(2, time_s=2)], True),
        ([at(0, time_s=0), at(1, time_s=1), at(2, time_s=2.1)], False),
        ([at(0, time_s=0), at(1, time_s=1.1), at(2, time_s=2)], False),
        # A file's own time counts, however fast it is read; played again it begins anew.
        ([at(0, media_s=0), at(1, media_s=2), at(2, media_s=4)], False),
        ([at(0, media_s=0, time_s=0), at(1, media_s=0.1, time_s=5), at(2, media_s=0.2, time_s=10)], True),
        ([at(0, media_s=3), at(1, media_s=3.1), at(2, media_s=0)], False),
    ],
)
def test_it_begins_anew_with_a_connection_and_after_a_gap(frames: list[Frame], matched: bool) -> None:
    *_, match = matches(seen(CAR), seen(), seen(CAR), frames=frames)
    assert (match is not None) is matched


def test_another_size_of_the_picture_begins_anew() -> None:
    other = Detections(task=Task.OBJECT_DETECTION, objects=(), width=WIDTH * 2, height=HEIGHT)
    assert matches(seen(CAR), other, seen(CAR)) == [None] * 3


def test_a_place_that_is_no_number_is_no_object() -> None:
    assert events((CAR,), (CAR, ("car", float("nan"), 50.0)), (CAR,)) == 0


@pytest.mark.parametrize("many_labels", [False, True])
def test_a_label_that_changes_back_is_an_event(many_labels: bool) -> None:
    def scores(text: str, **fields: Any) -> list[float]:
        shown = [labels(predicted=(c,)) if many_labels else label(c, 1.0) for c in text]
        found = matches(*shown, **fields)
        assert not any(match.frames_back for match in found if match)
        return [0.0 if match is None else match.score or 0.0 for match in found]

    assert scores("aaa") == [0.0] * 3
    assert scores("abc") == [0.0] * 3
    assert scores("abab") == [0.0, 0.0, 1 / 8, 2 / 8]
    assert scores("abaa", window=4) == [0.0, 0.0, 1 / 4, 1 / 4]
    assert scores("abaaa", window=4)[-1] == 0.0  # of baaa, no label returns
    assert scores("abac", minimum_events=2) == [0.0] * 4
    assert scores("abab", minimum_events=2) == [0.0, 0.0, 0.0, 2 / 8]


def test_of_equal_changes_the_less_certain_label_scores_higher() -> None:
    *_, match = matches(label("a", 0.9), label("b", 0.9), label("a", 0.6, [("b", 0.4)]))
    assert match is not None
    assert match.score == pytest.approx(1 / 8 + 0.001 * 0.8)


def test_an_answer_without_objects_or_labels_is_nothing_and_objects_begin_anew_after_it() -> None:
    *_, hole = matches(seen(CAR), stub(), seen(), seen(CAR))
    assert hole is None
    assert matches(stub(), stub(), stub()) == [None] * 3
    semantic = [seen(*found, task=Task.SEMANTIC_SEGMENTATION) for found in ((CAR,), NO_FRAME, (CAR,))]
    assert matches(*semantic) == [None] * 3


def test_frames_are_kept_only_for_models_that_find_objects() -> None:
    it = options(type="temporal_inconsistency")
    kept = {task: it.frames_back(task) for task in Task}
    assert {task for task, back in kept.items() if back} == {
        Task.OBJECT_DETECTION,
        Task.INSTANCE_SEGMENTATION,
        Task.KEYPOINT_DETECTION,
    }
    assert set(kept.values()) == {0, 1}


def test_more_events_than_labels_can_have_are_a_problem() -> None:
    def problems(minimum: int, task: Task) -> list[str]:
        it = options(type="temporal_inconsistency", window=4, minimum_events=minimum)
        return list(it.problems(ModelFacts(task, None, stub=False)))

    assert problems(2, Task.CLASSIFICATION) == []
    assert problems(3, Task.OBJECT_DETECTION) == []
    (problem,) = problems(3, Task.CLASSIFICATION)
    assert problem == "can never match: minimum_events is 3, and a window of 4 labels has 2 at most"

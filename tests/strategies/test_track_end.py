"""Tracks that end inside the picture: which frame is wanted, with which score, and which ends are none."""

from __future__ import annotations

from typing import Any

import pytest

from framesift.prediction.prediction import Detection, Detections, Prediction, Task
from framesift.strategies import AcceptedClasses, Match
from sampling_data import FixedRandom, options, stub
from strategies.test_temporal_inconsistency import HEIGHT, WIDTH, at


def seen(*found: tuple[str, float, str | int | None], confidence: float = 1.0) -> Detections:
    """Objects of 20 x 20 pixels at half the height: their class, their place from the left, and their tracker_id."""
    parts = tuple(Detection(x, 50.0, 20.0, 20.0, confidence, name, 0, tracker_id=id) for name, x, id in found)
    return Detections(task=Task.OBJECT_DETECTION, objects=parts, width=WIDTH, height=HEIGHT)


def car(x: float = 100.0, id: str | int | None = None) -> Detections:
    return seen(("car", x, id))


NONE = seen()


def matches(*predictions: Prediction, interval_s: float = 0.04, epochs: str = "", **fields: Any) -> list[Match | None]:
    """What the strategy says of each frame; by default, tracks of three frames end after two without the object."""
    rng = FixedRandom()
    chosen = {"minimum_length": 3, "missing": 2, **fields}
    strategy = options(type="track_end", **chosen).create(rng, AcceptedClasses())
    found = [
        strategy.evaluate(at(n, time_s=n * interval_s, epoch=int((epochs or "0" * 99)[n])), prediction)
        for n, prediction in enumerate(predictions)
    ]
    assert rng.drawn == 0
    return found


def ends(*predictions: Prediction, **fields: Any) -> list[tuple[int, float]]:
    """The frames that are wanted, by number, and their scores."""
    found = matches(*predictions, **fields)
    return [(n - match.frames_back, match.score or 0.0) for n, match in enumerate(found) if match]


@pytest.mark.parametrize("missing", [1, 2, 3, 5])
def test_the_first_frame_without_the_object_is_wanted_once_it_is_absent_for_long_enough(missing: int) -> None:
    found = matches(*[car()] * 4, *[NONE] * 7, missing=missing)
    assert [match and (match.score, match.frames_back) for match in found] == [
        *[None] * (3 + missing),
        (1.0, missing - 1),
        *[None] * (7 - missing),
    ]
    assert {task: options(type="track_end", missing=missing).frames_back(task) for task in Task} == {
        Task.OBJECT_DETECTION: missing - 1,
        Task.INSTANCE_SEGMENTATION: missing - 1,
        Task.KEYPOINT_DETECTION: missing - 1,
        Task.CLASSIFICATION: 0,
        Task.SEMANTIC_SEGMENTATION: 0,
    }


def test_an_object_that_comes_back_in_time_has_not_vanished() -> None:
    assert ends(*[car()] * 3, NONE, car(), NONE, car(), NONE) == []
    assert ends(*[car()] * 3, NONE, car(), NONE, NONE) == [(5, 1.0)]


@pytest.mark.parametrize(("length", "ended"), [(2, []), (3, [(3, 1.0)])])
def test_an_object_that_was_there_too_briefly_is_no_track(length: int, ended: list[tuple[int, float]]) -> None:
    assert ends(*[NONE] * (3 - length), *[car()] * length, NONE, NONE) == ended


def test_an_object_that_moves_is_one_track_and_one_that_jumps_is_two() -> None:
    assert ends(car(80), car(88), car(96), car(104), NONE, NONE) == [(4, 1.0)]
    assert ends(car(60), car(90), car(120), NONE, NONE) == []


@pytest.mark.parametrize(("x", "wanted"), [(20, True), (19, False), (180, True), (181, False)])
def test_what_leaves_at_the_border_has_not_vanished(x: float, wanted: bool) -> None:
    assert bool(ends(*[car(x)] * 3, NONE, NONE)) is wanted
    assert ends(*[car(x)] * 3, NONE, NONE, border=0) == [(3, 1.0)]


def test_where_it_was_last_counts_and_not_where_it_was_first() -> None:
    assert ends(car(35), car(27), car(19), NONE, NONE) == []
    assert ends(car(19), car(27), car(35), NONE, NONE) == [(3, 1.0)]


def test_another_class_is_another_object() -> None:
    truck = seen(("truck", 100.0, None))
    assert ends(*[car()] * 3, truck, truck) == [(3, 1.0)]


def test_each_track_that_ends_with_a_frame_counts_and_the_others_do_not() -> None:
    both, one = seen(("car", 60.0, None), ("car", 140.0, None)), car(140.0)
    assert ends(*[both] * 3, NONE, NONE) == [(3, 2.0)]
    assert ends(*[both] * 3, one, NONE, NONE) == [(3, 1.0), (4, 1.0)]


def test_two_objects_that_cross_go_on() -> None:
    places = [(84, 116), (92, 108), (99, 101), (108, 92), (116, 84)]
    assert ends(*[seen(("car", a, None), ("bus", b, None)) for a, b in places]) == []


def test_with_a_tracker_id_tracks_are_by_id_wherever_the_object_is() -> None:
    assert ends(car(60, 7), car(90, 7), car(120, 7), NONE, NONE) == [(3, 1.0)]
    assert ends(car(100, "a"), car(100, "a"), car(100, "a"), car(100, "b"), car(100, "b")) == [(3, 1.0)]
    assert ends(car(60, 7), car(90, 7), car(120, 7), NONE, car(30, 7), NONE) == []
    mixed = seen(("car", 60.0, 1), ("car", 140.0, None))
    assert ends(*[mixed] * 3, car(140.0), car(140.0)) == [(3, 1.0)]
    assert ends(*[mixed] * 3, car(60.0, 1), car(60.0, 1)) == [(3, 1.0)]


def test_an_id_that_comes_twice_in_a_frame_ends_no_track() -> None:
    twice = seen(("car", 60.0, 1), ("car", 140.0, 1))
    assert ends(*[car(60.0, 1)] * 3, *[twice] * 5, *[car(60.0, 1)] * 5) == []


@pytest.mark.parametrize(("confidence", "wanted"), [(0.3, True), (0.29, False)])
def test_only_objects_of_the_minimum_confidence_are_followed(confidence: float, wanted: bool) -> None:
    sure = seen(("car", 100.0, None), confidence=confidence)
    assert bool(ends(*[sure] * 3, NONE, NONE)) is wanted


def test_of_equal_ends_the_less_certain_frame_scores_higher() -> None:
    unsure = seen(("car", 100.0, None), confidence=0.25)  # too little to be followed
    ((frame, score),) = ends(*[car()] * 3, unsure, NONE)
    assert frame == 3
    assert score == pytest.approx(1 + 0.001 * 0.5)


def test_tracks_begin_anew_with_a_connection_after_a_gap_and_after_an_answer_without_objects() -> None:
    assert ends(*[car()] * 3, NONE, NONE, epochs="00011") == []
    assert ends(*[car()] * 3, NONE, NONE, interval_s=1.1) == []
    assert ends(*[car()] * 3, NONE, NONE, interval_s=1.0) == [(3, 1.0)]
    assert ends(*[car()] * 3, stub(), NONE, NONE) == []

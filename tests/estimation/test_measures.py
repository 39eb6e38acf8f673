"""What is estimated from pictures and labels: weights, streams, classes, and labels that are not there."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import pytest

from framesift.estimation.errors import EstimationError
from framesift.estimation.intervals import Estimate
from framesift.estimation.labels import Labels
from framesift.estimation.matching import LabelledObject
from framesift.estimation.measures import (
    ClassQuality,
    Domain,
    FieldQuality,
    estimate_frequencies,
    estimate_quality,
    refuse_other_class_names,
)
from framesift.estimation.sample import Sample, read_sample
from rigs.baseline_folder import SIZE, BaselineFolder, found_object, label, objects, picture_id

CAR, BUS = found_object("car", 50), found_object("bus", 150)
CAR_LABEL = LabelledObject("car", (40 / SIZE[0], 40 / SIZE[1], 60 / SIZE[0], 60 / SIZE[1]))
EVERYWHERE = Domain()


@pytest.fixture
def folder(tmp_path: Path) -> BaselineFolder:
    return BaselineFolder(tmp_path)


def sample(folder: BaselineFolder) -> Sample:
    return read_sample(folder.path, since_s=-math.inf, until_s=math.inf)


def labels(of: dict[int, Iterable[LabelledObject]], class_names: tuple[str, ...] = ("car", "bus")) -> Labels:
    return Labels(class_names, {picture_id(number): tuple(found) for number, found in of.items()}, 0)


def values(found: FieldQuality) -> dict[str | None, tuple[float | None, float | None]]:
    return {c.class_name: (c.precision.value, c.recall.value) for c in found.classes}


def of_class(found: FieldQuality, name: str | None) -> ClassQuality:
    (one,) = [c for c in found.classes if c.class_name == name]
    return one


def test_frequencies_count_frames_and_objects_by_weight(folder: BaselineFolder) -> None:
    folder.add(0, objects(CAR, CAR, BUS), weight=30)
    folder.add(1, objects(), weight=70)
    found = estimate_frequencies(sample(folder), EVERYWHERE, confidence=0.5)
    assert [(c.class_name, c.frames.value, c.objects and c.objects.value) for c in found] == [
        (None, 0.3, 0.9),
        ("bus", 0.3, 0.3),
        ("car", 0.3, 0.6),
    ]
    assert found[0].frames == Estimate(0.3, None, None, 2)  # too few for an interval


def test_a_classifiers_labels_are_counted_in_frames(folder: BaselineFolder) -> None:
    folder.add_all([label("car"), label("bus"), label("bus"), label("")])
    found = estimate_frequencies(sample(folder), EVERYWHERE, confidence=0.9)
    assert [(c.class_name, c.frames.value, c.objects) for c in found] == [
        (None, 0.75, None),
        ("bus", 0.5, None),
        ("car", 0.25, None),
    ]


def test_a_stream_is_a_part_of_the_frames(folder: BaselineFolder) -> None:
    for number in range(40):
        folder.add(number, objects(CAR) if number % 2 else objects(), stream=("gate", "yard")[number // 2 % 2])
    (of_all, _) = estimate_frequencies(sample(folder), EVERYWHERE, confidence=0.5)
    assert (of_all.frames.value, of_all.frames.pictures) == (0.5, 40)
    folder.add(40, objects(CAR, CAR), stream="yard")
    (of_gate, _) = estimate_frequencies(sample(folder), Domain("gate"), confidence=0.5)
    assert of_gate.objects is not None
    assert (of_gate.frames.value, of_gate.objects.value, of_gate.frames.pictures) == (0.5, 0.5, 20)


def test_classes_that_are_not_asked_for_are_left_out_of_all(folder: BaselineFolder) -> None:
    folder.add_all([objects(CAR, BUS), objects(BUS)])
    found = estimate_frequencies(sample(folder), Domain(class_names=frozenset({"car"})), confidence=0.5)
    assert [(c.class_name, c.frames.value) for c in found] == [(None, 0.5), ("car", 0.5)]


def test_a_class_that_is_asked_for_and_never_seen_has_its_line(folder: BaselineFolder) -> None:
    folder.add_all([objects(CAR)] * 40)
    tram = estimate_frequencies(sample(folder), Domain(class_names=frozenset({"tram"})), confidence=0.5)[1]
    assert (tram.class_name, tram.frames.value, tram.frames.low) == ("tram", 0.0, 0.0)
    assert tram.frames.high is not None
    assert 0.05 < tram.frames.high < 0.12


def test_precision_and_recall_are_shares_of_objects_by_weight(folder: BaselineFolder) -> None:
    folder.add(0, objects(CAR, BUS), weight=30)  # both right in no label but the car's
    folder.add(1, objects(), weight=70)  # a car is missed
    found = estimate_quality(
        sample(folder), labels({0: [CAR_LABEL], 1: [CAR_LABEL]}), EVERYWHERE, confidence=0.5, iou=0.5
    )
    assert found.accuracy is None
    assert values(found) == {None: (0.5, 0.3), "bus": (0.0, None), "car": (1.0, 0.3)}


def test_the_quality_for_one_stream(folder: BaselineFolder) -> None:
    folder.add(0, objects(CAR))
    folder.add(1, objects(CAR, BUS), stream="yard")
    truth = labels({0: [CAR_LABEL], 1: []})
    found = estimate_quality(sample(folder), truth, Domain("gate"), confidence=0.5, iou=0.5)
    assert values(found)[None] == (1.0, 1.0)
    found = estimate_quality(sample(folder), truth, Domain("yard"), confidence=0.5, iou=0.5)
    assert values(found)[None] == (0.0, None)


def test_the_confidence_and_the_iou_are_asked_for(folder: BaselineFolder) -> None:
    folder.add(0, objects(found_object("car", 54, confidence=0.6)))
    of_labels = labels({0: [CAR_LABEL]})
    for confidence, iou, expected in ((0.6, 0.6, 1.0), (0.6, 0.7, 0.0), (0.7, 0.6, None)):
        found = estimate_quality(sample(folder), of_labels, EVERYWHERE, confidence=confidence, iou=iou)
        assert of_class(found, "car").precision.value == expected


def test_of_a_classifier_the_accuracy_is_a_share_of_frames(folder: BaselineFolder) -> None:
    folder.add_all([label("car")] * 30 + [label("bus")] * 10)
    truth = labels({number: [LabelledObject("car", None)] for number in range(40)})
    found = estimate_quality(sample(folder), truth, EVERYWHERE, confidence=0.5, iou=0.5)
    assert found.accuracy is not None
    assert found.accuracy.value == 0.75
    assert found.accuracy.low is not None
    assert values(found) == {None: (0.75, 0.75), "bus": (0.0, None), "car": (1.0, 0.75)}


def test_pictures_without_labels_are_left_out_and_make_the_interval_wider(folder: BaselineFolder) -> None:
    scenes = [objects(CAR) if number // 8 % 2 else objects(CAR, BUS) for number in range(96)]
    folder.add_all(scenes)
    every = estimate_quality(
        sample(folder), labels({n: [CAR_LABEL] for n in range(96)}), EVERYWHERE, confidence=0.5, iou=0.5
    )
    for number in range(96, 192):
        folder.add(number, objects(BUS))
    half = estimate_quality(
        sample(folder), labels({n: [CAR_LABEL] for n in range(96)}), EVERYWHERE, confidence=0.5, iou=0.5
    )
    assert values(half) == values(every)
    (one, other) = (of_class(found, None).precision for found in (every, half))
    assert one.low is not None
    assert other.low is not None
    assert other.low < one.low


def test_none_with_labels_is_an_error(folder: BaselineFolder) -> None:
    folder.add_all([objects(CAR)])
    with pytest.raises(EstimationError, match="none of the 1 pictures of the baseline has labels"):
        estimate_quality(sample(folder), labels({5: []}), EVERYWHERE, confidence=0.5, iou=0.5)


def test_a_detector_is_not_compared_with_labels_without_boxes(folder: BaselineFolder) -> None:
    folder.add_all([objects(CAR)])
    with pytest.raises(EstimationError, match=f"{picture_id(0)} has the label car without a box"):
        estimate_quality(
            sample(folder), labels({0: [LabelledObject("car", None)]}), EVERYWHERE, confidence=0.5, iou=0.5
        )


@pytest.mark.parametrize(
    ("class_names", "used", "model_names", "problem"),
    [
        (("car", "bus"), "car", (), None),
        (("car", "bus", "tram"), "car", (), None),  # named, and never used
        (("car", "bus", "tram"), "tram", ("tram",), None),  # the model knows it, and never predicted it
        (("car", "bus", "tram"), "tram", (), "tram. The model has bus, car; the labels have bus, car, tram."),
        (("Car", "bus"), "Car", (), "Car, car. The model has bus, car; the labels have Car, bus."),
        (("car",), "car", (), "bus. The model has bus, car; the labels have car."),
    ],
)
def test_class_names_that_differ_are_an_error_with_both_sets(
    folder: BaselineFolder, class_names: tuple[str, ...], used: str, model_names: tuple[str, ...], problem: str | None
) -> None:
    folder.add_all([objects(CAR, BUS)])
    of_labels = labels({0: [LabelledObject(used, (0.0, 0.0, 1.0, 1.0))]}, class_names)
    if problem is None:
        refuse_other_class_names(sample(folder), of_labels, EVERYWHERE, model_names, confidence=0.5)
        return
    with pytest.raises(EstimationError) as raised:
        refuse_other_class_names(sample(folder), of_labels, EVERYWHERE, model_names, confidence=0.5)
    assert f"class names differ: {problem}" in str(raised.value)


def test_chosen_classes_need_only_be_known(folder: BaselineFolder) -> None:
    folder.add_all([objects(CAR, BUS)])
    of_labels = labels({0: [CAR_LABEL]}, ("car",))
    refuse_other_class_names(sample(folder), of_labels, Domain(class_names=frozenset({"car"})), (), confidence=0.5)
    with pytest.raises(EstimationError, match=r"class names differ: Car\."):
        refuse_other_class_names(sample(folder), of_labels, Domain(class_names=frozenset({"Car"})), (), confidence=0.5)


def test_what_a_classifier_scores_it_knows(folder: BaselineFolder) -> None:
    folder.add_all([label("car")])
    refuse_other_class_names(sample(folder), labels({0: [LabelledObject("bus", None)]}), EVERYWHERE, (), confidence=0.5)

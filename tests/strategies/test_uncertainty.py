"""uncertainty: the formulas against values worked out by hand, and what class balance does to them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from framesift.prediction.prediction import Prediction, Task
from framesift.strategies import AcceptedClasses
from sampling_data import consider, label, labels, objects, options


def score(prediction: Prediction, *, accepted: AcceptedClasses | None = None, **fields: Any) -> float | None:
    match, drawn = consider(prediction, 0.0, accepted=accepted, type="uncertainty", **fields)
    assert drawn == (1 if match else 0)
    return None if match is None else match.score


# One label: confidences 0.5, 0.3, 0.2. ln 0.5 = -0.693147, ln 0.3 = -1.203973, ln 0.2 = -1.609438, ln 3 = 1.098612
THREE = label("cat", 0.5, [("dog", 0.3), ("fox", 0.2)])


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("margin", 0.8),  # 1 - (0.5 - 0.3)
        ("least_confidence", 0.5),  # 1 - 0.5
        ("entropy", 0.937231),  # (0.346574 + 0.361192 + 0.321888) / 1.098612 = 1.029653 / 1.098612
    ],
)
def test_a_labels_uncertainty_by_each_measure(measure: str, expected: float) -> None:
    assert score(THREE, measure=measure) == pytest.approx(expected, abs=1e-5)


def test_margin_is_the_measure_where_none_is_named() -> None:
    assert score(THREE) == pytest.approx(0.8)


def test_the_two_best_classes_make_the_margin_whatever_their_order() -> None:
    assert score(label("", 0.0, [("fox", 0.2), ("cat", 0.5), ("dog", 0.3)])) == pytest.approx(0.8)


@pytest.mark.parametrize("measure", ["margin", "least_confidence", "entropy"])
def test_a_single_class_has_nothing_to_compare_with(measure: str) -> None:
    assert score(label("cat", 0.7), measure=measure) == pytest.approx(0.3)


def test_even_confidences_have_the_largest_entropy_and_certainty_has_none() -> None:
    assert score(label("a", 0.25, [("b", 0.25), ("c", 0.25), ("d", 0.25)]), measure="entropy") == pytest.approx(1.0)
    assert score(label("a", 1.0, [("b", 0.0)]), measure="entropy") == pytest.approx(0.0)


def test_entropy_is_of_shares_so_that_a_list_cut_short_is_no_less_uncertain() -> None:
    assert score(label("a", 0.3, [("b", 0.3)]), measure="entropy") == pytest.approx(1.0)
    assert score(label("a", 0.0, [("b", 0.0)]), measure="entropy") == pytest.approx(1.0)


def test_a_label_without_scores_is_evaluated_by_its_own_confidence() -> None:
    prediction = label("cat", 0.7)
    without = type(prediction)(top="cat", confidence=0.7, scores=(), width=32, height=24)
    assert score(without) == pytest.approx(0.3)


def test_neither_label_nor_scores_is_not_eligible() -> None:
    assert score(label("", 0.0)) is None


def test_a_label_outside_the_selected_classes_is_not_eligible() -> None:
    assert score(THREE, selected_class_names=["dog"]) is None
    assert score(THREE, selected_class_names=["cat"]) == pytest.approx(0.8)


# Objects: u = 1 - |2 c - 1|: 0.5 -> 1, 0.9 -> 0.2, 0.3 -> 0.6
MIXED = objects(("cat", 0.5), ("cat", 0.9), ("dog", 0.3))


@pytest.mark.parametrize(("aggregation", "expected"), [("sum", 1.8), ("max", 1.0), ("mean", 0.6)])
def test_objects_uncertainties_are_aggregated(aggregation: str, expected: float) -> None:
    assert score(MIXED, aggregation=aggregation) == pytest.approx(expected)


def test_sum_is_the_aggregation_where_none_is_named() -> None:
    assert score(MIXED) == pytest.approx(1.8)


@pytest.mark.parametrize("task", [Task.OBJECT_DETECTION, Task.INSTANCE_SEGMENTATION, Task.KEYPOINT_DETECTION])
def test_every_kind_of_object_is_scored_alike(task: Task) -> None:
    assert score(objects(("cat", 0.3), task=task)) == pytest.approx(0.6)


@pytest.mark.parametrize(("confidence", "expected"), [(0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (1.0, 0.0), (1.7, 0.0)])
def test_an_object_is_most_uncertain_at_one_half(confidence: float, expected: float) -> None:
    assert score(objects(("cat", confidence))) == pytest.approx(expected)


def test_only_selected_classes_are_scored_and_a_frame_without_any_is_not_eligible() -> None:
    assert score(MIXED, selected_class_names=["dog"]) == pytest.approx(0.6)
    assert score(MIXED, selected_class_names=["cat"], aggregation="mean") == pytest.approx(0.6)
    assert score(MIXED, selected_class_names=["fox"]) is None
    assert score(objects()) is None


def test_many_labels_are_scored_like_objects() -> None:
    prediction = labels(("cat", 0.5), ("dog", 0.9), predicted=("cat",))
    assert score(prediction) == pytest.approx(1.2)
    assert score(prediction, selected_class_names=["dog"], aggregation="max") == pytest.approx(0.2)


def test_the_minimum_score_itself_is_enough() -> None:
    half = objects(("cat", 0.25))  # exactly 0.5
    assert score(half, minimum_score=0.5) == 0.5
    assert score(half, minimum_score=0.5000001) is None


def test_a_frame_of_which_the_model_is_sure_is_eligible_where_no_minimum_is_set() -> None:
    assert score(objects(("cat", 1.0))) == 0.0


# Class balance


def test_an_objects_uncertainty_shrinks_with_what_was_accepted_of_its_class() -> None:
    accepted = AcceptedClasses({"cat": 3})
    # The cats' 1.2 is halved, since 1 + 3 is 4; the dog's 0.6 stays.
    assert score(MIXED, accepted=accepted, class_balance=True) == pytest.approx(1.2)
    assert score(MIXED, accepted=accepted, class_balance=True, aggregation="max") == pytest.approx(0.6)
    assert score(MIXED, accepted=accepted) == pytest.approx(1.8)


def test_many_labels_are_balanced_class_by_class() -> None:
    accepted = AcceptedClasses({"cat": 8})
    prediction = labels(("cat", 0.5), ("dog", 0.9))
    assert score(prediction, accepted=accepted, class_balance=True) == pytest.approx(1 / 3 + 0.2)


def test_a_label_is_balanced_against_the_mean_of_the_known_classes() -> None:
    accepted = AcceptedClasses({"cat": 6})
    # Known: cat, dog, fox; mean 2; 0.8 / sqrt(1 + 6 / 2)
    assert score(THREE, accepted=accepted, class_balance=True) == pytest.approx(0.4)
    rare = label("dog", 0.5, [("cat", 0.3), ("fox", 0.2)])
    assert score(rare, accepted=accepted, class_balance=True) == pytest.approx(0.8)


def test_a_class_that_was_only_accepted_is_known_too() -> None:
    accepted = AcceptedClasses({"cat": 4, "owl": 4})
    # Known: cat, dog, fox, owl; mean 2; 0.8 / sqrt(1 + 4 / 2)
    assert score(THREE, accepted=accepted, class_balance=True) == pytest.approx(0.8 / math.sqrt(3))


def test_before_anything_was_accepted_balance_changes_nothing() -> None:
    assert score(THREE, class_balance=True) == pytest.approx(0.8)
    assert score(MIXED, class_balance=True) == pytest.approx(1.8)


def test_initial_counts_are_added_to_what_was_accepted() -> None:
    accepted = AcceptedClasses({"cat": 1})
    given = {"class_balance": True, "initial_counts": {"cat": 2, "dog": 8}}
    # The cats' 1.2 is halved, since 1 + 1 + 2 is 4; the dog's 0.6 is divided by the root of 1 + 8.
    assert score(MIXED, accepted=accepted, **given) == pytest.approx(0.8)
    assert accepted.counts() == {"cat": 1}


def test_initial_counts_without_class_balance_are_refused() -> None:
    with pytest.raises(ValueError, match="no effect without class_balance"):
        options(type="uncertainty", initial_counts={"cat": 2})

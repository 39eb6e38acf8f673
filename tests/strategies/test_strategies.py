"""Roboflow's four strategies, sentence by sentence and boundary by boundary, with the number of random draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from framesift.prediction.embedding import make_embedding
from framesift.prediction.prediction import Prediction, Task, with_origin
from framesift.strategies import STRATEGY_TYPES, Match
from sampling_data import consider, label, labels, objects, options, stub

EVERY_KIND = [
    pytest.param(stub(), id="stub"),
    pytest.param(stub(Task.CLASSIFICATION), id="classification stub"),
    pytest.param(objects(), id="no objects"),
    pytest.param(objects(("cat", 0.5)), id="objects"),
    pytest.param(objects(("cat", 0.5), task=Task.SEMANTIC_SEGMENTATION), id="semantic"),
    pytest.param(label("cat", 0.5), id="label"),
    pytest.param(label("", 0.0), id="no label"),
    pytest.param(labels(("cat", 0.5), predicted=("cat",)), id="labels"),
]
DETECTION_TASKS = [Task.OBJECT_DETECTION, Task.INSTANCE_SEGMENTATION, Task.KEYPOINT_DETECTION]


# random


@pytest.mark.parametrize("prediction", EVERY_KIND)
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_random_draws_exactly_once_whatever_was_predicted(prediction: Prediction, share: float) -> None:
    match, drawn = consider(prediction, 0.49, type="random", traffic_percentage=share)
    assert drawn == 1
    assert match == (Match("it", None) if share >= 0.5 else None)


@pytest.mark.parametrize(
    ("draw", "share", "matches"),
    [
        (0.0, 0.0, False),
        (0.3, 0.3, False),
        (0.29999999999999993, 0.3, True),
        (0.9999999999999999, 1.0, True),
        (0.0, 1e-12, True),
    ],
)
def test_random_matches_a_draw_below_the_share_and_not_one_that_equals_it(
    draw: float, share: float, matches: bool
) -> None:
    match, _ = consider(stub(), draw, type="random", traffic_percentage=share)
    assert (match is not None) is matches


# What the three others have in common


# For each strategy that never wants a stub or a semantic segmentation: its options, and a prediction that it wants.
MATCHING: dict[str, tuple[dict[str, Any], Prediction]] = {
    "close_to_threshold": ({"threshold": 0.5, "epsilon": 0.2}, objects(("cat", 0.5))),
    "classes_based": ({"selected_class_names": ["cat"]}, label("cat", 0.9)),
    "detections_number_based": ({"more_than": 0}, objects(("cat", 0.9))),
    "uncertainty": ({}, objects(("cat", 0.9))),
    "novelty": ({}, with_origin(objects(("cat", 0.9)), embedding=make_embedding(np.array([1.0, 2.0])))),
}
# Those that may want a frame whatever was predicted.
UNCONDITIONAL = {"random", "python"}
# Those that want no frame of which they have not seen the neighbours, and never draw.
OF_VIDEOS = {"temporal_inconsistency", "track_end"}
CONDITIONAL: list[dict[str, Any]] = [{"type": kind, **fields} for kind, (fields, _) in MATCHING.items()]
ROBOFLOWS = [
    fields
    for fields in CONDITIONAL
    if fields["type"] in ("close_to_threshold", "classes_based", "detections_number_based")
]


def test_every_strategy_of_the_table_is_tested_here() -> None:
    missing = sorted(set(STRATEGY_TYPES) - set(MATCHING) - UNCONDITIONAL - OF_VIDEOS)
    assert not missing, (
        f"tests/strategies/test_strategies.py: add {', '.join(missing)} to MATCHING, with options and a prediction "
        "that the strategy wants; to UNCONDITIONAL, if it may want a frame whatever was predicted; or to OF_VIDEOS, if "
        "it wants a frame only for what the frames beside it are"
    )


@pytest.mark.parametrize("fields", CONDITIONAL, ids=lambda f: str(f["type"]))
@pytest.mark.parametrize("task", Task)
def test_a_stub_of_any_task_matches_nothing_and_costs_no_draw(fields: dict[str, Any], task: Task) -> None:
    assert consider(stub(task), 0.0, probability=1.0, **fields) == (None, 0)


@pytest.mark.parametrize("fields", CONDITIONAL, ids=lambda f: str(f["type"]))
def test_semantic_segmentation_matches_nothing_and_costs_no_draw(fields: dict[str, Any]) -> None:
    prediction = objects(("cat", 0.5), task=Task.SEMANTIC_SEGMENTATION)
    assert consider(prediction, 0.0, probability=1.0, **fields) == (None, 0)


@pytest.mark.parametrize("fields", CONDITIONAL, ids=lambda f: str(f["type"]))
@pytest.mark.parametrize(
    ("draw", "probability", "matches"), [(0.0, 0.0, False), (0.3, 0.3, False), (0.29, 0.3, True), (0.999, 1.0, True)]
)
def test_one_draw_follows_a_condition_that_holds(
    fields: dict[str, Any], draw: float, probability: float, matches: bool
) -> None:
    match, drawn = consider(MATCHING[fields["type"]][1], draw, probability=probability, **fields)
    assert drawn == 1
    assert (match is not None) is matches


@pytest.mark.parametrize("fields", ROBOFLOWS, ids=lambda f: str(f["type"]))
def test_roboflows_strategies_only_match_and_give_no_score(fields: dict[str, Any]) -> None:
    match, _ = consider(MATCHING[fields["type"]][1], 0.0, probability=1.0, **fields)
    assert match == Match("it", None)


# close_to_threshold


def close(prediction: Prediction, **fields: Any) -> bool:
    """Whether the condition holds, and that it was followed by as many draws as it should."""
    match, drawn = consider(
        prediction,
        0.0,
        **{"type": "close_to_threshold", "threshold": 0.5, "epsilon": 0.25, "probability": 1.0, **fields},
    )
    assert drawn == (1 if match else 0)
    return match is not None


@pytest.mark.parametrize("task", DETECTION_TASKS)
@pytest.mark.parametrize(
    ("confidence", "near"),
    [(0.25, False), (0.75, False), (0.2500001, True), (0.7499999, True), (0.5, True), (0.0, False), (1.0, False)],
)
def test_near_is_closer_than_epsilon_on_both_sides(task: Task, confidence: float, near: bool) -> None:
    assert close(objects(("cat", confidence), task=task)) is near
    assert close(label("cat", confidence)) is near
    assert close(labels(("cat", confidence), predicted=("cat",))) is near


def test_near_is_plain_float_arithmetic() -> None:
    # 0.7 - 0.5 is 0.19999999999999996 and 0.5 - 0.3 is 0.2: only the first lies within 0.2.
    assert close(objects(("cat", 0.7)), epsilon=0.2)
    assert not close(objects(("cat", 0.3)), epsilon=0.2)


def test_an_epsilon_of_zero_matches_not_even_the_threshold_itself() -> None:
    assert not close(objects(("cat", 0.5)), epsilon=0.0)
    assert not close(label("cat", 0.5), epsilon=0.0)


@pytest.mark.parametrize(
    ("minimum", "near", "holds"), [(1, 0, False), (1, 1, True), (2, 1, False), (2, 2, True), (2, 3, True), (0, 0, True)]
)
def test_at_least_the_minimum_number_of_objects_must_be_near(minimum: int, near: int, holds: bool) -> None:
    prediction = objects(*[("cat", 0.5)] * near, ("cat", 0.9), ("dog", 0.1))
    assert close(prediction, minimum_objects_close_to_threshold=minimum) is holds


def test_one_near_object_is_enough_by_default() -> None:
    assert close(objects(("cat", 0.99), ("cat", 0.5)))
    assert not close(objects(("cat", 0.99)))
    assert not close(objects())


def test_a_minimum_of_zero_holds_for_a_frame_without_objects() -> None:
    assert close(objects(), minimum_objects_close_to_threshold=0)
    assert close(objects(("cat", 0.5)), minimum_objects_close_to_threshold=0, selected_class_names=[])


@pytest.mark.parametrize(
    ("selected", "cat", "dog"),
    [
        (None, True, True),
        (["cat"], True, False),
        (["cat", "dog"], True, True),
        ([], False, False),
        (["c"], False, False),
    ],
)
def test_null_selects_every_class_and_an_empty_list_none(selected: list[str] | None, cat: bool, dog: bool) -> None:
    for name, holds in (("cat", cat), ("dog", dog)):
        assert close(objects((name, 0.5)), selected_class_names=selected) is holds
        assert close(label(name, 0.5), selected_class_names=selected) is holds
        assert close(labels((name, 0.5), predicted=(name,)), selected_class_names=selected) is holds


def test_absent_selected_class_names_mean_the_same_as_null() -> None:
    assert close(objects(("anything", 0.5)))


def test_only_objects_of_selected_classes_count_towards_the_minimum() -> None:
    prediction = objects(("cat", 0.5), ("dog", 0.5), ("dog", 0.5))
    assert not close(prediction, selected_class_names=["cat"], minimum_objects_close_to_threshold=2)
    assert close(prediction, selected_class_names=["dog"], minimum_objects_close_to_threshold=2)


def test_one_label_is_judged_by_its_top_class_by_default() -> None:
    assert not close(label("cat", 0.9, [("dog", 0.5)]))
    assert close(label("cat", 0.5, [("dog", 0.9)]))


def test_the_top_confidence_is_the_one_beside_the_label_and_not_in_the_list() -> None:
    # A server may round them differently: what stands beside the label counts.
    assert close(label("", 0.5, [("cat", 0.9)]))
    assert not close(label("", 0.9, [("cat", 0.5)]))


def test_with_all_classes_any_near_score_of_a_selected_class_is_enough() -> None:
    prediction = label("cat", 0.9, [("dog", 0.5), ("fox", 0.1)])
    assert close(prediction, only_top_classes=False)
    assert close(prediction, only_top_classes=False, selected_class_names=["dog"])
    assert not close(prediction, only_top_classes=False, selected_class_names=["cat", "fox"])


def test_no_label_is_a_class_that_null_selects_and_a_list_does_not() -> None:
    assert close(label("", 0.4))
    assert not close(label("", 0.4), selected_class_names=["cat"])


def test_many_labels_count_only_where_predicted_by_default() -> None:
    prediction = labels(("cat", 0.5), ("dog", 0.9), predicted=("dog",))
    assert not close(prediction)
    assert close(prediction, only_top_classes=False)
    assert close(labels(("cat", 0.5), ("dog", 0.9), predicted=("cat", "dog")))


def test_many_labels_none_of_them_near_match_nothing() -> None:
    assert not close(labels(("cat", 0.99), ("dog", 0.01), predicted=("cat",)), only_top_classes=False)
    assert not close(labels(), only_top_classes=False)


# classes_based


def of_class(prediction: Prediction, *selected: str) -> bool:
    match, drawn = consider(prediction, 0.0, type="classes_based", probability=1.0, selected_class_names=list(selected))
    assert drawn == (1 if match else 0)
    return match is not None


@pytest.mark.parametrize("confidence", [0.0, 0.01, 0.5, 0.99, 1.0])
def test_a_label_in_the_selected_classes_matches_at_every_confidence(confidence: float) -> None:
    assert of_class(label("cat", confidence), "cat")
    assert of_class(label("cat", confidence), "dog", "cat")
    assert not of_class(label("cat", confidence), "dog")
    assert not of_class(label("cat", confidence))


def test_a_confidence_of_one_and_a_half_is_too_far_from_a_half() -> None:
    assert of_class(label("cat", 1.4999), "cat")
    assert not of_class(label("cat", 1.5), "cat")


def test_only_the_top_class_of_one_label_counts() -> None:
    assert not of_class(label("cat", 0.6, [("dog", 0.4)]), "dog")


def test_any_predicted_class_of_many_labels_counts() -> None:
    prediction = labels(("cat", 0.9), ("dog", 0.7), ("fox", 0.1), predicted=("cat", "dog"))
    assert of_class(prediction, "dog")
    assert not of_class(prediction, "fox")


@pytest.mark.parametrize("task", DETECTION_TASKS)
def test_objects_are_no_classification(task: Task) -> None:
    assert not of_class(objects(("cat", 0.9), task=task), "cat")


# detections_number_based


def number(prediction: Prediction, **fields: Any) -> bool:
    match, drawn = consider(prediction, 0.0, **{"type": "detections_number_based", "probability": 1.0, **fields})
    assert drawn == (1 if match else 0)
    return match is not None


@pytest.mark.parametrize("task", DETECTION_TASKS)
@pytest.mark.parametrize(
    ("more_than", "less_than", "matching"),
    [
        (None, None, {0, 1, 2, 3, 4, 5}),
        (2, None, {3, 4, 5}),
        (None, 2, {0, 1}),
        (1, 4, {2, 3}),
        (0, None, {1, 2, 3, 4, 5}),
        (None, 0, set()),
        (2, 3, set()),
    ],
)
def test_both_bounds_of_the_number_are_exclusive(
    task: Task, more_than: int | None, less_than: int | None, matching: set[int]
) -> None:
    counts = {
        n for n in range(6) if number(objects(*[("cat", 0.9)] * n, task=task), more_than=more_than, less_than=less_than)
    }
    assert counts == matching


def test_only_objects_of_selected_classes_are_counted() -> None:
    prediction = objects(("cat", 0.9), ("dog", 0.9), ("dog", 0.9))
    assert number(prediction, more_than=1, selected_class_names=["dog"])
    assert not number(prediction, more_than=1, selected_class_names=["cat"])
    assert number(prediction, more_than=2, selected_class_names=None)
    assert not number(prediction, more_than=0, selected_class_names=[])
    assert number(prediction, less_than=1, selected_class_names=[])


def test_objects_count_at_every_confidence_that_is_a_fraction() -> None:
    assert number(objects(("cat", 0.0), ("cat", 1.0)), more_than=1)
    assert not number(objects(("cat", 1.5), ("cat", 1.0)), more_than=1)


@pytest.mark.parametrize(
    "prediction", [label("cat", 0.9), labels(("cat", 0.9), predicted=("cat",)), objects(task=Task.CLASSIFICATION)]
)
def test_a_classification_has_no_number_of_objects(prediction: Prediction) -> None:
    assert not number(prediction)


def test_defaults_are_the_platforms() -> None:
    given = options(type="close_to_threshold", threshold=0.5, epsilon=0.1, probability=1)
    assert given.model_dump(exclude={"name", "type", "threshold", "epsilon", "probability"}) == {
        "tags": (),
        "limits": (),
        "class_balance": False,
        "initial_counts": {},
        "near_duplicate": None,
        "zones": None,
        "zone_anchor": "bottom",
        "inhibit": None,
        "hours": None,
        "days": None,
        "pacing": None,
        "min_interval_s": None,
        "min_interval_scope": "stream",
        "before_s": None,
        "after_s": None,
        "neighbours_every_s": 1.0,
        "selected_class_names": None,
        "minimum_objects_close_to_threshold": 1,
        "only_top_classes": True,
    }

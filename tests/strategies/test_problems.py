"""What is reported at the start about strategies that can't do with this model what their author expects."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from framesift.prediction.prediction import Task
from framesift.strategies import STRATEGY_TYPES, AcceptedClasses, class_name_problems, strategy_problems
from sampling_data import label, labels, objects, options, stub

CLOSE: dict[str, Any] = {"type": "close_to_threshold", "threshold": 0.5, "epsilon": 0.1, "probability": 1}
CLASSES: dict[str, Any] = {"type": "classes_based", "selected_class_names": ["cat"], "probability": 1}
NUMBER: dict[str, Any] = {"type": "detections_number_based", "probability": 1}
RANDOM: dict[str, Any] = {"type": "random", "traffic_percentage": 0.1}
UNCERTAIN: dict[str, Any] = {"type": "uncertainty"}
FLICKERING: dict[str, Any] = {"type": "temporal_inconsistency"}
ENDING: dict[str, Any] = {"type": "track_end"}
NOVEL: dict[str, Any] = {"type": "novelty"}
NAMES = ("cat", "dog")
# Each strategy of the table, with the tasks that it is for. One from outside says itself what it is for.
SUITED: list[tuple[dict[str, Any], set[Task]]] = [
    (RANDOM, set(Task)),
    (CLOSE, set(Task) - {Task.SEMANTIC_SEGMENTATION}),
    (CLASSES, {Task.CLASSIFICATION}),
    (NUMBER, set(Task) - {Task.SEMANTIC_SEGMENTATION, Task.CLASSIFICATION}),
    (UNCERTAIN, set(Task) - {Task.SEMANTIC_SEGMENTATION}),
    (FLICKERING, set(Task) - {Task.SEMANTIC_SEGMENTATION}),
    (ENDING, set(Task) - {Task.SEMANTIC_SEGMENTATION, Task.CLASSIFICATION}),
    (NOVEL, set(Task)),
]
SUIT_THE_STUB = ("random",)
SELECTING = [one for one in SUITED if "selected_class_names" in STRATEGY_TYPES[one[0]["type"]].model_fields]


def problems_of(
    fields: dict[str, Any],
    task: Task | None = Task.OBJECT_DETECTION,
    names: tuple[str, ...] | None = NAMES,
    *,
    stub: bool = False,
) -> tuple[str, ...]:
    return strategy_problems((options(**fields),), task, names, stub=stub)


def test_every_strategy_of_the_table_is_tested_here() -> None:
    missing = sorted(set(STRATEGY_TYPES) - {fields["type"] for fields, _ in SUITED} - {"python"})
    assert not missing, (
        f"tests/strategies/test_problems.py: add {', '.join(missing)} to SUITED, with options and the tasks that the "
        "strategy is for; and to SUIT_THE_STUB, if it may want a frame of which nothing is predicted"
    )


@pytest.mark.parametrize(
    ("fields", "suited"), SUITED, ids=lambda value: value["type"] if isinstance(value, dict) else ""
)
def test_a_strategy_that_can_never_match_the_models_task_is_named(fields: dict[str, Any], suited: set[Task]) -> None:
    for task in Task:
        found = problems_of(fields, task)
        assert bool(found) is (task not in suited)
        assert all(str(task) in line and "'it'" in line and fields["type"] in line for line in found)


def test_a_strategy_that_compares_embeddings_is_named_where_the_model_surely_gives_none() -> None:
    for gives, problems in ((False, 1), (True, 0), (None, 0)):
        found = strategy_problems((options(**NOVEL),), None, None, stub=False, gives_embeddings=gives)
        assert len(found) == problems
        assert all("'it' (novelty)" in line and "the model gives none" in line for line in found)
    (of_stub,) = strategy_problems((options(**NOVEL),), None, None, stub=True, gives_embeddings=False)
    assert "stub" in of_stub


def test_a_model_that_does_not_say_its_task_or_classes_gives_no_problem() -> None:
    for fields, _ in SUITED:
        assert problems_of(fields, None, None) == ()


@pytest.mark.parametrize(
    ("fields", "suited"), SELECTING, ids=lambda value: value["type"] if isinstance(value, dict) else ""
)
def test_a_class_is_not_selected_by_a_name_where_the_models_classes_have_none(
    fields: dict[str, Any], suited: set[Task]
) -> None:
    task = min(suited)
    how = "set model.class_names_file"

    def both(names: list[str] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        strategies = (options(**fields | {"selected_class_names": names}),)
        return strategy_problems(strategies, task, None, stub=False, class_names_advice=how), class_name_problems(
            strategies, how
        )

    (problem,), (refused,) = both(["car", "class_1", "bus"])
    assert problem == refused
    for word in ("'it'", fields["type"], "'car', 'bus'", "have no names", how):
        assert word in problem
    # These are what a model without names calls its classes.
    assert both(["class_0", "class_17"]) == ((), ())
    assert class_name_problems((options(**fields | {"selected_class_names": ["car"]}),), "") == ()


def test_a_strategy_that_selects_no_class_suits_a_model_without_names() -> None:
    for fields in (fields for fields, _ in SUITED if "selected_class_names" not in fields):
        assert class_name_problems((options(**fields),), "name them") == ()
        assert strategy_problems((options(**fields),), None, None, stub=False, class_names_advice="name them") == ()


def test_only_random_suits_the_stub() -> None:
    for fields, _ in SUITED:
        found = problems_of(fields, stub=True)
        assert ["stub" in line for line in found] == ([] if fields["type"] in SUIT_THE_STUB else [True])


@pytest.mark.parametrize(
    ("fields", "task"),
    [
        ({**CLOSE, "selected_class_names": ["cat", "dgo"]}, Task.OBJECT_DETECTION),
        ({**CLASSES, "selected_class_names": ["cat", "dgo"]}, Task.CLASSIFICATION),
        ({**NUMBER, "selected_class_names": ["cat", "dgo"]}, Task.OBJECT_DETECTION),
        ({**UNCERTAIN, "selected_class_names": ["cat", "dgo"]}, Task.OBJECT_DETECTION),
        ({**UNCERTAIN, "class_balance": True, "initial_counts": {"dgo": 1}}, Task.OBJECT_DETECTION),
    ],
)
def test_a_class_that_the_model_does_not_have_is_named_with_the_nearest_that_it_has(
    fields: dict[str, Any], task: Task
) -> None:
    (line,) = problems_of(fields, task)
    assert "no class 'dgo'" in line
    assert "'dog'?" in line


@pytest.mark.parametrize(
    ("fields", "task", "why"),
    [
        ({**RANDOM, "traffic_percentage": 0}, Task.OBJECT_DETECTION, "traffic_percentage is 0"),
        ({**CLOSE, "probability": 0}, Task.OBJECT_DETECTION, "probability is 0"),
        ({**CLASSES, "probability": 0}, Task.CLASSIFICATION, "probability is 0"),
        ({**NUMBER, "probability": 0}, Task.OBJECT_DETECTION, "probability is 0"),
        ({**UNCERTAIN, "probability": 0}, Task.OBJECT_DETECTION, "probability is 0"),
        ({**NOVEL, "probability": 0}, Task.OBJECT_DETECTION, "probability is 0"),
        ({**CLOSE, "epsilon": 0}, Task.OBJECT_DETECTION, "epsilon is 0"),
        ({**CLOSE, "selected_class_names": []}, Task.OBJECT_DETECTION, "empty list"),
        ({**CLASSES, "selected_class_names": []}, Task.CLASSIFICATION, "empty list"),
        ({**NUMBER, "selected_class_names": [], "more_than": 0}, Task.OBJECT_DETECTION, "empty list"),
        ({**UNCERTAIN, "selected_class_names": []}, Task.OBJECT_DETECTION, "empty list"),
        ({**NUMBER, "less_than": 0}, Task.OBJECT_DETECTION, "less than 0"),
        ({**NUMBER, "more_than": 2, "less_than": 3}, Task.OBJECT_DETECTION, "more than 2 and less than 3"),
        ({**UNCERTAIN, "aggregation": "max", "minimum_score": 1.5}, Task.OBJECT_DETECTION, "minimum_score is 1.5"),
        ({**RANDOM, "limits": [{"type": "hourly", "value": 0}]}, Task.OBJECT_DETECTION, "hourly limit is 0"),
        (
            {**CLOSE, "minimum_objects_close_to_threshold": 0, "epsilon": 0},
            Task.CLASSIFICATION,
            "epsilon is 0",
        ),
    ],
)
def test_options_that_can_never_match_are_reported_with_the_reason(
    fields: dict[str, Any], task: Task, why: str
) -> None:
    (line,) = problems_of(fields, task)
    assert why in line


@pytest.mark.parametrize(
    "fields",
    [
        {**CLOSE, "minimum_objects_close_to_threshold": 0, "epsilon": 0, "selected_class_names": []},
        {**NUMBER, "selected_class_names": [], "less_than": 3},
        {**NUMBER, "less_than": 1},
        {**NUMBER, "more_than": 2, "less_than": 4},
        {**UNCERTAIN, "minimum_score": 1.5},
    ],
)
def test_unusual_options_that_do_match_are_not_complained_of(fields: dict[str, Any]) -> None:
    assert problems_of(fields) == ()


def test_problems_of_all_strategies_are_reported_in_the_policys_order() -> None:
    several = (
        options(**{**CLASSES, "name": "one"}),
        options(**RANDOM),
        options(**{**NUMBER, "name": "two", "less_than": 0}),
    )
    first, second = strategy_problems(several, Task.OBJECT_DETECTION, NAMES, stub=False)
    assert "'one'" in first
    assert "'two'" in second


def test_accepted_classes_count_objects_labels_and_nothing_of_a_stub() -> None:
    accepted = AcceptedClasses({"cat": 5})
    accepted.add(objects(("cat", 0.9), ("cat", 0.2), ("dog", 0.5)))
    accepted.add(label("fox", 0.6, [("cat", 0.4)]))
    accepted.add(label("", 0.0))
    accepted.add(labels(("cat", 0.9), ("owl", 0.8), ("fox", 0.1), predicted=("cat", "owl")))
    accepted.add(stub())
    assert accepted.counts() == {"cat": 8, "dog": 1, "fox": 1, "owl": 1}
    assert accepted.count("cat") == 8
    assert accepted.count("never seen") == 0
    assert "never seen" not in accepted.counts()


def test_the_counts_handed_out_never_change() -> None:
    accepted = AcceptedClasses()
    before = accepted.counts()
    assert accepted.counts() is before
    accepted.add(objects(("cat", 0.9)))
    assert (before, accepted.counts()) == ({}, {"cat": 1})
    with pytest.raises(TypeError):
        accepted.counts()["cat"] = 100  # type: ignore[index]


def test_streams_count_together_without_losing_any() -> None:
    accepted = AcceptedClasses()
    prediction = objects(*[("cat", 0.5)] * 3)
    start = threading.Barrier(4)

    def add() -> None:
        start.wait()
        for _ in range(500):
            accepted.add(prediction)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert accepted.count("cat") == 4 * 500 * 3

"""Strategies: a frame and its prediction -> no, or a match. One file per strategy; a new one is one line in the table.

    random                   a share of all frames
    close_to_threshold       confidences near a threshold
    classes_based            a classifier's selected classes
    detections_number_based  more or fewer objects than a number
    uncertainty              how unsure the model was, as a score

A strategy has a random generator of its own and draws from it once, after its condition holds (`random` always).
`near_duplicate` stands beside them, as an option of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Union

from pydantic import Field

from framesift.prediction.prediction import Task
from framesift.strategies.accepted_classes import AcceptedClasses
from framesift.strategies.classes_based import ClassesBasedOptions
from framesift.strategies.close_to_threshold import CloseToThresholdOptions
from framesift.strategies.detections_number_based import DetectionsNumberBasedOptions
from framesift.strategies.near_duplicate import NearDuplicateOptions
from framesift.strategies.random import RandomOptions
from framesift.strategies.strategy import CommonStrategyOptions, Match, ModelFacts, Strategy, unknown_class_problems
from framesift.strategies.uncertainty import UncertaintyOptions

__all__ = [
    "AcceptedClasses",
    "CommonStrategyOptions",
    "Match",
    "ModelFacts",
    "NearDuplicateOptions",
    "Strategy",
    "StrategyOptions",
    "class_name_problems",
    "strategy_problems",
]

# The table: a policy's `type` chooses the options, and the options begin the strategy.
StrategyOptions = Annotated[
    Union[  # noqa: UP007 - one line for each reads as the table that it is
        RandomOptions,
        CloseToThresholdOptions,
        ClassesBasedOptions,
        DetectionsNumberBasedOptions,
        UncertaintyOptions,
    ],
    Field(discriminator="type"),
]


def strategy_problems(
    strategies: Sequence[StrategyOptions],
    task: Task | None,
    class_names: tuple[str, ...] | None,
    *,
    stub: bool,
    class_names_advice: str = "",
) -> tuple[str, ...]:
    """What is worth a warning at the start: strategies that can never match this model, classes that it doesn't have.

    task, class_names: the model's, None where it doesn't say. stub: whether the model is the null model.
    unnamed: how its classes would get names, "" where they have some or may have.
    """
    model = ModelFacts(task, class_names, stub, class_names_advice)
    found = []
    for options in strategies:
        found += [_of(options, problem) for problem in options.problems(model)]
        found += [
            f"strategy {options.name!r} ({options.type}): collects nothing: its {limit.type} limit is 0"
            for limit in options.limits
            if limit.value == 0
        ]
    return tuple(found)


def class_name_problems(strategies: Sequence[StrategyOptions], class_names_advice: str) -> tuple[str, ...]:
    """Those of the `problems` that no policy can be meant to have: classes are selected by names that they don't have.

    unnamed: how they would get them, "" where they have some or may have.
    """
    model = ModelFacts(None, None, stub=False, class_names_advice=class_names_advice)
    selected = ((options, getattr(options, "selected_class_names", None)) for options in strategies)
    return tuple(
        _of(options, problem) for options, names in selected for problem in unknown_class_problems(model, names)
    )


def _of(options: StrategyOptions, problem: str) -> str:
    return f"strategy {options.name!r} ({options.type}): {problem}"

"""Strategies: a frame and its prediction in, a match or nothing out. One file per strategy, one line in the table.

A strategy has its own random generator and draws from it once, after its condition holds (`random` always draws).
`near_duplicate` and the `restrictions` (zones, hours, days, inhibit) are no strategies but options of each.
CONTRIBUTING.md says how to add a strategy.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from random import Random
from typing import Annotated, Union, get_args
from zoneinfo import ZoneInfo

from pydantic import Field

from framesift.frame import Frame
from framesift.prediction.prediction import Prediction, Task
from framesift.strategies.accepted_classes import AcceptedClasses
from framesift.strategies.class_balance import ClassBalance, balance_problems
from framesift.strategies.classes_based import ClassesBasedOptions
from framesift.strategies.close_to_threshold import CloseToThresholdOptions
from framesift.strategies.detections_number_based import DetectionsNumberBasedOptions
from framesift.strategies.inhibit import InhibitCondition
from framesift.strategies.known_paths import resolve_known_paths
from framesift.strategies.near_duplicate import NearDuplicateOptions
from framesift.strategies.neighbour_options import NeighbourOptions, held_problem, kept_problem
from framesift.strategies.novelty import NoveltyOptions
from framesift.strategies.pacing_options import PacingOptions, pacing_problem, tightest_limit
from framesift.strategies.python import PythonStrategyOptions
from framesift.strategies.random import RandomOptions
from framesift.strategies.restrictions import Restrictions, restriction_problems, restrictions_of
from framesift.strategies.strategy import (
    CommonStrategyOptions,
    Match,
    ModelFacts,
    Strategy,
    StrategyFailed,
    unknown_class_problems,
)
from framesift.strategies.temporal_inconsistency import TemporalInconsistencyOptions
from framesift.strategies.track_end import TrackEndOptions
from framesift.strategies.uncertainty import UncertaintyOptions
from framesift.strategies.zones import PlacedObjects

__all__ = [
    "STRATEGY_TYPES",
    "AcceptedClasses",
    "ClassBalance",
    "CommonStrategyOptions",
    "InhibitCondition",
    "Match",
    "ModelFacts",
    "NearDuplicateOptions",
    "NeighbourOptions",
    "PacingOptions",
    "PlacedObjects",
    "Restrictions",
    "Strategy",
    "StrategyFailed",
    "StrategyOptions",
    "class_name_problems",
    "evaluation_failures",
    "held_problem",
    "kept_problem",
    "pacing_problem",
    "resolve_paths",
    "restrictions_of",
    "strategy_problems",
    "tightest_limit",
]

# The table: the `type` in the policy chooses the options, and the options create the strategy.
StrategyOptions = Annotated[
    Union[  # noqa: UP007 - one line for each reads as the table that it is
        RandomOptions,  # a share of all frames
        CloseToThresholdOptions,  # confidences near a threshold
        ClassesBasedOptions,  # a classifier's selected classes
        DetectionsNumberBasedOptions,  # more or fewer objects than a number
        TemporalInconsistencyOptions,  # what contradicts the frames beside it
        TrackEndOptions,  # where an object vanishes inside the picture
        NoveltyOptions,  # how unlike all accepted frames, as a score
        UncertaintyOptions,  # how unsure the model was, as a score
        PythonStrategyOptions,  # a strategy from outside of this package
    ],
    Field(discriminator="type"),
]

# The table once more, by type.
STRATEGY_TYPES: dict[str, type[CommonStrategyOptions]] = {
    get_args(options.model_fields["type"].annotation)[0]: options for options in get_args(get_args(StrategyOptions)[0])
}


def resolve_paths(policy: object, folder: Path) -> None:
    """Makes relative paths in a policy (parsed JSON, of whatever shape) count from `folder`."""
    resolve_known_paths(policy, folder)
    strategies = policy.get("sampling_strategies") if isinstance(policy, dict) else None
    for strategy in strategies if isinstance(strategies, list) else ():
        if isinstance(strategy, dict) and isinstance(strategy.get("path"), str):
            strategy["path"] = str(folder / strategy["path"])


def strategy_problems(
    strategies: Sequence[StrategyOptions],
    task: Task | None,
    class_names: tuple[str, ...] | None,
    *,
    stub: bool,
    class_names_advice: str = "",
    gives_embeddings: bool | None = None,
) -> tuple[str, ...]:
    """A sentence for each strategy that can never match with this model, and each class that the model doesn't have.

    task, class_names, stub, class_names_advice, gives_embeddings: of the model, see `ModelFacts`.
    """
    model = ModelFacts(task, class_names, stub, class_names_advice, gives_embeddings)
    found: list[str] = []
    for options in strategies:
        found += [_sentence(options, problem) for problem in options.problems(model)]
        found += [_sentence(options, problem) for problem in balance_problems(options, model)]
        found += [_sentence(options, problem) for problem in restriction_problems(options, model)]
        found += [
            f"strategy {options.name!r} ({options.type}): collects nothing: its {limit.type} limit is 0"
            for limit in options.limits
            if limit.value == 0
        ]
    return tuple(found)


def class_name_problems(strategies: Sequence[StrategyOptions], class_names_advice: str) -> tuple[str, ...]:
    """Those of the `strategy_problems` that are surely mistakes: classes selected by names that the model lacks.

    class_names_advice: of the model, see `ModelFacts`.
    """
    model = ModelFacts(None, None, stub=False, class_names_advice=class_names_advice)
    found: list[str] = []
    for options in strategies:
        selected = unknown_class_problems(model, getattr(options, "selected_class_names", None))
        found += [_sentence(options, problem) for problem in chain(selected, restriction_problems(options, model))]
    return tuple(found)


def evaluation_failures(
    strategies: Sequence[StrategyOptions], frame: Frame, prediction: Prediction
) -> tuple[StrategyFailed, ...]:
    """The strategies that can't evaluate this frame. Each is created for it, and evaluates it once.

    Code from outside may be wrong in a way that only shows then. Raises what the frame's pixels raise.
    """
    found: list[StrategyFailed] = []
    objects = PlacedObjects(prediction)
    for options in strategies:
        restrictions = restrictions_of(options, ZoneInfo("UTC"))
        seen = prediction if restrictions is None else restrictions.seen(objects)
        try:
            options.create(Random(0), AcceptedClasses()).evaluate(frame, seen)
        except StrategyFailed as failure:
            found.append(failure)
    return tuple(found)


def _sentence(options: StrategyOptions, problem: str) -> str:
    return f"strategy {options.name!r} ({options.type}): {problem}"

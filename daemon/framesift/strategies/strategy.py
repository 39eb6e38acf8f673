"""What all strategies share: the options that each of them has, what it answers, and how it is asked."""

from __future__ import annotations

import difflib
import random
import re
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import Field

from framesift.config.schema import StrictModel, Tag, Text, WindowLimits
from framesift.frame import Frame
from framesift.prediction.prediction import Prediction, Task
from framesift.strategies.accepted_classes import AcceptedClasses
from framesift.strategies.near_duplicate import NearDuplicateOptions

# What a model calls its classes that have no names.
_MADE_UP = re.compile(r"class_\d+")
# Null or absent: every class. An empty list: none.
ClassNames = tuple[Text, ...] | None


@dataclass(frozen=True, slots=True)
class Match:
    """A strategy wants the frame. score: higher is more worth a label; None where the strategy only matches."""

    strategy: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of the model before it has seen a frame; None where it does not say. unnamed: how its classes would
    get the names that they lack, "" where they have some, or may have.
    """

    task: Task | None
    class_names: tuple[str, ...] | None
    stub: bool
    class_names_advice: str = ""


class Strategy(Protocol):
    """One sampling rule at work on one stream, called by one thread, for every frame in order."""

    def evaluate(self, frame: Frame, prediction: Prediction, /) -> Match | None: ...


class CommonStrategyOptions(StrictModel):
    """The options that every strategy has."""

    name: Annotated[Text, Field(description="Unique in the policy; limits are counted under this name.")]
    tags: Annotated[tuple[Tag, ...], Field(description="Put on what this strategy collects.")] = ()
    limits: Annotated[WindowLimits, Field(description="How many images it may collect; none: any number.")] = ()
    near_duplicate: Annotated[
        NearDuplicateOptions | None,
        Field(description="Refuse what looks like an accepted frame. Absent: as the policy says; null: never."),
    ] = None

    @abstractmethod
    def create(self, rng: random.Random, accepted: AcceptedClasses) -> Strategy:
        """The strategy at its start. chance: its own generator. accepted: what was accepted so far, of all streams."""

    @abstractmethod
    def problems(self, model: ModelFacts) -> Iterator[str]:
        """Why this strategy can't do with this model what its author expects; nothing if all is well."""


def is_selected(class_name: str, selected: ClassNames) -> bool:
    return selected is None or class_name in selected


def task_problems(model: ModelFacts, tasks: frozenset[Task]) -> Iterator[str]:
    """The problem of a strategy that needs the predictions of one of `tasks`."""
    if model.stub:
        yield "can never match: the stub model predicts nothing (random is the strategy that suits it)"
    elif model.task is not None and model.task not in tasks:
        names = ", ".join(sorted(str(task) for task in tasks))
        yield f"can never match: the model's task is {model.task}, and this strategy is for {names}"


def unknown_class_problems(model: ModelFacts, selected: ClassNames) -> Iterator[str]:
    """A problem for each selected class that the model does not have."""
    if model.class_names_advice:
        named = [name for name in dict.fromkeys(selected or ()) if not _MADE_UP.fullmatch(name)]
        if named:
            names = ", ".join(map(repr, named))
            yield f"names {names}, but the model's classes have no names: {model.class_names_advice}"
        return
    if selected is None or model.class_names is None or model.stub:
        return
    for name in dict.fromkeys(selected):
        if name not in model.class_names:
            near = difflib.get_close_matches(name, model.class_names, n=1)
            yield f"the model has no class {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def zero_share_problem(key: str, probability: float) -> Iterator[str]:
    if probability == 0:
        yield f"can never match: {key} is 0"

"""What all strategies share: the options that each of them has, and how a strategy is created and called."""

from __future__ import annotations

import difflib
import random
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

from pydantic import Field, model_validator

from framesift.config.schema import StrictModel, Tag, Text, WindowLimits
from framesift.decisions.measurement import Gauge
from framesift.frame import Frame
from framesift.prediction.embedding import Embedding
from framesift.prediction.prediction import Prediction, Task
from framesift.strategies.accepted_classes import AcceptedClasses
from framesift.strategies.hours import Day, Hours
from framesift.strategies.inhibit import InhibitCondition
from framesift.strategies.near_duplicate import NearDuplicateOptions
from framesift.strategies.neighbour_options import (
    DEFAULT_EVERY_S,
    NeighbourOptions,
    held_problem,
    neighbours_problem,
)
from framesift.strategies.pacing_options import PacingOptions, pacing_problem
from framesift.strategies.zones import Anchor, ZonePolygons

# Names that are made up for the classes of a model without class names.
_MADE_UP = re.compile(r"class_\d+")
# Null or absent: every class. An empty list: none.
ClassNames = tuple[Text, ...] | None


class Match(NamedTuple):
    """A strategy wants the frame.

    strategy: its name in the policy. score: higher is more worth a label; None where the strategy gives no score.
    frames_back: which frame: 0 is the one that was evaluated, 1 the one that the strategy evaluated before it, and so
    on, at most as many as its options say for the model's task.
    """

    strategy: str
    score: float | None = None
    frames_back: int = 0


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of the model before its first prediction.

    task, class_names: None where the model does not say. stub: whether it is the stub model, which predicts nothing.
    class_names_advice: how the operator gives the classes the names that they lack; "" where they have names, or may.
    gives_embeddings: whether its predictions have embeddings, None where only they tell.
    """

    task: Task | None
    class_names: tuple[str, ...] | None
    stub: bool
    class_names_advice: str = ""
    gives_embeddings: bool | None = None


class StrategyFailed(Exception):
    """A strategy could not evaluate a frame.

    strategy: its name in the policy. reason: one line for the operator. code_line: where its code failed, as
    "file:line"; "" where that is not known.
    """

    def __init__(self, strategy: str, reason: str, code_line: str = "") -> None:
        super().__init__(f"strategy {strategy!r}: {reason}" + (f" ({code_line})" if code_line else ""))
        self.strategy = strategy
        self.reason = reason
        self.code_line = code_line


class Strategy(Protocol):
    """One sampling rule at work on one stream. One thread at a time calls it, for every frame in order."""

    def evaluate(self, frame: Frame, prediction: Prediction, /) -> Match | None:
        """Whether the strategy wants the frame. It must be quick, and must not wait for anything.

        Raises StrategyFailed, which counts as no match, and what the frame's pixels raise.
        """


@runtime_checkable
class ComparesEmbeddings(Protocol):
    """A strategy that compares each frame with the frames that were accepted, by the model's embeddings."""

    def compare_with(self, nearest: Callable[[Embedding], float], /) -> None:
        """Called once, before the first frame.

        nearest: the cosine distance of an embedding from that of the nearest accepted frame; infinite where there is
        none.
        """


@runtime_checkable
class Measures(Protocol):
    """A strategy that tells by which number it decided."""

    @property
    def gauge(self) -> Gauge:
        """Shows what the latest `evaluate` measured. Always the same one."""


class CommonStrategyOptions(StrictModel):
    """The options that every strategy has. A strategy's own options extend them, and create the strategy."""

    # Whether only a policy file of this machine may have such a strategy: it names code that this machine runs.
    local_only: ClassVar[bool] = False
    # Whether the strategy applies class_balance to its scores by itself.
    balances_itself: ClassVar[bool] = False

    name: Annotated[Text, Field(description="Unique in the policy; limits are counted under this name.")]
    tags: Annotated[tuple[Tag, ...], Field(description="Put on what this strategy collects.")] = ()
    limits: Annotated[WindowLimits, Field(description="How many images it may collect; none: any number.")] = ()
    near_duplicate: Annotated[
        NearDuplicateOptions | None,
        Field(description="Refuse what looks like an accepted frame. Absent: as the policy says; null: never."),
    ] = None
    zones: Annotated[
        ZonePolygons | None,
        Field(description="Only objects in these areas count: their corners [x, y], as parts of width and height."),
    ] = None
    zone_anchor: Annotated[
        Anchor, Field(description="Which point of a box must be in a zone; bottom: the middle of its lower edge.")
    ] = "bottom"
    inhibit: Annotated[
        tuple[InhibitCondition, ...] | None,
        Field(min_length=1, max_length=32, description="Take no frame while one of these holds."),
    ] = None
    hours: Annotated[
        tuple[Hours, ...] | None,
        Field(min_length=1, max_length=24, description="Take frames at these times of the policy's zone only."),
    ] = None
    days: Annotated[
        tuple[Day, ...] | None,
        Field(min_length=1, max_length=7, description="Take frames on these days of the policy's zone only."),
    ] = None
    class_balance: Annotated[bool, Field(description="Prefer classes that were collected less so far.")] = False
    initial_counts: Annotated[
        dict[Text, Annotated[int, Field(ge=0, le=1_000_000_000)]],
        Field(description="For class_balance: how many of each class the dataset has already."),
    ] = Field(default_factory=dict)
    pacing: Annotated[
        PacingOptions | None,
        Field(description="Spend the budget over the whole hour or day. Absent: as the policy says; null: don't."),
    ] = None
    min_interval_s: Annotated[
        float | None,
        Field(gt=0.0, le=86_400.0, description="Seconds between two frames that it collects; null: any."),
    ] = None
    min_interval_scope: Annotated[
        Literal["stream", "all"],
        Field(description="Whether min_interval_s holds for each stream by itself, or for all streams together."),
    ] = "stream"
    before_s: Annotated[
        float | None,
        Field(gt=0.0, le=60.0, description="Collect frames so many seconds before a collected one too; null: none."),
    ] = None
    after_s: Annotated[
        float | None,
        Field(gt=0.0, le=60.0, description="Collect frames so many seconds after a collected one too; null: none."),
    ] = None
    neighbours_every_s: Annotated[
        float, Field(ge=0.1, le=60.0, description="Seconds between two frames of before_s and after_s, at least.")
    ] = DEFAULT_EVERY_S

    @model_validator(mode="after")
    def _anchor_is_used(self) -> CommonStrategyOptions:
        has_zones = self.zones is not None or any(one.zones is not None for one in self.inhibit or ())
        if self.zone_anchor != "bottom" and not has_zones:
            raise ValueError(f"zone_anchor: {self.zone_anchor} has no effect without zones")
        return self

    @model_validator(mode="after")
    def _counts_are_used(self) -> CommonStrategyOptions:
        if self.initial_counts and not self.class_balance:
            raise ValueError("initial_counts has no effect without class_balance: true")
        return self

    @model_validator(mode="after")
    def _interval_is_used(self) -> CommonStrategyOptions:
        if self.min_interval_scope != "stream" and self.min_interval_s is None:
            raise ValueError(f"min_interval_scope: {self.min_interval_scope} has no effect without min_interval_s")
        return self

    @model_validator(mode="after")
    def _can_be_paced(self) -> CommonStrategyOptions:
        problem = pacing_problem(self.pacing, self.limits)
        if problem:
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _neighbours_go_together(self) -> CommonStrategyOptions:
        problem = neighbours_problem(self.before_s, self.after_s, self.neighbours_every_s)
        problem = problem or held_problem(self.neighbours, self.pacing)
        if problem:
            raise ValueError(problem)
        return self

    @property
    def neighbours(self) -> NeighbourOptions | None:
        """Which frames are collected with those that the strategy collects; None where none are."""
        if self.before_s is None and self.after_s is None:
            return None
        return NeighbourOptions(self.before_s or 0.0, self.after_s or 0.0, self.neighbours_every_s)

    @property
    def needs_pixels(self) -> bool:
        """Whether the strategy reads the frame's pixels: it can't be judged on recorded predictions alone."""
        return False

    @property
    def needs_video(self) -> bool:
        """Whether frames tell it something only if each follows the one before: it evaluates no other streams."""
        return False

    @property
    def compared_frames(self) -> NearDuplicateOptions | None:
        """Which accepted frames it compares each frame with: then it is a `ComparesEmbeddings`. None: none."""
        return None

    def frames_back(self, task: Task) -> int:  # noqa: ARG002 - for strategies that look back
        """How far back its matches may lie where the model's task is `task`: so many frames are kept in memory."""
        return 0

    @abstractmethod
    def create(self, rng: random.Random, accepted: AcceptedClasses) -> Strategy:
        """Creates the strategy for one stream.

        rng: its own random generator. accepted: which classes were accepted so far, on all streams.
        """

    @abstractmethod
    def problems(self, model: ModelFacts) -> Iterator[str]:
        """Yields a sentence for each reason why the strategy can't do with this model what its author expects."""


def selection(selected: ClassNames) -> frozenset[str] | None:
    """The selected classes as `ObjectColumns.confidences_of` takes them; None selects all."""
    return None if selected is None else frozenset(selected)


def is_selected(class_name: str, selected: ClassNames) -> bool:
    """Whether a class is one of the selected ones; None selects all."""
    return selected is None or class_name in selected


def task_problems(model: ModelFacts, tasks: frozenset[Task]) -> Iterator[str]:
    """Yields the problem of a strategy that needs predictions of one of `tasks`."""
    if model.stub:
        yield "can never match: the stub model predicts nothing (random is the strategy that suits it)"
    elif model.task is not None and model.task not in tasks:
        names = ", ".join(sorted(str(task) for task in tasks))
        yield f"can never match: the model's task is {model.task}, and this strategy is for {names}"


def unknown_class_problems(model: ModelFacts, selected: ClassNames) -> Iterator[str]:
    """Yields a problem for each selected class that the model does not have."""
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


def zero_share_problem(key: str, share: float) -> Iterator[str]:
    """Yields the problem of a share (the option `key`) that is 0."""
    if share == 0:
        yield f"can never match: {key} is 0"

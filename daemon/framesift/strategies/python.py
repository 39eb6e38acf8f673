"""python: a strategy from outside of this package, `factory: "module:function"`. See docs/extending.md.

The factory is called when the policy is read, to check it, and once for each stream. What it returns has a method
`evaluate`, and may have `needs_pixels`, `tasks` and `problems`: see `framesift.extend.StrategyExtension`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from numbers import Real
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from framesift.config.factory import (
    FactoryError,
    FactoryName,
    FactoryOptions,
    FactoryPath,
    call_factory,
    failure_line,
    failure_text,
    load_factory,
    one_line,
    read_attribute,
)
from framesift.config.schema import Fraction
from framesift.decisions.measurement import Draw
from framesift.frame import Frame, Pixels
from framesift.prediction.prediction import Prediction, Task
from framesift.strategies.accepted_classes import AcceptedClasses
from framesift.strategies.strategy import (
    CommonStrategyOptions,
    Match,
    ModelFacts,
    Strategy,
    StrategyFailed,
    task_problems,
    zero_share_problem,
)


class PythonStrategyOptions(CommonStrategyOptions):
    """Collects frames by a rule from outside of framesift: see docs/extending.md."""

    local_only: ClassVar[bool] = True

    type: Literal["python"]
    factory: FactoryName
    options: FactoryOptions = Field(default_factory=dict)
    path: FactoryPath = None
    probability: Annotated[Fraction, Field(description="The share of matching frames that is collected.")] = 1.0

    _factory: Callable[..., object] = PrivateAttr()
    _needs_pixels: bool = PrivateAttr(default=False)
    _tasks: frozenset[Task] | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _load(self) -> PythonStrategyOptions:
        try:
            self._factory = load_factory(self.factory, self.path)
            strategy = self._call_factory()
            self._needs_pixels = _needs_pixels(strategy, self.factory)
            self._tasks = _tasks_of(strategy, self.factory)
        except FactoryError as error:
            raise ValueError(f"factory: {error}") from error
        return self

    @property
    def needs_pixels(self) -> bool:
        """As the factory's strategy says."""
        return self._needs_pixels

    def create(self, rng: random.Random, accepted: AcceptedClasses) -> Strategy:  # noqa: ARG002 - the signature of all
        """Calls the factory. Where it fails now, the strategy fails for every frame."""
        return PythonStrategy(self, self._call_factory, rng)

    def problems(self, model: ModelFacts) -> Iterator[str]:
        """Yields what the strategy's `tasks` and `problems` say of this model."""
        yield from zero_share_problem("probability", self.probability)
        if self._tasks is not None:
            yield from task_problems(model, self._tasks)
        try:
            found = getattr(self._call_factory(), "problems", None)
            sentences = [] if found is None else [one_line(sentence) for sentence in found(model)]
        except (Exception, SystemExit) as error:  # noqa: BLE001 - code of others may raise anything
            sentences = [failure_text(error)]
        yield from sentences

    def _call_factory(self) -> Any:
        """What the factory returns, with a method `evaluate`. Raises FactoryError."""
        strategy = call_factory(self.factory, self._factory, self.options)
        if not callable(read_attribute(strategy, "evaluate", self.factory)):
            raise FactoryError(f"{self.factory} returned a {type(strategy).__name__}, without a method evaluate()")
        return strategy


class PythonStrategy:
    """Calls the strategy from outside; then one draw, where it wants the frame."""

    def __init__(self, options: PythonStrategyOptions, create: Callable[[], Any], rng: random.Random) -> None:
        """create: calls the factory; it may raise FactoryError."""
        self._name = options.name
        self.gauge = Draw(options.probability, rng)
        self._evaluate: Callable[[Frame, Prediction], object] | None = None
        self._failure = ""
        try:
            self._evaluate = read_attribute(create(), "evaluate", options.factory)
        except FactoryError as error:
            self._failure = str(error)

    def evaluate(self, frame: Frame, prediction: Prediction, /) -> Match | None:
        """Draws once where the strategy wants the frame. Raises StrategyFailed for whatever its code raises."""
        if self._evaluate is None:
            raise StrategyFailed(self._name, self._failure)
        picture = _ReadOnlyPicture(frame)
        self.gauge.skip()
        try:
            wanted, score = _parse_answer(self._evaluate(replace(frame, picture=picture), prediction))
        except (Exception, SystemExit) as error:
            if picture.error is not None:  # the picture is broken, and not the strategy
                raise picture.error from None
            code_line = failure_line(error, self._evaluate)
            raise StrategyFailed(self._name, failure_text(error), code_line) from error
        return Match(self._name, score) if wanted and self.gauge.wins() else None


class _ReadOnlyPicture:
    """The frame's picture, for code that must not write to it. error: what its pixels raised, None if nothing."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self.width = frame.width
        self.height = frame.height
        self.error: Exception | None = None

    @property
    def pixels(self) -> Pixels:
        try:
            pixels: Pixels = self._frame.pixels.view()
        except Exception as error:
            self.error = error
            raise
        pixels.flags.writeable = False
        return pixels

    def overview(self, width: int = 1, height: int = 1) -> Pixels:  # noqa: ARG002  # of a LazyPicture
        return self.pixels

    @property
    def jpeg(self) -> bytes | None:
        return None


def _parse_answer(answer: object) -> tuple[bool, float | None]:
    """Whether the frame is wanted, and its score. Raises TypeError or ValueError for what is no answer."""
    if answer is None or isinstance(answer, bool | np.bool_):
        return bool(answer), None
    if not isinstance(answer, Real):
        raise TypeError(f"evaluate() returned a {type(answer).__name__}; allowed are True, False, None and a number")
    score = float(answer)
    if not math.isfinite(score):
        raise ValueError(f"evaluate() returned the score {score}")
    return True, score


def _needs_pixels(strategy: object, factory: str) -> bool:
    """Whether the strategy reads the pixels. Raises FactoryError."""
    needs_pixels = read_attribute(strategy, "needs_pixels", factory)
    try:
        return bool(needs_pixels)
    except (Exception, SystemExit) as error:
        raise FactoryError(f"{factory}: its needs_pixels is not True or False: {failure_text(error)}") from error


def _tasks_of(strategy: object, factory: str) -> frozenset[Task] | None:
    """The tasks that the strategy is for, None for any. Raises FactoryError."""
    tasks = read_attribute(strategy, "tasks", factory)
    if tasks is None:
        return None
    try:
        if isinstance(tasks, str) or not isinstance(tasks, Iterable):
            raise FactoryError(f"{factory} has tasks {one_line(repr(tasks)):.80}; it must be a list of tasks")
        return frozenset(Task(task) for task in tasks)
    except FactoryError:
        raise
    except ValueError as error:
        allowed = ", ".join(str(task) for task in Task)
        raise FactoryError(
            f"{factory} has tasks with an unknown one: {one_line(error)}; allowed are {allowed}"
        ) from None
    except (Exception, SystemExit) as error:
        raise FactoryError(f"{factory}: reading its tasks failed: {failure_text(error)}") from error

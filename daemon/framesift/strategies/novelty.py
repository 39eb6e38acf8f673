"""novelty: frames that show something else than all that was accepted, by the model's embeddings.

The score is the cosine distance from the nearest accepted frame: 0 for the same, 1 for one that has nothing in common,
2 at most. Taking the farthest one again and again is the greedy choice of k centers, by which the accepted frames cover
all that the camera shows with the smallest radius (Sener and Savarese, Active Learning for Convolutional Neural
Networks: A Core-Set Approach, 2018, algorithm 1). While nothing is accepted, every frame has the largest score.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Annotated, Literal

from pydantic import Field

from framesift.config.schema import Fraction
from framesift.decisions.measurement import Draw, ValueGauge
from framesift.frame import Frame
from framesift.prediction.embedding import Embedding
from framesift.prediction.prediction import Prediction, Task
from framesift.strategies.accepted_classes import AcceptedClasses
from framesift.strategies.near_duplicate import NearDuplicateOptions
from framesift.strategies.strategy import (
    CommonStrategyOptions,
    Match,
    ModelFacts,
    Strategy,
    task_problems,
    zero_share_problem,
)

MAX_SCORE = 2.0


class NoveltyOptions(CommonStrategyOptions):
    """Collects frames that are unlike all that was accepted, with a score."""

    type: Literal["novelty"]
    minimum_score: Annotated[
        float, Field(ge=0.0, le=MAX_SCORE, description="Only frames that are at least so far from all accepted ones.")
    ] = 0.0
    probability: Annotated[Fraction, Field(description="The share of matching frames that is collected.")] = 1.0
    memory: Annotated[
        int, Field(ge=1, le=4096, description="With how many accepted frames each frame is compared: the newest ones.")
    ] = 1024
    scope: Annotated[
        Literal["stream", "all"],
        Field(description="Whose accepted frames are compared: those of the stream, or of all streams of this device."),
    ] = "stream"

    @property
    def compared_frames(self) -> NearDuplicateOptions:
        """The accepted frames that were remembered with their embeddings."""
        return NearDuplicateOptions(signature="embedding", memory=self.memory, scope=self.scope, threshold=0.0)

    def create(self, rng: random.Random, accepted: AcceptedClasses) -> Strategy:  # noqa: ARG002 - the signature of all
        """Creates the strategy for one stream."""
        return Novelty(self, rng)

    def problems(self, model: ModelFacts) -> Iterator[str]:
        """Yields why the strategy can never match with this model."""
        yield from task_problems(model, frozenset(Task))
        yield from zero_share_problem("probability", self.probability)
        if not model.stub and model.gives_embeddings is False:
            yield "can never match: it compares embeddings, and the model gives none (docs/models.md: embedding)"


class Novelty:
    """Matches where the distance reaches the minimum; then one draw. A frame without an embedding never matches."""

    def __init__(self, options: NoveltyOptions, rng: random.Random) -> None:
        self._options = options
        self._draw = Draw(options.probability, rng)
        self.gauge = ValueGauge("novelty", ">=", options.minimum_score, self._draw)
        self._nearest: Callable[[Embedding], float] = _nothing_accepted

    def compare_with(self, nearest: Callable[[Embedding], float], /) -> None:
        """See ComparesEmbeddings."""
        self._nearest = nearest

    def evaluate(self, _frame: Frame, prediction: Prediction, /) -> Match | None:
        """Draws once where the score reaches the minimum; the match has the score."""
        self._draw.skip()
        if prediction.embedding is None:
            self.gauge.value = None
            return None
        score = self.gauge.value = min(self._nearest(prediction.embedding), MAX_SCORE)
        if score < self._options.minimum_score or not self._draw.wins():
            return None
        return Match(self._options.name, score)


def _nothing_accepted(_embedding: Embedding) -> float:
    return MAX_SCORE

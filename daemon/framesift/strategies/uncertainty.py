"""uncertainty: frames of which the model was unsure, with a score of how unsure.

One label, with class confidences p1 >= p2 >= ... (Settles, Active Learning Literature Survey, 2009, section 3.1):
    margin            1 - (p1 - p2)
    least_confidence  1 - p1
    entropy           -sum(p ln p) / ln K over the K classes, p scaled to a sum of 1
With a single class there is no second one to compare: each measure is then 1 - p1.
Objects and many labels, for each of the selected classes: u = 1 - |2 c - 1| of the confidence c, which is 1 at one half
and 0 where the model is sure either way; then the sum, the largest or the mean of them. The model must report objects
of low confidence for this: a detector that leaves out what is below 0.5 hides half of its uncertainty.

class_balance prefers classes that were collected less: each u is divided by sqrt(1 + n), n being the class's count in
what was accepted so far; one label's score by sqrt(1 + n / mean n), over the known classes.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from framesift.config.schema import Fraction
from framesift.decisions.measurement import Draw, ValueGauge
from framesift.frame import Frame
from framesift.prediction.confidences import Confidences
from framesift.prediction.prediction import (
    DETECTION_TASKS,
    Classification,
    Detections,
    MultiLabel,
    Prediction,
    Task,
)
from framesift.strategies.accepted_classes import AcceptedClasses
from framesift.strategies.strategy import (
    ClassNames,
    CommonStrategyOptions,
    Match,
    ModelFacts,
    Strategy,
    is_selected,
    selection,
    task_problems,
    unknown_class_problems,
    zero_share_problem,
)

Measure = Literal["margin", "least_confidence", "entropy"]
Aggregation = Literal["sum", "max", "mean"]


class UncertaintyOptions(CommonStrategyOptions):
    """Collects frames of which the model was unsure, with a score."""

    balances_itself: ClassVar[bool] = True

    type: Literal["uncertainty"]
    measure: Annotated[Measure, Field(description="How the uncertainty of one label is measured.")] = "margin"
    aggregation: Annotated[Aggregation, Field(description="How a score is made of several objects or labels.")] = "sum"
    minimum_score: Annotated[
        float, Field(ge=0.0, le=1000.0, description="Only frames that score at least this; a sum can exceed 1.")
    ] = 0.0
    probability: Annotated[Fraction, Field(description="The share of matching frames that is collected.")] = 1.0
    selected_class_names: Annotated[
        ClassNames, Field(description="Only these classes count; null: all, an empty list: none.")
    ] = None

    def create(self, rng: random.Random, accepted: AcceptedClasses) -> Strategy:
        """Creates the strategy for one stream."""
        return Uncertainty(self, rng, accepted)

    def problems(self, model: ModelFacts) -> Iterator[str]:
        """Yields why the strategy can never match with this model."""
        yield from task_problems(model, DETECTION_TASKS | {Task.CLASSIFICATION})
        yield from zero_share_problem("probability", self.probability)
        yield from unknown_class_problems(model, self.selected_class_names)
        if self.selected_class_names == ():
            yield "can never match: selected_class_names is an empty list, which allows no class (null allows all)"
        if self.minimum_score > 1 and self.aggregation != "sum":
            yield f"can never match: minimum_score is {self.minimum_score:g}, and no {self.aggregation} exceeds 1"


class Uncertainty:
    """Matches where the score reaches the minimum; then one draw."""

    def __init__(self, options: UncertaintyOptions, rng: random.Random, accepted: AcceptedClasses) -> None:
        self._options = options
        self._selected = selection(options.selected_class_names)
        self._draw = Draw(options.probability, rng)
        self._accepted = accepted
        self._latest = _Balance(accepted.counts(), options.initial_counts)
        self.gauge = ValueGauge("uncertainty", ">=", options.minimum_score, self._draw)

    def evaluate(self, _frame: Frame, prediction: Prediction, /) -> Match | None:
        """Draws once where the score reaches the minimum; the match has the score."""
        score = self.gauge.value = self.score(prediction)
        self._draw.skip()
        if score is None or score < self._options.minimum_score or not self._draw.wins():
            return None
        return Match(self._options.name, score)

    def score(self, prediction: Prediction) -> float | None:
        """The uncertainty of the prediction; None where it has nothing of which a model could be unsure."""
        if isinstance(prediction, Classification):
            return self._of_label(prediction)
        if isinstance(prediction, Detections) and prediction.task in DETECTION_TASKS:
            return self._of_objects(prediction)
        if isinstance(prediction, MultiLabel):
            confidences = Confidences([score.confidence for score in prediction.scores])
            return self._of_many([score.class_name for score in prediction.scores], confidences.uncertainties())
        return None

    def _of_label(self, prediction: Classification) -> float | None:
        if not is_selected(prediction.top, self._options.selected_class_names):
            return None
        confidences = [score.confidence for score in prediction.scores]
        if not confidences:
            if not prediction.top:
                return None
            confidences = [prediction.confidence]
        score = label_uncertainty(confidences, self._options.measure)
        if self._options.class_balance:
            counts = self._balance().counts
            known = counts.keys() | {s.class_name for s in prediction.scores} | {prediction.top}
            total = sum(counts.values())
            if total:
                score /= math.sqrt(1 + counts.get(prediction.top, 0) * len(known) / total)
        return score

    def _of_objects(self, prediction: Detections) -> float | None:
        columns = prediction.columns
        if self._options.class_balance:
            return self._of_many(columns.class_name, columns.confidences_of(None).uncertainties())
        return self._aggregated(columns.confidences_of(self._selected).uncertainties())

    def _of_many(self, class_names: Sequence[str], uncertainties: Sequence[float]) -> float | None:
        each = list(zip(class_names, uncertainties, strict=True))
        if self._selected is not None:
            each = [one for one in each if one[0] in self._selected]
        if not self._options.class_balance:
            return self._aggregated([uncertainty for _, uncertainty in each])
        divisors = self._balance().divisors
        return self._aggregated([uncertainty / divisors.get(name, 1.0) for name, uncertainty in each])

    def _aggregated(self, each: list[float]) -> float | None:
        if not each:
            return None
        if self._options.aggregation == "max":
            return max(each)
        return sum(each) if self._options.aggregation == "sum" else sum(each) / len(each)

    def _balance(self) -> _Balance:
        counts = self._accepted.counts()
        if counts is not self._latest.accepted:
            self._latest = _Balance(counts, self._options.initial_counts)
        return self._latest


class _Balance:
    """How many of each class there are, and by what the uncertainty of each is divided; by 1 where there is none."""

    def __init__(self, accepted: Mapping[str, int], initial: Mapping[str, int]) -> None:
        self.accepted = accepted
        self.counts = Counter(accepted)
        self.counts.update(initial)
        self.divisors = {name: math.sqrt(1 + count) for name, count in self.counts.items()}


def label_uncertainty(confidences: Sequence[float], measure: Measure) -> float:
    """How unsure a classifier is, 0 to 1, from the confidences of its classes (at least one, in any order)."""
    ranked = sorted((min(c, 1.0) for c in confidences), reverse=True)
    if measure == "least_confidence" or len(ranked) == 1:
        return 1 - ranked[0]
    if measure == "margin":
        return 1 - (ranked[0] - ranked[1])
    total = sum(ranked)
    if total == 0:
        return 1.0
    shares = [c / total for c in ranked]
    return -sum(p * math.log(p) for p in shares if p > 0) / math.log(len(ranked))

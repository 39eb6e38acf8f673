"""class_balance: an option of every strategy that prefers classes which were collected less so far.

The score of a match is divided by a factor that grows with n, how often the frame's class was predicted in what was
accepted so far (with `initial_counts`):

    objects, several labels   sqrt(1 + n) of that class in the frame which was collected least: one rare object makes a
                              frame worth a label, however many common ones are beside it
    one label                 sqrt(1 + n / mean n), over all classes that are known
    none of them              as the class that was collected most: such a frame helps no class

A score below 0 is multiplied, so that the factor makes every score less. A match without a score gets a random number
from 0 to 1 as its score. `uncertainty` has a class balance of its own, object by object.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping

from framesift.prediction.prediction import Classification, Prediction, count_classes
from framesift.strategies.accepted_classes import AcceptedClasses
from framesift.strategies.strategy import CommonStrategyOptions, Match, ModelFacts, unknown_class_problems


class ClassBalance:
    """The class balance of one strategy on one stream. For one thread at a time."""

    def __init__(self, initial_counts: Mapping[str, int], accepted: AcceptedClasses, rng: random.Random) -> None:
        """rng: draws for this alone, so that the strategy's own draws are the same without it."""
        self._initial_counts = initial_counts
        self._accepted = accepted
        self._rng = rng

    def score(self, match: Match) -> Match:
        """The match with a score: its own, or a random one. To be called for every match, for equal draws."""
        return match._replace(score=self._rng.random()) if match.score is None else match

    def balance(self, match: Match, prediction: Prediction) -> Match:
        """The match with its score divided. prediction: of the frame that it wants, as the strategy sees it."""
        if match.score is None:
            return match
        factor = self.factor(prediction)
        return match._replace(score=match.score / factor if match.score >= 0 else match.score * factor)

    def factor(self, prediction: Prediction) -> float:
        """By how much scores are divided now: 1 or more."""
        counts = Counter(self._accepted.counts())
        counts.update(self._initial_counts)
        shown = count_classes(prediction)
        few = min((counts[name] for name in shown), default=max(counts.values(), default=0))
        total = sum(counts.values())
        if isinstance(prediction, Classification) and total:
            known = counts.keys() | shown.keys() | {score.class_name for score in prediction.scores}
            return math.sqrt(1 + few * len(known) / total)
        return math.sqrt(1 + few)


def balance_problems(options: CommonStrategyOptions, model: ModelFacts) -> Iterator[str]:
    """Yields a problem for each class of `initial_counts` that the model does not have."""
    yield from unknown_class_problems(model, tuple(options.initial_counts))

"""novelty: the score is the distance from the nearest accepted frame, and one draw follows the condition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from framesift.prediction.embedding import Embedding, make_embedding
from framesift.prediction.prediction import Prediction, with_origin
from framesift.strategies import AcceptedClasses, Match
from framesift.strategies.near_duplicate import NearDuplicateOptions
from framesift.strategies.novelty import MAX_SCORE, Novelty
from sampling_data import FixedRandom, frame, label, objects, options, stub


def seen(angle: float, prediction: Prediction | None = None) -> Prediction:
    """A prediction whose embedding points into this direction, in degrees."""
    vector = np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))])
    return with_origin(objects() if prediction is None else prediction, embedding=make_embedding(vector))


def novelty(*accepted: float, draws: tuple[float, ...] = (0.0,), **fields: Any) -> tuple[Novelty, FixedRandom]:
    """The strategy, after frames with embeddings of these directions were accepted."""
    rng = FixedRandom(*draws)
    made = options(type="novelty", **fields).create(rng, AcceptedClasses())
    assert isinstance(made, Novelty)

    def nearest(found: Embedding) -> float:
        others = [one for angle in accepted if (one := seen(angle).embedding) is not None]
        return min((1.0 - float(found @ one) for one in others), default=math.inf)

    made.compare_with(nearest)
    return made, rng


@pytest.mark.parametrize(("angle", "score"), [(0, 0.0), (60, 0.5), (90, 1.0), (180, 2.0)])
def test_the_score_is_one_less_the_cosine_of_the_nearest_accepted_frame(angle: float, score: float) -> None:
    strategy, _ = novelty(0.0)
    between, _ = novelty(0.0, angle + 60)
    for one, expected in ((strategy, score), (between, min(score, 0.5))):
        match = one.evaluate(frame(), seen(angle))
        assert match is not None
        assert match.score == pytest.approx(expected, abs=1e-3)


def test_while_nothing_is_accepted_every_frame_has_the_largest_score() -> None:
    strategy, _ = novelty()
    assert strategy.evaluate(frame(), seen(10)) == Match("it", MAX_SCORE)
    alone = options(type="novelty").create(FixedRandom(0.0), AcceptedClasses())
    assert alone.evaluate(frame(), seen(10)) == Match("it", MAX_SCORE)


@pytest.mark.parametrize("prediction", [objects(("car", 0.5)), label("car", 0.9), stub()])
def test_what_was_predicted_makes_no_difference(prediction: Prediction) -> None:
    strategy, _ = novelty(0.0)
    match = strategy.evaluate(frame(), seen(90, prediction))
    assert match is not None
    assert match.score == pytest.approx(1.0)
    assert strategy.evaluate(frame(), prediction) is None


def test_it_draws_once_where_the_score_reaches_the_minimum_and_not_below() -> None:
    strategy, rng = novelty(0.0, draws=(0.49, 0.5), minimum_score=0.5, probability=0.5)
    assert strategy.evaluate(frame(), seen(50)) is None
    assert strategy.evaluate(frame(), objects()) is None
    assert rng.drawn == 0
    assert strategy.evaluate(frame(), seen(70)) is not None
    assert strategy.evaluate(frame(), seen(70)) is None
    assert rng.drawn == 2


def test_it_is_compared_with_the_newest_frames_of_its_stream_unless_it_says_otherwise() -> None:
    fields: list[dict[str, Any]] = [{}, {"memory": 10, "scope": "all"}]
    compared = [options(type="novelty", **more).compared_frames for more in fields]
    assert compared == [
        NearDuplicateOptions(signature="embedding", memory=1024, scope="stream", threshold=0.0),
        NearDuplicateOptions(signature="embedding", memory=10, scope="all", threshold=0.0),
    ]
    assert options(type="random", traffic_percentage=1).compared_frames is None

"""The platform's sampling, sentence by sentence: what matches, where the boundaries lie, and how many random draws it
takes. A case is a sentence; beside the table, an oracle written from the sentences alone is compared with the
strategies on thousands of predictions in the wire format.

Where we differ on purpose a case says so, and shows ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exhaustive import examples
from framesift.config.errors import ConfigError
from framesift.frame import RefusalReason
from framesift.policy.policy import parse
from framesift.prediction import wire_format as wire
from framesift.prediction.prediction import Task
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.sampler import Sampler
from sampling_data import consider, frame

DETECTION_TYPES = ["object-detection", "instance-segmentation", "keypoint-detection"]
TYPES = [*DETECTION_TYPES, "classification", "semantic-segmentation"]
IMAGE = {"width": 640, "height": 480}

# Predictions in the wire format.


def found(*parts: tuple[str, float], **more: Any) -> dict[str, Any]:
    boxes = [{"x": 9, "y": 9, "width": 4, "height": 4, "class": name, "confidence": c} for name, c in parts]
    return {"image": IMAGE, "predictions": boxes, **more}


def one_label(top: str, confidence: float, *scores: tuple[str, float]) -> dict[str, Any]:
    listed = [{"class": name, "class_id": i, "confidence": c} for i, (name, c) in enumerate(scores)]
    return {"image": IMAGE, "predictions": listed, "top": top, "confidence": confidence}


def many_labels(*scores: tuple[str, float], predicted: tuple[str, ...] = ()) -> dict[str, Any]:
    listed = {name: {"confidence": c, "class_id": i} for i, (name, c) in enumerate(scores)}
    return {"image": IMAGE, "predictions": listed, "predicted_classes": list(predicted)}


def no_model(task: str = "object-detection", is_stub: Any = True) -> dict[str, Any]:
    return {"time": 0.0002, "is_stub": is_stub, "model_id": "proj/0", "task_type": task}


MASKS = {"segmentation_mask": "aGVsbG8=", "class_map": {"0": "cat"}, "image": IMAGE}


def semantic() -> dict[str, Any]:
    return {"image": IMAGE, "predictions": MASKS, "task": "semantic-segmentation"}


# Strategies.


def random_of(share: float) -> dict[str, Any]:
    return {"type": "random", "traffic_percentage": share}


def close(threshold: float = 0.5, epsilon: float = 0.25, **more: Any) -> dict[str, Any]:
    return {"type": "close_to_threshold", "threshold": threshold, "epsilon": epsilon, "probability": 1.0, **more}


def of_classes(*names: str, probability: float = 1.0) -> dict[str, Any]:
    return {"type": "classes_based", "selected_class_names": list(names), "probability": probability}


def counted(**more: Any) -> dict[str, Any]:
    return {"type": "detections_number_based", "probability": 1.0, **more}


@dataclass(frozen=True)
class Case:
    """r: what is drawn. draws: how often."""

    sentence: str
    rule: dict[str, Any]
    prediction: dict[str, Any]
    matches: bool
    draws: int
    r: float = 0.0
    task: str | None = field(default=None)

    def __str__(self) -> str:
        return self.sentence


def yes(sentence: str, rule: dict[str, Any], prediction: dict[str, Any], **more: Any) -> Case:
    return Case(sentence, rule, prediction, matches=True, draws=1, **more)


def no(sentence: str, rule: dict[str, Any], prediction: dict[str, Any], *, draws: int = 0, **more: Any) -> Case:
    return Case(sentence, rule, prediction, matches=False, draws=draws, **more)


CAT, CAT_LABEL = found(("cat", 0.5)), one_label("cat", 0.5, ("cat", 0.5))
CAT_LABELS = many_labels(("cat", 0.5), predicted=("cat",))
BELOW = 0.29999999999999993  # the number before 0.3

DRAWS = [
    no("a draw that equals the share is no match", random_of(0.3), CAT, draws=1, r=0.3),
    yes("a draw just below the share is a match", random_of(0.3), CAT, r=BELOW),
    no("a share of 0 never matches, but draws", random_of(0.0), CAT, draws=1, r=0.0),
    yes("a share of 1 always matches", random_of(1.0), CAT, r=0.9999999999999999),
    no("a draw that equals the probability is no match", close(probability=0.3), CAT, draws=1, r=0.3),
    yes("a draw just below the probability is a match", close(probability=0.3), CAT, r=BELOW),
    no("a probability of 0 never matches, but draws", close(probability=0), CAT, draws=1, r=0.0),
    yes("a probability of 1 always matches", close(probability=1), CAT, r=0.9999999999999999),
    no("a class draws against its probability", of_classes("cat", probability=0.3), CAT_LABEL, draws=1, r=0.3),
    yes("a class matches below its probability", of_classes("cat", probability=0.3), CAT_LABEL, r=BELOW),
    no("a number draws against its probability", counted(probability=0.3), CAT, draws=1, r=0.3),
    yes("a number matches below its probability", counted(probability=0.3), CAT, r=BELOW),
]
RANDOM = [
    yes("random draws once for a stub", random_of(1), no_model()),
    yes("random draws once for a stub of a classifier", random_of(1), no_model("classification")),
    yes("random draws once where nothing was found", random_of(1), found()),
    yes("random draws once for objects", random_of(1), CAT),
    yes("random draws once for one label", random_of(1), CAT_LABEL),
    yes("random draws once for no label", random_of(1), one_label("", 0.0)),
    yes("random draws once for many labels", random_of(1), CAT_LABELS),
    yes("random draws once for semantic segmentation", random_of(1), semantic()),
    no("random refuses with one draw too", random_of(0.5), no_model(), draws=1, r=0.5),
]
CLOSE = [
    *[no(f"a stub of {t} is never close, and draws nothing", close(), no_model(t)) for t in TYPES],
    *[
        no(f"a stub is told by any truth, as by {truth!r}", close(), {**no_model(is_stub=truth), **CAT})
        for truth in (True, 1, "false", [0])
    ],
    *[
        yes(f"what is_stub says is no stub where it is {falsehood!r}", close(), {**CAT, "is_stub": falsehood})
        for falsehood in (False, 0, "", None)
    ],
    *[yes(f"{t} is one of the four types", close(), CAT, task=t) for t in DETECTION_TYPES],
    yes("classification is one of the four types, with one label", close(), CAT_LABEL, task="classification"),
    yes("classification is one of the four types, with many labels", close(), CAT_LABELS, task="classification"),
    no("semantic segmentation is not one of the four types", close(), semantic()),
    no("the type matters and not what objects look like", close(), CAT, task="semantic-segmentation"),
    no("no draw where the condition fails", close(), found(("cat", 0.9))),
    no("near is closer than epsilon, and not as far: above", close(0.5, 0.25), found(("cat", 0.75))),
    no("near is closer than epsilon, and not as far: below", close(0.5, 0.25), found(("cat", 0.25))),
    yes("near is closer than epsilon: just inside, above", close(0.5, 0.25), found(("cat", 0.7499999999999999))),
    yes("near is closer than epsilon: just inside, below", close(0.5, 0.25), found(("cat", 0.25000000000000006))),
    yes("the threshold itself is near", close(0.5, 0.25), found(("cat", 0.5))),
    yes("arithmetic is plain: 0.7 is less than 0.2 from 0.5", close(0.5, 0.2), found(("cat", 0.7))),
    no("arithmetic is plain: 0.3 is not less than 0.2 from 0.5", close(0.5, 0.2), found(("cat", 0.3))),
    no("arithmetic is plain: 0.1 + 0.2 is not less than 0.1 from 0.2", close(0.2, 0.1), found(("cat", 0.1 + 0.2))),
    no("an epsilon of 0 never matches, objects", close(0.5, 0.0), CAT),
    no("an epsilon of 0 never matches, one label", close(0.5, 0.0), CAT_LABEL),
    no("an epsilon of 0 never matches, many labels", close(0.5, 0.0), CAT_LABELS),
    yes("one near object is enough by default", close(), found(("cat", 0.5), ("cat", 0.9))),
    no("no near object is not enough by default", close(), found(("cat", 0.9), ("cat", 0.1))),
    no("of two objects one is near", close(minimum_objects_close_to_threshold=2), found(("cat", 0.5), ("cat", 0.9))),
    yes("of two objects two are near", close(minimum_objects_close_to_threshold=2), found(("cat", 0.5), ("cat", 0.6))),
    yes("more than the minimum are near", close(minimum_objects_close_to_threshold=1), found(("a", 0.5), ("b", 0.5))),
    yes("a minimum of 0 holds without objects", close(minimum_objects_close_to_threshold=0), found()),
    yes("a minimum of 0 holds without near objects", close(minimum_objects_close_to_threshold=0), found(("a", 0.9))),
    yes(
        "a minimum of 0 holds with an epsilon of 0 and without classes",
        close(epsilon=0, minimum_objects_close_to_threshold=0, selected_class_names=[]),
        found(),
    ),
    no("a minimum of 0 is for detections only", close(minimum_objects_close_to_threshold=0), one_label("cat", 0.9)),
    no("a minimum of 1 is not met without objects", close(), found()),
    yes("of one label the top is looked at by default", close(), one_label("cat", 0.5)),
    no("of one label only the top is looked at by default", close(), one_label("cat", 0.9, ("cat", 0.9), ("dog", 0.5))),
    no("the top's confidence is the one beside it", close(), one_label("cat", 0.9, ("cat", 0.5))),
    yes(
        "without only_top_classes any label is looked at",
        close(only_top_classes=False),
        one_label("cat", 0.9, ("cat", 0.9), ("dog", 0.5)),
    ),
    no(
        "without only_top_classes the confidence beside the top is not looked at",
        close(only_top_classes=False),
        one_label("cat", 0.5, ("cat", 0.9)),
    ),
    no("the top must be of the classes", close(selected_class_names=["dog"]), one_label("cat", 0.5, ("dog", 0.5))),
    no(
        "the near label must be of the classes",
        close(only_top_classes=False, selected_class_names=["cat"]),
        one_label("cat", 0.9, ("cat", 0.9), ("dog", 0.5)),
    ),
    yes("a top without a name is a top", close(), one_label("", 0.5)),
    no("a top without a name is of no class", close(selected_class_names=["cat"]), one_label("", 0.5)),
    yes("of many labels a predicted one that is near", close(), CAT_LABELS),
    no("of many labels one that is near but not predicted", close(), many_labels(("cat", 0.5), ("dog", 0.9))),
    no(
        "of many labels one is near and another is predicted",
        close(),
        many_labels(("cat", 0.5), ("dog", 0.9), predicted=("dog",)),
    ),
    yes(
        "without only_top_classes a near label needs no prediction",
        close(only_top_classes=False),
        many_labels(("cat", 0.5)),
    ),
    no(
        "of many labels the near one must be of the classes",
        close(selected_class_names=["dog"]),
        many_labels(("cat", 0.5), ("dog", 0.9), predicted=("cat", "dog")),
    ),
    no("without labels nothing is near", close(only_top_classes=False), many_labels()),
    yes("no class list allows every class", close(), found(("any", 0.5))),
    yes("a class list of null allows every class", close(selected_class_names=None), found(("any", 0.5))),
    no("an empty class list allows no class, objects", close(selected_class_names=[]), CAT),
    no("an empty class list allows no class, one label", close(selected_class_names=[]), CAT_LABEL),
    no("an empty class list allows no class, many labels", close(selected_class_names=[]), CAT_LABELS),
    yes("a class of the list is allowed", close(selected_class_names=["dog", "cat"]), CAT),
    no("a class is not allowed by its beginning", close(selected_class_names=["cat"]), found(("cats", 0.5))),
    no("a class is not allowed in another case", close(selected_class_names=["Cat"]), CAT),
    no(
        "an object of another class does not count",
        close(selected_class_names=["cat"], minimum_objects_close_to_threshold=2),
        found(("cat", 0.5), ("dog", 0.5)),
    ),
]
CLASSES = [
    yes("the top class is selected", of_classes("cat"), CAT_LABEL),
    no("the top class is not selected", of_classes("dog"), one_label("cat", 0.9, ("dog", 0.8))),
    *[yes(f"a fraction is always near enough, as {c}", of_classes("cat"), one_label("cat", c)) for c in (0, 0.01, 1)],
    yes("any predicted class of many is selected", of_classes("dog"), many_labels(("dog", 0.9), predicted=("dog",))),
    no("a class of many that was not predicted is not selected", of_classes("dog"), many_labels(("dog", 0.9))),
    no("an empty list selects no class", of_classes(), CAT_LABEL),
    *[no(f"{t} is no classification", of_classes("cat"), CAT, task=t) for t in DETECTION_TYPES],
    no("semantic segmentation is no classification", of_classes("cat"), semantic()),
    no("a stub of a classifier is no label", of_classes("cat"), no_model("classification")),
]


def many(count: int, confidence: float = 0.5) -> dict[str, Any]:
    return found(*[("cat", confidence)] * count)


NUMBER = [
    *[no(f"a stub of {t} has no number of objects", counted(), no_model(t)) for t in TYPES],
    *[yes(f"{t} has a number of objects", counted(), CAT, task=t) for t in DETECTION_TYPES],
    no("one label is no number of objects", counted(), CAT_LABEL),
    no("many labels are no number of objects", counted(), CAT_LABELS),
    no("semantic segmentation has no number of objects", counted(), semantic()),
    yes("without bounds any number will do: none", counted(), many(0)),
    yes("without bounds any number will do: three", counted(more_than=None, less_than=None), many(3)),
    no("more_than is exclusive", counted(more_than=2), many(2)),
    yes("one more than more_than", counted(more_than=2), many(3)),
    no("less_than is exclusive", counted(less_than=2), many(2)),
    yes("one less than less_than", counted(less_than=2), many(1)),
    no("more_than 0 needs an object", counted(more_than=0), many(0)),
    no("less_than 0 never matches", counted(less_than=0), many(0)),
    yes("between both bounds", counted(more_than=1, less_than=3), many(2)),
    no("at the lower of both bounds", counted(more_than=1, less_than=3), many(1)),
    no("at the upper of both bounds", counted(more_than=1, less_than=3), many(3)),
    no("between neighbours there is no number", counted(more_than=2, less_than=3), many(3)),
    yes("every fraction counts, 0 and 1 too", counted(more_than=1), found(("cat", 0.0), ("cat", 1.0))),
    no("only allowed classes count", counted(more_than=0, selected_class_names=["dog"]), CAT),
    yes("allowed classes count", counted(more_than=0, selected_class_names=["cat"]), CAT),
    yes("null allows all classes", counted(more_than=0, selected_class_names=None), CAT),
    no("an empty list allows none, so that there is no object", counted(more_than=0, selected_class_names=[]), CAT),
    yes("an empty list allows none, and none is less than one", counted(less_than=1, selected_class_names=[]), CAT),
]


@pytest.mark.parametrize("case", DRAWS + RANDOM + CLOSE + CLASSES + NUMBER, ids=str)
def test_the_reference_says(case: Case) -> None:
    task = None if case.task is None else Task(case.task)
    match, drawn = consider(wire.parse_prediction(case.prediction, task=task), case.r, **case.rule)
    assert (match is not None, drawn) == (case.matches, case.draws)


def test_no_sentence_stands_twice() -> None:
    sentences = [case.sentence for case in DRAWS + RANDOM + CLOSE + CLASSES + NUMBER]
    assert len(sentences) == len(set(sentences))


# The oracle: the sentences as a program that knows nothing of ours. It answers whether a draw follows.


def condition(rule: Mapping[str, Any], prediction: Mapping[str, Any], task: str) -> bool:
    kind = rule["type"]
    if kind == "random":
        return True
    if prediction.get("is_stub"):
        return False
    if kind == "close_to_threshold":
        if task not in ("object-detection", "instance-segmentation", "keypoint-detection", "classification"):
            return False
        return near_enough(
            prediction,
            task,
            rule["threshold"],
            rule["epsilon"],
            rule.get("selected_class_names"),
            rule.get("minimum_objects_close_to_threshold", 1),
            rule.get("only_top_classes", True),
        )
    if kind == "classes_based":
        return task == "classification" and near_enough(
            prediction, task, 0.5, 1.0, rule["selected_class_names"], 1, True
        )
    if task not in DETECTION_TYPES:
        return False
    names = rule.get("selected_class_names")
    n = sum(
        (names is None or part["class"] in names) and abs(part["confidence"] - 0.5) < 1
        for part in prediction["predictions"]
    )
    less, more = rule.get("less_than"), rule.get("more_than")
    return (less is None or n < less) and (more is None or n > more)


def near_enough(
    prediction: Mapping[str, Any],
    task: str,
    threshold: float,
    epsilon: float,
    names: list[str] | None,
    minimum: int,
    only_top: bool,
) -> bool:
    def fits(name: str, confidence: float) -> bool:
        return (names is None or name in names) and abs(confidence - threshold) < epsilon

    parts = prediction["predictions"]
    if task != "classification":
        return sum(fits(part["class"], part["confidence"]) for part in parts) >= minimum
    if "top" in prediction:
        if only_top:
            return fits(prediction["top"], prediction["confidence"])
        return any(fits(part["class"], part["confidence"]) for part in parts)
    return any(
        fits(name, part["confidence"]) and (not only_top or name in prediction["predicted_classes"])
        for name, part in parts.items()
    )


CONFIDENCE = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.7, 0.75, 1.0]) | st.floats(0, 1)
CLASS = st.sampled_from(["cat", "dog", "fox"])
SCORES = st.lists(st.tuples(CLASS, CONFIDENCE), max_size=5)
NAMES = st.none() | st.lists(CLASS, max_size=3)
PART = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1)


@st.composite
def answers(draw: st.DrawFn) -> tuple[dict[str, Any], str]:
    """A prediction and its type."""
    kind = draw(st.sampled_from(["stub", "objects", "objects", "one", "many"]))
    scores = draw(SCORES)
    if kind == "stub":
        task = draw(st.sampled_from(TYPES))
        return no_model(task), task
    if kind == "objects":
        return found(*scores), draw(st.sampled_from([*DETECTION_TYPES, "semantic-segmentation"]))
    if kind == "one":
        return one_label(draw(CLASS | st.just("")), draw(CONFIDENCE), *scores), "classification"
    predicted = tuple(draw(st.lists(CLASS, max_size=3)))
    return many_labels(*scores, predicted=predicted), "classification"


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["random", "close_to_threshold", "classes_based", "detections_number_based"]))
    if kind == "random":
        return random_of(draw(PART))
    rule: dict[str, Any] = {"type": kind, "probability": draw(PART)}
    if kind == "classes_based":
        return {**rule, "selected_class_names": draw(st.lists(CLASS, max_size=3))}
    if draw(st.booleans()):
        rule["selected_class_names"] = draw(NAMES)
    if kind == "close_to_threshold":
        rule |= {"threshold": draw(PART), "epsilon": draw(PART)}
        if draw(st.booleans()):
            rule["minimum_objects_close_to_threshold"] = draw(st.integers(0, 3))
        if draw(st.booleans()):
            rule["only_top_classes"] = draw(st.booleans())
        return rule
    more, less = draw(st.none() | st.integers(0, 3)), draw(st.none() | st.integers(0, 5))
    if more is not None and less is not None and more >= less:
        less = None
    return {**rule, "more_than": more, "less_than": less}


@examples(600)
@given(answer=answers(), rule=rules(), r=PART.filter(lambda r: r < 1))
def test_the_strategies_agree_with_the_sentences(
    answer: tuple[dict[str, Any], str], rule: dict[str, Any], r: float
) -> None:
    prediction, task = answer
    match, drawn = consider(wire.parse_prediction(prediction, task=Task(task)), r, **rule)
    holds = condition(rule, prediction, task)
    assert drawn == (1 if holds else 0)
    share = rule["probability"] if "probability" in rule else rule["traffic_percentage"]
    assert (match is not None) == (holds and r < share)


# Where we differ.


def policy(*strategies: dict[str, Any]) -> dict[str, Any]:
    return {
        "enabled": True,
        "persist_predictions": True,
        "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "never"},
        "sampling_strategies": [{"name": chr(ord("a") + i), **s} for i, s in enumerate(strategies)],
    }


@pytest.mark.parametrize("rule", [close(), of_classes("x"), counted()], ids=lambda rule: rule["type"])
def test_ours_a_text_is_no_list_of_its_letters_but_an_error_that_says_so(rule: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r'selected_class_names \("a"\): "cat" is not allowed; it must be a list'):
        parse(json.dumps(policy({**rule, "selected_class_names": "cat"})), "p")


def odd() -> Iterator[Any]:
    whole = found(("cat", 0.5))["predictions"][0]
    for key in ("x", "y", "width", "height", "class", "confidence"):
        yield pytest.param({k: v for k, v in whole.items() if k != key}, id=f"without {key}")
    yield pytest.param({**whole, "confidence": None}, id="confidence null")
    yield pytest.param("cat", id="a text")


@pytest.mark.parametrize("part", list(odd()))
def test_ours_a_malformed_object_is_dropped_and_counted_and_the_others_stay(part: Any) -> None:
    answer = found(("cat", 0.5), ("cat", 0.5))
    answer["predictions"].insert(1, part)
    prediction = wire.parse_prediction(answer)
    assert prediction.dropped == 1
    match, _ = consider(prediction, 0.0, **counted(more_than=1, less_than=3))
    assert match is not None


def test_each_strategy_considers_every_frame_with_draws_of_its_own_whatever_the_others_said() -> None:
    rules = (random_of(1), random_of(0), close(), {**random_of(0.5)})
    sampler = Sampler("gate", parse(json.dumps(policy(*rules)), "p"), seed=0, accepted=AcceptedFrames())
    alone = [{"name": "d", **random_of(0.5)}]
    lonely = parse(json.dumps({**policy(), "sampling_strategies": alone}), "p")
    other = Sampler("gate", lonely, seed=0, accepted=AcceptedFrames())
    seen = []
    for number in range(200):
        prediction = wire.parse_prediction(found(("cat", 0.5)) if number % 3 else found())
        names = [match.strategy for match in sampler.decide(frame(number=number), prediction).matches]
        assert names == sorted(names)
        assert ("a" in names, "b" in names, "c" in names) == (True, False, number % 3 > 0)
        expected = [match.strategy for match in other.decide(frame(number=number), prediction).matches]
        assert [name for name in names if name == "d"] == expected
        seen.append("d" in names)
    assert 60 < sum(seen) < 140


def test_where_no_strategy_matches_the_frame_goes_no_further() -> None:
    sampler = Sampler("gate", parse(json.dumps(policy(close())), "p"), seed=0, accepted=AcceptedFrames())
    decision = sampler.decide(frame(), wire.parse_prediction(found(("cat", 0.9))))
    assert (decision.matches, decision.refusal) == ((), RefusalReason.NO_MATCH)

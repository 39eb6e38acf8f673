"""Where and when a strategy takes frames: what inhibits it, and what is reported of restrictions at the start."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from framesift.clock.moment import Moment
from framesift.frame import AbsentPicture, Frame
from framesift.prediction.prediction import Prediction, Task
from framesift.strategies import PlacedObjects, class_name_problems, restrictions_of, strategy_problems
from sampling_data import frame, label, labels, objects, options, stub

ALL: dict[str, Any] = {"type": "random", "traffic_percentage": 1}
# Objects of `objects()` stand at x = 10, y = 12.5 of 32 x 24 pixels; their centre is at y = 10.
HERE = [[[0, 0.5], [1, 0.5], [1, 1], [0, 1]]]
ELSEWHERE = [[[0, 0], [1, 0], [1, 0.25], [0, 0.25]]]
CENTRE = [[[0, 0.25], [1, 0.25], [1, 0.5], [0, 0.5]]]


def exclusion(prediction: Prediction, shown: Frame | None = None, **fields: Any) -> str | None:
    """Why a strategy with these options may not take a frame."""
    restrictions = restrictions_of(options(**ALL, **fields), ZoneInfo("Europe/Berlin"))
    assert restrictions is not None
    return restrictions.exclusion(shown or frame(), PlacedObjects(prediction))


def inhibits(prediction: Prediction, **condition: Any) -> bool:
    return exclusion(prediction, inhibit=[condition]) is not None


def captured(wall_s: float) -> Frame:
    return Frame("gate", 0, AbsentPicture(32, 24, "not needed"), Moment(wall_s, 1.0, "boot"))


def test_a_strategy_without_such_options_has_no_restrictions() -> None:
    assert restrictions_of(options(**ALL), ZoneInfo("UTC")) is None


# inhibit


def test_one_object_that_has_all_that_is_said_is_enough() -> None:
    seen = objects(("car", 0.9), ("person", 0.5))
    assert inhibits(seen, classes=["person"], minimum_confidence=0.5)
    assert not inhibits(seen, classes=["person"], minimum_confidence=0.51)
    assert inhibits(seen, classes=["dog", "person"])
    assert not inhibits(seen, classes=["dog"])
    assert inhibits(seen, minimum_confidence=0.9)
    assert not inhibits(seen, minimum_confidence=0.95)


def test_what_says_nothing_holds_while_anything_is_predicted() -> None:
    for empty, full in (
        (objects(), objects(("car", 0.0))),
        (label("", 0.0), label("car", 0.1)),
        (labels(("car", 0.9)), labels(("car", 0.1), predicted=("car",))),
    ):
        assert not inhibits(empty)
        assert inhibits(full)
    assert not inhibits(stub())


def test_with_zones_only_what_stands_in_them_counts() -> None:
    seen = objects(("person", 0.5))
    assert inhibits(seen, zones=HERE)
    assert not inhibits(seen, zones=ELSEWHERE)
    assert not inhibits(seen, zones=HERE, classes=["car"])
    assert not inhibits(label("person", 0.9), zones=HERE)
    assert not inhibits(objects(("person", 0.5), task=Task.SEMANTIC_SEGMENTATION), zones=HERE)


def test_the_strategys_anchor_holds_for_the_zones_of_its_inhibit_too() -> None:
    seen = objects(("person", 0.5))
    assert exclusion(seen, inhibit=[{"zones": CENTRE}], zone_anchor="centre") == "inhibited by inhibit[0]"
    assert exclusion(seen, inhibit=[{"zones": CENTRE}]) is None


def test_what_inhibits_may_stand_outside_of_the_strategys_own_zones() -> None:
    seen = objects(("person", 0.5))
    assert exclusion(seen, zones=ELSEWHERE, inhibit=[{"classes": ["person"]}]) == "inhibited by inhibit[0]"


def test_a_label_inhibits_where_it_is_the_top_one_or_predicted() -> None:
    assert inhibits(label("blurred", 0.8, [("sharp", 0.2)]), classes=["blurred"], minimum_confidence=0.8)
    assert not inhibits(label("blurred", 0.7), classes=["blurred"], minimum_confidence=0.8)
    assert not inhibits(label("sharp", 0.8, [("blurred", 0.2)]), classes=["blurred"])
    many = labels(("blurred", 0.9), ("night", 0.4), predicted=("night",))
    assert inhibits(many, classes=["night"], minimum_confidence=0.4)
    assert not inhibits(many, classes=["night"], minimum_confidence=0.5)
    assert not inhibits(many, classes=["blurred"])


def test_the_first_condition_that_holds_is_named() -> None:
    conditions = [{"classes": ["dog"]}, {"classes": ["car"]}, {}]
    assert exclusion(objects(("car", 0.5)), inhibit=conditions) == "inhibited by inhibit[1]"


def test_a_confidence_that_is_no_number_hides_no_other() -> None:
    assert inhibits(objects(("car", float("nan")), ("car", 0.9)), minimum_confidence=0.5)


# hours and days


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"hours": ["08:00-09:00"]}, "outside its hours"),
        ({"days": ["thu"]}, "outside its days"),
        ({"hours": ["08:00-09:00"], "days": ["fri"]}, "outside its hours and days"),
        ({"hours": ["09:00-10:00"], "days": ["fri"]}, None),
    ],
)
def test_hours_and_days_are_those_of_the_policys_zone(fields: dict[str, Any], why: str | None) -> None:
    # frame() is captured on Friday 2027-01-15 at 08:00 UTC: it is 09:00 in Berlin.
    assert exclusion(objects(), **fields) == why


def test_a_frame_from_before_the_clock_was_set_is_outside_of_all_hours() -> None:
    assert exclusion(objects(), captured(120.0), hours=["00:00-24:00"]) == "the clock is not set"
    assert exclusion(objects(), captured(120.0), inhibit=[{}]) is None


# zones


@pytest.mark.parametrize(
    "prediction", [stub(), label("car", 0.5), objects(("car", 0.5), task=Task.SEMANTIC_SEGMENTATION)]
)
def test_a_strategy_with_zones_takes_nothing_that_has_no_boxes(prediction: Prediction) -> None:
    assert exclusion(prediction, zones=HERE) == "the prediction has no boxes for its zones"


# What is reported at the start


def problems_of(task: Task | None, *, stub: bool = False, **fields: Any) -> tuple[str, ...]:
    return strategy_problems((options(**ALL, **fields),), task, ("cat", "dog"), stub=stub)


def test_zones_that_no_box_of_the_model_can_be_in_are_reported() -> None:
    for fields, says in (
        ({"zones": HERE}, "'it' (random): can never match: it has zones"),
        ({"inhibit": [{}, {"zones": HERE}]}, "'it' (random): inhibit[1] can never hold: it has zones"),
    ):
        (line,) = problems_of(Task.CLASSIFICATION, **fields)
        assert says in line
        assert "the model's task is classification" in line
        assert problems_of(Task.INSTANCE_SEGMENTATION, **fields) == ()
        assert problems_of(None, **fields) == ()


def test_what_a_stub_never_has_is_reported() -> None:
    never_matches, never_holds = problems_of(None, stub=True, zones=HERE, inhibit=[{}])
    assert "can never match: it has zones, which need boxes of objects, and the stub model" in never_matches
    assert "inhibit[0] can never hold: the stub model predicts nothing" in never_holds


def test_a_class_of_inhibit_that_the_model_does_not_have_is_reported() -> None:
    inhibit = [{}, {"classes": ["cat", "dgo"]}]
    (line,) = problems_of(Task.OBJECT_DETECTION, inhibit=inhibit)
    assert "inhibit[1]: the model has no class 'dgo'; did you mean 'dog'?" in line
    (refused,) = class_name_problems((options(**ALL, inhibit=inhibit),), "name them")
    assert "inhibit[1]: names 'cat', 'dgo', but the model's classes have no names: name them" in refused

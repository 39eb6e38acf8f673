"""Every field of the policy: of a wrong type, out of range, misspelt, missing. The fields are found by walking the
model, so that one without a line in the table fails here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from exhaustive import some_of
from framesift.config.errors import ConfigError, format_value
from framesift.config.schema import WindowLimit
from framesift.policy.policy import BatchingStrategy, Policy, parse
from framesift.strategies import STRATEGY_TYPES, CommonStrategyOptions, NearDuplicateOptions, StrategyOptions
from sampling_data import options

OUTSIDE = str(Path(__file__).parents[1] / "rigs" / "outside")
BESIDE: dict[str, Any] = {"before_s": 4, "after_s": 10, "neighbours_every_s": 2}
COMMON: dict[str, Any] = {
    "name": "rule",
    "tags": ["night"],
    "limits": [{"type": "hourly", "value": 10}],
    "near_duplicate": {"signature": "embedding", "threshold": 0.02, "memory": 16, "scope": "all"},
    "zones": [[[0, 0], [1, 0], [1, 1]]],
    "zone_anchor": "centre",
    "inhibit": [{"classes": ["person"], "minimum_confidence": 0.5, "zones": [[[0, 0], [1, 0], [1, 1]]]}],
    "hours": ["06:00-22:00"],
    "days": ["mon", "sun"],
    "class_balance": True,
    "initial_counts": {"car": 100},
    "pacing": {"mode": "none"},
    "min_interval_s": 30,
    "min_interval_scope": "stream",
    **BESIDE,
}
# A policy with every key in it.
WHOLE: dict[str, Any] = {
    "enabled": True,
    "max_image_size": [1080, 1920],
    "jpeg_compression_level": 75,
    "persist_predictions": True,
    "sampling_strategies": [
        {**COMMON, "name": "a", "type": "random", "traffic_percentage": 0.1},
        {
            **{key: value for key, value in COMMON.items() if key not in BESIDE},  # what is held has no neighbours
            "name": "b",
            "pacing": {"mode": "hold_queue", "max_hold_s": 3600, "max_held": 64},
            "type": "close_to_threshold",
            "threshold": 0.5,
            "epsilon": 0.25,
            "probability": 0.5,
            "selected_class_names": ["car"],
            "minimum_objects_close_to_threshold": 2,
            "only_top_classes": False,
        },
        {**COMMON, "name": "c", "type": "classes_based", "selected_class_names": ["car"], "probability": 1},
        {
            **COMMON,
            "name": "d",
            "type": "detections_number_based",
            "probability": 1,
            "selected_class_names": None,
            "more_than": 2,
            "less_than": 9,
        },
        {
            **COMMON,
            "name": "e",
            "type": "uncertainty",
            "measure": "entropy",
            "aggregation": "mean",
            "minimum_score": 0.5,
            "probability": 1,
            "selected_class_names": ["car"],
        },
        {
            **COMMON,
            "name": "f",
            "type": "python",
            "factory": "framesift_outside:Dark",
            "options": {"below": 0.5},
            "path": OUTSIDE,
            "probability": 0.5,
        },
        {
            **COMMON,
            "name": "g",
            "type": "temporal_inconsistency",
            "window": 16,
            "minimum_confidence": 0.25,
            "match_iou": 0.5,
            "border": 0.1,
            "minimum_events": 2,
        },
        {
            **COMMON,
            "name": "h",
            "type": "track_end",
            "minimum_length": 10,
            "missing": 2,
            "minimum_confidence": 0.25,
            "match_iou": 0.5,
            "border": 0.1,
        },
        {
            **COMMON,
            "name": "i",
            "type": "novelty",
            "minimum_score": 0.1,
            "probability": 0.5,
            "memory": 2048,
            "scope": "all",
        },
    ],
    "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "weekly", "max_batch_images": 500},
    "tags": ["gate", "a:b/c.[d]<e>{f}@g-h_i"],
    "target_workspace": "my-space",
    "target_project": "my_project",
    "time_zone": "Europe/Paris",
    "near_duplicate": {"signature": "picture", "threshold": "auto", "memory": 256, "scope": "all", "known": [OUTSIDE]},
    "pacing": {"mode": "none"},
    "baseline": {"share": 0.1, "tags": ["by-chance"]},
    "manual": {"limits": [{"type": "daily", "value": 5}], "tags": ["by-hand"]},
}
FIRST = WHOLE["sampling_strategies"][0]


def without_known(block: dict[str, Any]) -> dict[str, Any]:
    return {**block, "near_duplicate": {k: v for k, v in block["near_duplicate"].items() if k != "known"}}


# What a policy from elsewhere may have: it never names code or files of this machine.
REMOTE = {
    **without_known(WHOLE),
    "sampling_strategies": [without_known(s) for s in WHOLE["sampling_strategies"] if s["type"] != "python"],
}


def find_places(whole: dict[str, Any]) -> dict[str, tuple[str | int, ...]]:
    """Where each model stands in the policy: the options of a strategy where its `type` is."""
    places: dict[str, tuple[str | int, ...]] = {
        "Policy": (),
        "BatchingStrategy": ("batching_strategy",),
        "NearDuplicateOptions": ("near_duplicate",),
        "PacingOptions": ("sampling_strategies", 1, "pacing"),
        "BaselineOptions": ("baseline",),
        "ManualOptions": ("manual",),
        "WindowLimit": ("sampling_strategies", 0, "limits", 0),
        "InhibitCondition": ("sampling_strategies", 0, "inhibit", 0),
        "CommonStrategyOptions": ("sampling_strategies", 0),
    }
    for i, strategy in enumerate(whole["sampling_strategies"]):
        if strategy["type"] in STRATEGY_TYPES:
            places[STRATEGY_TYPES[strategy["type"]].__name__] = ("sampling_strategies", i)
    return places


PLACES, REMOTE_PLACES = find_places(WHOLE), find_places(REMOTE)


@dataclass(frozen=True)
class Of:
    """kinds: the JSON types that a field takes. good: values at the edge of what is allowed, bad: just beyond it."""

    kinds: str
    good: tuple[Any, ...] = ()
    bad: tuple[Any, ...] = ()


FRACTION = Of("number", good=(0, 0.0, 1, 1.0, 1e-9), bad=(-1e-9, 1.0000001, 100, -1))
NAMES = Of("array null", good=([], ["car"], None, ["a", "a"]), bad=([""], ["x" * 129], [1], [None], ["a\n"]))
LINE = Of("string", good=("x" * 128, "mein Stapel №1"), bad=("", "x" * 129, "a\tb", "a\x00", "a\x85b"))
SLUG = Of("string null", good=("a", "A-b_9", "x" * 128), bad=("", "x" * 129, "a b", "a/b", "é"))
TAGS = Of(
    "array",
    good=([], ["x" * 64], ["a", "a"]),
    bad=([""], ["x" * 65], ["a b"], ["é"], ["a,b"], ["a\n"], [1], [None], [["a"]]),
)
ZONES = Of(
    "array null",
    good=([[[0, 0], [1, 0.5], [0.25, 1]]], [[[0, 0], [1, 0], [1, 1]]] * 32, None),
    bad=(
        [],
        [[]],
        [[[0, 0], [1, 1]]],
        [[[0, 0], [1, 0], [1.1, 1]]],
        [[[0, 0], [1, 0], [1]]],
        [[[0.5, 0], [0.5, 1], [0.5, 0.5]]],
        [[[0, 0], [1, 0], [1, 1]]] * 33,
        [[0, 0], [1, 0], [1, 1]],
    ),
)
LIMITS = Of(
    "array",
    good=([], [{"type": "daily", "value": 1}, {"type": "hourly", "value": 1}]),
    bad=([{}], [5], [{"type": "daily", "value": 1}, {"type": "daily", "value": 2}]),
)
ALIKE = Of("object null", good=({}, None), bad=({"x": 1},))
PACING = Of(
    "object null",
    good=({"mode": "hold_queue"}, {"mode": "none"}, None),
    bad=({}, {"mode": "none", "x": 1}),
)
FIELDS: dict[str, Of] = {
    "Policy.enabled": Of("boolean", good=(True, False)),
    "Policy.max_image_size": Of(
        "array null",
        good=([1, 1], [65535, 65535], None),
        bad=([0, 5], [5, 0], [5], [5, 5, 5], [], [65536, 5], [5, -1], [5.5, 5], ["5", 5], [True, 5]),
    ),
    "Policy.jpeg_compression_level": Of("integer null", good=(1, 100, None), bad=(0, 101, -1, 10**400)),
    "Policy.persist_predictions": Of("boolean", good=(True, False)),
    "Policy.sampling_strategies": Of(
        "array",
        good=(WHOLE["sampling_strategies"][:1],),
        bad=(
            [5],
            [{}],
            [{"type": "randm"}],
            [{"type": 5}],
            [{"type": None}],
            [{**WHOLE["sampling_strategies"][0], "name": f"s{i}"} for i in range(101)],
        ),
    ),
    "Policy.batching_strategy": Of("object", bad=({},)),
    "Policy.tags": TAGS,
    "Policy.target_workspace": SLUG,
    "Policy.target_project": SLUG,
    "Policy.time_zone": Of(
        "string",
        good=("UTC", "America/Argentina/Buenos_Aires"),
        bad=("", "Mars/Base", "Europe", "../../etc/passwd", "/etc/localtime", "UTC\x00", "Europe/Pariss", "x" * 129),
    ),
    "Policy.near_duplicate": ALIKE,
    "Policy.pacing": PACING,
    "Policy.baseline": Of("object null", good=({"share": 0.5}, None), bad=({}, {"share": 0.5, "x": 1})),
    "Policy.manual": Of("object", good=({},), bad=({"share": 0.5}, {"limits": None})),
    "ManualOptions.limits": LIMITS,
    "ManualOptions.tags": TAGS,
    "BaselineOptions.share": Of("number", good=(0.05, 0.999), bad=(0, 1, -0.1, 1.5)),
    "BaselineOptions.tags": TAGS,
    "PacingOptions.mode": Of("string", good=("none", "hold_queue", "adaptive_threshold"), bad=("", "hold", "None")),
    "PacingOptions.max_hold_s": Of("number", good=(1, 3600.5, 86400), bad=(0.9, 0, -1, 86400.1)),
    "PacingOptions.max_held": Of("integer", good=(1, 1024), bad=(0, -1, 1025)),
    "BatchingStrategy.batches_name_prefix": LINE,
    "BatchingStrategy.recreation_interval": Of(
        "string", good=("never", "daily", "weekly", "monthly"), bad=("hourly", "Daily", "", "yearly")
    ),
    "BatchingStrategy.max_batch_images": Of("integer null", good=(1, 10**9, None), bad=(0, -1, 10**9 + 1)),
    "NearDuplicateOptions.signature": Of(
        "string", good=("picture",), bad=("", "Picture", "features")
    ),  # known needs it
    "NearDuplicateOptions.threshold": Of(
        "number string", good=("auto", *FRACTION.good), bad=("Auto", "", *FRACTION.bad)
    ),
    "NearDuplicateOptions.memory": Of("integer", good=(1, 4096), bad=(0, -1, 4097)),
    "NearDuplicateOptions.known": Of(
        "string array null",
        good=([OUTSIDE], [OUTSIDE] * 16, None),  # a text becomes a list of one
        bad=("", [], [""], ["a\x00"], [5], ["x" * 4097], [OUTSIDE] * 17),
    ),
    "NearDuplicateOptions.scope": Of("string", good=("stream", "all"), bad=("", "All", "device")),
    "WindowLimit.type": Of("string", good=("minutely", "hourly", "daily"), bad=("weekly", "", "Daily", "minute")),
    "WindowLimit.value": Of("integer", good=(0, 10**9), bad=(-1, 10**9 + 1)),
    "CommonStrategyOptions.name": LINE,
    "CommonStrategyOptions.tags": TAGS,
    "CommonStrategyOptions.limits": LIMITS,
    "CommonStrategyOptions.near_duplicate": ALIKE,
    "CommonStrategyOptions.pacing": Of(  # hold_queue has no neighbours
        "object null", good=({"mode": "adaptive_threshold"}, {"mode": "none"}, None), bad=PACING.bad
    ),
    "CommonStrategyOptions.min_interval_s": Of("number null", good=(0.1, 86400), bad=(0, -1, 86400.1)),
    "CommonStrategyOptions.min_interval_scope": Of("string", good=("stream", "all"), bad=("", "device")),
    "CommonStrategyOptions.before_s": Of("number null", good=(2, 12, None), bad=(0, -1, 60.1)),
    "CommonStrategyOptions.after_s": Of("number null", good=(2, 60, None), bad=(0, -1, 60.1)),
    "CommonStrategyOptions.neighbours_every_s": Of("number", good=(1, 4), bad=(0, 0.09, 60.1)),
    "CommonStrategyOptions.zones": ZONES,
    "CommonStrategyOptions.zone_anchor": Of("string", good=("bottom", "centre"), bad=("", "center", "top")),
    "CommonStrategyOptions.inhibit": Of("array null", good=([{}], [{}] * 32, None), bad=([], [5], [{}] * 33)),
    "CommonStrategyOptions.hours": Of(
        "array null",
        good=(["00:00-24:00"], ["22:00-06:00", "12:00-12:01"], ["23:59-00:00"], None),
        bad=([], ["6:00-22:00"], ["06:00"], ["24:00-06:00"], ["06:00-24:01"], ["06:00-06:00"], ["06:00-22:60"], [6]),
    ),
    "CommonStrategyOptions.days": Of(
        "array null",
        good=(["mon"], ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], None),
        bad=([], ["monday"], ["Mon"], [1], ["mon"] * 8),
    ),
    "InhibitCondition.classes": Of("array null", good=(["car"], None), bad=([], [""], ["x" * 129], [1], ["a"] * 101)),
    "InhibitCondition.minimum_confidence": FRACTION,
    "InhibitCondition.zones": ZONES,
    "RandomOptions.type": Of("string", bad=("Random", "", "rnd")),
    "RandomOptions.traffic_percentage": FRACTION,
    "CloseToThresholdOptions.type": Of("string", bad=("close", "")),
    "CloseToThresholdOptions.threshold": FRACTION,
    "CloseToThresholdOptions.epsilon": FRACTION,
    "CloseToThresholdOptions.probability": FRACTION,
    "CloseToThresholdOptions.selected_class_names": NAMES,
    "CloseToThresholdOptions.minimum_objects_close_to_threshold": Of("integer", good=(0, 1, 1000), bad=(-1,)),
    "CloseToThresholdOptions.only_top_classes": Of("boolean", good=(True, False)),
    "ClassesBasedOptions.type": Of("string", bad=("classes", "")),
    "ClassesBasedOptions.selected_class_names": Of("array", good=NAMES.good[:2], bad=NAMES.bad),
    "ClassesBasedOptions.probability": FRACTION,
    "DetectionsNumberBasedOptions.type": Of("string", bad=("detections", "")),
    "DetectionsNumberBasedOptions.probability": FRACTION,
    "DetectionsNumberBasedOptions.selected_class_names": NAMES,
    "DetectionsNumberBasedOptions.more_than": Of("integer null", good=(0, 8, None), bad=(-1,)),
    "DetectionsNumberBasedOptions.less_than": Of("integer null", good=(3, 10**6, None), bad=(-1,)),
    "UncertaintyOptions.type": Of("string", bad=("Uncertainty", "")),
    "UncertaintyOptions.measure": Of(
        "string", good=("margin", "least_confidence", "entropy"), bad=("", "Margin", "least-confidence")
    ),
    "UncertaintyOptions.aggregation": Of("string", good=("sum", "max", "mean"), bad=("", "SUM", "min")),
    "UncertaintyOptions.minimum_score": Of("number", good=(0, 1000, 0.5), bad=(-0.1, 1000.1)),
    "UncertaintyOptions.probability": FRACTION,
    "UncertaintyOptions.selected_class_names": NAMES,
    "CommonStrategyOptions.class_balance": Of("boolean", good=(True,)),  # initial_counts needs it
    "CommonStrategyOptions.initial_counts": Of(
        "object",
        good=({}, {"car": 0}, {"car": 10**9}),
        bad=({"car": -1}, {"car": "1"}, {"": 1}, {"car": 0.5}, {"car": None}),
    ),
    "TemporalInconsistencyOptions.type": Of("string", bad=("temporal", "")),
    "TemporalInconsistencyOptions.window": Of("integer", good=(3, 1000), bad=(2, 1001, -3)),
    "TemporalInconsistencyOptions.minimum_confidence": FRACTION,
    "TemporalInconsistencyOptions.match_iou": Of("number", good=(1e-9, 1), bad=(0, -0.1, 1.1)),
    "TemporalInconsistencyOptions.border": Of("number", good=(0, 0.5), bad=(-0.1, 0.6)),
    "TemporalInconsistencyOptions.minimum_events": Of("integer", good=(1, 1000), bad=(0, 1001, -1)),
    "NoveltyOptions.type": Of("string", bad=("novel", "")),
    "NoveltyOptions.minimum_score": Of("number", good=(0, 2, 0.5), bad=(-0.1, 2.1)),
    "NoveltyOptions.probability": FRACTION,
    "NoveltyOptions.memory": Of("integer", good=(1, 4096), bad=(0, -1, 4097)),
    "NoveltyOptions.scope": Of("string", good=("stream", "all"), bad=("", "All", "device")),
    "TrackEndOptions.type": Of("string", bad=("track", "")),
    "TrackEndOptions.minimum_length": Of("integer", good=(1, 1000), bad=(0, 1001, -1)),
    "TrackEndOptions.missing": Of("integer", good=(1, 5), bad=(0, 6, -1)),
    "TrackEndOptions.minimum_confidence": FRACTION,
    "TrackEndOptions.match_iou": Of("number", good=(1e-9, 1), bad=(0, -0.1, 1.1)),
    "TrackEndOptions.border": Of("number", good=(0, 0.5), bad=(-0.1, 0.6)),
    "PythonStrategyOptions.type": Of("string", bad=("Python", "py")),
    "PythonStrategyOptions.factory": Of(
        "string",
        good=("framesift_outside:Dark",),
        bad=("", "framesift_outside", "framesift_outside:", ":Dark", "a b:c", "a:1", "a:b:c", "x" * 256 + ":y"),
    ),
    "PythonStrategyOptions.options": Of("object", good=({}, {"below": 0.1})),
    "PythonStrategyOptions.path": Of("string null", good=(OUTSIDE,)),
    "PythonStrategyOptions.probability": FRACTION,
}
SAMPLES = {
    "null": (None,),
    "boolean": (True, False),
    "integer": (5,),
    "number": (0.5,),
    "string": ("5", "true", "null"),
    "array": ([5],),
    "object": ({"5": 5},),
}
# Fields with a default that only a policy with `enabled: false` may leave out.
REQUIRED_WHERE_ENABLED = {"Policy.persist_predictions", "Policy.sampling_strategies", "Policy.batching_strategy"}
# The key that tells which model an object is: with another one, the whole object is reported.
TAGGED = {key for key in FIELDS if key.endswith("Options.type") and key != "WindowLimit.type"}


def models(annotation: object) -> Iterator[type[BaseModel]]:
    """Every model that an annotation leads to."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models(field.annotation)
            for extra in field.metadata:
                yield from models(extra)
    for part in get_args(annotation):
        yield from models(part)


def owner(model: type[BaseModel], field: str) -> str:
    """The class that declares a field."""
    return next(base.__name__ for base in reversed(model.__mro__) if field in getattr(base, "__annotations__", {}))


def is_required(key: str) -> bool:
    """Whether a policy must have the field."""
    name, _, field = key.partition(".")
    found: dict[str, type[BaseModel]] = {model.__name__: model for model in models(Policy)}
    found[CommonStrategyOptions.__name__] = CommonStrategyOptions
    return key in REQUIRED_WHERE_ENABLED or found[name].model_fields[field].is_required()


def walked() -> set[str]:
    return {f"{owner(model, field)}.{field}" for model in models(Policy) for field in model.model_fields}


def inside(place: tuple[str | int, ...], whole: Any) -> Any:
    for part in place:
        whole = whole[part]
    return whole


def split(key: str) -> tuple[tuple[str | int, ...], str]:
    """Where a field of FIELDS stands in WHOLE, and its name. Fails with what must be added to WHOLE."""
    model, _, field = key.partition(".")
    if model not in PLACES:
        pytest.fail(f"tests/policy/test_fields.py: WHOLE has no example of {model}; add one with every option")
    if field not in inside(PLACES[model], WHOLE):
        pytest.fail(f"tests/policy/test_fields.py: the example of {model} in WHOLE has no {field}; add it")
    return PLACES[model], field


def path(place: tuple[str | int, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def fresh() -> Any:
    return json.loads(json.dumps(WHOLE))


def problems(whole: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as refusal:
        parse(json.dumps(whole, indent=1), "policy.json")
    for line in refusal.value.problems:
        assert line.startswith("policy.json"), line
        assert "\n" not in line
        assert len(line) < 400
    return refusal.value.problems


def fits(kinds: str, value: object) -> bool:
    kind = next(name for name, samples in SAMPLES.items() if any(type(s) is type(value) for s in samples))
    return kind in kinds.split() or (kind == "integer" and "number" in kinds.split())


def wrong(of: Of) -> list[Any]:
    return [*(v for samples in SAMPLES.values() for v in samples if not fits(of.kinds, v)), *of.bad]


def test_the_table_knows_every_field_and_no_other() -> None:
    missing, gone = sorted(walked() - set(FIELDS)), sorted(set(FIELDS) - walked())
    assert not missing, f"add {', '.join(missing)} to FIELDS (what is allowed and what is not), and an example to WHOLE"
    assert not gone, f"remove {', '.join(gone)} from FIELDS"


def test_the_whole_policy_has_every_field_in_it_and_is_valid() -> None:
    parse(json.dumps(WHOLE), "policy.json")
    for key in FIELDS:
        split(key)


def test_every_strategy_is_in_the_whole_policy() -> None:
    tags = {tag for union in get_args(StrategyOptions)[:1] for m in get_args(union) for tag in _tag(m)}
    missing = sorted(tags - {strategy["type"] for strategy in WHOLE["sampling_strategies"]})
    assert not missing, f"tests/policy/test_fields.py: WHOLE has no strategy of the types {', '.join(missing)}; add one"
    assert {m for m in models(Policy) if issubclass(m, CommonStrategyOptions)} == {
        type(options(**strategy)) for strategy in WHOLE["sampling_strategies"]
    }
    assert {Policy, BatchingStrategy, NearDuplicateOptions, WindowLimit} <= set(models(Policy))


def _tag(model: type[BaseModel]) -> tuple[Any, ...]:
    return get_args(model.model_fields["type"].annotation)


@pytest.mark.parametrize("key", some_of(FIELDS, lambda key: key in [*FIELDS][::3]))
def test_a_wrong_value_is_refused_with_its_place_the_value_and_what_is_allowed(key: str) -> None:
    values = wrong(FIELDS[key])
    assert values
    for value in values:
        assert_refused(key, value)


def assert_refused(key: str, value: Any) -> None:
    place, field = split(key)
    whole = fresh()
    inside(place, whole)[field] = value
    for i in range(len(WHOLE["sampling_strategies"])):  # the others short: finding their lines takes most of the time
        if place[:2] != ("sampling_strategies", i) and field != "sampling_strategies":
            whole["sampling_strategies"][i] = {"name": f"s{i}", "type": "random", "traffic_percentage": 1}
    lines = problems(whole)
    if key in TAGGED:
        (line,) = lines
        assert f": {path(place)} (" in line
        assert f": type: {format_value(value)} is not one of random, close_to_threshold, " in line
        return
    for line in lines:
        assert f": {path((*place, field))}" in line
    if not isinstance(value, list | dict):
        (line,) = lines
        # A text in the place of a block is not shown: it may be a secret.
        assert format_value(value) in line or repr(value) in line or ": a text is not allowed" in line
        assert "must be" in line or "time zone" in line


@pytest.mark.parametrize(
    ("place", "fields", "expected"),
    [
        ((), {"sampling_strategies": []}, "enabled is true, but sampling_strategies is an empty list"),
        (
            (),
            {"sampling_strategies": [*WHOLE["sampling_strategies"], FIRST]},
            f"2 strategies are named {FIRST['name']!r}",
        ),
        (PLACES["DetectionsNumberBasedOptions"], {"more_than": 9}, "more_than (9) must be less than less_than (9)"),
        (PLACES["DetectionsNumberBasedOptions"], {"less_than": 1}, "more_than (2) must be less than less_than (1)"),
        (
            PLACES["CommonStrategyOptions"],
            {"class_balance": False},
            "initial_counts has no effect without class_balance",
        ),
        (
            PLACES["CommonStrategyOptions"],
            {"limits": [{"type": "daily", "value": 1}] * 2},
            "there are 2 daily limits; one of each type is allowed",
        ),
        (
            PLACES["CommonStrategyOptions"],
            {"zones": None, "inhibit": [{}]},
            "zone_anchor: centre has no effect without zones",
        ),
        (PLACES["CommonStrategyOptions"], {"hours": ["06:00-06:00"]}, "'06:00-06:00' has no length"),
    ],
)
def test_values_that_are_wrong_together_are_refused(
    place: tuple[str | int, ...], fields: dict[str, Any], expected: str
) -> None:
    whole = fresh()
    inside(place, whole).update(fields)
    (line,) = problems(whole)
    assert expected in line
    assert path(place) in line


@pytest.mark.parametrize("key", some_of(FIELDS, lambda key: key in [*FIELDS][1::3]))
def test_a_value_at_the_edge_of_what_is_allowed_is_taken(key: str) -> None:
    for value in FIELDS[key].good:
        assert_taken(key, value)


def assert_taken(key: str, value: Any) -> None:
    place, field = split(key)
    whole = fresh()
    inside(place, whole)[field] = value
    if key == "CommonStrategyOptions.initial_counts":
        assert inside(place, whole)["class_balance"]
    parsed = parse(json.dumps(whole), "policy.json").model_dump(mode="json")
    found = inside(place, parsed)[field]
    if not isinstance(value, list | dict):
        assert found == value


@pytest.mark.parametrize("key", FIELDS)
def test_a_misspelt_key_is_refused_with_the_right_word(key: str) -> None:
    place, field = split(key)
    whole = fresh()
    block = inside(place, whole)
    misspelt = field[:-2] + field[-1] + field[-2]
    block[misspelt] = block.pop(field)
    lines = problems(whole)
    if key in TAGGED:
        (line,) = lines
        assert path(place) in line
        assert f"type is missing; is {misspelt} a misspelling of it?" in line
        return
    assert any(path((*place, misspelt)) in line and f"did you mean {field}?" in line for line in lines), lines


@pytest.mark.parametrize("key", FIELDS)
def test_what_is_required_is_missed_and_what_is_not_has_a_default(key: str) -> None:
    place, field = split(key)
    whole = fresh()
    del inside(place, whole)[field]
    if key == "CommonStrategyOptions.class_balance":
        del inside(place, whole)["initial_counts"]
    if not is_required(key):
        parse(json.dumps(whole), "policy.json")
        return
    (line,) = problems(whole)
    assert field in line
    assert "missing" in line


def test_every_field_is_described_in_the_published_schema() -> None:
    schema = Policy.model_json_schema()
    for name, block in {"Policy": schema, **schema["$defs"]}.items():
        for field, described in block.get("properties", {}).items():
            assert "description" in described or "const" in described, f"{name}.{field}"
        assert name == "JsonValue" or "enum" in block or block["additionalProperties"] is False, name
    assert json.loads(json.dumps(schema)) == schema

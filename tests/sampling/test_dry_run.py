"""Dry runs: decisions on recorded predictions as in a run, with the time that the predictions carry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clocks import NOON_S, ManualClock
from exhaustive import examples
from framesift.config.types import ConfigError
from framesift.frame import RefusalReason
from framesift.limits.local import LocalLimits
from framesift.policy.policy import Policy, parse
from framesift.prediction import wire_format as wire
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.candidates import CollectionOrigin, candidates_for
from framesift.sampling.dry_run import DryRun
from framesift.sampling.dry_run_result import DryRunResult
from framesift.sampling.pacing_rules import rules_of
from framesift.sampling.sampler import Sampler
from framesift.spool import Accepted
from rigs.spools import datapoint, make_spool
from sampling_data import frame

ALL: dict[str, Any] = {"type": "random", "traffic_percentage": 1}
HALF: dict[str, Any] = {"type": "random", "traffic_percentage": 0.5}
UNSURE: dict[str, Any] = {"type": "close_to_threshold", "threshold": 0.5, "epsilon": 0.2, "probability": 1}


def policy(*strategies: dict[str, Any], most: int | None = None, interval: str = "daily", **fields: Any) -> Policy:
    """Strategies a, b, ... in this order."""
    whole = {
        "enabled": True,
        "persist_predictions": True,
        "sampling_strategies": [{"name": chr(ord("a") + i), **s} for i, s in enumerate(strategies)],
        "batching_strategy": {
            "batches_name_prefix": "al",
            "recreation_interval": interval,
            "max_batch_images": most,
        },
        **fields,
    }
    return parse(json.dumps(whole), "policy.json")


def dry_run(*strategies: dict[str, Any], seed: int = 0, stream: str = "try", **fields: Any) -> DryRun:
    return DryRun(policy(*strategies, **fields), seed=seed, stream=stream, started_s=NOON_S)


def limited(kind: str, value: int, rule: dict[str, Any] = ALL) -> dict[str, Any]:
    return {**rule, "limits": [{"type": kind, "value": value}]}


def seen(*confidences: float, **fields: Any) -> dict[str, Any]:
    """A detector's answer in the wire format."""
    boxes = [{"x": 5, "y": 5, "width": 4, "height": 4, "confidence": c, "class": "car"} for c in confidences]
    return {"image": {"width": 64, "height": 48}, "predictions": boxes, **fields}


def outcome(result: DryRunResult) -> str:
    """`ab>b`: a and b matched, b was charged; `ab!limit`: nobody was."""
    return "".join(result.matched) + (f">{result.strategy}" if result.strategy else f"!{result.refusal}")


def outcomes(one: DryRun, *payloads: dict[str, Any]) -> list[str]:
    return [outcome(one.evaluate(payload)) for payload in payloads]


# What is decided


def test_those_that_match_stand_in_the_policys_order_and_the_first_is_charged() -> None:
    one = dry_run(UNSURE, ALL, UNSURE)
    assert outcomes(one, seen(0.5), seen(0.9), seen()) == ["abc>a", "b>b", "b>b"]


def test_what_nobody_wants_is_refused_by_name() -> None:
    assert outcomes(dry_run(UNSURE), seen(0.9)) == ["!no_match"]


def test_a_disabled_policy_refuses_everything_by_name() -> None:
    assert outcomes(dry_run(ALL, enabled=False), seen(0.5), seen()) == ["!disabled", "!disabled"]
    off = DryRun(parse('{"enabled": false}', "p"), seed=0, stream="try", started_s=NOON_S)
    assert outcomes(off, seen(0.5)) == ["!disabled"]


def test_the_first_with_quota_is_charged_then_the_next_then_none() -> None:
    one = dry_run(limited("daily", 1), limited("daily", 2))
    assert outcomes(one, *[seen()] * 4) == ["ab>a", "ab>b", "ab>b", "ab!limit"]


def test_a_minute_begins_with_the_calendars_minute() -> None:
    one = dry_run(limited("minutely", 1))
    times = [NOON_S, NOON_S + 59.999, NOON_S + 60, NOON_S + 60.1, NOON_S + 120]
    assert outcomes(one, *[seen(captured_at=t) for t in times]) == ["a>a", "a!limit", "a>a", "a!limit", "a>a"]


@pytest.mark.parametrize(("zone", "expected"), [("UTC", ["a>a", "a!limit"]), ("Europe/Berlin", ["a>a", "a>a"])])
def test_a_day_begins_where_the_policys_zone_says(zone: str, expected: list[str]) -> None:
    one = dry_run(limited("daily", 1), time_zone=zone)
    times = ["2026-09-10T21:59:59Z", "2026-09-10T22:00:00Z"]  # midnight in Berlin lies between
    assert outcomes(one, *[seen(captured_at=t) for t in times]) == expected


def test_a_batch_is_full_for_all_strategies_until_the_next_one_begins() -> None:
    one = dry_run(UNSURE, ALL, most=2)
    day = [seen(0.5, captured_at=NOON_S), seen(0.9), seen(0.5), seen(0.9)]
    assert outcomes(one, *day) == ["ab>a", "b>b", "ab!batch_full", "b!batch_full"]
    assert outcomes(one, seen(0.9, captured_at=NOON_S + 86400)) == ["b>b"]


def test_the_reason_does_not_depend_on_what_was_refused_before() -> None:
    sure = {**UNSURE, "threshold": 0.9}
    one = dry_run(limited("daily", 1, UNSURE), sure, most=2)
    # The first has spent its limit too when it meets a batch that is known to be full.
    assert outcomes(one, *[seen(c) for c in (0.5, 0.9, 0.9, 0.5)]) == ["a>a", "b>b", "b!batch_full", "a!limit"]


def test_a_full_batch_is_the_reason_only_where_a_strategy_had_quota() -> None:
    one = dry_run(limited("daily", 1), most=1)
    assert outcomes(one, seen(), seen()) == ["a>a", "a!limit"]


def test_a_batch_that_is_never_begun_anew_stays_full() -> None:
    one = dry_run(ALL, most=1, interval="never")
    assert outcomes(one, seen(captured_at=0), seen(captured_at=4e9)) == ["a>a", "a!batch_full"]


def test_what_was_captured_earlier_is_charged_to_its_own_window() -> None:
    one = dry_run(limited("minutely", 1))
    times = [NOON_S, NOON_S - 60, NOON_S, NOON_S - 60]
    assert outcomes(one, *[seen(captured_at=t) for t in times]) == ["a>a", "a>a", "a!limit", "a!limit"]


def test_only_what_is_charged_counts_as_collected_for_class_balance() -> None:
    rare = {"type": "uncertainty", "class_balance": True, "minimum_score": 0.9}
    assert outcomes(dry_run(rare), seen(0.5), seen(0.5)) == ["a>a", "!no_match"]
    assert outcomes(dry_run(limited("daily", 0, rare)), seen(0.5), seen(0.5)) == ["a!limit", "a!limit"]


def test_near_duplicates_need_pictures_and_are_not_refused_here() -> None:
    def notes_of(one: DryRun) -> tuple[str, ...]:
        one.evaluate(seen())
        return one.notes

    alike = {**ALL, "near_duplicate": {"threshold": 1.0}}
    assert notes_of(dry_run(alike)) == notes_of(dry_run(ALL, near_duplicate={}))
    assert notes_of(dry_run(alike)) == (
        "near_duplicate needs pictures, and predictions have none: it is not applied here",
    )
    assert dry_run(alike).notes == ()  # nobody knows yet whether the predictions are a recording
    assert notes_of(dry_run(ALL, {**ALL, "near_duplicate": None})) == ()
    assert notes_of(dry_run({**ALL, "near_duplicate": None}, near_duplicate={})) == ()
    assert outcomes(dry_run(alike, near_duplicate={}), seen(), seen()) == ["a>a", "a>a"]


OUTSIDE, FAULTY = (str(Path(__file__).parents[1] / "rigs" / name) for name in ("outside", "faulty"))
DARK: dict[str, Any] = {"type": "python", "factory": "framesift_outside:Dark", "path": OUTSIDE, "options": {"below": 1}}


def test_a_strategy_that_needs_pixels_is_not_judged_and_never_sees_a_black_picture() -> None:
    one = dry_run(DARK, ALL)
    assert one.notes == ("strategy 'a' needs pictures, and predictions have none: it is not judged here",)
    assert one.not_judged == ("a",)
    assert outcomes(one, seen()) == ["b>b"]


def test_where_every_strategy_needs_pixels_there_is_nothing_to_judge() -> None:
    with pytest.raises(ConfigError, match="every strategy of this policy needs pictures"):
        dry_run(DARK)


def test_a_strategy_that_reads_pixels_without_saying_so_is_found_out() -> None:
    silent = {"type": "python", "factory": "faulty_rules:ReadsSilently", "path": FAULTY}
    with pytest.raises(ValueError, match=r"reads frame\.pixels, but does not say needs_pixels = True"):
        dry_run(silent).evaluate(seen())


def test_a_strategy_that_fails_is_named_in_the_result() -> None:
    fails = {"type": "python", "factory": "faulty_rules:FailsOnObjects", "path": FAULTY}
    result = dry_run(fails, ALL).evaluate(seen(0.5))
    assert (result.matched, result.strategy) == (("b",), "b")
    line = f"{FAULTY}/faulty_rules.py:16"
    assert result.failures == (f"strategy 'a': LookupError: no such object ({line})",)


# Random draws


def drawn(one: DryRun, count: int = 100) -> list[str]:
    return ["".join(one.evaluate(seen()).matched) for _ in range(count)]


def test_draws_are_those_of_a_stream_of_that_name_in_the_daemon() -> None:
    sampler = Sampler("gate", policy(HALF, HALF), seed=7, accepted=AcceptedFrames())
    prediction = wire.parse_prediction(seen())
    daemon = ["".join(m.strategy for m in sampler.decide(frame(number=i), prediction).matches) for i in range(100)]
    assert drawn(dry_run(HALF, HALF, seed=7, stream="gate")) == daemon


@pytest.mark.parametrize("other", [{"seed": 1}, {"stream": "gate"}])
def test_another_seed_or_stream_draws_otherwise(other: dict[str, Any]) -> None:
    assert drawn(dry_run(HALF)) == drawn(dry_run(HALF))
    assert drawn(dry_run(HALF)) != drawn(dry_run(HALF, **other))


# Time


def test_the_first_prediction_without_a_time_is_taken_at_the_start_and_others_with_the_one_before() -> None:
    one = dry_run(ALL)
    times = [one.evaluate(p).captured_at_s for p in (seen(), seen(captured_at=5), seen(), seen(captured_at=None))]
    assert times == [NOON_S, 5, 5, 5]


@pytest.mark.parametrize(
    "written",
    [
        "2026-09-10T12:00:00Z",
        "2026-09-10T12:00:00.000Z",
        "2026-09-10t12:00:00z",
        "2026-09-10 12:00:00+00:00",
        "2026-09-10T14:00:00.000000+02:00",
        "2026-09-10T06:30:00-0530",
        NOON_S,
        int(NOON_S),
    ],
)
def test_the_same_instant_may_be_written_in_many_ways(written: object) -> None:
    assert dry_run(ALL).evaluate(seen(captured_at=written)).captured_at_s == NOON_S


@pytest.mark.parametrize(
    "written",
    [
        "2026-09-10T12:00:00",  # where?
        "2026-09-10",
        "12:00:00Z",
        "1789041600",
        "yesterday",
        "",
        "2026-13-10T12:00:00Z",
        "2026-02-30T12:00:00Z",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        -1,
        -0.001,
        1e300,
        10**400,
        float("nan"),
        float("inf"),
        253_370_764_800,
        True,
        [5],
        {"at": 5},
    ],
)
def test_what_is_no_instant_is_refused_with_what_is_allowed(written: object) -> None:
    one = dry_run(ALL)
    with pytest.raises(ValueError, match=r"^captured_at: .* is not allowed; it must be Unix seconds from 0 on, or ISO"):
        one.evaluate(seen(captured_at=written))


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "America/New_York"])
@pytest.mark.parametrize("at_s", [0, 253_370_764_799.999])
def test_the_first_and_the_last_instant_have_windows_in_every_zone(zone: str, at_s: float) -> None:
    one = dry_run({**ALL, "limits": [{"type": t, "value": 1} for t in ("minutely", "hourly", "daily")]}, time_zone=zone)
    assert outcomes(one, seen(captured_at=at_s), seen()) == ["a>a", "a!limit"]


# What a prediction may look like


def test_a_bad_prediction_changes_nothing() -> None:
    one = dry_run(limited("daily", 1))
    with pytest.raises(ValueError, match="predictions"):
        one.evaluate({"captured_at": 5})
    assert one.evaluate(seen()).captured_at_s == NOON_S


@pytest.mark.parametrize("payload", [None, 5, "text", [seen()], True])
def test_a_prediction_is_an_object(payload: object) -> None:
    with pytest.raises(ValueError, match="a prediction is a JSON object, not "):
        dry_run(ALL).evaluate(payload)


@pytest.mark.parametrize("inner", [None, 5, "text", [seen()]])
def test_what_stands_under_prediction_is_an_object(inner: object) -> None:
    with pytest.raises(ValueError, match=r"^prediction: .* is not allowed; it must be an object in the wire format"):
        dry_run(ALL).evaluate({"prediction": inner})


def test_a_recorded_line_is_a_prediction_and_so_is_an_object_that_holds_one() -> None:
    recorded = {"stream": "gate", "frame": 3, "task_type": "object-detection", "model_id": "m/1", **seen(0.5)}
    held = {"captured_at": "2026-09-10T12:00:00Z", "frame": 3, "prediction": seen(0.5)}
    assert outcomes(dry_run(UNSURE), recorded, held, {"prediction": seen(0.9)}) == ["a>a", "a>a", "!no_match"]


def test_the_task_may_stand_beside_the_prediction_or_in_it() -> None:
    semantic = "semantic-segmentation"
    written = [
        seen(0.5, task=semantic),
        seen(0.5, task_type=semantic),
        {"task": semantic, "prediction": seen(0.5)},
        {"task": semantic, "prediction": seen(0.5, task="object-detection")},
    ]
    assert outcomes(dry_run(UNSURE), *written) == ["!no_match", "!no_match", "!no_match", "a>a"]
    with pytest.raises(ValueError, match="task: 'detection' is not one of object-detection, "):
        dry_run(UNSURE).evaluate(seen(task="detection"))


def test_a_prediction_need_not_say_how_large_its_picture_is() -> None:
    bare = {"predictions": seen(0.5)["predictions"]}
    assert outcomes(dry_run(UNSURE), bare, {"top": "car", "confidence": 0.6}) == ["a>a", "a>a"]


def test_masks_are_read_though_the_picture_has_no_size() -> None:
    box = {**seen(0.5)["predictions"][0], "rle": {"size": [2, 3], "counts": [6]}}
    result = dry_run(UNSURE).evaluate({"predictions": [{"class": "odd"}, box]})
    assert (outcome(result), result.dropped_parts) == ("a>a", 1)


@pytest.mark.parametrize("size", [None, 5, [2], [2, 3, 4], ["2", "3"], [0, 3], [2.5, 3], [10**9, 10**9], [True, 3]])
def test_a_mask_of_no_size_is_dropped_and_counted(size: object) -> None:
    box = {**seen(0.5)["predictions"][0], "rle": {"size": size, "counts": [6]}}
    result = dry_run(UNSURE, ALL).evaluate({"predictions": [box]})
    assert (outcome(result), result.dropped_parts) == ("b>b", 1)


SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("object-detection")
WORD = st.sampled_from(
    [
        *("predictions", "prediction", "top", "confidence", "class", "image", "width", "height", "captured_at", "task"),
        *("x", "y", "rle", "size", "counts", "points", "keypoints", "is_stub", "predicted_classes", "class_id"),
    ]
)
ANYTHING = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=5), max_leaves=20
)


@examples(120)
@given(payload=st.dictionaries(WORD, ANYTHING, max_size=6))
def test_whatever_stands_in_a_line_is_tried_or_refused_in_one_sentence(payload: dict[str, Any]) -> None:
    one = dry_run(UNSURE, {"type": "uncertainty"}, ALL)
    message = "result"
    try:
        assert one.evaluate(payload).strategy is not None
    except ValueError as error:
        message = str(error)
    assert "\n" not in message


def test_a_stub_is_for_random_only() -> None:
    assert outcomes(dry_run(UNSURE, ALL), {"is_stub": True, "task_type": "object-detection"}) == ["b>b"]


# The daemon's own answer


@examples(25)
@given(
    steps=st.lists(st.tuples(st.sampled_from([0.0, 0.5, 20.0, 1800.0, 40000.0]), st.sampled_from([0.5, 0.9, 0.2]))),
    most=st.sampled_from([None, 2, 5]),
    values=st.tuples(st.integers(0, 3), st.integers(0, 4)),
)
def test_the_spool_charges_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[float, float]],
    most: int | None,
    values: tuple[int, int],
) -> None:
    rules = [limited("minutely", values[0], UNSURE), limited("daily", values[1], HALF), limited("hourly", 2, UNSURE)]
    one = policy(*rules, most=most, time_zone="Europe/Berlin")
    clock = ManualClock()
    trying = DryRun(one, seed=0, stream="gate", started_s=clock.now().wall_s)
    sampler = Sampler("gate", one, seed=0, accepted=AcceptedFrames())
    origin = CollectionOrigin("dev", (), (), 0)
    spool = make_spool(tmp_path_factory.mktemp("spool"), clock, limits=LocalLimits(ZoneInfo("Europe/Berlin")))
    spool.open()
    try:
        for number, (seconds, confidence) in enumerate(steps):
            clock.advance(seconds)
            now = clock.now()
            prediction = wire.parse_prediction(seen(confidence))
            decision = sampler.decide(frame(number=number), prediction)
            expected: str | RefusalReason | None = decision.refusal
            if expected is None:
                candidates, quotas = candidates_for(
                    one, decision.matches, prediction, origin, now, now, rules_of(one, "", "try")
                )
                answer = spool.put(datapoint(clock), candidates, quotas)
                expected = answer.strategy if isinstance(answer, Accepted) else answer.refusal
            result = trying.evaluate(seen(confidence, captured_at=now.wall_s))
            assert (result.strategy or result.refusal) == expected
    finally:
        spool.close()

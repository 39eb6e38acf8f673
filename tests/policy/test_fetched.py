"""A fetched policy: what framesift does not know is left out and reported; all else is as strict as in a file."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exhaustive import examples
from framesift.config.errors import ConfigError
from framesift.policy import parse_fetched
from framesift.policy.policy import digest, effective, parse
from framesift.policy.tolerant_parser import MAX_LEFT_OUT, without_local_parts
from policy.test_fields import REMOTE, REMOTE_PLACES

SOURCE = "roboflow project parking"
RANDOM = {"name": "some", "type": "random", "traffic_percentage": 0.5}
PLAIN: dict[str, Any] = {
    "enabled": True,
    "persist_predictions": True,
    "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "daily"},
    "sampling_strategies": [RANDOM],
}


def with_strategies(*strategies: Any) -> dict[str, Any]:
    return {**PLAIN, "sampling_strategies": list(strategies)}


def refused(data: object) -> str:
    with pytest.raises(ConfigError) as refusal:
        parse_fetched(data, SOURCE)
    assert len(refusal.value.problems) <= 21
    assert all(len(line) < 1000 and line.isprintable() for line in refusal.value.problems)
    return str(refusal.value)


def block_at(data: Any, place: tuple[str | int, ...]) -> dict[str, Any]:
    for part in place:
        data = data[part]
    assert isinstance(data, dict)
    return data


def test_what_a_file_may_say_is_read_the_same_and_nothing_is_left_out() -> None:
    fetched = parse_fetched(REMOTE, SOURCE)
    assert fetched.left_out == ()
    assert fetched.policy == parse(json.dumps(REMOTE), "policy.json")


@pytest.mark.parametrize("place", REMOTE_PLACES.values(), ids=REMOTE_PLACES)
def test_an_unknown_key_is_left_out_at_every_level(place: tuple[str | int, ...]) -> None:
    data = json.loads(json.dumps(REMOTE))
    block_at(data, place)["from_the_future"] = {"deep": [1, None]}
    fetched = parse_fetched(data, SOURCE)
    assert fetched.policy == parse_fetched(REMOTE, SOURCE).policy
    (sentence,) = fetched.left_out
    assert "from_the_future" in sentence
    assert sentence.endswith(": the key is not known")


def test_keys_that_are_called_like_a_type_of_strategy_confuse_nobody() -> None:
    data = with_strategies({**RANDOM, "random": {"traffic_percentage": 7}, "near_duplicate": {"random": {}}})
    fetched = parse_fetched(data, SOURCE)
    assert fetched.left_out == (
        'sampling_strategies[0].random ("some"): the key is not known',
        'sampling_strategies[0].near_duplicate.random ("some"): the key is not known',
    )


def test_a_strategy_that_would_run_code_of_this_machine_is_left_out() -> None:
    code = {"name": "x", "type": "python", "factory": "os:system", "options": {"command": "touch /tmp/was-here"}}
    fetched = parse_fetched(with_strategies(RANDOM, code), SOURCE)
    assert [strategy.name for strategy in fetched.policy.sampling_strategies] == ["some"]
    assert fetched.left_out == (
        'sampling_strategies[1] ("x"): type "python" may only be used in a policy file of this machine: it runs code',
    )


def test_a_strategy_of_an_unknown_type_is_left_out_whatever_else_it_says() -> None:
    weird = {"name": "x", "type": "weird", "limits": "none", "tags": 5}
    fetched = parse_fetched(with_strategies(RANDOM, weird, {**RANDOM, "name": "more"}, {"type": "Random"}), SOURCE)
    assert [strategy.name for strategy in fetched.policy.sampling_strategies] == ["some", "more"]
    assert fetched.left_out == (
        'sampling_strategies[1] ("x"): type "weird" is not known',
        'sampling_strategies[3]: type "Random" is not known',
    )


def test_where_all_strategies_are_unknown_an_enabled_policy_is_refused() -> None:
    data = with_strategies({"name": "x", "type": "weird"}, {"name": "y", "type": "odd"})
    assert "sampling_strategies: none of 2 is of a type that is known (random, close_to_threshold," in refused(data)
    assert parse_fetched({**data, "enabled": False}, SOURCE).policy.sampling_strategies == ()


def test_a_hundred_known_strategies_are_read_among_unknown_ones_and_one_more_is_too_many() -> None:
    known = [{**RANDOM, "name": f"s{n}"} for n in range(100)]
    unknown = [{"name": f"u{n}", "type": "weird"} for n in range(100)]
    assert len(parse_fetched(with_strategies(*unknown, *known), SOURCE).policy.sampling_strategies) == 100
    assert "sampling_strategies" in refused(with_strategies(*known, {**RANDOM, "name": "last"}))


def test_tags_that_no_tag_may_be_are_left_out_of_the_policy_and_of_each_strategy() -> None:
    data = with_strategies({**RANDOM, "tags": ["ok", "a b", "x" * 65]})
    data["tags"] = ["été", "site", "", "a\n", "a,b", "site"]
    fetched = parse_fetched(data, SOURCE)
    assert fetched.policy.tags == ("site", "site")
    assert fetched.policy.sampling_strategies[0].tags == ("ok",)
    assert len(fetched.left_out) == 6
    assert fetched.left_out[0] == 'tags[0]: "été" is longer than a tag, or has other characters'
    assert fetched.left_out[-2].startswith('sampling_strategies[0].tags[1] ("some"): "a b" is ')


def test_what_follows_height_and_width_is_left_out() -> None:
    fetched = parse_fetched({**PLAIN, "max_image_size": [480, 640, 3, "x"]}, SOURCE)
    assert fetched.policy.max_image_size == (480, 640)
    assert fetched.left_out == ("max_image_size: only height and width are read, not 2 more",)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"enabled": "true"}, 'enabled: "true" is not allowed'),
        ({"enabled": 1}, "enabled: 1 is not allowed"),
        ({"max_image_size": [480]}, "max_image_size"),
        ({"max_image_size": [0, 0, 3]}, "max_image_size[0]: 0 is not allowed"),
        ({"jpeg_compression_level": 500}, "jpeg_compression_level: 500 is not allowed"),
        ({"tags": None}, "tags: null is not allowed"),
        ({"tags": "abc"}, 'tags: "abc" is not allowed'),
        ({"tags": [5]}, "tags[0]: 5 is not allowed"),
        ({"sampling_strategies": []}, "sampling_strategies is an empty list"),
        ({"sampling_strategies": {}}, "sampling_strategies: an object is not allowed"),
        ({"sampling_strategies": [5]}, "sampling_strategies[0]"),
        ({"sampling_strategies": [{"name": "a", "traffic_percentage": 1}]}, "sampling_strategies[0]"),
        ({"sampling_strategies": [{**RANDOM, "type": 5}]}, "type: 5 is not one of random"),
        ({"sampling_strategies": [{**RANDOM, "limits": [5]}]}, "limits[0]"),
        ({"sampling_strategies": [{**RANDOM, "limits": None}]}, "limits"),
        ({"sampling_strategies": [RANDOM, RANDOM]}, '2 strategies are named "some"'.replace('"', "'")),
        ({"batching_strategy": None}, "batching_strategy: null is not allowed"),
        ({"time_zone": "Mars/Base"}, "time_zone: 'Mars/Base' is not an IANA time zone"),
        ({"target_project": "a/b"}, 'target_project: "a/b" is not allowed'),
        ({"near_duplicate": 5}, "near_duplicate: 5 is not allowed"),
        ({"persist_predictions": 0}, "persist_predictions: 0 is not allowed"),
    ],
    ids=str,
)
def test_what_we_know_is_as_strict_as_in_a_file(change: dict[str, Any], expected: str) -> None:
    assert expected in refused({**PLAIN, **change})


def test_a_problem_is_reported_with_its_path_in_the_document_not_in_what_remains_of_it() -> None:
    data = with_strategies({"name": "x", "type": "weird"}, {**RANDOM, "traffic_percentage": 100})
    assert refused(data) == (
        f'{SOURCE}: sampling_strategies[1].traffic_percentage ("some"): '
        "100 is not allowed; it must be a number from 0 to 1"
    )


@pytest.mark.parametrize("data", [None, 5, "text", [], [PLAIN], True, float("nan"), "\ud800", {}])
def test_what_is_no_policy_at_all_is_refused(data: object) -> None:
    assert refused(data)


def test_a_number_is_no_policy_however_many_digits_it_has() -> None:
    assert refused(10**5000)


def deep(levels: int) -> Any:
    data: Any = 5
    for _ in range(levels):
        data = [data]
    return data


@pytest.mark.parametrize(
    "change",
    [
        {"x": deep(100_000)},
        {"x": deep(51)},
        {"x": [0] * 30_000},
        {"x": "y" * 300_000},
        {"y" * 300_000: 1},
        {"x": float("nan")},
        {"x": float("-inf")},
        {"x": 10**5000},
        {"tags": ["a"] * 30_000},
        {"batching_strategy": {"batches_name_prefix": "\ud800", "recreation_interval": "daily"}},
        {"jpeg_compression_level": 10**400},
    ],
    ids=[
        "very deep",
        "deep",
        "many",
        "long",
        "long key",
        "nan",
        "infinite",
        "digits",
        "tags",
        "half a character",
        "range",
    ],
)
def test_a_hostile_document_is_refused_in_a_few_short_lines(change: dict[str, Any]) -> None:
    assert refused({**PLAIN, **change})


def test_half_characters_in_what_is_left_out_do_no_harm() -> None:
    data = with_strategies(RANDOM, {"name": "\ud800", "type": "\udfff"})
    data["\ud800"] = "\udc00"
    data["tags"] = ["\ud800", "ok"]
    fetched = parse_fetched(data, SOURCE)
    assert fetched.policy.tags == ("ok",)
    assert all(line.encode().isascii() and line.isprintable() for line in fetched.left_out)


def test_the_report_of_a_document_full_of_nonsense_is_short() -> None:
    data: dict[str, Any] = {**PLAIN, **{f"{n}" + "\x1b[31m" * 9: n for n in range(900)}, "tags": ["a b" * 30] * 900}
    left_out = parse_fetched(data, SOURCE).left_out
    assert len(left_out) == MAX_LEFT_OUT + 1
    assert left_out[-1] == f"{1800 - MAX_LEFT_OUT} more that are not shown"
    assert all(len(line) < 250 and line.isprintable() for line in left_out)


def test_an_address_in_what_is_left_out_loses_its_credentials() -> None:
    data = {**PLAIN, "tags": ["https://me:geheim@h/x?token=abc"], "rtsp://me:geheim@h/": 1}
    assert "geheim" not in str(parse_fetched(data, SOURCE).left_out)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(data: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield place
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield from places(value, (*place, key))


@settings(examples(150), suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([p for p in places(REMOTE) if p]), JSON, st.text(max_size=3))
def test_whatever_stands_somewhere_in_a_policy_it_is_read_or_refused(
    place: tuple[str | int, ...], value: object, key: str
) -> None:
    data = json.loads(json.dumps(REMOTE))
    block: Any = data
    for part in place[:-1]:
        block = block[part]
    block[place[-1]] = value
    if isinstance(block, dict):
        block[key] = value
    before = repr(data)
    with contextlib.suppress(ConfigError):
        policy = parse_fetched(data, SOURCE).policy
        assert digest(parse(json.dumps(effective(policy)), "again")) == digest(policy)
    assert repr(data) == before


def test_the_digest_depends_on_what_a_policy_means_not_on_how_it_is_written() -> None:
    policy = parse(json.dumps(PLAIN), "p")
    spelled_out = {
        **dict(reversed(PLAIN.items())),
        "jpeg_compression_level": None,
        "tags": [],
        "time_zone": "UTC",
        "max_image_size": None,
    }
    assert digest(policy) == digest(parse(json.dumps(spelled_out, indent=3), "q"))
    assert digest(policy) == digest(parse_fetched({**PLAIN, "new": 1}, SOURCE).policy)
    unsure = {"name": "unsure", "type": "uncertainty", "measure": "entropy", "aggregation": "max", "probability": 1}
    counts = {"minimum_score": 0.5, "class_balance": True, "initial_counts": {"car": 1, "bus": 2}}
    balanced = parse(json.dumps(with_strategies({**unsure, **counts})), "p")
    turned = {**counts, "initial_counts": {"bus": 2, "car": 1}}
    assert digest(balanced) == digest(parse(json.dumps(with_strategies({**turned, **unsure})), "p"))
    others = [
        {**PLAIN, "enabled": False},
        {**PLAIN, "tags": ["a"]},
        {**PLAIN, "near_duplicate": {}},
        with_strategies({**RANDOM, "traffic_percentage": 0.25}),
        with_strategies(RANDOM, {**RANDOM, "name": "b"}),
        with_strategies({**RANDOM, "name": "b"}, RANDOM),
    ]
    digests = {digest(parse(json.dumps(other), "o")) for other in (PLAIN, *others)}
    assert len(digests) == 7
    assert all(len(found) == 12 and int(found, 16) >= 0 for found in digests)


def test_where_and_when_change_the_digest_only_of_a_policy_that_says_so() -> None:
    assert digest(parse(json.dumps(PLAIN), "p")) == "d97205756561"  # as before there were such options
    zones = [[[0, 0], [1, 0], [1, 1]]]
    said: list[dict[str, Any]] = [
        {},
        {"zones": zones},
        {"zones": zones, "zone_anchor": "centre"},
        {"inhibit": [{}]},
        {"inhibit": [{"zones": zones}]},
        {"hours": ["06:00-22:00"]},
        {"days": ["mon"]},
        {"min_interval_s": 5},
        {"min_interval_s": 5, "min_interval_scope": "all"},
        {"before_s": 2},
        {"after_s": 2},
        {"after_s": 2, "neighbours_every_s": 2},
    ]
    digests = {digest(parse(json.dumps(with_strategies({**RANDOM, **fields})), "p")) for fields in said}
    assert len(digests) == len(said)


def test_what_is_taken_by_hand_changes_the_digest_only_if_it_is_not_the_default() -> None:
    plain = digest(parse(json.dumps(PLAIN), "p"))
    default = {"limits": [{"type": "hourly", "value": 20}, {"type": "daily", "value": 50}]}
    said = [digest(parse(json.dumps({**PLAIN, "manual": one}), "p")) for one in ({}, default, {"tags": ["x"]})]
    assert said[:2] == [plain, plain]
    assert said[2] != plain


def test_pacing_changes_the_digest_wherever_it_is_said_and_only_if_it_paces() -> None:
    limited = {**RANDOM, "limits": [{"type": "hourly", "value": 6}]}
    held = {"mode": "hold_queue"}

    def of(strategy: dict[str, Any], **policy: Any) -> str:
        return digest(parse(json.dumps({**with_strategies({**limited, **strategy}), **policy}), "p"))

    silent = of({})
    assert of({"pacing": {"mode": "none"}}) == of({"pacing": None}) == of({}, pacing={"mode": "none"}) == silent
    assert of({"pacing": held}) == of({}, pacing=held) == of({"pacing": {**held, "max_held": 64}}) != silent
    assert (
        len({silent, of({"pacing": held}), of({"pacing": {**held, "max_held": 9}}), of({}, baseline={"share": 0.5})})
        == 4
    )


def test_a_strategy_that_switches_near_duplicate_off_has_another_digest_than_one_that_says_nothing() -> None:
    off = {**with_strategies({**RANDOM, "near_duplicate": None}), "near_duplicate": {}}
    silent = {**with_strategies(RANDOM), "near_duplicate": {}}
    assert digest(parse(json.dumps(off), "p")) != digest(parse(json.dumps(silent), "p"))


PACED = {
    **with_strategies({**RANDOM, "limits": [{"type": "daily", "value": 9}]}),
    "pacing": {"mode": "hold_queue", "max_held": 5},
}


@pytest.mark.parametrize("data", [PLAIN, REMOTE, PACED, {"enabled": False}, {**PLAIN, "near_duplicate": {"memory": 7}}])
def test_the_effective_policy_can_be_read_again_and_means_the_same(data: dict[str, Any]) -> None:
    policy = parse(json.dumps(data), "p")
    again = parse(json.dumps(effective(policy)), "again")
    assert digest(again) == digest(policy)
    assert [again.near_duplicate_of(s) for s in again.sampling_strategies] == [
        policy.near_duplicate_of(s) for s in policy.sampling_strategies
    ]
    assert effective(again) == effective(policy)


def test_what_near_duplicate_learnt_later_changes_the_digest_only_of_a_policy_that_says_so() -> None:
    def of(**more: Any) -> str:
        return digest(parse(json.dumps({**PLAIN, "near_duplicate": {"threshold": 0.02, **more}}), "p"))

    assert of() == of(scope="stream") == "fa34414fb261"  # as before there were such options
    assert of(scope="all") != of()
    assert of(known="/tmp") == of(known=["/tmp"]) != of()


def test_a_policy_from_elsewhere_names_no_files_of_this_machine() -> None:
    known = {"threshold": 0.02, "known": "/etc"}
    data = {**with_strategies({**RANDOM, "near_duplicate": {"known": ["/home"]}}), "near_duplicate": known}
    fetched = parse_fetched(data, SOURCE)
    assert fetched.left_out == (
        "near_duplicate.known: may only be used in a policy file of this machine: it names files",
        f'sampling_strategies[0].near_duplicate.known ("{RANDOM["name"]}"): may only be used in a policy file of this '
        "machine: it names files",
    )
    assert fetched.policy.known_paths == ()
    assert fetched.policy.near_duplicate is not None
    assert fetched.policy.near_duplicate.threshold == 0.02
    written, said = without_local_parts(data)
    assert said == fetched.left_out
    assert written == {**with_strategies({**RANDOM, "near_duplicate": {}}), "near_duplicate": {"threshold": 0.02}}
    assert data["near_duplicate"] == known, "the document itself stays"


def test_class_balance_changes_the_digest_only_of_a_policy_that_says_so() -> None:
    def of(**fields: Any) -> str:
        return digest(parse(json.dumps(with_strategies({**RANDOM, **fields})), "p"))

    assert of() == of(class_balance=False, initial_counts={})
    assert len({of(), of(class_balance=True), of(class_balance=True, initial_counts={"car": 1})}) == 3
    unsure = with_strategies({"name": "hard", "type": "uncertainty"})
    assert digest(parse(json.dumps(unsure), "p")) == "4fd038a88faa"  # as before every strategy had it

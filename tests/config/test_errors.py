"""What a configuration's problems look like, and what they never show."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, SecretStr

from framesift.config.errors import ConfigError, KeyPath, format_value, nearest, validate
from framesift.config.schema import ADDRESS_PATTERN, Fraction, Name, StrictModel
from framesift.config.text import parse_json, parse_yaml


class Sink(StrictModel):
    type: Literal["sink"]
    name: Name
    token: SecretStr | None = None
    weights: dict[str, Fraction] = Field(default_factory=dict)


class Drain(StrictModel):
    type: Literal["drain"]
    name: Name
    size: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(gt=0, lt=9)]] | None = None


class Block(StrictModel):
    title: Annotated[str, Field(min_length=2, max_length=4)] = "ab"
    where: str | int | None = None
    api_key: str = ""
    address: Annotated[str, Field(pattern="^http")] = "http"
    source: Path | Annotated[str, Field(pattern=ADDRESS_PATTERN)] | None = None
    parts: Annotated[tuple[Annotated[Sink | Drain, Field(discriminator="type")], ...], Field(max_length=30)] = ()
    share: Annotated[float, Field(gt=0)] = 1.0
    doors: Annotated[tuple[Name, ...], Field(min_length=1)] = ("front",)


def problems_of(**data: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as refusal:
        validate(Block, data, "block.yaml")
    return refusal.value.problems


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"title": "x"}, 'title: "x" is not allowed; it must be a text of 2 to 4 characters'),
        (
            {"title": None},
            "title: null is not allowed; remove the line, or give it a value: it must be a text of 2 to 4 characters",
        ),
        ({"where": 0.5}, "where: 0.5 is not allowed; it must be a text or a whole number, or null"),
        ({"where": {"a": 1}}, "where: an object is not allowed; it must be a text or a whole number, or null"),
        ({"address": "ftp"}, 'address: "ftp" is not allowed; it must be a text that matches ^http'),
        (
            {"source": 5},
            "source: 5 is not allowed; it must be a path or an https:// address (http:// on this machine), or null",
        ),
        ({"share": 0}, "share: 0 is not allowed; it must be a number above 0"),
        ({"tilte": "x"}, "tilte: unknown key; did you mean title?"),
        ({"API-KEY": "x"}, "API-KEY: unknown key; did you mean api_key?"),
        ({"zzz": 1}, "zzz: unknown key; known are title, where, api_key, address, source, parts, share, doors"),
        ({"doors": []}, "doors: an empty list is not allowed; it must be a list of at least 1 element, each 1 to 64"),
        ({"doors": ["a b"]}, 'doors[0]: "a b" is not allowed; it must be 1 to 64 characters'),
        ({"parts": {}}, "parts: an object is not allowed; it must be a list of at most 30 elements, each an object"),
        ({"parts": [5]}, "parts[0]: 5 is not allowed; it must be an object"),
        ({"parts": [{}]}, "parts[0]: type is missing"),
        ({"parts": [{"tpye": "sink"}]}, "parts[0]: type is missing; is tpye a misspelling of it?"),
        ({"parts": [{"type": "zink"}]}, 'parts[0]: type: "zink" is not one of sink, drain; did you mean sink?'),
        ({"parts": [{"type": 5}]}, "parts[0]: type: 5 is not one of sink, drain"),
        ({"parts": [{"type": "sink", "name": "a"}, {"type": "sink"}]}, "parts[1].name: is missing; it must be 1 to 64"),
        (
            {"parts": [{"type": "drain", "name": "a", "size": [0, 1]}]},
            'parts[0].size[0] ("a"): 0 is not allowed; it must be a whole number of at least 1',
        ),
        (
            {"parts": [{"type": "drain", "name": "a", "size": [1, 9]}]},
            'parts[0].size[1] ("a"): 9 is not allowed; it must be a whole number above 0 and below 9',
        ),
        (
            {"parts": [{"type": "drain", "name": "a", "size": [1, 2, 3]}]},
            'parts[0].size ("a"): a list of 3 is not allowed; it must be a list of 2, or null',
        ),
        (
            {"parts": [{"type": "sink", "name": "a", "weights": {"x": 2}}]},
            'parts[0].weights.x ("a"): 2 is not allowed; it must be a number from 0 to 1',
        ),
    ],
)
def test_a_problem_is_one_line_with_the_file_the_place_the_value_and_what_is_allowed(
    data: dict[str, Any], line: str
) -> None:
    (problem,) = problems_of(**data)
    assert problem.startswith(f"block.yaml: {line}")


def test_the_whole_may_be_of_a_wrong_type() -> None:
    with pytest.raises(ConfigError, match=r"^block: an empty list is not allowed; it must be an object$"):
        validate(Block, [], "block")


@pytest.mark.parametrize(
    "data",
    [
        {"parts": [{"type": "sink", "name": "a", "token": ["hunter22"]}]},
        {"parts": [{"type": "sink", "name": "a", "tokn": "hunter22"}]},
        {"parts": [{"type": "sink", "name": "a", "token": {"hunter22": 1}}]},
        {"api_key": ["hunter22"]},
        {"address": "rtsp://me:hunter22@camera/1"},
        {"address": "rtsp://me:hunter22@[camera/1"},
        {"address": "me:hunter22@camera"},
        {"title": "rtsp://camera/?password=hunter22"},
        {"where": {"password": "hunter22"}},
        {"title": ["hunter22"]},
    ],
)
def test_no_secret_is_shown(data: dict[str, Any]) -> None:
    assert not any("hunter22" in line for line in problems_of(**data))


def test_a_secret_of_a_wrong_type_is_masked() -> None:
    (line,) = problems_of(parts=[{"type": "sink", "name": "a", "token": 12345678}])
    assert line == 'block.yaml: parts[0].token ("a"): **** is not allowed; it must be a text, or null'


def test_several_problems_are_all_reported() -> None:
    lines = problems_of(
        title="x", share=-1, parts=[{"type": "sink", "name": ""}, {"type": "sink", "name": "b", "x": 1}]
    )
    assert len(lines) == 4


def test_a_flood_of_problems_is_cut() -> None:
    lines = problems_of(parts=[{"type": "sink"}] * 30)
    assert len(lines) == 21
    assert lines[-1] == "10 more problems are not shown"


def test_a_place_may_have_a_source_of_its_own() -> None:
    with pytest.raises(ConfigError, match=r"^the variable HOUSE_TITLE: title: 5 is not allowed"):
        validate(Block, {"title": 5}, lambda place: "_".join(["the variable HOUSE", *map(str.upper, map(str, place))]))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb", '"a\\nb"'),
        ("\x1b[31m", '"\\u001b[31m"'),
        ("\u202egnp", '"\\x202egnp"'),
        ("x" * 200, '"' + "x" * 56 + "..."),
        (True, "true"),
        (None, "null"),
        ({}, "an object"),
        ((1, 2), "a list of 2"),
        ("http://me:pw@host/path", '"http://****@host/path"'),
    ],
)
def test_a_value_is_shown_on_one_line_of_bounded_length(value: object, text: str) -> None:
    assert format_value(value) == text


def test_a_key_is_shown_on_one_line_of_bounded_length() -> None:
    (line,) = problems_of(**{"a\nb\x1b" * 100: 1})
    assert "\n" not in line
    assert "\x1b" not in line
    assert len(line) < 200


@pytest.mark.parametrize(
    ("word", "found"),
    [("Enabled", "enabled"), ("enable", "enabled"), ("max-size", "max_size"), ("zzz", None), ("", None)],
)
def test_the_nearest_word_is_found_whatever_its_case_and_dashes(word: str, found: str | None) -> None:
    assert nearest(word, ["enabled", "max_size"]) == found


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, "\ud800"])
def test_data_that_is_no_json_is_a_clear_error(value: object) -> None:
    with pytest.raises(ConfigError, match=r"^block: "):
        validate(Block, {"title": value}, "block")


# Where things stand


def test_a_problem_is_reported_with_the_line_of_the_nearest_key_that_has_one() -> None:
    document = parse_yaml("a:\n  - b: 1\n    c: 2\n  - d\n", "file")
    assert document.data == {"a": [{"b": 1, "c": 2}, "d"]}
    assert document.location_of(("a", 0, "c")) == "file:3"
    assert document.location_of(("a", 0, "missing")) == "file:2"
    assert document.location_of(("a", 1)) == "file:4"
    assert document.location_of(("a",)) == "file:1"
    assert document.location_of(()) == document.location_of(("missing",)) == "file"


def test_json_has_lines_too() -> None:
    assert parse_json('{"a": 1,\n "b": [\n  2]}', "file").location_of(("b", 0)) == "file:3"


@pytest.mark.parametrize(
    ("place", "where"),
    [
        (("a",), "file:3"),
        (("a", "x]"), "file:4"),
        (("a", "x]", 1), "file:5"),
        (("a", "x]", 1, "y"), "file:5"),
        (("a", "x]", 2), "file:7"),
        (("a", "x]", 2, "deeper"), "file:7"),  # a number has no keys: the line is its own
        (("a", "x]", 3), "file:4"),
        (("b",), "file:9"),
        (("b", "c"), "file:9"),
        (("c",), "file"),
        (("a", "missing"), "file:3"),
        ((0,), "file"),
        ((), "file"),
    ],
)
def test_the_line_of_anything_in_json_is_found(place: KeyPath, where: str) -> None:
    text = """
{
  "a": {"before": [[], {}, "}]\\"", -1.5e3, null, true],
    "x]": [ "one",
      {"y": 1}
      ,
      2]
  },
  "b" : {}}
"""
    document = parse_json(text, "file")
    assert document.location_of(place) == where


def test_the_lines_of_json_are_looked_up_for_the_problems_that_are_shown_only() -> None:
    asked: list[KeyPath] = []

    def where(place: KeyPath) -> str:
        asked.append(place)
        return "file"

    with pytest.raises(ConfigError) as refusal:
        validate(Block, {"doors": ["not a name"] * 1000, "share": 0}, where)
    assert refusal.value.problems[-1] == "981 more problems are not shown"
    # Once more for the whole, whose JSON could not have been written.
    assert len(asked) == 21


@pytest.mark.parametrize("value", ["0", "{}", '""'])
def test_what_is_too_large_for_a_configuration_costs_little_memory_to_refuse(value: str) -> None:
    many = "[" + f"{value}, " * 250_000 + "0]"
    tracemalloc.start()
    with pytest.raises(ConfigError):
        parse_json(many, "f")
    with pytest.raises(ConfigError):
        parse_yaml(many, "f")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 50 << 20


def test_json_of_too_many_values_or_levels_is_refused() -> None:
    assert len(parse_json("[" + "1, " * 19_998 + "1]", "f").data) == 19_999  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="f: more than 20000 values: that is too large for a configuration"):
        parse_json("[" + "1, " * 19_999 + "1]", "f")
    parse_json("[" * 51 + "]" * 51, "f")
    with pytest.raises(ConfigError, match="f:2: column 50: is nested too deeply: at most 50 levels are allowed"):
        parse_json("[\n" + "[" * 51 + "]" * 52, "f")


def test_json_that_is_no_yaml_has_lines_too() -> None:
    document = parse_json('\n{"a":\n\t\t{"b": "\\ud83d\\ude00"}}', "file")
    assert document.data == {"a": {"b": "😀"}}
    assert document.location_of(("a", "b")) == "file:3"


def test_plain_words_mean_in_yaml_what_they_mean_in_json() -> None:
    text = "[1, -2, +3, 0, 1.5, 1., .5, 1e-3, 1E5, true, False, null, ~]"
    assert parse_yaml(text, "f").data == [1, -2, 3, 0, 1.5, 1.0, 0.5, 0.001, 1e5, True, False, None, None]
    words = [
        "no",
        "yes",
        "on",
        "off",
        "y",
        "1:30",
        "010",
        "0x1F",
        "1_000",
        "2024-01-01",
        "-",
        ".",
        "1.2.3",
        "e5",
        "5 m",
    ]
    assert parse_yaml("\n".join(f"- {word}" if word != "-" else "- '-'" for word in words), "f").data == words


@pytest.mark.parametrize("text", [".nan", ".NaN", ".inf", "-.inf", "1e999"])
def test_yaml_numbers_are_finite(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^f:1: column 4: is not a finite number"):
        parse_yaml(f"a: {text}", "f")


def test_merged_keys_may_be_overridden_but_not_repeated() -> None:
    merged = parse_yaml("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n", "f")
    assert merged.data == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}
    with pytest.raises(ConfigError, match='f:5: column 3: the key "y" is set twice'):
        parse_yaml("a: &a {x: 1}\nb:\n  <<: *a\n  y: 3\n  y: 4\n", "f")


def test_a_structure_without_end_is_refused_before_it_is_followed_far() -> None:
    with pytest.raises(ConfigError, match="50 levels: it may refer to itself"):
        parse_yaml("a: " + "[" * 60 + "]" * 60, "f")
    with pytest.raises(ConfigError, match="50 levels: it may refer to itself"):
        parse_yaml("a: &a\n  b: *a\n", "f")


def test_a_small_file_that_means_a_huge_one_is_refused() -> None:
    laughs = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
    )
    with pytest.raises(ConfigError, match="more than 20000 values"):
        parse_yaml(laughs, "f")

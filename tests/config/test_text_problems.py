"""What is wrong with the text of a configuration: every problem at once, with its line and a plain reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framesift.config.errors import ConfigError
from framesift.config.text import parse_json, parse_yaml
from framesift.policy.policy import load, parse


def problems(text: str, *, is_json: bool) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        (parse_json if is_json else parse_yaml)(text, "f")
    return list(refusal.value.problems)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{\n "a": 1,\n}', "f:2: column 8: is not JSON: a comma before }: remove it"),
        ('{"a": [1,\n2 , ]}', "f:2: column 3: is not JSON: a comma before ]: remove it"),
        ('{"a": [1,, 2]}', "f:1: column 10: is not JSON: a comma too many: remove it"),
        ('{"a": 1\n "b": 2}', "f:2: column 2: is not JSON: a comma is missing before this"),
        ("{'a': 1}", "f:1: column 2: is not JSON: the quote ': JSON has texts in plain double quotes"),
        ('{"a": “b”}', "f:1: column 7: is not JSON: the quote “: JSON has texts in plain double quotes"),
        ('{"a": 1} // x\n', "f:1: column 10: is not JSON: a comment, which JSON does not have (YAML has # comments)"),
        ('{\n# x\n"a": 1}', "f:2: column 1: is not JSON: a comment, which JSON does not have (YAML has # comments)"),
        ('{/* x\n*/"a": 1}', "f:1: column 2: is not JSON: a comment, which JSON does not have (YAML has # comments)"),
        ('{"a": True}', "f:1: column 7: is not JSON: True: write true"),
        ('{"a": None}', "f:1: column 7: is not JSON: None: write null"),
        ("{a: 1}", "f:1: column 2: is not JSON: a key needs double quotes"),
        ('{"a": b}', "f:1: column 7: is not JSON: a word without quotes: a text needs double quotes, and others are "),
        ('{"a" 1}', "f:1: column 6: is not JSON: a colon is missing after the key"),
        ('{"a": [1}', "f:1: column 9: is not JSON: "),
        ('{"a": 1', "f:1: column 8: is not JSON: it ends here, and a } or ] is missing"),
        ('{"a": 1}}', "f:1: column 9: is not JSON: something stands behind its end"),
        ('{"a": "b}', "f:1: column 7: is not JSON: this text has no closing quote"),
        (
            '{"a": "b\n"}',
            "f:1: column 9: is not JSON: a line break or a tab inside a text: is its closing quote missing?",
        ),
        (r'{"a": "C:\data"}', "f:1: column 10: is not JSON: a backslash: write \\\\ in its place"),
        ('{\u00a0"a": 1}', "f:1: column 2: is not JSON: a character that can't be seen (U+00A0): remove it"),
        ('{"a": 1,\ufeff"b": 2}', "f:1: column 9: is not JSON: a character that can't be seen (U+FEFF): remove it"),
        ('{"a": 1,\n"b": 2,\n"a": 3}', 'f:3: column 1: the key "a" is set twice in one object'),
        ('{"b": [{"a": 1}, {"a": 1, "\\u0061": 2}]}', 'f:1: column 27: the key "a" is set twice in one object'),
        ('{"a": 1,\n"b": -Infinity}', "f:2: column 6: -Infinity is not a number in JSON"),
    ],
)
def test_a_mistake_in_json_has_its_place_and_a_plain_reason(text: str, expected: str) -> None:
    (problem,) = problems(text, is_json=True)
    assert problem.startswith(expected)


def test_all_mistakes_of_a_json_text_are_named_at_once() -> None:
    text = """{
  // what is collected
  "a": True,
  'b': [1, 2,],
  "c": {"d": 1, "d": 2}
  "e": null,
}"""
    assert [problem.partition(": is not JSON")[0] for problem in problems(text, is_json=True)] == [
        "f:2: column 3",
        "f:3: column 8",
        "f:4: column 3",
        "f:4: column 13",
        "f:6: column 3",
        "f:6: column 12",
        'f:5: column 17: the key "d" is set twice in one object',
    ]


@pytest.mark.parametrize("word", ["geheim", "geheim_2"])
def test_a_word_that_may_be_a_secret_is_not_shown(word: str) -> None:
    for text in (f"[{word}]", f"{{{word}: 1}}", f'{{"a": {word}}}'):
        assert "geheim" not in "".join(problems(text, is_json=True))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
        max_leaves=12,
    )
)
def test_what_is_json_is_read_as_it_is(data: object) -> None:
    assert parse_json(json.dumps(data), "f").data == data
    assert parse_json(json.dumps(data, ensure_ascii=False, indent=1).replace("\n", "\r\n"), "f").data == data


@given(st.text(alphabet="{}[]:,\"'\\ \n\tab1-.e/*#“\u00a0"))
def test_any_text_is_data_or_an_error_with_lines(text: str) -> None:
    try:
        parse_json(text, "f")
    except ConfigError as error:
        found = error.problems
    else:
        found = ()
    assert all(problem.startswith("f:") for problem in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb:\n\tc: 1\n", ["f:3: column 1: is indented with a tab: YAML is indented with spaces"]),
        (
            "a:\n  b: 1\n \tc: 1\n\td: 1\n",
            ["f:3: column 2: is indented with a tab", "f:4: column 1: is indented with a tab"],
        ),
        (
            "a: 1\nb: 1\na: 2\nc: {d: 1, d: 2}\n",
            ['f:4: column 11: the key "d" is set', 'f:3: column 1: the key "a" is set'],
        ),
        (
            "a: 1\n  b: 2\n",
            ["f:2: column 4: a second colon (put its text in quotes), or a line that is indented too far"],
        ),
        ("a: 1\nb:\u00a0[]\nc: 1\n", ["f:2: column 3: a character that looks like a space (U+00A0): type it anew"]),
        (
            "a: 1\nb\nc: 1\n",
            ["f:3: column 1: a key without a colon and a space, or a line that is not indented enough"],
        ),
        ("a: [1\nb: 2\n", ["f:2: column 2: a comma or ] is missing before this"]),
        ('a: "b\n', ["f:2: column 1: it ends here, and a closing quote is missing"]),
        ('a: "C:\\data"\n', ["f:1: column 8: a backslash in double quotes: write \\\\ in its place"]),
        ("a: [1,\n", ["f:2: column 1: it ends here, and a ] or } is missing"]),
        ("a: 1\n---\nb: 2\n", ["f:2: column 1: a second document begins here: a file holds one"]),
        ("a: 1\n? [b]\n: 2\n", ["f:2: column 3: a key must be a text: put it in quotes"]),
        ("a:\n  b: " + "9" * 5000, ["f:2: column 6: a number of too many digits"]),
        ("a:\n" + "- " * 20_000, ["f:2: is nested too deeply: at most 50 levels are allowed"]),
        ("a: {<<: b}", ["f:1: column 9: << takes the keys of another block, and this is none"]),
        ("a: b\nc: - d\n", ["f:2: column 4: a list begins on a line of its own"]),
    ],
)
def test_a_mistake_in_yaml_has_its_place_and_a_plain_reason(text: str, expected: list[str]) -> None:
    found = problems(text, is_json=False)
    assert len(found) == len(expected)
    for problem, beginning in zip(found, expected, strict=True):
        assert problem.startswith(beginning)


# Values that people write without quotes, and that mean something else in YAML or are no YAML.
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        *((f"{sign}geheim", "needs quotes") for sign in ("*", "!", "!a!", "!<", "!!", "&", "%", "@", "`", "|", ">")),
        *((f"{sign}geheim", "needs quotes") for sign in ("> ", "]", "}", ",", "*a(", "&a(", "!%", "? ", "!!binary ")),
        ("&geh eim", "no * uses the name behind this &"),
        ("- geheim", "a value that begins with - needs quotes"),
        ("{geheim", "a comma or } is missing"),
        ("[geheim", "a comma or ] is missing"),
        ("{{ geheim }}", "a key must be a text"),
        ("{[geheim]: 1}", "a key must be a text"),
        ("{<<: geheim}", "the keys of another block"),
        ("\tgeheim", "a tab: put a space in its place"),
        ('"geh"eim', "a line that is indented otherwise"),
        ('"a\\geheim"', "a backslash in double quotes"),
        ('"\\UFFFFFFFFgeheim"', "a backslash with the number of no character"),
        ("!!int geheim", "is not a whole number"),
        ("!!float geheim", "is not a finite number"),
        ("!!bool geheim", "is neither true nor false"),
        ("geheim: 1", "a second colon"),
    ],
)
def test_no_message_shows_a_value_that_may_be_a_secret(value: str, reason: str) -> None:
    (problem,) = problems(f"device: gate\npassword: {value}\n", is_json=False)
    assert problem.startswith(("f:2: ", "f:3: "))
    assert reason in problem
    assert not any(shown in problem for shown in ("geh", "eim", "'g'"))


def test_a_name_behind_an_ampersand_that_is_used_is_no_mistake() -> None:
    text = "rate: &rate 5\nblock: &block\n  fps: *rate\nunused: &other {a: 1}\nlist: [*rate, *block]\n"
    assert parse_yaml(text, "f").data == {
        "rate": 5,
        "block": {"fps": 5},
        "unused": {"a": 1},
        "list": [5, {"fps": 5}],
    }


def test_a_number_in_json_that_can_t_be_read_has_its_place_and_is_not_shown() -> None:
    assert problems('{"a": [1,\n' + "-" + "7" * 5000 + "]}", is_json=True) == [
        "f:2: column 1: a number of too many digits"
    ]
    assert problems('{"a":\n 7e999}', is_json=True) == ["f:2: column 2: is too large for a number"]


def test_a_policys_text_and_its_content_are_judged_at_once() -> None:
    text = """{
  "enabled": true,
  "persist_predictions": "yes",
  "sampling_strategies": [
    {"name": "a", "type": "random", "traffic_percentage": 7},
    {"name": "a", "type": "radnom"},
  ],
  "tags": [], "tags": ["a b"],
  "time_zone": "Europ/Paris"
}"""
    with pytest.raises(ConfigError) as refusal:
        parse(text, "p.json")
    lines = [problem.split(": ")[0] for problem in refusal.value.problems]
    assert sorted(lines) == sorted(f"p.json:{number}" for number in (6, 8, 3, 5, 6, 8, 9, 2, 6))
    whole = "\n".join(refusal.value.problems)
    for expected in (
        "a comma before ]",
        'the key "tags" is set twice',
        "persist_predictions",
        "traffic_percentage",
        '"radnom" is not one of',
        '"a b" is not allowed',
        "Europ/Paris",
        "missing: batching_strategy",
        "2 strategies are named 'a'",
    ):
        assert expected in whole


def test_typographic_quotes_in_a_text_are_said_to_be_a_part_of_it() -> None:
    with pytest.raises(ConfigError, match="its typographic quotes are a part of the text"):
        parse("enabled: false\ntarget_project: “parking”\n", "p.yaml")


@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_marks_change_no_line(tmp_path: Path, end: str, mark: str) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(f'{mark}{{{end}"enabled": false,{end}"tagz": []{end}}}'.encode())
    with pytest.raises(ConfigError, match=r"p\.json:3: tagz: unknown key; did you mean tags\?"):
        load(path)

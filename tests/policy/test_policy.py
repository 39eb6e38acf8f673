"""The policy's file: what is read, JSON or YAML, and one clear error for each way in which it can't be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from framesift.config.errors import ConfigError
from framesift.datapoint import BatchInterval
from framesift.policy.policy import Policy, load, parse

DOCUMENTED: list[dict[str, Any]] = [
    {"enabled": False},
    {
        "enabled": True,
        "persist_predictions": True,
        "batching_strategy": {"batches_name_prefix": "my_batches", "recreation_interval": "daily"},
        "sampling_strategies": [{"name": "default_strategy", "type": "random", "traffic_percentage": 0.01}],
    },
    {
        "enabled": True,
        "max_image_size": [1200, 1200],
        "jpeg_compression_level": 75,
        "persist_predictions": True,
        "sampling_strategies": [{"name": "default_strategy", "type": "random", "traffic_percentage": 0.1}],
        "batching_strategy": {"batches_name_prefix": "al_batch", "recreation_interval": "daily"},
    },
]
YAML = """\
# What the gate's camera collects.
enabled: true
persist_predictions: true
batching_strategy: {batches_name_prefix: gate, recreation_interval: monthly}
near_duplicate: {}
sampling_strategies:
  - name: unsure
    type: close_to_threshold
    threshold: 5e-1
    epsilon: .2
    probability: 1
    limits: &few
      - {type: hourly, value: 10}
  - name: some
    type: random
    traffic_percentage: 0.01
    limits: *few
    near_duplicate: null
"""


def written(folder: Path, content: str | bytes, name: str = "policy.json") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as refusal:
        load(path)
    (line,) = refusal.value.problems
    assert str(path) in line
    return line.removeprefix(str(path))


@pytest.mark.parametrize("document", DOCUMENTED)
def test_the_platforms_documented_examples_are_valid_as_they_are(tmp_path: Path, document: dict[str, Any]) -> None:
    assert load(written(tmp_path, json.dumps(document))).enabled is document["enabled"]


def test_a_policy_that_is_switched_off_needs_nothing_else() -> None:
    off = parse('{"enabled": false}', "p")
    assert (off.sampling_strategies, off.near_duplicate, off.max_image_size) == ((), None, None)


def test_a_policy_that_is_switched_off_may_keep_its_rules_but_not_wrong_ones() -> None:
    assert len(parse(json.dumps({**DOCUMENTED[1], "enabled": False}), "p").sampling_strategies) == 1
    with pytest.raises(ConfigError, match="traffic_percentage"):
        parse('{"enabled": false, "sampling_strategies": [{"name": "a", "type": "random"}]}', "p")


def test_everything_that_is_missing_is_reported_at_once() -> None:
    with pytest.raises(ConfigError, match=r"missing: persist_predictions, sampling_strategies, batching_strategy$"):
        parse('{"enabled": true}', "p")


def test_defaults_are_the_platforms_but_for_jpegs_which_are_kept() -> None:
    policy = parse(json.dumps(DOCUMENTED[1]), "p")
    assert policy.jpeg_compression_level is None
    assert policy.max_image_size is None
    assert policy.batching_strategy.max_batch_images is None
    assert policy.batching_strategy.recreation_interval is BatchInterval.DAILY
    assert (policy.target_workspace, policy.target_project, policy.tags) == (None, None, ())
    assert policy.time_zone == "UTC"


@pytest.mark.parametrize("name", ["policy.yaml", "policy.yml", "policy.YML", "policy", "policy.txt"])
def test_yaml_is_recognised_by_suffix_or_content(tmp_path: Path, name: str) -> None:
    policy = load(written(tmp_path, YAML, name))
    first, second = policy.sampling_strategies
    assert (first.name, second.name) == ("unsure", "some")
    assert first.type == "close_to_threshold"
    assert (first.threshold, first.epsilon, first.probability) == (0.5, 0.2, 1.0)
    assert first.limits == second.limits
    assert policy.near_duplicate_of(first) == policy.near_duplicate is not None
    assert policy.near_duplicate_of(second) is None


@pytest.mark.parametrize("name", ["policy.json", "policy.JSON", "policy", "policy.conf"])
def test_json_is_recognised_by_suffix_or_content(tmp_path: Path, name: str) -> None:
    assert load(written(tmp_path, "\n\t" + json.dumps(DOCUMENTED[2], indent="\t"), name)).max_image_size == (1200, 1200)


def test_json_in_a_yaml_file_is_yaml(tmp_path: Path) -> None:
    assert load(written(tmp_path, json.dumps(DOCUMENTED[2]), "policy.yaml")).jpeg_compression_level == 75


def test_a_byte_order_mark_does_not_matter(tmp_path: Path) -> None:
    assert not load(written(tmp_path, b'\xef\xbb\xbf{"enabled": false}')).enabled


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.json") == ": there is no such file"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert refused(tmp_path) == ": is a folder, not a file"


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    loop = tmp_path / "loop.json"
    loop.symlink_to(loop)
    assert "cannot be read: " in refused(loop)
    assert "cannot be read: " in refused(tmp_path / "nul\0.json")
    assert "cannot be read: " in refused(tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ": is empty"),
        (" \n\n", ": is empty"),
        (b'{\n"enabled":\n "caf\xe9"}', ":3: is not UTF-8 text (byte 0xe9)"),
        (b"\xff\xfe{\x00", ":1: is not UTF-8 text (byte 0xff)"),
        ('{"enabled": false', ":1: column 18: is not JSON"),
        ('{\n "enabled": fals\n}', ":2: column 13: is not JSON"),
        ("{'enabled': false}", ":1: column 2: is not JSON"),
        ("enabled: false", ":1: column 1: is not JSON"),
        ('{"enabled": false} {}', ":1: column 20: is not JSON"),
        ('{"enabled": False}', ":1: column 13: is not JSON"),
        ('{"enabled": true, "enabled": false}', ':1: column 19: the key "enabled" is set twice'),
        ('{"enabled": NaN}', ":1: column 13: NaN is not a number in JSON"),
        ('{"enabled": -Infinity}', ":1: column 13: -Infinity is not a number in JSON"),
        ('{"enabled": 1e999}', ":1: column 13: is too large"),
        ('{"enabled": ' + "9" * 5000 + "}", ":1: column 13: a number of too many digits"),
        ("[" * 100_000, ":1: column 51: is nested too deeply: at most 50 levels"),
        ("[]", ": a policy is an object with the key enabled, not an empty list"),
        ("[1]", ": a policy is an object with the key enabled, not a list of 1"),
        ("5", ": a policy is an object with the key enabled, not a number"),
        ("null", ": a policy is an object with the key enabled, not null"),
        ("{}", ": enabled: is missing; it must be true or false"),
        ('{"enabled": "false"}', ':1: enabled: "false" is not allowed; it must be true or false'),
        ('{"enabled": false, "tags": ["\\ud800"]}', ": a text holds half of a character"),
        ("#" * (1 << 20) + "#", ": is larger than 1048576 bytes"),
    ],
)
def test_what_is_wrong_with_a_json_file_is_reported_with_its_line(
    tmp_path: Path, content: str | bytes, expected: str
) -> None:
    assert refused(written(tmp_path, content)).startswith(expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("# only a comment\n", ": is empty"),
        ("enabled: [true", ":1: column 15: "),
        ("enabled: true\n  tags: []", ":2: column 7: "),
        ("\tenabled: true", ":1: column 1: "),
        ("enabled: true\nenabled: false", ':2: column 1: the key "enabled" is set twice'),
        ("enabled: false\n---\nenabled: true", ":2: column 1: "),
        ("enabled: .nan", ":1: column 10: is not a finite number"),
        ("enabled: yes", ':1: enabled: "yes" is not allowed; it must be true or false'),
        ("enabled: !!python/name:os.system x", ":1: column 10: a value that begins with one of"),
        ("enabled: &a [*a]", ":1: column "),
        ("5: 6", ":1: column 1: a key must be a text: put it in quotes"),
        ("enabled: \x07", ":1: a character that YAML does not allow"),
        ("[" * 5000, ":1: is nested too deeply"),
        ("just words", ": a policy is an object with the key enabled, not a text"),
        ("- enabled: false", ": a policy is an object with the key enabled, not a list of 1"),
    ],
)
def test_what_is_wrong_with_a_yaml_file_is_reported_with_its_line(tmp_path: Path, content: str, expected: str) -> None:
    assert refused(written(tmp_path, content, "policy.yaml")).startswith(expected)


def test_every_problem_has_a_line_of_its_own_with_the_strategys_name() -> None:
    text = YAML.replace("epsilon: .2", "epsilom: .2").replace("0.01", "100").replace("monthly", "montly")
    with pytest.raises(ConfigError) as refusal:
        parse(text, "policy.yaml")
    assert set(refusal.value.problems) == {
        "policy.yaml:4: batching_strategy.recreation_interval: "
        '"montly" is not allowed; it must be one of never, daily, weekly, monthly',
        'policy.yaml:10: sampling_strategies[0].epsilom ("unsure"): unknown key; did you mean epsilon?',
        'policy.yaml:16: sampling_strategies[1].traffic_percentage ("some"): '
        "100 is not allowed; it must be a number from 0 to 1",
    }
    assert str(refusal.value) == "\n".join(refusal.value.problems)


def test_a_policy_is_not_changed_after_it_was_read() -> None:
    policy: Any = parse('{"enabled": false}', "p")
    with pytest.raises(ValueError, match="frozen"):
        policy.enabled = True


def test_the_policys_own_near_duplicate_is_the_default_of_strategies_without_one() -> None:
    strategies = [
        {"name": "a", "type": "random", "traffic_percentage": 1},
        {"name": "b", "type": "random", "traffic_percentage": 1, "near_duplicate": {"memory": 3}},
    ]
    policy = parse(json.dumps({**DOCUMENTED[1], "sampling_strategies": strategies}), "p")
    assert [policy.near_duplicate_of(s) for s in policy.sampling_strategies] == [
        None,
        policy.sampling_strategies[1].near_duplicate,
    ]


def test_what_a_policy_says_can_be_written_and_read_again() -> None:
    policy = parse(YAML, "p")
    assert Policy.model_validate_json(policy.model_dump_json(exclude_unset=True)) == policy

"""`framesift policy`: what each command prints, where, and with which exit code."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from canaries import KEY
from exhaustive import some_of
from framesift.cli.main import app
from framesift.config.errors import ConfigError
from framesift.policy.policy import digest, load, parse
from framesift.settings import read_template
from json_schema import faults
from policy.test_fields import FIELDS, PLACES, WHOLE, inside, split
from policy.test_policy import DOCUMENTED, YAML
from rigs.daemon import write_configuration
from rigs.platform import Fault, Html, Platform, Status

FAULTY = str(Path(__file__).parents[1] / "rigs" / "faulty")
ALL: dict[str, Any] = {"name": "all", "type": "random", "traffic_percentage": 1}
UNSURE = {"name": "unsure", "type": "close_to_threshold", "threshold": 0.5, "epsilon": 0.2, "probability": 1}


def policy(*strategies: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "enabled": True,
        "persist_predictions": True,
        "sampling_strategies": list(strategies) or [ALL],
        "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "never"},
        **fields,
    }


@dataclass(frozen=True)
class Ran:
    """err: stderr, a line each. code: the exit code."""

    out: str
    err: list[str]
    code: int


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where commands run: an empty folder, in an environment that says nothing of framesift."""
    monkeypatch.chdir(tmp_path)
    for name in ("ROBOFLOW_API_KEY", "ROBOFLOW_API_KEY_FILE", "CREDENTIALS_DIRECTORY", "FRAMESIFT_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(*words: str, stdin: str | bytes = b"", **environ: str) -> Ran:
    ran = CliRunner().invoke(app, ["policy", *words], input=stdin, env=environ)
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return Ran(ran.stdout, ran.stderr.splitlines(), ran.exit_code)


def written(name: str, content: object) -> str:
    Path(name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return name


def lines(*payloads: object) -> str:
    return "".join(json.dumps(payload) + "\n" for payload in payloads)


def seen(*confidences: float, **fields: Any) -> dict[str, Any]:
    boxes = [{"x": 5, "y": 5, "width": 4, "height": 4, "confidence": c, "class": "car"} for c in confidences]
    return {"predictions": boxes, **fields}


# validate


def test_a_good_policy_is_ok_with_its_strategies_and_its_hash() -> None:
    ran = run("validate", written("p.json", policy(UNSURE, ALL)))
    assert ran == Ran(f"p.json: ok: 2 strategies (unsure, all) {digest(load(Path('p.json')))}\n", [], 0)


def test_a_disabled_policy_is_reported_as_disabled() -> None:
    ran = run("validate", written("p.json", {"enabled": False}))
    assert ran.out.startswith("p.json: ok: 0 strategies; enabled is false: nothing is collected ")
    assert ran.code == 0


def test_every_problem_of_every_file_is_reported_with_its_line() -> None:
    written("bad.yaml", YAML.replace("0.01", "100").replace("epsilon: .2", "epsilom: .2"))
    ran = run("validate", "none.json", "bad.yaml", written("good.json", policy()))
    assert ran.code == 2
    assert ran.out.startswith("good.json: ok: 1 strategy (all) ")
    assert ran.err == [
        "framesift: none.json: there is no such file",
        'framesift: bad.yaml:10: sampling_strategies[0].epsilom ("unsure"): unknown key; did you mean epsilon?',
        'framesift: bad.yaml:16: sampling_strategies[1].traffic_percentage ("some"): '
        "100 is not allowed; it must be a number from 0 to 1",
    ]


@pytest.mark.parametrize("name", ["[red]x[/]", "[/nonsense]", r"a\[b]", ":warning:", "日本"])
def test_names_are_printed_as_they_are(name: str) -> None:
    assert f"({name})" in run("validate", written("p.json", policy({**ALL, "name": name}))).out


def test_to_validate_nothing_is_a_wrong_use() -> None:
    assert run("validate").code == 2


# schema


@pytest.fixture(scope="module")
def schema() -> Any:
    ran = run("schema")
    assert (ran.code, ran.err) == (0, [])
    return json.loads(ran.out)


def blocks(data: Any) -> Iterator[dict[str, Any]]:
    """Every object in the data."""
    if isinstance(data, dict):
        yield data
        data = list(data.values())
    if isinstance(data, list):
        for one in data:
            yield from blocks(one)


def test_the_schema_says_which_draft_it_is(schema: Any) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "$id" not in schema


@pytest.mark.parametrize("document", [*DOCUMENTED, WHOLE, json.loads(read_template("policy.json"))])
def test_documented_examples_and_templates_fit_the_schema(schema: Any, document: dict[str, Any]) -> None:
    assert list(faults(schema, document)) == []


def test_an_unknown_key_fails_wherever_it_is(schema: Any) -> None:
    whole = copy.deepcopy(WHOLE)
    # Their keys are the user's.
    free = [
        inside(PLACES["CommonStrategyOptions"], whole)["initial_counts"],
        inside(PLACES["PythonStrategyOptions"], whole)["options"],
    ]
    closed = [block for block in blocks(whole) if not any(block is one for one in free)]
    assert len(closed) == 1 + 1 + 5 + len(whole["sampling_strategies"]) * 5
    for block in closed:
        block["odd"] = 1
        assert list(faults(schema, whole)) != []
        del block["odd"]
    assert list(faults(schema, whole)) == []


@pytest.mark.parametrize("key", some_of(FIELDS, lambda key: key in [*FIELDS][::4]))
def test_the_schema_takes_what_the_reader_takes_and_little_more(schema: Any, key: str) -> None:
    place, field = split(key)
    for value in FIELDS[key].good:
        whole = copy.deepcopy(WHOLE)
        inside(place, whole)[field] = value
        assert list(faults(schema, whole)) == [], value
    # Beyond our schema: which time zones there are, that a limit stands once, how a class is called, and that a polygon
    # has an area and a span a length.
    of_strategies = {"CommonStrategyOptions.limits", "CommonStrategyOptions.initial_counts"}
    beyond = {"Policy.time_zone", "ManualOptions.limits", *of_strategies}
    empty = (["06:00-06:00"], [[[0.5, 0], [0.5, 1], [0.5, 0.5]]])
    for value in FIELDS[key].bad:
        if value in empty or (key in beyond and (isinstance(value, str) or len(value) > 1 or value == {"": 1})):
            continue
        whole = copy.deepcopy(WHOLE)
        inside(place, whole)[field] = value
        assert list(faults(schema, whole)) != [], value


@pytest.mark.parametrize("key", ["persist_predictions", "sampling_strategies", "batching_strategy", "enabled"])
def test_the_schema_knows_what_a_policy_needs(schema: Any, key: str) -> None:
    assert list(faults(schema, {k: v for k, v in policy().items() if k != key})) != []
    assert list(faults(schema, policy() | {"sampling_strategies": []})) != []


# show


@pytest.mark.parametrize("content", [WHOLE, YAML, *DOCUMENTED], ids=["whole", "yaml", "off", "least", "example"])
def test_what_is_shown_is_the_same_policy_with_its_defaults(content: Any) -> None:
    name = written("p.json" if isinstance(content, dict) else "p.yaml", content)
    for words in ([], ["--json"]):
        ran = run("show", name, *words)
        shown = json.loads(ran.out)
        assert ran.err == [f"hash {digest(load(Path(name)))}"]
        assert {"jpeg_compression_level", "time_zone", "max_image_size", "tags"} <= set(shown)
        assert digest(parse(ran.out, "shown")) == digest(load(Path(name)))
        assert run("validate", written("again.json", ran.out)).code == 0
    assert ran.out.count("\n") == 1


def test_an_inherited_near_duplicate_is_shown_where_it_applies() -> None:
    shown = json.loads(run("show", written("p.yaml", YAML)).out)
    assert [one["near_duplicate"] for one in shown["sampling_strategies"]] == [
        {"signature": "picture", "threshold": "auto", "memory": 256, "scope": "stream", "known": None},
        None,
    ]


def test_texts_are_shown_as_they_are_unless_a_terminal_would_obey_them() -> None:
    name = "日本 \u202e\u2028é"
    ran = run("show", written("p.json", policy({**ALL, "name": name})))
    assert '"name": "日本 \\u202e\\u2028é"' in ran.out
    assert json.loads(ran.out)["sampling_strategies"][0]["name"] == name


def test_a_bad_policy_is_not_shown() -> None:
    assert run("show", written("p.json", {})) == Ran(
        "", ["framesift: p.json: enabled: is missing; it must be true or false"], 2
    )


def settings_of(folder: Path, **more: Any) -> None:
    write_configuration(folder, {"streams": [{"name": "gate", "source": "a.mp4"}], **more}, policy(ALL))


def test_without_a_file_the_settings_policy_is_shown(folder: Path) -> None:
    settings_of(folder)
    ran = run("show")
    assert json.loads(ran.out)["sampling_strategies"][0]["name"] == "all"
    assert ran.err == [f"hash {digest(load(folder / 'policy.json'))}"]
    other = folder / "other"
    other.mkdir()
    settings_of(other)
    written(str(other / "policy.json"), policy({**ALL, "name": "elsewhere"}))
    ran = run("show", "--config", "other/framesift.yaml")
    assert json.loads(ran.out)["sampling_strategies"][0]["name"] == "elsewhere"


def test_a_streams_own_policy_is_shown_for_it(folder: Path) -> None:
    written("own.json", policy({**ALL, "name": "own"}))
    streams = [
        {"name": "gate", "source": "a.mp4"},
        {"name": "yard", "source": "b.mp4", "policy": "own.json"},
    ]
    settings_of(folder, streams=streams)
    for stream, name in (("gate", "all"), ("yard", "own")):
        assert json.loads(run("show", "--stream", stream).out)["sampling_strategies"][0]["name"] == name
    ran = run("show", "--stream", "gates")
    assert ran == Ran("", ["framesift: --stream gates: the settings have no such stream; they have gate, yard"], 2)


def test_a_stream_of_a_file_is_a_wrong_use() -> None:
    assert run("show", written("p.json", policy()), "--stream", "gate").code == 2


def test_without_settings_there_is_nothing_to_show() -> None:
    ran = run("show")
    assert ran.code == 2
    assert "there are no settings" in ran.err[0]


def test_a_note_beside_the_policy_says_that_collecting_is_disabled(folder: Path) -> None:
    settings_of(folder)
    ran = run("show", ACTIVE_LEARNING_ENABLED="false")
    assert json.loads(ran.out)["enabled"] is True
    assert "nothing is collected" in ran.err[0]


# pull, push, and show of what the platform has


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform() as started:
        yield started


REMOTE = policy(UNSURE, {"name": "later", "type": "of_next_year"}, colour="blue")


def online(folder: Path, platform: Platform, *, project: str | None = "parking", **more: Any) -> dict[str, str]:
    """Settings of a project on the platform, and the environment that goes with them."""
    source = {"from": "roboflow", "project": project} if project else "policy.json"
    settings_of(folder, policy=source, roboflow={"api_url": platform.url}, **more)
    return {"ROBOFLOW_API_KEY": KEY}


def test_what_the_platform_has_is_shown_as_the_daemon_understands_it(folder: Path, platform: Platform) -> None:
    platform.add_project("parking", "object-detection", active_learning=REMOTE)
    ran = run("show", **online(folder, platform))
    assert [one["name"] for one in json.loads(ran.out)["sampling_strategies"]] == ["unsure"]
    assert len(ran.err) == 3
    assert "of_next_year" in "".join(ran.err)
    assert "colour" in "".join(ran.err)
    assert ran.err[-1] == f"hash {digest(parse(ran.out, 'shown'))}"


def test_a_model_of_another_kind_than_the_project_is_shown_to_collect_nothing(folder: Path, platform: Platform) -> None:
    platform.add_project("kinds", "classification", active_learning=policy())
    ran = run("show", **online(folder, platform, project="kinds", model={"type": "stub", "task": "object-detection"}))
    assert json.loads(ran.out)["enabled"] is False
    assert "the local model does object-detection, the project kinds is for classification" in ran.err[0]


def test_a_model_whose_type_is_known_only_after_loading_is_named_as_not_loaded(
    folder: Path, platform: Platform
) -> None:
    platform.add_project("kinds", "classification", active_learning=policy())
    ran = run("show", **online(folder, platform, project="kinds", model={"type": "onnx", "path": "net.onnx"}))
    assert json.loads(ran.out)["enabled"] is True
    assert "the local model was not loaded: framesift check shows" in ran.err[0]


def test_without_an_answer_there_is_nothing_to_show_and_one_line_says_why(folder: Path, platform: Platform) -> None:
    platform.add_project("parking", "object-detection", active_learning=REMOTE)
    environ = online(folder, platform)
    platform.go_away()
    ran = run("show", **environ)
    assert (ran.out, ran.code, len(ran.err)) == ("", 1, 1)


def test_a_policy_is_pulled_unchanged_and_unknown_parts_are_reported(folder: Path, platform: Platform) -> None:
    platform.add_project("parking", "object-detection", active_learning=REMOTE)
    ran = run("pull", **online(folder, platform))
    assert json.loads(ran.out) == REMOTE
    assert (ran.code, len(ran.err)) == (0, 2)
    assert all(line.startswith("note: framesift will leave out: ") for line in ran.err)


def test_what_no_daemon_could_use_is_pulled_all_the_same(folder: Path, platform: Platform) -> None:
    platform.add_project("parking", "object-detection", active_learning={"enabled": "false"})
    ran = run("pull", **online(folder, platform))
    assert (json.loads(ran.out), ran.code) == ({"enabled": "false"}, 0)
    assert ran.err[0].startswith("note: framesift can't use it: ")
    assert "enabled" in ran.err[0]


@pytest.mark.parametrize("words", [[], ["-o", "got.json"]])
def test_a_strategy_that_runs_code_is_not_pulled(folder: Path, platform: Platform, words: list[str]) -> None:
    code = {"name": "code", "type": "python", "factory": "antigravity:run", "path": str(folder)}
    platform.add_project("parking", "object-detection", active_learning=policy(code, ALL))
    ran = run("pull", *words, **online(folder, platform))
    assert json.loads(Path("got.json").read_text() if words else ran.out) == policy(ALL)
    assert ran.code == 0
    assert ran.err == [
        'note: not written: sampling_strategies[0] ("code"): type "python" may only be used in a policy file of this '
        "machine: it runs code"
    ]


def test_a_pulled_policy_goes_into_a_file_that_is_not_there_yet(folder: Path, platform: Platform) -> None:
    platform.add_project("parking", "object-detection", active_learning=DOCUMENTED[1])
    environ = online(folder, platform)
    ran = run("pull", "--output", "got.json", **environ)
    assert ran == Ran("wrote got.json: the configuration of yard/parking\n", [], 0)
    assert json.loads(Path("got.json").read_text()) == DOCUMENTED[1]
    assert run("validate", "got.json").code == 0
    written("got.json", "mine")
    ran = run("pull", "--output", "got.json", **environ)
    assert ran == Ran("", ["framesift: got.json exists already; --force overwrites it"], 2)
    assert Path("got.json").read_text() == "mine"
    assert run("pull", "-o", "got.json", "--force", **environ).code == 0
    assert json.loads(Path("got.json").read_text()) == DOCUMENTED[1]


def test_the_project_may_be_named_or_is_the_policys_or_the_sinks(folder: Path, platform: Platform) -> None:
    for name in ("parking", "loading", "sorting"):
        platform.add_project(name, "object-detection", active_learning=policy({**ALL, "name": name}))

    def pulled(*words: str, **environ: str) -> str:
        return str(json.loads(run("pull", *words, **environ).out)["sampling_strategies"][0]["name"])

    environ = online(folder, platform, project="parking")
    assert (pulled(**environ), pulled("loading", **environ)) == ("parking", "loading")
    environ = online(folder, platform, project=None, sink={"type": "roboflow", "project": "sorting"})
    assert pulled(**environ) == "sorting"
    environ = online(folder, platform, project="parking", sink={"type": "roboflow", "project": "sorting"})
    assert pulled(**environ) == "parking"


def test_without_settings_the_environment_says_enough(platform: Platform) -> None:
    platform.add_project("parking", "object-detection")
    environ = {"ROBOFLOW_API_KEY": KEY, "FRAMESIFT_ROBOFLOW__API_URL": platform.url}
    assert run("push", written("p.json", DOCUMENTED[1]), "parking", **environ).code == 0
    assert json.loads(run("pull", "parking", **environ).out) == DOCUMENTED[1]
    ran = run("pull", "parking", **{**environ, "FRAMESIFT_ROBOFLOW__API_URL": "http://example.com"})
    assert (ran.code, len(ran.err)) == (2, 1)
    assert ran.err[0].startswith("framesift: FRAMESIFT_ROBOFLOW__API_URL: api_url: api_url needs https://")


def test_without_a_project_anywhere_it_is_to_be_named(folder: Path, platform: Platform) -> None:
    environ = online(folder, platform, project=None)
    assert run("pull", **environ) == Ran("", ["framesift: name the project: framesift.yaml names none"], 2)
    Path("framesift.yaml").unlink()
    assert run("pull") == Ran("", ["framesift: name the project: there is no settings file"], 2)


@pytest.mark.parametrize("name", ["a b", "a/b", "../x", "", "é"])
def test_a_project_is_a_word_of_the_platforms(folder: Path, platform: Platform, name: str) -> None:
    ran = run("pull", name, **online(folder, platform))
    assert (ran.code, platform.requests) == (2, ())
    assert ran.err[0].startswith(f"framesift: the project {name!r} is not allowed; it must be 1 to 128 characters of ")


@pytest.mark.parametrize("command", [["pull", "parking"], ["push", "p.json", "parking"]])
def test_without_a_key_the_variable_is_named_that_holds_it(command: list[str]) -> None:
    written("p.json", policy())
    ran = run(*command)
    assert (ran.out, ran.code) == ("", 2)
    assert ran.err == ["framesift: the platform wants a key: set ROBOFLOW_API_KEY, or roboflow.api_key in the settings"]


def test_what_is_pushed_is_what_is_pulled(folder: Path, platform: Platform) -> None:
    platform.add_project("parking", "object-detection")
    environ = online(folder, platform)
    ran = run("push", written("p.json", DOCUMENTED[1]), **environ)
    shown = digest(load(Path("p.json")))
    assert ran == Ran(f"yard/parking has p.json now: on, default_strategy ({shown})\n", [], 0)
    assert json.loads(run("pull", **environ).out) == DOCUMENTED[1]
    assert platform.project("parking").active_learning == DOCUMENTED[1]
    ran = run("push", written("off.yaml", "enabled: false"), **environ)
    assert ran.out.startswith("yard/parking has off.yaml now: off, no strategies (")
    assert json.loads(run("pull", **environ).out) == {"enabled": False}


def test_what_the_platforms_own_clients_do_not_know_is_reported_before_it_is_pushed(
    folder: Path, platform: Platform
) -> None:
    platform.add_project("parking", "object-detection")
    ran = run("push", written("p.json", WHOLE), **online(folder, platform))
    assert ran.code == 0
    roboflows = ("random", "close_to_threshold", "classes_based", "detections_number_based")
    where_and_when = ("zones", "zone_anchor", "inhibit", "hours", "days")
    of_pacing = ("pacing", "min_interval_s", "min_interval_scope")
    beside = ("before_s", "after_s", "neighbours_every_s")
    ours = ("near_duplicate", *where_and_when, "class_balance", "initial_counts", *of_pacing, *beside)
    ignored = [
        ", ".join(f"sampling_strategies[{i}].{key}" for key in ours if key in one)
        if one["type"] in roboflows
        else f"sampling_strategies[{i}] ({one['name']!r}, the whole strategy: its type is {one['type']})"
        for i, one in enumerate(WHOLE["sampling_strategies"])
    ]
    expected = ", ".join(["time_zone", "near_duplicate", "pacing", "baseline", "manual", *ignored])
    assert ran.err == [f"note: the platform's own clients will ignore: {expected}"]


def test_a_bad_policy_is_not_pushed(folder: Path, platform: Platform) -> None:
    platform.add_project("parking", "object-detection")
    ran = run("push", written("p.json", policy({**ALL, "traffic_percentage": 10})), **online(folder, platform))
    assert (ran.code, platform.requests) == (2, ())
    assert "10 is not allowed; it must be a number from 0 to 1" in ran.err[0]


@pytest.mark.parametrize("command", [["pull"], ["push", "p.json"]])
@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        ("away", "refused"),
        ("key", "does not accept the key"),
        ("nowhere", "nowhere"),
        ("failing", "500"),
        ("strange", "active-learning configuration of parking"),
    ],
)
def test_a_trouble_with_the_platform_is_one_line(
    folder: Path, platform: Platform, command: list[str], trouble: str, expected: str
) -> None:
    platform.add_project("parking", "object-detection", active_learning=DOCUMENTED[1])
    written("p.json", policy())
    environ = online(folder, platform, project="nowhere" if trouble == "nowhere" else "parking")
    if trouble == "away":
        platform.go_away()
    elif trouble == "key":
        platform.revoke_key()
    elif trouble == "failing":
        platform.orders.add(Fault("any", Status(500)))
    elif trouble == "strange":
        platform.orders.add(Fault("active_learning", Html()), Fault("set_active_learning", Html()))
    ran = run(*command, **environ)
    assert (ran.out, ran.code, len(ran.err)) == ("", 1, 1), ran
    assert expected in ran.err[0]


# try


def tried(*words: str, stdin: str = "", strategies: tuple[dict[str, Any], ...] = (UNSURE, ALL), **fields: Any) -> Ran:
    return run("try", written("p.json", policy(*strategies, **fields)), *words, stdin=stdin)


def objects(ran: Ran) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ran.out.splitlines()]


def test_each_prediction_is_one_object_with_exactly_four_keys() -> None:
    written("seen.jsonl", lines(seen(0.5), seen(0.9), seen()))
    ran = tried("seen.jsonl", "--json", strategies=(UNSURE, {**ALL, "limits": [{"type": "daily", "value": 1}]}))
    assert objects(ran) == [
        {"matched": ["unsure", "all"], "charged": "unsure", "reason": None, "score": None},
        {"matched": ["all"], "charged": "all", "reason": None, "score": None},
        {"matched": ["all"], "charged": None, "reason": "limit", "score": None},
    ]
    assert list(objects(ran)[0]) == ["matched", "charged", "reason", "score"]
    assert (ran.err, ran.code) == ([], 0)


@pytest.mark.parametrize(
    ("strategy", "fields", "reasons"),
    [
        (UNSURE, {}, ["no_match", "no_match"]),
        (ALL, {"enabled": False}, ["disabled", "disabled"]),
        ({**ALL, "limits": [{"type": "minutely", "value": 1}]}, {}, [None, "limit"]),
        (
            ALL,
            {
                "batching_strategy": {
                    "batches_name_prefix": "al",
                    "recreation_interval": "never",
                    "max_batch_images": 1,
                }
            },
            [None, "batch_full"],
        ),
    ],
)
def test_each_refusal_is_named(strategy: dict[str, Any], fields: dict[str, Any], reasons: list[str | None]) -> None:
    ran = tried("-", "--json", stdin=lines(seen(), seen()), strategies=(strategy,), **fields)
    assert [one["reason"] for one in objects(ran)] == reasons
    assert [one["charged"] for one in objects(ran)] == [None if reason else "all" for reason in reasons]


def test_for_people_there_is_a_line_each_and_the_sums() -> None:
    at = "2026-09-10T22:30:00Z"
    stdin = lines(seen(0.5, captured_at=at), seen(0.9), {"is_stub": True}, seen(0.5)) + "\n"
    strategies = (UNSURE, {**ALL, "name": "[b]日本", "limits": [{"type": "hourly", "value": 1}]})
    ran = tried("-", stdin=stdin, strategies=strategies, time_zone="Europe/Berlin")
    assert [line.rstrip() for line in ran.out.splitlines()] == [
        "      1  2026-09-11 00:30:00 CEST  charged unsure          matched unsure, [b]日本",
        "      2  2026-09-11 00:30:00 CEST  charged [b]日本         matched [b]日本",
        "      3  2026-09-11 00:30:00 CEST  refused limit           matched [b]日本",
        "      4  2026-09-11 00:30:00 CEST  charged unsure          matched unsure, [b]日本",
        "",
        "strategy  matched  charged",
        "unsure          2        2",
        "[b]日本         4        1",
        "4 predictions: 3 charged, 1 limit",
    ]


def test_the_score_of_the_charged_strategy_is_printed() -> None:
    hard = {"name": "hard", "type": "uncertainty"}
    stdin = lines(seen(0.6), seen(0.6, 0.5), {"is_stub": True})
    ran = tried("-", "--json", stdin=stdin, strategies=(hard, ALL))
    assert [one["score"] for one in objects(ran)] == [pytest.approx(0.8), pytest.approx(1.8), None]
    first, second, third = tried("-", stdin=stdin, strategies=(hard, ALL)).out.splitlines()[:3]
    assert first.endswith("  matched hard, all  score 0.8")
    assert second.endswith("  matched hard, all  score 1.8")
    assert third.endswith("  matched all")


def test_a_strategy_that_may_not_take_what_it_wants_is_shown_with_the_reason() -> None:
    night = {**ALL, "name": "night", "hours": ["22:00-06:00"]}
    times = ["2026-09-10T12:00:00Z", "2026-09-10T23:00:00Z"]
    stdin = lines(*[seen(0.5, captured_at=time) for time in times])
    ran = tried("-", "--json", stdin=stdin, strategies=(night, UNSURE))
    refused, taken = objects(ran)
    assert refused == {
        "matched": ["unsure"],
        "charged": "unsure",
        "reason": None,
        "score": None,
        "excluded": {"night": "outside its hours"},
    }
    assert (taken["matched"], "excluded" in taken) == (["night", "unsure"], False)
    first, second = tried("-", stdin=stdin, strategies=(night, UNSURE)).out.splitlines()[:2]
    assert first.endswith("  matched unsure  excluded night (outside its hours)")
    assert second.endswith("  matched night, unsure")


def test_a_strategy_from_outside_that_fails_is_named_with_the_prediction_and_the_line_of_its_code() -> None:
    fails = {"name": "odd", "type": "python", "factory": "faulty_rules:FailsOnObjects", "path": FAULTY}
    ran = tried("-", "--json", stdin="\n" + lines(seen(), seen(0.5), seen(0.5)), strategies=(fails, ALL))
    assert [one["charged"] for one in objects(ran)] == ["odd", "all", "all"]
    assert ran.err == [
        f"note: line 3 and 1 more: strategy 'odd': LookupError: no such object ({FAULTY}/faulty_rules.py:16); "
        "that counts as no match"
    ]
    assert ran.code == 2


def test_no_predictions_are_no_error() -> None:
    assert tried("-", "--json") == Ran("", [], 0)
    assert tried("-").out.splitlines()[-1] == "0 predictions: 0 charged"


def test_blank_lines_and_a_byte_order_mark_do_not_matter() -> None:
    Path("seen.jsonl").write_bytes(b"\xef\xbb\xbf" + lines(seen()).encode() + b"\n  \r\n" + lines(seen()).encode()[:-1])
    assert len(objects(tried("seen.jsonl", "--json"))) == 2


def test_recorded_lines_of_a_run_are_read_as_they_are() -> None:
    recorded = {"stream": "gate", "frame": 7, "task_type": "object-detection", "model_id": "m/1", **seen(0.5)}
    held = {"captured_at": "2026-09-10T12:00:00Z", "prediction": seen(0.5)}
    ran = tried("-", "--json", stdin=lines(recorded, held))
    assert [one["charged"] for one in objects(ran)] == ["unsure", "unsure"]


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (b"{", "column 2: is not JSON: "),
        (b"null", "a prediction is a JSON object, not NoneType"),
        (b"[]", "a prediction is a JSON object, not list"),
        (b"{}", '"predictions" is missing, or neither a list nor an object'),
        (b'{"predictions": 5}', '"predictions" is missing, or neither a list nor an object'),
        (b'{"top": "a", "confidence": "x"}', "confidence: 'x' is not a number from 0 to 1"),
        (b'{"predictions": [], "task": "seeing"}', "task: 'seeing' is not one of object-detection, "),
        (b'{"predictions": [], "captured_at": "noon"}', 'captured_at: "noon" is not allowed; it must be Unix seconds '),
        (b'{"predictions": [], "captured_at": NaN}', "captured_at: NaN is not allowed; it must be Unix seconds "),
        (b'{"prediction": null}', "prediction: null is not allowed; it must be an object in the wire format"),
        (b'"caf\xe9"', "is not UTF-8 text (byte 0xe9)"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"predictions": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
    ],
)
@pytest.mark.parametrize("words", [["--json"], []])
def test_a_bad_line_is_named_after_all_before_it_was_printed(bad: bytes, expected: str, words: list[str]) -> None:
    Path("seen.jsonl").write_bytes(lines(seen(0.5), seen(0.9)).encode() + b"\n" + bad + b"\n" + lines(seen()).encode())
    ran = tried("seen.jsonl", *words)
    assert (ran.out.count("\n"), ran.code, len(ran.err)) == (2, 2, 1)
    assert ran.err[0].startswith(f"framesift: seen.jsonl:4: {expected}")


@pytest.mark.parametrize(
    ("name", "expected"), [("none.jsonl", "No such file or directory"), (".", "Is a directory"), ("p.json/x", "Not a")]
)
def test_a_file_that_cannot_be_read_is_named(name: str, expected: str) -> None:
    ran = tried(name)
    assert (ran.out, ran.code) == ("", 2)
    assert ran.err[0].startswith(f"framesift: {name}: {expected}")


def test_a_bad_policy_is_not_tried() -> None:
    ran = tried("-", strategies=({**ALL, "traffic_percentage": 2},))
    assert (ran.out, ran.code) == ("", 2)
    assert ran.err[0].startswith("framesift: p.json:1: sampling_strategies[0].traffic_percentage")


def test_what_needs_pictures_is_reported_once_and_not_applied() -> None:
    ran = tried("-", "--json", stdin=lines(*[seen()] * 3), near_duplicate={})
    assert [one["charged"] for one in objects(ran)] == ["all"] * 3
    assert ran.err == ["note: near_duplicate needs pictures, and predictions have none: it is not applied here"]


def test_what_is_malformed_is_left_out_and_reported_once() -> None:
    odd = {"predictions": [{"class": "car"}, *seen(0.5)["predictions"]]}
    ran = tried("-", "--json", stdin=lines(odd, odd))
    assert [one["charged"] for one in objects(ran)] == ["unsure", "unsure"]
    assert ran.err == ["note: 2 parts of predictions are malformed and left out, as in a run"]


def test_the_seed_and_the_stream_choose_the_draws() -> None:
    half = ({**ALL, "traffic_percentage": 0.5},)
    stdin = lines(*[seen()] * 64)

    def drawn(*words: str) -> str:
        return tried("-", "--json", *words, stdin=stdin, strategies=half).out

    assert drawn() == drawn("--seed", "0", "--stream", "try")
    assert len({drawn(), drawn("--seed", "1"), drawn("--stream", "gate")}) == 3
    assert tried("-", "--seed", "-1").code == 2


def test_each_answer_is_there_before_the_next_prediction_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    written("p.json", policy(UNSURE, ALL))
    words = [sys.executable, "-m", "framesift", "policy", "try", "p.json", "-", "--json"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for confidence, charged in ((0.5, "unsure"), (0.9, "all")):
            process.stdin.write(lines(seen(confidence)))
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["charged"] == charged
        process.stdin.close()
        assert process.wait(30) == 0


def test_a_reader_that_leaves_ends_it_without_a_traceback() -> None:
    written("p.json", policy())
    written("seen.jsonl", lines(*[seen()] * 5_000))
    words = [sys.executable, "-m", "framesift", "policy", "try", "p.json", "seen.jsonl"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) != 0
        assert process.stderr.read() == ""


def test_every_strategy_of_the_schema_can_be_tried() -> None:
    whole = {**WHOLE, "near_duplicate": None}
    whole["sampling_strategies"] = [{**one, "near_duplicate": None} for one in WHOLE["sampling_strategies"]]
    sized = seen(0.5, image={"width": 64, "height": 48})
    stdin = lines(sized, {"top": "car", "confidence": 0.5})
    ran = run("try", written("p.json", whole), "-", "--json", stdin=stdin)
    name = inside(PLACES["PythonStrategyOptions"], whole)["name"]
    not_judged = f"note: strategy {name!r} needs pictures, and predictions have none: it is not judged here"
    not_compared = "note: the policy compares embeddings: predictions without one are not compared with others"
    assert (len(objects(ran)), ran.err, ran.code) == (2, [not_judged, not_compared], 0)
    with pytest.raises(ConfigError):
        parse("{}", "p")

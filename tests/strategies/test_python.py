"""Strategies from outside: what they answer, what they are shown, and what becomes of their mistakes."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framesift.config.types import ConfigError
from framesift.frame import Pixels
from framesift.policy.policy import Policy, load, parse
from framesift.prediction.prediction import Task
from framesift.strategies import AcceptedClasses, Match, ModelFacts, Strategy, StrategyFailed, evaluation_failures
from sampling_data import FixedRandom, frame, objects, options

MODULE = """
FRAMESIFT_EXTEND = 1
class Answers:
    def __init__(self, answer=True): self.answer = answer
    def evaluate(self, frame, prediction): return eval(str(self.answer))
class ForObjects(Answers):
    tasks = ["object-detection"]
    def problems(self, model): return [f"the model has {len(model.class_names)} classes"]
class ForOddTask(Answers):
    tasks = ["divination"]
class ForText(Answers):
    tasks = "object-detection"
class Reads(Answers):
    needs_pixels = True
    def evaluate(self, frame, prediction): return float(frame.pixels.mean())
class Writes(Answers):
    def evaluate(self, frame, prediction): frame.pixels[:] = 0
class Counts:
    def __init__(self): self.count = 0
    def evaluate(self, frame, prediction):
        self.count += 1
        return self.count
class TooFewArguments:
    def evaluate(self, frame): return True
class Idle: pass
class BadPixels(Answers):
    @property
    def needs_pixels(self): raise RuntimeError("boom")
class BadBool(Answers):
    @property
    def needs_pixels(self):
        import numpy
        return numpy.zeros(2)
class BadAttributes:
    def __getattr__(self, name): raise KeyError(name)
class BadTasks(Answers):
    @property
    def tasks(self):
        yield "object-detection"
        raise OSError("disk")
class BadRepr(Answers):
    class tasks:
        def __repr__(self): raise RuntimeError("no repr")
    tasks = tasks()
class NoText(Exception):
    def __str__(self): raise RuntimeError("no text")
def raises_no_text(): raise NoText()
class Surrogate(Answers):
    def problems(self, model): return ["half \\udcff\\nline"]
made = []
def breaks_later():
    made.append(1)
    if len(made) > 1: raise OSError("no more")
    return Answers()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with the module `outside_rules`, forgotten afterwards."""
    (tmp_path / "outside_rules.py").write_text(MODULE, encoding="utf-8")
    yield tmp_path
    sys.modules.pop("outside_rules", None)
    sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path)]


def fields(folder: Path, factory: str, **more: Any) -> dict[str, Any]:
    return {"type": "python", "factory": f"outside_rules:{factory}", "path": str(folder), **more}


def strategy(folder: Path, factory: str, *draws: float, **more: Any) -> Strategy:
    return options(**fields(folder, factory, **more)).create(FixedRandom(*draws), AcceptedClasses())


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        ("None", None),
        ("False", None),
        ("True", Match("it", None)),
        ("__import__('numpy').bool_(True)", Match("it", None)),
        ("0", Match("it", 0.0)),
        ("0.25", Match("it", 0.25)),
        ("-3", Match("it", -3.0)),
        ("__import__('numpy').float32(0.5)", Match("it", 0.5)),
    ],
)
def test_true_is_a_match_and_a_number_its_score(folder: Path, answer: str, match: Match | None) -> None:
    assert strategy(folder, "Answers", options={"answer": answer}).evaluate(frame(), objects()) == match


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("'yes'", "TypeError: evaluate() returned a str; allowed are True, False, None and a number"),
        ("float('nan')", "ValueError: evaluate() returned the score nan"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("exit(3)", "SystemExit: 3"),
    ],
)
def test_a_mistake_is_a_failure_with_its_reason_and_costs_no_draw(folder: Path, answer: str, reason: str) -> None:
    rng = FixedRandom(0.0)
    rule = options(**fields(folder, "Answers", options={"answer": answer})).create(rng, AcceptedClasses())
    with pytest.raises(StrategyFailed) as failed:
        rule.evaluate(frame(), objects())
    assert (failed.value.strategy, failed.value.reason, rng.drawn) == ("it", reason, 0)


@pytest.mark.parametrize(
    ("factory", "answer", "number"), [("Answers", "1 / 0", 5), ("Answers", "'yes'", 5), ("TooFewArguments", None, 24)]
)
def test_a_mistake_has_the_line_of_the_module(folder: Path, factory: str, answer: str | None, number: int) -> None:
    given = {} if answer is None else {"answer": answer}
    with pytest.raises(StrategyFailed) as failed:
        strategy(folder, factory, options=given).evaluate(frame(), objects())
    assert failed.value.code_line == f"{folder}/outside_rules.py:{number}"
    assert str(failed.value) == f"strategy 'it': {failed.value.reason} ({failed.value.code_line})"


def test_every_strategy_that_cannot_evaluate_a_frame_is_found(folder: Path) -> None:
    rules = [
        options(name=name, **fields(folder, factory))
        for name, factory in (("fine", "Answers"), ("unnamed", "TooFewArguments"), ("writes", "Writes"))
    ]
    found = evaluation_failures(rules, frame(), objects())
    assert [failure.strategy for failure in found] == ["unnamed", "writes"]


def test_the_probability_is_drawn_after_a_match(folder: Path) -> None:
    rng = FixedRandom(0.3, 0.29)
    rule = options(**fields(folder, "Answers", probability=0.3)).create(rng, AcceptedClasses())
    assert [rule.evaluate(frame(), objects()) for _ in range(2)] == [None, Match("it")]
    assert rng.drawn == 2


def test_each_stream_has_an_object_of_its_own(folder: Path) -> None:
    one, other = strategy(folder, "Counts"), strategy(folder, "Counts")
    assert [one.evaluate(frame(), objects()) for _ in range(2)] == [Match("it", 1.0), Match("it", 2.0)]
    assert other.evaluate(frame(), objects()) == Match("it", 1.0)


def test_it_reads_the_pixels_and_cannot_write_to_them(folder: Path) -> None:
    pixels = np.full((4, 4, 3), 8, np.uint8)
    rule = options(**fields(folder, "Reads"))
    assert rule.needs_pixels
    assert rule.create(FixedRandom(), AcceptedClasses()).evaluate(frame(pixels), objects()) == Match("it", 8.0)
    with pytest.raises(StrategyFailed, match="read-only"):
        strategy(folder, "Writes").evaluate(frame(pixels), objects())
    assert pixels.min() == 8
    pixels[:] = 9  # ours stay writeable


def test_a_broken_picture_is_no_failure_of_the_strategy(folder: Path) -> None:
    class Broken:
        width, height = 32, 24

        @property
        def pixels(self) -> Pixels:
            raise OSError("the JPEG is cut off")

        def overview(self, _width: int = 1, _height: int = 1) -> Pixels:
            return self.pixels

        @property
        def jpeg(self) -> bytes | None:
            return None

    shown = replace(frame(), picture=Broken())
    with pytest.raises(OSError, match="the JPEG is cut off"):
        strategy(folder, "Reads").evaluate(shown, objects())


def test_what_fails_only_when_a_stream_begins_fails_for_each_frame(folder: Path) -> None:
    rule = strategy(folder, "breaks_later")
    for _ in range(2):
        with pytest.raises(StrategyFailed, match="outside_rules:breaks_later failed: OSError: no more"):
            rule.evaluate(frame(), objects())


def test_its_tasks_and_its_problems_are_reported_as_those_of_the_built_in_ones(folder: Path) -> None:
    rule = options(**fields(folder, "ForObjects", probability=0))
    assert list(rule.problems(ModelFacts(Task.CLASSIFICATION, ("car",), stub=False))) == [
        "can never match: probability is 0",
        "can never match: the model's task is classification, and this strategy is for object-detection",
        "the model has 1 classes",
    ]
    assert list(rule.problems(ModelFacts(Task.OBJECT_DETECTION, None, stub=False)))[1:] == [
        "TypeError: object of type 'NoneType' has no len()"
    ]


def test_a_problem_that_can_not_be_printed_is_made_printable(folder: Path) -> None:
    rule = options(**fields(folder, "Surrogate"))
    assert list(rule.problems(ModelFacts(None, None, stub=False))) == ["half \ufffd line"]


def policy(**strategy: Any) -> Policy:
    whole = {
        "enabled": True,
        "persist_predictions": True,
        "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "never"},
        "sampling_strategies": [{"name": "mine", **strategy}],
    }
    return parse(json.dumps(whole), "policy.json")


@pytest.mark.parametrize(
    ("factory", "more", "problem"),
    [
        ("outside_rules:Nothing", {}, "outside_rules has no callable 'Nothing'"),
        ("outside_rules:Idle", {}, "outside_rules:Idle returned a Idle, without a method evaluate()"),
        ("outside_rules:Answers", {"options": {"odd": 1}}, "outside_rules:Answers failed: TypeError: "),
        ("outside_rules:ForOddTask", {}, "tasks with an unknown one: 'divination' is not a valid Task; allowed are"),
        ("outside_rules:ForText", {}, "has tasks 'object-detection'; it must be a list of tasks"),
        ("outside_rules:BadPixels", {}, "outside_rules:BadPixels: reading its needs_pixels failed: RuntimeError: boom"),
        ("outside_rules:BadBool", {}, "its needs_pixels is not True or False: ValueError: "),
        ("outside_rules:BadAttributes", {}, "reading its evaluate failed: KeyError: 'evaluate'"),
        ("outside_rules:BadTasks", {}, "outside_rules:BadTasks: reading its tasks failed: OSError: disk"),
        ("outside_rules:BadRepr", {}, "outside_rules:BadRepr: reading its tasks failed: RuntimeError: no repr"),
        ("outside_rules:raises_no_text", {}, "failed: NoText: its text can't be read (RuntimeError)"),
        ("os:getcwd", {}, "os does not say for which version of framesift.extend it is written"),
        ("gone:Answers", {}, "can't import gone (looked in "),
        ("gone:Answers", {}, "No module named 'gone'; name its folder as `path`, or install it"),
    ],
)
def test_a_policy_with_a_bad_factory_is_refused_with_its_place(
    folder: Path, factory: str, more: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        policy(type="python", factory=factory, path=str(folder), **more)
    (line,) = refused.value.problems
    assert 'sampling_strategies[0] ("mine"): factory: ' in line
    assert problem in line


def test_a_relative_path_counts_from_the_policy_file(folder: Path) -> None:
    (folder / "rules").mkdir()
    (folder / "outside_rules.py").rename(folder / "rules" / "outside_rules.py")
    (folder / "policy.yaml").write_text(
        "{enabled: true, persist_predictions: true, "
        "batching_strategy: {batches_name_prefix: al, recreation_interval: never}, "
        "sampling_strategies: [{name: mine, type: python, factory: 'outside_rules:Answers', path: rules}]}"
    )
    (read,) = load(folder / "policy.yaml").sampling_strategies
    assert read.type == "python"
    assert read.path == folder / "rules"
    sys.path.remove(str(folder / "rules"))


def test_equal_policies_are_equal(folder: Path) -> None:
    one, other = (policy(**fields(folder, "Answers")) for _ in range(2))
    assert one == other
    assert math.isclose(one.sampling_strategies[0].probability, 1.0)  # type: ignore[union-attr]  # it is the python one

"""What holds for every strategy in the table. A new one is found here, and each failure says what is missing where."""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from framesift.prediction.prediction import MAX_OBJECTS, Prediction, Task
from framesift.strategies import (
    STRATEGY_TYPES,
    AcceptedClasses,
    CommonStrategyOptions,
    ModelFacts,
    StrategyOptions,
)
from policy.test_fields import FIELDS, WHOLE
from sampling_data import FixedRandom, frame, label, labels, objects, options, stub

ROOT = Path(__file__).parents[2]
EXAMPLES: dict[str, dict[str, Any]] = {example["type"]: example for example in WHOLE["sampling_strategies"]}
PREDICTIONS = [
    pytest.param(stub(), id="stub"),
    pytest.param(objects(), id="no objects"),
    pytest.param(objects(("car", 0.5), ("car", 0.9)), id="objects"),
    pytest.param(objects(("car", 0.5), task=Task.SEMANTIC_SEGMENTATION), id="semantic"),
    pytest.param(label("car", 0.5, [("bus", 0.4)]), id="label"),
    pytest.param(label("", 0.0), id="no label"),
    pytest.param(labels(("car", 0.5), ("bus", 0.1), predicted=("car",)), id="labels"),
]
every_type = pytest.mark.parametrize("kind", STRATEGY_TYPES)
every_example = pytest.mark.parametrize("kind", EXAMPLES)


def example(kind: str) -> StrategyOptions:
    return options(**EXAMPLES[kind])


def own_options(kind: str) -> set[str]:
    return set(STRATEGY_TYPES[kind].model_fields) - set(CommonStrategyOptions.model_fields) - {"type"}


def section(document: str, title: str) -> str:
    """The lines of a document under a title, up to the next title; empty if there is none."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = re.search(rf"^#+ {re.escape(title)}[^\n]*\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


@every_type
def test_it_has_a_file_of_its_name(kind: str) -> None:
    module = STRATEGY_TYPES[kind].__module__
    assert module == f"framesift.strategies.{kind}", f"put the strategy {kind} into strategies/{kind}.py, not {module}"


@every_type
def test_it_has_tests_of_its_own(kind: str) -> None:
    used = re.compile(rf"""\btype(="|": "){kind}\b""")
    files = [path for path in Path(__file__).parent.glob("test_*.py") if path.name != "test_problems.py"]
    has_tests = any(path.stem == f"test_{kind}" or used.search(path.read_text(encoding="utf-8")) for path in files)
    assert has_tests, f"add tests/strategies/test_{kind}.py: when {kind} matches, at its boundaries, and its score"


@every_type
def test_its_class_says_in_one_line_what_it_collects(kind: str) -> None:
    text = STRATEGY_TYPES[kind].__dict__.get("__doc__") or ""
    assert re.fullmatch(r"[A-Z][^\n]*\.", text), (
        f"editors show the docstring of {STRATEGY_TYPES[kind].__name__}: add one line"
    )


@every_type
def test_the_tests_of_the_policy_know_its_options(kind: str) -> None:
    owner = STRATEGY_TYPES[kind].__name__
    missing = {f"{owner}.{key}" for key in own_options(kind)} - set(FIELDS)
    assert not missing, f"tests/policy/test_fields.py: add {', '.join(sorted(missing))} to FIELDS"
    assert kind in EXAMPLES, f"tests/policy/test_fields.py: add a strategy of type {kind} with every option to WHOLE"


@every_type
def test_the_table_of_strategies_has_a_row_for_it(kind: str) -> None:
    rows = [line for line in section("docs/policy.md", "Strategies").splitlines() if line.startswith(f"| `{kind}` |")]
    assert rows, f'docs/policy.md, section "Strategies": add a row "| `{kind}` | when it wants a frame | ..."'
    missing = [key for key in own_options(kind) if f"`{key}`" not in rows[0]]
    assert not missing, f'docs/policy.md, section "Strategies": the row of `{kind}` does not name {", ".join(missing)}'


@every_type
def test_the_page_on_compatibility_has_a_section_for_it(kind: str) -> None:
    text = section("docs/compatibility.md", f"`{kind}`")
    assert text, f'docs/compatibility.md: add a section "#### `{kind}` (*ours*)" with a row for each option and a test'
    missing = [key for key in own_options(kind) if f"`{key}`" not in text]
    assert not missing, f"docs/compatibility.md: the section `{kind}` has no row for {', '.join(missing)}"


@every_example
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_it_evaluates_every_prediction_and_draws_once_at_most(kind: str, prediction: Prediction) -> None:
    rng = FixedRandom(0.0)
    match = example(kind).create(rng, AcceptedClasses()).evaluate(frame(), prediction)
    assert match is None or match.strategy == EXAMPLES[kind]["name"]
    assert rng.drawn <= 1


@every_example
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_same_draws_give_the_same_matches(kind: str, prediction: Prediction) -> None:
    one, other = (example(kind).create(random.Random(7), AcceptedClasses()) for _ in range(2))
    assert [one.evaluate(frame(), prediction) for _ in range(50)] == [
        other.evaluate(frame(), prediction) for _ in range(50)
    ]


@every_example
def test_the_largest_prediction_is_evaluated_without_comparing_every_pair_of_objects(kind: str) -> None:
    prediction = objects(*[("car", i / MAX_OBJECTS) for i in range(MAX_OBJECTS)])
    strategy = example(kind).create(FixedRandom(0.0), AcceptedClasses())
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        strategy.evaluate(frame(), prediction)
    finally:
        sys.setprofile(None)
    assert calls < 100 * MAX_OBJECTS, (
        f"{kind} makes {calls} calls for {MAX_OBJECTS} objects: every frame waits for that; use numpy"
    )


@every_example
@pytest.mark.parametrize("task", [None, *Task], ids=str)
@pytest.mark.parametrize("is_stub", [False, True])
def test_its_problems_are_sentences(kind: str, task: Task | None, is_stub: bool) -> None:
    for sentence in example(kind).problems(ModelFacts(task, ("bus",), stub=is_stub)):
        assert sentence
        assert "\n" not in sentence


@every_example
def test_frames_are_collected_alike_with_and_without_pixels_unless_it_says_that_it_needs_them(kind: str) -> None:
    if example(kind).needs_pixels:
        return
    for prediction in [param.values[0] for param in PREDICTIONS]:
        black, white = (
            example(kind)
            .create(random.Random(7), AcceptedClasses())
            .evaluate(frame(frame().pixels + shade), prediction)  # type: ignore[arg-type]  # uint8 stays uint8
            for shade in (0, 200)
        )
        assert black == white

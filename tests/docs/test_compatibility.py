"""docs/compatibility.md says of every option what holds, and names tests that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from framesift.policy.policy import BatchingStrategy, Policy
from framesift.strategies import StrategyOptions

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "compatibility.md"
STRATEGIES = get_args(get_args(StrategyOptions)[0])


def rows(part: str) -> list[list[str]]:
    """The cells of every line of a table, without the heads."""
    lines = [line for line in part.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for index, row in enumerate(cells) if set(row[0]) != {"-"} and not _is_head(cells, index)]


def _is_head(cells: list[list[str]], index: int) -> bool:
    return index + 1 < len(cells) and set(cells[index + 1][0]) == {"-"}


def section(title: str) -> str:
    """What stands under a title, up to the next one."""
    found = re.search(rf"^#+ {title}[^\n]*\n(.*?)(?=^#|\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"no section {title}"
    return found[1]


def options_of(part: str) -> set[str]:
    """What stands in backquotes in the first cells."""
    return {name for row in rows(part) for name in re.findall(r"`([^`]+)`", row[0])}


def named_tests() -> Iterator[tuple[str, str]]:
    for row in rows(PAGE.read_text()):
        yield from re.findall(r"`([\w/]+\.py)::(\w+)`", row[-1])


def test_every_line_names_a_test() -> None:
    lines = rows(PAGE.read_text())
    assert len(lines) > 60
    for line in lines:
        assert len(line) == 3, line
        assert re.fullmatch(r"`[\w/]+\.py::test_\w+`(, `[\w/]+\.py::test_\w+`)*", line[2]), line


@pytest.mark.parametrize("file", sorted({file for file, _ in named_tests()}))
def test_the_named_tests_exist(file: str) -> None:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {test for other, test in named_tests() if other == file} <= there


def test_wherever_the_tests_say_that_we_differ_there_is_a_line() -> None:
    ours = {
        (path.relative_to(TESTS).as_posix(), node.name)
        for path in TESTS.glob("reference/test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_ours_")
    }
    assert len(ours) > 10
    assert ours <= set(named_tests())


def test_every_field_of_the_policy_has_a_line() -> None:
    assert options_of(section("The configuration")) == {*Policy.model_fields, *BatchingStrategy.model_fields}


def test_every_option_of_every_strategy_has_a_line() -> None:
    shared = options_of(section("Of each strategy"))
    for strategy in STRATEGIES:
        (kind,) = get_args(strategy.model_fields["type"].annotation)
        assert shared | options_of(section(f"`{kind}`")) == set(strategy.model_fields), kind

"""Each common mistake is made again: what framesift says to it is what docs/mistakes.md has, word for word."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from exhaustive import some_of
from mistakes import MISTAKES, Mistake, said
from mistakes_page import section
from rigs.daemon import framesift

PAGE = (Path(__file__).parents[2] / "docs" / "mistakes.md").read_text(encoding="utf-8")


def check(folder: Path, environment: Mapping[str, Any]) -> tuple[str, str]:
    ran = framesift(folder, "check", "--json", **environment)
    return ran.stdout, ran.stderr


@pytest.mark.parametrize(
    "mistake", some_of(MISTAKES, lambda mistake: mistake in MISTAKES[::4]), ids=lambda mistake: mistake.what
)
def test_a_mistake_is_answered_as_the_page_says(tmp_path: Path, mistake: Mistake) -> None:
    answer = said(mistake, tmp_path, check)
    assert section(mistake, answer) in PAGE, f"run .venv/bin/python scripts/mistakes_page.py; it says now: {answer}"


def test_the_page_has_these_mistakes_and_no_other() -> None:
    assert PAGE.count("\nsays\n") == len(MISTAKES) >= 35

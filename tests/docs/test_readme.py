"""What the README shows is what the program reads, and it stays short."""

from __future__ import annotations

import importlib.util
import re
import textwrap
from pathlib import Path

import pytest

from framesift.frame import RefusalReason, SkipReason
from framesift.policy.policy import parse
from framesift.settings import load
from framesift.spool import FinalOutcome

ROOT = Path(__file__).parents[2]
MAX_LINES = 120


def _block(page: str, beginning: str) -> str:
    """The indented block of a page that begins with this line."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    first = next(i for i, line in enumerate(lines) if line.strip().startswith(beginning))
    last = next(i for i in range(first, len(lines)) if not lines[i].startswith("    "))
    return textwrap.dedent("\n".join(lines[first:last]))


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_the_policy_in_the_readme_is_one() -> None:
    text = _block("README.md", '{"enabled"')
    assert [s.name for s in parse(text, "README.md").sampling_strategies] == ["hard", "everyday"]


@pytest.mark.parametrize("page", ["README.md", "docs/settings.md"])
def test_the_settings_that_a_page_shows_are_some(tmp_path: Path, page: str) -> None:
    (tmp_path / "framesift.yaml").write_text(_block(page, "device: gate-7"))
    settings = load(tmp_path / "framesift.yaml", {"GATE_PASSWORD": "open sesame"})
    assert settings.streams[0].tags == ("north",)


def test_what_measured_the_figures_is_there() -> None:
    table = _block_of_rows((ROOT / "README.md").read_text(encoding="utf-8"), "| measured")
    commands = [re.findall(r"`([^`]+)`", row.split("|")[-2])[0].split() for row in table[2:]]
    assert len(commands) > 3
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for first, second, *_ in commands:
        if first == "make":
            assert re.search(rf"^{second}:", makefile, re.MULTILINE), second
        else:
            assert importlib.util.find_spec(second) if first == "-m" else (ROOT / first).is_file(), f"{first} {second}"


def _block_of_rows(text: str, beginning: str) -> list[str]:
    return text[text.index(beginning) :].partition("\n\n")[0].splitlines()


def test_each_reason_and_each_exit_has_its_meaning_in_the_tables() -> None:
    rows = [line for line in (ROOT / "docs" / "frames.md").read_text(encoding="utf-8").splitlines() if "|" in line]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(map(str, (*FinalOutcome, *RefusalReason, *SkipReason)))

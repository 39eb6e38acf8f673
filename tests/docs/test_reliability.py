"""docs/reliability.md shows the faults that the tests seed, times within their bounds, and the figures of the soak."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from rigs.seeded_faults.table import FAULTS
from rigs.soak.published import deaths_table, faults_table, soak_table

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
SOAKS = ("soak", "soak-1")  # the present one, and the first one


def rows() -> list[list[str]]:
    """The cells of each line of the table, without its head."""
    faults = PAGE.read_text(encoding="utf-8").partition("\n## The soak")[0]
    lines = [line for line in faults.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def seconds(cell: str) -> float:
    found = re.fullmatch(r"([0-9.]+) s", cell)
    assert found, cell
    return float(found[1])


def section(name: str) -> str:
    return PAGE.read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")[2].partition(f"<!-- end of {name} -->")[0]


def summary(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PAGE.with_suffix("") / f"{name}.json").read_text(encoding="utf-8"))
    return found


def test_the_tables_of_the_soak_and_of_the_deaths_are_made_of_their_figures() -> None:
    for name in SOAKS:
        assert section(name) == f"{soak_table(summary(name))}\n{faults_table(summary(name))}"
    assert section("deaths") == deaths_table(summary("deaths"))


@pytest.mark.parametrize("name", SOAKS)
def test_the_page_shows_the_drawing_of_each_soak(name: str) -> None:
    assert f"(reliability/{name}.svg)" in PAGE.read_text(encoding="utf-8")
    drawing = ElementTree.fromstring((PAGE.with_suffix("") / f"{name}.svg").read_text(encoding="utf-8"))
    assert len(drawing.findall("{http://www.w3.org/2000/svg}polyline")) == 7


def test_every_fault_has_a_line_with_its_component_its_words_and_its_bounds() -> None:
    shown = [(*row[:3], seconds(row[3]), seconds(row[5])) for row in rows()]
    assert shown == [
        (
            fault.name,
            f"{fault.component} {fault.condition}".strip(),
            ", ".join(f"`{word}`" for word in fault.reason),
            fault.say_s,
            fault.well_s,
        )
        for fault in FAULTS
    ]


def test_the_times_shown_are_within_their_bounds_and_within_15_s_at_the_median() -> None:
    said = []
    for name, _, _, say, said_after, well, well_after in rows():
        assert seconds(said_after) <= seconds(say), name
        assert seconds(well_after) <= seconds(well), name
        said.append(seconds(said_after))
    assert statistics.median(said) <= 15.0
    assert max(said) <= 60.0

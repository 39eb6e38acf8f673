"""docs/reliability.md shows the table of faults that the tests seed, and times within their bounds."""

from __future__ import annotations

import re
import statistics
from pathlib import Path

from rigs.seeded_faults.table import FAULTS

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


def rows() -> list[list[str]]:
    """The cells of each line of the table, without its head."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def seconds(cell: str) -> float:
    found = re.fullmatch(r"([0-9.]+) s", cell)
    assert found, cell
    return float(found[1])


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

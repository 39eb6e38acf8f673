"""docs/events.md is what scripts/events_page.py reads from the code, and has every event that the code names.

Whether lines of real daemons have what the page says, and nothing else, rigs/daemon.py looks at in every test with one.
"""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from documented_events import PAGE, documented_events, undocumented

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "events_page.py"
PACKAGE = ROOT / "daemon" / "framesift"
# How the code names an event; what is logged by hand through these is one.
NAMED = (
    r'(?:telemetry|self)\.(?:debug|info|state_changed|refused|warning|error)\(\s*"(\w+)"',
    r'StateEvent\("(\w+)"',
    r'_events\.log\([^"]*"(\w+)", fields, fold',
    r'"(spool_\w+)",\s+\{',
    r'_report\("(\w+)", \{',
    r'report\("(\w+)" if .* else "\w+"',
    r'report\("\w+" if .* else "(\w+)"',
)


def test_the_page_is_what_the_script_writes(tmp_path: Path) -> None:
    file = tmp_path / "events.md"
    subprocess.run([sys.executable, str(SCRIPT), str(file)], check=True, timeout=60)
    assert file.read_text() == PAGE.read_text(), "run .venv/bin/python scripts/events_page.py"


def test_the_page_has_each_event_that_the_code_names_and_no_other() -> None:
    texts = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]
    named = {name for text in texts for pattern in NAMED for name in re.findall(pattern, text)}
    assert named == set(documented_events())


def test_every_field_of_an_event_has_a_meaning_on_the_page() -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.read_text().splitlines()]
    meanings = {
        (row[1].strip("`"), row[0].strip("`")): row[2] for row in rows if len(row) == 3 and row[0].startswith("`")
    }
    assert all(meanings.values())
    for name, event in documented_events().items():
        for field in event.fields:
            assert (name, field) in meanings or ("", field) in meanings, f"{field} of {name}"


@pytest.mark.parametrize(
    "line",
    [
        'telemetry.warning(name, stream="gate")',
        'telemetry.warning(f"{name}_lost")',
        'self._telemetry.info("known", **fields)',
        'self._telemetry.health.set("spool", condition, "", event=StateEvent(name, {"stream": "gate"}))',
    ],
)
def test_a_place_that_the_script_can_not_read_is_an_error(tmp_path: Path, line: str) -> None:
    (tmp_path / "part.py").write_text(f"def report(self, telemetry, name, fields):\n    {line}\n")
    script: dict[str, Any] = runpy.run_path(str(SCRIPT))
    with pytest.raises(script["Unreadable"], match=r"part\.py:2"):
        script["events"](tmp_path)


def test_the_script_reads_fields_that_are_not_in_every_line(tmp_path: Path) -> None:
    (tmp_path / "part.py").write_text(
        "def report(telemetry, why):\n"
        '    more = {"why": why} if why else {}\n'
        '    telemetry.warning("lost", stream="gate", **more)\n'
        '    telemetry.error("lost", stream="gate", reason="silent")\n'
    )
    event = runpy.run_path(str(SCRIPT))["events"](tmp_path)["lost"]
    assert (event.levels, event.always, [*event.fields]) == (
        {"warning", "error"},
        {"stream"},
        ["stream", "why", "reason"],
    )


def test_a_line_that_the_page_does_not_know_is_found() -> None:
    line = {
        "time": "2026-11-29T12:00:00.000Z",
        "level": "warning",
        "event": "spool_full",
        "why": "2 GiB",
        "repeated": 3,
    }
    assert undocumented([line]) == []
    assert undocumented([{**line, "event": "spool_fill"}]) == ["the event spool_fill"]
    assert undocumented([{**line, "level": "info"}]) == ["spool_full at info with ['why']"]
    assert undocumented([{**line, "stream": "gate"}]) == ["spool_full at warning with ['stream', 'why']"]
    assert undocumented([{key: line[key] for key in line if key != "why"}]) == ["spool_full at warning with []"]

"""The deaths of a daemon, a few of each kind: a second run does what is left, and finds what was taken away."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rigs.deaths.__main__ import summarize

TESTS = Path(__file__).parents[1]


def deaths(folder: Path, kills: int, calls: int) -> tuple[int, dict[str, Any]]:
    """Runs them, and returns the exit status and the summary."""
    words = ["--folder", str(folder), "--kills", str(kills), "--calls", str(calls)]
    ended = subprocess.run([sys.executable, "-m", "rigs.deaths", *words], cwd=TESTS, timeout=300, check=False)
    return ended.returncode, summarize(folder)


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_deaths_lose_and_double_nothing_and_a_second_run_does_what_is_left(tmp_path: Path) -> None:
    code, first = deaths(tmp_path, 4, 6)
    assert (code, first["violations"]) == (0, [])
    assert (first["kills"], first["calls_tried"]) == (4, 6)
    assert first["calls_of_a_life"] > 300
    assert first["died_there"] >= 3
    assert first["accepted_over_kills"] > 0

    code, second = deaths(tmp_path, 6, 10)
    assert (code, second["violations"]) == (0, [])
    assert (second["kills"], second["calls_tried"]) == (6, 10)
    journal = (tmp_path / "calls" / "journal.jsonl").read_text().splitlines()
    tried = [tuple(record["point"]) for record in map(json.loads, journal) if record["what"] == "call"]
    assert len(set(tried)) == 10

    min((tmp_path / "kills" / "platform").glob("image*[0-9].json")).unlink()
    code, third = deaths(tmp_path, 7, 0)
    assert code == 1
    assert any("neither in the spool nor at the platform" in what for what in third["violations"])

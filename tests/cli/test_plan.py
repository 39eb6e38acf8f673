"""`framesift plan`: the two files that it writes, and what it refuses."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from clocks import NOON_S
from framesift.cli.main import app
from framesift.policy.policy import load


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recorded predictions of 25 hours, one each five minutes."""
    lines = []
    for number in range(300):
        box = {"x": 5, "y": 5, "width": 4, "height": 4, "class": "car", "confidence": (number * 37 % 100) / 200}
        seen: dict[str, Any] = {"image": {"width": 64, "height": 48}, "predictions": [box]}
        lines.append(json.dumps({**seen, "captured_at": NOON_S + 300 * number}))
    (tmp_path / "day.jsonl").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["plan", *map(str, words)])


def test_what_it_says_to_try_is_a_command_that_works(folder: Path) -> None:
    (folder / "day.jsonl").rename(folder / "my day.jsonl")
    done = run("--budget", "48/day", "my day.jsonl", "--start", "2026-11-28T10:00", "--output", "a plan.json")
    tried = shlex.split(done.stdout.splitlines()[-1].removeprefix("try it: framesift "))
    assert tried[:4] == ["simulate", "my day.jsonl", "--start", "2026-11-28T10:00"]
    assert CliRunner().invoke(app, tried).exit_code == 0
    assert (folder / "report.html").exists()


def test_a_policy_is_written_and_beside_it_why(folder: Path) -> None:
    done = run("--budget", "48/day", "day.jsonl", "--time-zone", "Europe/Berlin")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines() == [
        "wrote policy.json and policy.md, which says why",
        "on this footage it collects 61 images in 1.0 days; the budget is 48 a day",
        "try it: framesift simulate day.jsonl --policy policy.json --html report.html",
    ]
    policy = load(folder / "policy.json")
    assert policy.time_zone == "Europe/Berlin"
    assert [one.name for one in policy.sampling_strategies] == ["hardest", "every-hour"]
    assert policy.baseline_per_day > 0
    text = (folder / "policy.md").read_text()
    assert text.startswith(
        "# Why policy.json is as it is\n\nA budget of 48 images a day, planned by `framesift plan` from"
    )
    assert "300 frames of 1 stream, 24.9 hours" in text
    again = run("--budget", "2/hour", "day.jsonl")
    assert again.exit_code == 2
    assert "already there: policy.json, policy.md; --force overwrites" in " ".join(again.stderr.split())
    assert run("--budget", "2/hour", "day.jsonl", "--force").exit_code == 0
    assert "A budget of 48 images a day" in (folder / "policy.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--budget", "fifty", "day.jsonl"),
            "--budget fifty: a number of images is expected, such as 50/day or 5/hour",
        ),
        (("--budget", "9/day", "day.jsonl"), "--budget 9/day: a plan needs at least 10 images a day, not 9"),
        (
            ("--budget", "50/day", "day.jsonl", "--output", "why.md"),
            "--output why.md: the reasons go into an .md file",
        ),
        (("--budget", "50/day", "day.jsonl", "--output", "."), "--output .: is a folder; name a file"),
        (("--budget", "50/day", "lost.jsonl"), "lost.jsonl: there is no such file"),
        (("--budget", "50/day", "day.jsonl", "--time-zone", "Mars/Base"), "--time-zone Mars/Base: is no time zone"),
    ],
)
def test_what_can_not_be_planned_is_refused(words: tuple[str, ...], message: str, folder: Path) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert message in " ".join(str(done.stderr).split())
    assert not (folder / "policy.json").exists()

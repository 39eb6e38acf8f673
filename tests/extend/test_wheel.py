"""A strategy and a sink from a wheel that is built apart from framesift, in a real process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rigs.daemon import POLICY, framesift, write_configuration
from rigs.footage import numbered_clip

pytestmark = pytest.mark.exhaustive  # it is installed first

PROJECT = Path(__file__).parents[1] / "rigs" / "outside"
DARK = {"name": "dark", "type": "python", "factory": "framesift_outside:Dark", "options": {"below": 1}}
PILES = {"name": "piles", "type": "python", "factory": "framesift_outside:OverlappingObjects"}
SINK = {"type": "python", "factory": "framesift_outside:JsonLinesSink", "options": {"path": "lines"}}


def pip(*words: str | Path) -> None:
    """Runs pip of this environment, without an index."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", *map(str, words), "--no-index", "--no-deps", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("outside")
    shutil.copytree(PROJECT, folder / "project")
    pip("wheel", "--no-build-isolation", "--wheel-dir", folder, folder / "project")
    (wheel,) = folder.glob("*.whl")
    pip("install", "--target", folder / "site", wheel)
    return folder / "site"


def policy(*strategies: dict[str, Any]) -> dict[str, Any]:
    return {**POLICY, "sampling_strategies": list(strategies)}


def test_frames_go_from_a_file_through_both_to_the_folder(site: Path, tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    streams = [{"name": "gate", "source": "clip.mp4"}]
    write_configuration(tmp_path, {"streams": streams, "sink": SINK}, policy(DARK))

    checked = framesift(tmp_path, "check", PYTHONPATH=str(site))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "sink python" in checked.stdout
    ran = framesift(tmp_path, "run", PYTHONPATH=str(site))
    assert ran.returncode == 0, ran.stdout + ran.stderr

    lines = [json.loads(line) for line in (tmp_path / "lines" / "datapoints.jsonl").read_text().splitlines()]
    assert [line["strategy"] for line in lines] == ["dark"] * 5
    assert {path.stem for path in (tmp_path / "lines").glob("*.jpg")} == {line["id"] for line in lines}


def test_a_policy_is_checked_and_tried_with_it(site: Path, tmp_path: Path) -> None:
    piles = {**PILES, "options": {"minimum_iou": 0.5}}
    (tmp_path / "policy.json").write_text(json.dumps(policy(piles, DARK)))
    box = {"y": 5, "width": 10, "height": 10, "confidence": 0.5, "class": "car"}
    predictions = [{"predictions": [{**box, "x": 5}, {**box, "x": x}]} for x in (6, 12)]
    (tmp_path / "predictions.jsonl").write_text("".join(json.dumps(one) + "\n" for one in predictions))

    assert framesift(tmp_path, "policy", "validate", "policy.json", PYTHONPATH=str(site)).returncode == 0
    tried = framesift(tmp_path, "policy", "try", "policy.json", "predictions.jsonl", "--json", PYTHONPATH=str(site))
    assert [json.loads(line)["matched"] for line in tried.stdout.splitlines()] == [["piles"], []]
    assert "strategy 'dark' needs pictures, and predictions have none: it is not judged here" in tried.stderr


@pytest.mark.parametrize(
    ("code", "error", "line"),
    [
        ("def evaluate(self, frame, prediction):\n        return threshold", "NameError: name 'threshold' is not", 4),
        ("def evaluate(self, frame):\n        return True", "takes 2 positional arguments but 3 were given", 3),
    ],
)
def test_check_evaluates_the_first_prediction_with_it(tmp_path: Path, code: str, error: str, line: int) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=2)
    (tmp_path / "rules.py").write_text(f"FRAMESIFT_EXTEND = 1\nclass Mine:\n    {code}\n")
    mine = {"name": "mine", "type": "python", "factory": "rules:Mine", "path": "."}
    streams = [{"name": "gate", "source": "clip.mp4"}, {"name": "yard", "source": "clip.mp4"}]
    write_configuration(tmp_path, {"streams": streams}, policy(mine))
    checked = framesift(tmp_path, "check", COLUMNS="400")
    assert checked.returncode == 1
    (failed,) = (one for one in checked.stdout.splitlines() if one.startswith("FAILED"))
    assert failed.startswith("FAILED  policy ")
    for text in ("strategy 'mine': ", error, f"rules.py:{line})", "correct the code of this strategy"):
        assert text in failed


@pytest.mark.parametrize("command", ["check", "run"])
def test_what_is_not_installed_is_an_error_of_the_configuration(tmp_path: Path, command: str) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=1)
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "clip.mp4"}], "sink": SINK})
    ended = framesift(tmp_path, command, COLUMNS="400")
    assert ended.returncode == (1 if command == "check" else 2)
    assert "sink.factory: can't import framesift_outside" in ended.stdout + ended.stderr

    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "clip.mp4"}]}, policy(DARK))
    ended = framesift(tmp_path, command, COLUMNS="400")
    assert ended.returncode == (1 if command == "check" else 2)
    assert 'sampling_strategies[0] ("dark"): factory: can\'t import framesift_outside' in ended.stdout + ended.stderr

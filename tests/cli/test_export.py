"""`framesift export`: what it prints, and how it refuses wrong options."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from framesift.cli.main import app
from rigs.exports import car, collect_predictions, label, objects


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, words)])


def test_the_summary_counts_what_was_written_and_what_was_not(tmp_path: Path) -> None:
    folder = collect_predictions(
        tmp_path / "in",
        *[objects(car(0.9), car(0.45))] * 9,
        objects(car(0.1)),
        label("wet"),
        class_names=("bus", "car"),
    )
    out = tmp_path / "out"
    done = run(folder, out, "--format", "yolo", "--confidence", "0.5", "--split", "100/0")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{out}: yolo, 10 pictures, 9 labels of confidence 0.5 or more, 2 classes",
        "  train: 10 pictures, 9 labels, 1 of them background",
    ]
    notes = [line for line in done.stderr.splitlines() if line.startswith("note: ")]
    assert notes == ["note: 1 picture has a classifier's labels, not objects: --format classify or cvat takes labels"]
    assert (out / "data.yaml").exists()


def test_a_split_that_got_nothing_is_noted(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", objects(car()), objects(car()))
    done = run(folder, tmp_path / "out", "--format", "coco", "--by-stream")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("has no picture: by chance") == 2


def test_background_and_neighbouring_pictures_by_options(tmp_path: Path) -> None:
    folder = collect_predictions(tmp_path / "in", *[objects(car())] * 20, objects())
    done = run(folder, tmp_path / "out", "--format", "cvat", "--no-background", "--together", "3600")
    assert done.exit_code == 0, done.stderr
    assert len([path for path in (tmp_path / "out" / "images").iterdir() if any(path.iterdir())]) == 1
    assert "note: 1 picture has nothing at this confidence, which --no-background leaves out" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "voc"], "--format voc: must be one of yolo, coco, cvat, classify"),
        (
            ["--format", "yolo", "--split", "80/10"],
            "--split 80/10: adds up to 90; shares in percent that add up to 100",
        ),
        (["--format", "yolo", "--by-stream", "--together", "5"], "--together 5: --by-stream keeps more together"),
        (["--format", "classify"], "no picture of it can be in a dataset of the format classify; 1 picture has a"),
    ],
)
def test_what_it_refuses(tmp_path: Path, options: list[str], message: str) -> None:
    folder = collect_predictions(tmp_path / "in", objects(car()))
    done = run(folder, tmp_path / "out", *options)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, tmp_path / "out", "--format", "yolo")
    assert (done.exit_code, "no metadata.jsonl in it" in done.stderr) == (2, True)

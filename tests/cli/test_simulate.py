"""`framesift simulate`: its table, its JSON, its report, what it keeps beside a video, and what it refuses."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from framesift.cli.main import app
from framesift.simulation.figures import limit_words
from rigs.daemon import POLICY, write_configuration
from rigs.footage import timed_clip
from rigs.scenes import scene

NOON = "2026-11-28T12:00Z"
CAR = {"x": 160, "y": 120, "width": 80, "height": 60, "confidence": 0.9, "class": "car", "class_id": 0}
BUS = {"x": 60, "y": 60, "width": 40, "height": 40, "confidence": 0.5, "class": "bus", "class_id": 1}


def predictions() -> str:
    """Every scene has one car; each third one a bus too, of which the model is unsure."""
    lines = []
    for number in range(12):
        found = [CAR, BUS] if number % 3 == 2 else [CAR]
        size = {"width": 320, "height": 240}
        lines.append(
            json.dumps({"frame": number, "task_type": "object-detection", "image": size, "predictions": found})
        )
    return "\n".join(lines) + "\n"


def strategy(name: str, daily: int, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": "random",
        "traffic_percentage": 1,
        "limits": [{"type": "daily", "value": daily}],
    } | fields


ALL = {**POLICY, "sampling_strategies": [strategy("all", 5)]}
NEVER = {**POLICY, "sampling_strategies": [strategy("none", 0), strategy("few", 3, traffic_percentage=0.5)]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A video of twelve scenes, one each twenty minutes, with settings and policies."""
    timed_clip(tmp_path / "yard.mp4", [scene(n) for n in range(12)], [1200.0 * n for n in range(12)])
    (tmp_path / "model.jsonl").write_text(predictions())
    model = {"type": "recorded", "path": "model.jsonl"}
    write_configuration(tmp_path, {"streams": [{"name": "yard", "source": "yard.mp4"}], "model": model}, ALL)
    (tmp_path / "never.json").write_text(json.dumps(NEVER))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["simulate", *map(str, words)])


def figures(*words: object) -> list[dict[str, Any]]:
    done = run(*words, "--json")
    assert done.exit_code == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["policies"]
    return found


@pytest.mark.usefixtures("folder")
def test_the_figures_of_one_policy() -> None:
    (of,) = figures("yard.mp4", "--start", NOON, "--seconds-per-box", 30)
    assert of["frames"] == 12
    assert (of["first"], of["last"]) == ("2026-11-28T12:00:00+00:00", "2026-11-28T15:40:00+00:00")
    assert (of["matched"], of["accepted"], of["images"]) == ({"all": 12}, {"all": 5}, 5)
    assert of["refused"] == {"limit": 7}
    assert of["limits"] == [
        {
            "strategy": "all",
            "window": "daily",
            "value": 5,
            "windows": 1,
            "full": 1,
            "full_at": ["2026-11-28T13:20:00+00:00"],
        }
    ]
    assert (of["boxes"], of["labelling_minutes"]) == (6, 3.0)  # the third picture has two
    assert of["classes"] == {"seen": {"car": 12, "bus": 4}, "collected": {"car": 5, "bus": 1}, "missing": []}
    assert of["hours"]["missing"] == ["2026-11-28 14:00", "2026-11-28 15:00"]
    assert of["alike"]["near_share"] == 0
    assert [(one["frame"], one["captured_at"][11:16]) for one in of["chosen"]][:2] == [(0, "12:00"), (1, "12:20")]


def test_the_model_runs_once_and_again_only_when_video_or_model_have_changed(folder: Path) -> None:
    def kept() -> set[str]:
        return {path.name for path in folder.glob("yard.mp4.*.predictions.jsonl")}

    first = run("yard.mp4", "--start", NOON)
    assert "12 predictions are kept" in first.stderr
    (name,) = kept()
    assert "kept" not in run("yard.mp4", "--start", "2026-11-27").stderr
    os.utime(folder / "yard.mp4", ns=(1, 1))
    assert "12 predictions are kept" in run("yard.mp4", "--start", NOON).stderr
    assert len(kept()) == 2
    (folder / "model.jsonl").write_text(predictions() + "\n")
    assert "12 predictions are kept" in run("yard.mp4", "--start", NOON).stderr
    assert len(kept()) == 3
    assert name in kept()
    assert not list(folder.glob("*.partial"))


def test_what_is_kept_may_be_given_instead_of_the_video(folder: Path) -> None:
    (of,) = figures("yard.mp4", "--start", NOON)
    (recording,) = folder.glob("*.predictions.jsonl")
    (again,) = figures(recording, "--policy", "policy.json", "--start", NOON)
    assert again["bytes_are_estimated"] is True
    for key in ("chosen", "refused", "accepted", "classes", "hours", "alike"):
        assert again[key] == of[key]


@pytest.mark.usefixtures("folder")
def test_days_are_filled_by_repeating_the_video() -> None:
    (of,) = figures("yard.mp4", "--start", "2026-11-26T12:00Z", "--days", 2)
    assert of["frames"] == 144  # 12 in each four hours
    assert of["last"] == "2026-11-28T11:40:00+00:00"
    assert of["images"] == 15
    assert of["limits"][0]["full"] == 3
    assert of["images_a_day"] == pytest.approx(15 / (144 * 20 - 20) * 1440, abs=0.01)


@pytest.mark.usefixtures("folder")
def test_policies_stand_side_by_side_in_the_table() -> None:
    done = run("yard.mp4", "--start", NOON, "--policy", "policy.json", "--policy", "never.json")
    assert done.exit_code == 0
    words = " ".join(done.stdout.split())
    assert words.startswith("12 frames of yard.mp4, 2026-11-28 12:00:00 to 15:40:00 (UTC) policy.json")
    assert "all 12 5 daily 5: full at 13:20" in words
    assert "never.json" in words
    assert "none 12 0 daily 0: lets nothing through" in words
    assert "hours 2 of 4 that were seen; missing: 2026-11-28 14:00, 2026-11-28 15:00" in words


def report(folder: Path, *words: object) -> str:
    done = run("yard.mp4", "--start", NOON, "--html", "report.html", *words)
    assert done.exit_code == 0, done.stderr
    return (folder / "report.html").read_text()


def pictures_in(page: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    decoded = [cv2.imdecode(np.frombuffer(base64.b64decode(one), np.uint8), cv2.IMREAD_COLOR) for one in found]
    assert all(one is not None for one in decoded)
    return [np.asarray(one) for one in decoded]


def test_the_report_has_the_pictures_that_were_chosen_and_nothing_from_outside(folder: Path) -> None:
    page = report(folder, "--policy", "policy.json", "--policy", "never.json")
    pictures = pictures_in(page)
    assert len(pictures) == 5 + 3
    for shown, number in zip(pictures, range(5), strict=False):
        small = cv2.resize(scene(number), (shown.shape[1], shown.shape[0]), interpolation=cv2.INTER_AREA)
        assert np.abs(shown.astype(int) - small).mean() < 6
    assert "http" not in re.sub(r'src="data:[^"]+"', "", page)
    assert page.count("<section>") == 2
    assert "missing: 2026-11-28 14:00" in page
    assert page.count("<rect ") >= 5


def test_what_privacy_covers_is_covered_in_the_report(folder: Path) -> None:
    settings = json.loads((folder / "framesift.yaml").read_text())
    settings["privacy"] = {"polygons": [[[0, 0], [1, 0], [1, 0.5], [0, 0.5]]], "classes": ["car"], "style": "black"}
    (folder / "framesift.yaml").write_text(json.dumps(settings))
    for picture in pictures_in(report(folder)):
        height, width = picture.shape[:2]
        assert picture[: int(height * 0.45)].max() < 12
        assert picture[height // 2 + 4 : height * 5 // 8 - 4, width * 3 // 8 : width * 5 // 8].max() < 12
        assert picture[int(height * 0.85) :].max() > 12


def test_a_report_of_a_recording_draws_the_predictions(folder: Path) -> None:
    figures("yard.mp4", "--start", NOON)
    (recording,) = folder.glob("*.predictions.jsonl")
    done = run(recording, "--start", NOON, "--html", "report.html")
    assert done.exit_code == 0, done.stderr
    page = (folder / "report.html").read_text()
    assert pictures_in(page) == []
    assert page.count("<title>car 0.90</title>") == 5


def test_without_a_policy_the_streams_own_one_is_tried(folder: Path) -> None:
    model = {"type": "recorded", "path": "model.jsonl"}
    stream = {"name": "yard", "source": "yard.mp4", "policy": "never.json"}
    write_configuration(folder, {"streams": [stream], "model": model}, ALL)
    (found,) = figures("yard.mp4")
    assert Path(found["policy"]).name == "never.json"


def test_a_strategy_may_be_called_as_the_baseline_is(folder: Path) -> None:
    named = {**POLICY, "sampling_strategies": [strategy("baseline", 5)]}
    (folder / "named.json").write_text(json.dumps(named))
    (found,) = figures("yard.mp4", "--policy", "named.json")
    assert (found["matched"], found["accepted"]) == ({"baseline": 12}, {"baseline": 5})
    assert [limit["full"] for limit in found["limits"]] == [1]


def test_an_hour_that_comes_twice_when_clocks_are_set_back_counts_twice(folder: Path) -> None:
    begin_s = 1_792_886_400  # 2 o'clock in Berlin, 2026-10-25; an hour later it is 2 o'clock again
    lines = [json.loads(line) | {"captured_at": begin_s + 900 * n} for n, line in enumerate(predictions().splitlines())]
    (folder / "night.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "berlin.json").write_text(json.dumps({**ALL, "time_zone": "Europe/Berlin"}))
    (found,) = figures("night.jsonl", "--policy", "berlin.json")
    hours = {"2026-10-25 02:00": 4, "2026-10-25 02:00 CET": 4, "2026-10-25 03:00": 4}
    assert found["hours"]["seen"] == hours


def test_a_daily_limit_that_was_full_at_several_times_names_the_earliest_and_the_latest() -> None:
    full_at = ["2026-11-28T20:24:00+00:00", "2026-11-29T00:24:00+00:00"]
    assert limit_words({"value": 5, "window": "daily", "full": 2, "full_at": full_at}) == (
        "full on 2 days, between 00:24 and 20:24"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("lost.mp4",), "lost.mp4: there is no such file"),
        (("yard.mp4", "--stream", "gate"), "--stream gate: the settings have no such stream; they have yard"),
        (("yard.mp4", "--start", "noon"), "--start noon: a time such as"),
        (("yard.mp4", "--policy", "yard.mp4"), "yard.mp4"),
        (("yard.mp4", "--policy", "never.json", "--policy", "never.json"), "--policy never.json is given twice"),
        (("yard.mp4", "--html", "."), "--html .: is a folder; name a file"),
        (("yard.mp4", "--html", "lost/a.html"), "--html lost/a.html: there is no folder lost"),
        (("empty.jsonl",), "empty.jsonl: is empty"),
        ((".",), ".: is a folder; a video or a recording of framesift run --record is expected"),
        (("bare.jsonl",), "bare.jsonl:1: has no captured_at"),
        (("broken.jsonl",), "broken.jsonl:1: column 2: is not JSON"),
    ],
)
def test_what_can_not_be_simulated_is_refused_with_the_place(
    words: tuple[str, ...], message: str, folder: Path
) -> None:
    (folder / "bare.jsonl").write_text('{"is_stub": true}\n')
    (folder / "empty.jsonl").touch()
    (folder / "broken.jsonl").write_text("{]\n")
    done = run(*words)
    assert done.exit_code in (1, 2)
    assert message in " ".join(str(done.stderr).split())
    assert done.stdout == ""

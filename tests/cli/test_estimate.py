"""`framesift estimate`: what it prints, what it notes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from framesift.cli.main import app
from rigs.baseline_folder import BaselineFolder, found_object, label, objects, write_coco, write_yolo

CAR, BUS = found_object("car", 50, confidence=0.8), found_object("bus", 150, confidence=0.4)
WHERE_THE_CAR_IS = "0 0.25 0.5 0.1 0.2"


@pytest.fixture
def folder(tmp_path: Path) -> BaselineFolder:
    """Forty pictures: a car in each second one, a doubtful bus in one of four."""
    made = BaselineFolder(tmp_path / "collected")
    scenes = (objects(CAR), objects(), objects(CAR, BUS), objects())
    made.add_all([scenes[number % 4] for number in range(40)])
    return made


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["estimate", *map(str, words)])


def estimated(*words: object) -> dict[str, Any]:
    done = run(*words, "--json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def refused(*words: object) -> str:
    done = run(*words)
    assert done.exit_code == 2
    assert done.stdout == ""
    return str(done.stderr).removeprefix("framesift: ").strip()


def labels_of(
    folder: BaselineFolder, tmp_path: Path, numbers: range, class_names: tuple[str, ...] = ("car", "bus")
) -> Path:
    """A YOLO dataset in which a car is where the model found one."""
    lines = {folder.names[n]: [] if n % 2 else [WHERE_THE_CAR_IS] for n in numbers}
    write_yolo(tmp_path / "export", class_names, lines)
    return tmp_path / "export"


def test_how_often_classes_are_predicted(folder: BaselineFolder) -> None:
    done = run(folder.path)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == (
        "40 pictures of the baseline stand for 4,000 frames, 2026-11-29T00:00:00Z to 2026-11-29T06:30:00Z"
    )
    assert lines[2] == "objects of confidence 0.5 or more; 95 % intervals"
    assert lines[3].split() == ["class", "frames", "with", "it", "objects", "in", "a", "frame"]
    assert [line.split()[:3] for line in lines[4:]] == [["all", "50", "%"], ["car", "50", "%"]]
    assert done.stderr == ""


def test_each_confidence_is_estimated(folder: BaselineFolder) -> None:
    found = estimated(folder.path, "--confidence", "0.5", "--confidence", "0.3")
    assert [(of["confidence"], [c["class"] for c in of["classes"]]) for of in found["results"]] == [
        (0.3, [None, "bus", "car"]),
        (0.5, [None, "car"]),
    ]
    (every, _, _), (_, car) = (of["classes"] for of in found["results"])
    assert (every["objects"]["value"], car["objects"]["value"]) == (0.75, 0.5)
    assert 0.2 < car["frames"]["low"] < 0.5 < car["frames"]["high"] < 0.8
    assert (found["pictures"], found["frames"], found["labels"]) == (40, 4000, None)


def test_too_few_pictures_have_no_interval(tmp_path: Path) -> None:
    few = BaselineFolder(tmp_path)
    few.add_all([objects(CAR)] * 5)
    assert "100 % (too few: 5 pictures)" in run(few.path).stdout


def test_precision_and_recall_with_yolo_labels_of_a_part(folder: BaselineFolder, tmp_path: Path) -> None:
    path = labels_of(folder, tmp_path, range(30))
    (path / "labels" / "holiday.txt").touch()
    done = run(folder.path, "--labels", path, "--confidence", 0.3)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[1] == f"30 of them have labels in {path}"
    assert lines[3] == "objects of confidence 0.3 or more, right from an IoU of 0.5 on; 95 % intervals"
    rows = {line.split()[0]: line for line in lines[5:]}
    assert rows["all"].split()[1:3] == ["68.2", "%"]  # 15 cars are right, 7 buses are not
    assert "100 %" in rows["car"]
    assert "none seen" in rows["bus"]  # no bus to be recalled
    assert "note: 10 pictures without labels are left out, and nothing stands in for what they show" in done.stderr
    assert "note: 1 labelled picture is none of these, by the ids in the names" in done.stderr


def test_precision_and_recall_with_a_coco_file(folder: BaselineFolder, tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    boxes: dict[str, list[tuple[int, list[float] | None]]] = {
        f"{name}_jpg.rf.{'0' * 32}.jpg": [] if number % 2 else [(0, [40.0, 40.0, 20.0, 20.0])]
        for number, name in folder.names.items()
    }
    write_coco(path, ("car", "bus"), boxes)
    found = estimated(folder.path, "--labels", path)
    assert found["labels"] == {"labelled": 40, "unlabelled": 0, "not_of_these": 0}
    (of_all, car) = found["results"][0]["classes"]
    assert (of_all["recall"]["value"], car["precision"]["value"], car["precision"]["high"]) == (1.0, 1.0, 1.0)
    assert 0.7 < car["precision"]["low"] < 0.9


def test_the_accuracy_of_a_classifier(tmp_path: Path) -> None:
    made = BaselineFolder(tmp_path / "collected")
    made.add_all([label("car"), label("bus")] * 20)
    write_yolo(tmp_path / "export", ("car", "bus"), {name: ["0"] for name in made.names.values()})
    done = run(made.path, "--labels", tmp_path / "export")
    assert "right in 50 % (" in done.stdout
    assert "labels; 95 % intervals" in done.stdout
    assert estimated(made.path, "--labels", tmp_path / "export")["results"][0]["accuracy"]["pictures"] == 40


def test_a_stream_and_a_time(folder: BaselineFolder) -> None:
    folder.add(40, objects(BUS, BUS, BUS), stream="yard", weight=9)
    found = estimated(folder.path, "--stream", "yard", "--confidence", 0.1)
    assert (found["pictures"], found["frames"], found["stream"]) == (1, 9, "yard")
    assert "1 picture of the baseline stands for about 9 frames of yard" in run(folder.path, "--stream", "yard").stdout
    assert estimated(folder.path, "--since", "2026-11-29T01:00", "--until", "2026-11-29T03:00")["pictures"] == 12
    assert refused(folder.path, "--stream", "roof") == (
        "--stream roof: the baseline has no picture of it, but of gate, yard"
    )
    assert refused(folder.path, "--since", "2026-11-29", "--until", "2026-11-29").startswith("--since is not before")
    assert refused(folder.path, "--since", "noon").startswith("--since noon: a time such as 2026-11-28")


def test_what_was_left_out_is_noted(folder: BaselineFolder) -> None:
    folder.add(40, None)
    folder.add(41, objects(CAR), weight=None)
    done = run(folder.path)
    assert "note: 1 more picture has no prediction and is left out" in done.stderr
    assert "note: 1 line is of another strategy named baseline, without a weight" in done.stderr
    assert estimated(folder.path)["without_prediction"] == 1


def test_the_models_own_labels_are_no_truth(folder: BaselineFolder) -> None:
    write_yolo(folder.path, ("car",), {folder.names[0]: [WHERE_THE_CAR_IS]})
    for path in (folder.path, folder.path / "labels"):
        assert "where labels are the model's own predictions, not the truth" in refused(folder.path, "--labels", path)


def test_class_names_that_differ(folder: BaselineFolder, tmp_path: Path) -> None:
    path = labels_of(folder, tmp_path, range(40), ("auto", "bus"))
    assert refused(folder.path, "--labels", path) == (
        f"--labels {path}: class names differ: auto, car. The model has car; the labels have auto, bus."
        " Rename them in the labels, or choose classes with --class"
    )
    few = labels_of(folder, tmp_path / "few", range(40), ("car",))
    assert "class names differ: bus." in refused(folder.path, "--labels", few, "--confidence", 0.3, "--confidence", 0.5)
    assert run(folder.path, "--labels", few, "--confidence", 0.5).exit_code == 0  # no bus is as sure as that
    (folder.path / "data.yaml").write_text("names: [car, auto]\n")  # the model's classes
    assert "class names differ: car." in refused(folder.path, "--labels", path)
    found = estimated(folder.path, "--labels", path, "--class", "auto")
    assert found["results"][0]["classes"][0]["recall"]["value"] == 0.0
    (folder.path / "data.yaml").write_text("names: 3\n")
    assert "data.yaml: names: a list of class names" in refused(folder.path, "--labels", path)


def test_without_a_baseline_it_says_how_to_get_one(tmp_path: Path) -> None:
    made = BaselineFolder(tmp_path)
    made.add(0, objects(CAR), strategy="hard", weight=None)
    assert '"baseline": {"share": 0.1} in the policy collects them' in refused(made.path)
    assert "missing: does not exist: the path of a folder sink" in refused(tmp_path / "missing")


def test_the_help_has_an_example() -> None:
    done = CliRunner().invoke(app, ["estimate", "--help"], env={"COLUMNS": "200"})
    assert "framesift estimate collected --labels export/" in done.stdout

"""`framesift run` and `check` with networks: what a network leaves open is said before it costs anything."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from canaries import KEY
from framesift.models.onnx.coco import NAMES
from rigs.daemon import POLICY, Daemon, collected, framesift, write_configuration
from rigs.footage import numbered_clip
from rigs.networks import averaging, cells, constant
from rigs.platform import Platform

CARS = {
    **POLICY,
    "sampling_strategies": [
        {
            "name": "cars",
            "type": "detections_number_based",
            "probability": 1,
            "more_than": 0,
            "selected_class_names": ["car"],
        }
    ],
}


def detector(folder: Path, *boxes: tuple[float, ...], classes: int = 80) -> dict[str, Any]:
    """The model's options: whatever it is shown, it sees these boxes (centre and size in 64 x 64), each a car of COCO's
    classes. It has no class names."""
    output = np.zeros((1, 4 + classes, cells(64, 64)), np.float32)
    for place, box in enumerate(boxes or ((32, 32, 8, 8),)):
        output[0, :4, 3 + place] = box
        output[0, 4 + NAMES.index("car"), 3 + place] = 0.9
    constant(folder / "net.onnx", output)
    return {"type": "onnx", "path": "net.onnx", "family": "yolov8"}


def configure(
    folder: Path, model: dict[str, Any], policy: dict[str, Any] = CARS, settings: dict[str, Any] | None = None
) -> None:
    numbered_clip(folder / "clip.mp4", frames=5)
    streams = [{"name": "gate", "source": "clip.mp4"}]
    write_configuration(folder, {"streams": streams, "model": model, **(settings or {})}, policy)


def findings(folder: Path, subject: str, **variables: Any) -> list[str]:
    """What `check` says of a subject, a line each."""
    lines = framesift(folder, "check", COLUMNS="400", **variables).stdout.splitlines()
    return [line for line in lines if f" {subject} " in line]


def test_a_class_selected_by_name_of_a_network_without_names_is_refused_with_the_option_that_names_it(
    tmp_path: Path,
) -> None:
    configure(tmp_path, detector(tmp_path))
    told = framesift(tmp_path, "run")
    assert told.returncode == 2, told.stdout + told.stderr
    for word in (
        "policy.json",
        "'cars'",
        "'car'",
        "have no names",
        "model.class_names_file",
        "model.class_names",
        "coco",
    ):
        assert word in told.stderr
    assert "Traceback" not in told.stderr
    (refused,) = [line for line in findings(tmp_path, "policy") if "'car'" in line]
    assert refused.startswith("FAILED")
    assert any("class_0" in line and "model.class_names_file" in line for line in findings(tmp_path, "model"))


@pytest.mark.parametrize("names", ["coco", "file"])
def test_with_names_it_collects_what_is_called_so(tmp_path: Path, names: str) -> None:
    (tmp_path / "names.txt").write_text("\n".join(NAMES) + "\n")
    option = {"class_names": "coco"} if names == "coco" else {"class_names_file": "names.txt"}
    configure(tmp_path, detector(tmp_path) | option)
    told = framesift(tmp_path, "run")
    assert told.returncode == 0, told.stdout + told.stderr
    rows = collected(tmp_path)
    assert {box["class"] for row in rows for box in row["prediction"]["predictions"]} == {"car"}
    assert len(rows) == 5


def test_classes_of_the_same_name_are_noted(tmp_path: Path) -> None:
    configure(tmp_path, detector(tmp_path) | {"class_names": [*NAMES[:-1], "car"]})
    (note,) = [line for line in findings(tmp_path, "model") if "several" in line]
    assert note.startswith("note")
    assert "several of its classes are called 'car'" in note


def test_a_policy_that_selects_no_class_or_is_switched_off_needs_no_names(tmp_path: Path) -> None:
    for policy in (POLICY, CARS | {"enabled": False}):
        configure(tmp_path, detector(tmp_path), policy)
        assert framesift(tmp_path, "run").returncode == 0
    assert len(collected(tmp_path)) == 5


def test_a_fetched_policy_that_needs_names_is_a_problem_that_is_logged(tmp_path: Path) -> None:
    with Platform() as platform:
        platform.add_project("parking", active_learning=CARS)
        source = {"policy": {"from": "roboflow", "project": "parking"}, "roboflow": {"api_url": platform.url}}
        configure(tmp_path, detector(tmp_path), settings=source)
        done = framesift(tmp_path, "run", ROBOFLOW_API_KEY=KEY)
        (refused,) = [line for line in findings(tmp_path, "policy", ROBOFLOW_API_KEY=KEY) if "'car'" in line]
    assert done.returncode == 0, done.stdout + done.stderr
    (told,) = [json.loads(line) for line in done.stdout.splitlines() if "policy_problem" in line]
    for word in ("'cars'", "'car'", "have no names", "model.class_names_file"):
        assert word in told["reason"]
    assert not refused.startswith("FAILED")


def test_a_file_that_needs_names_is_refused_when_it_is_read_again_too(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    streams = [{"name": "gate", "source": "rtsp://127.0.0.1:9/x"}]
    write_configuration(tmp_path, {"streams": streams, "model": detector(tmp_path)})
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        (tmp_path / "policy.json").write_text(json.dumps(CARS))
        daemon.process.send_signal(signal.SIGHUP)
        assert "'car'" in daemon.wait_for("reload_refused")["reason"]
        (tmp_path / "policy.json").write_text(json.dumps(POLICY | {"jpeg_compression_level": 90}))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("reloaded")
        assert daemon.stop() == 0


def test_a_box_in_the_letterboxs_bar_fails_no_check(tmp_path: Path) -> None:
    # Any clip is wider than high: the bars are above and below.
    configure(tmp_path, detector(tmp_path, (32, 32, 8, 8), (32, 3, 8, 5)) | {"class_names": "coco"})
    (told,) = findings(tmp_path, "prediction")
    assert "1 object in the first frame" in told
    assert not told.startswith("FAILED")


def test_check_says_how_pictures_are_prepared(tmp_path: Path) -> None:
    configure(tmp_path, detector(tmp_path) | {"class_names": "coco"})
    (told,) = findings(tmp_path, "pictures")
    for word in ("64 x 64", "letterboxed", "RGB", "from 0 to 1", "mean 0", "std 1", "(1, 3, height, width)"):
        assert word in told
    own = {"colour": "bgr", "scale": 1.0, "mean": [1, 2, 3], "std": [4, 4, 4], "resize": "stretch"}
    configure(tmp_path, detector(tmp_path) | own)
    (told,) = findings(tmp_path, "pictures")
    for word in ("stretched", "BGR", "from 0 to 255", "mean [1, 2, 3]", "std 4"):
        assert word in told


def test_check_says_what_of_a_classifiers_pictures_is_left_open(tmp_path: Path) -> None:
    averaging(tmp_path / "net.onnx")
    model = {"type": "onnx", "path": "net.onnx", "activation": "none"}
    configure(tmp_path, model, POLICY)
    prepared, left_open = findings(tmp_path, "pictures")
    assert "the middle cut out" in prepared
    for word in ("model.scale, model.mean, model.std", "left open"):
        assert word in left_open
    assert not left_open.startswith("FAILED")
    configure(tmp_path, model | {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}, POLICY)
    (told,) = findings(tmp_path, "pictures")
    assert "mean [0.485, 0.456, 0.406], std [0.229, 0.224, 0.225]" in told
    averaging(tmp_path / "net.onnx", {"task": "classify", "names": "['r', 'g', 'b']"})
    configure(tmp_path, model, POLICY)
    assert len(findings(tmp_path, "pictures")) == 1


def test_of_a_classifier_that_normalises_by_itself_only_the_range_is_left_open(tmp_path: Path) -> None:
    text = """<ir_version: 9, opset_import: ["" : 17]>
g (float[1, 3, 32, 32] images) => (float[1, 3, 1, 1] output0) {
  half = Constant <value = float {0.5}> ()
  same = Identity (images)
  centred = Sub (same, half)
  means = GlobalAveragePool (centred)
  output0 = Softmax <axis = 1> (means)
}"""
    onnx.save(onnx.parser.parse_model(text), str(tmp_path / "net.onnx"))
    configure(tmp_path, {"type": "onnx", "path": "net.onnx"}, POLICY)
    left_open = findings(tmp_path, "pictures")[1]
    assert "model.scale: left open" in left_open
    configure(tmp_path, {"type": "onnx", "path": "net.onnx", "scale": 1.0}, POLICY)
    assert len(findings(tmp_path, "pictures")) == 1


def test_a_classifier_whose_confidences_are_not_those_of_one_label_is_refused_at_the_start(tmp_path: Path) -> None:
    constant(tmp_path / "net.onnx", np.array([[0.9, 0.8, 0.1]], np.float32))
    configure(tmp_path, {"type": "onnx", "path": "net.onnx"}, POLICY)
    told = framesift(tmp_path, "run")
    assert told.returncode == 2
    assert "multi_label: true" in told.stderr
    (failed,) = findings(tmp_path, "model")
    assert failed.startswith("FAILED")
    assert "model.multi_label" in failed

"""`framesift run` and `check` with streams that have models of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rigs.daemon import Daemon, collected, framesift, write_configuration
from rigs.footage import numbered_clip

CARS = """
import os
import threading

def make(class_name, fails=False):
    with open("loaded.txt", "a") as file:
        file.write(class_name + "\\n")
    def predict(pixels):
        if fails:
            raise ValueError("no " + class_name + " today")
        return {"predictions": [
            {"x": 30, "y": 30, "width": 20, "height": 20, "confidence": 0.5, "class": class_name, "class_id": 0}
        ]}
    return predict
""".replace("\\\\", "\\")


def seeing(class_name: str, **options: Any) -> dict[str, Any]:
    return {
        "type": "python",
        "factory": "mine:make",
        "path": ".",
        "options": {"class_name": class_name, **options},
        "model_id": f"{class_name}/1",
    }


def configure(folder: Path, loop: bool = False, **models: dict[str, Any] | None) -> None:
    """A stream for each model, under its name; None means the common one, which sees cars."""
    numbered_clip(folder / "clip.mp4", frames=5)
    (folder / "mine.py").write_text(CARS)
    clip = {"source": "clip.mp4", "loop": loop}
    streams = [{"name": name, **clip} | ({"model": model} if model else {}) for name, model in models.items()]
    common = {"model": seeing("car")} if None in models.values() else {"model": None}
    write_configuration(folder, {"streams": streams, **common})


def test_each_stream_is_shown_to_its_own_model_and_each_model_is_loaded_once(tmp_path: Path) -> None:
    configure(tmp_path, gate=None, yard=seeing("cat"), roof=seeing("cat"))
    done = framesift(tmp_path, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    classes = {
        (line["stream"], found["class"]) for line in collected(tmp_path) for found in line["prediction"]["predictions"]
    }
    assert classes == {("gate", "car"), ("yard", "cat"), ("roof", "cat")}
    assert sorted((tmp_path / "loaded.txt").read_text().split()) == ["car", "cat"]
    (ready,) = (line for line in map(json.loads, done.stdout.splitlines()) if line["event"] == "ready")
    assert ready["model"].startswith("model: ")
    assert "; model of yard, roof: " in ready["model"]


def test_health_names_the_model_that_fails_and_only_that(tmp_path: Path) -> None:
    configure(tmp_path, loop=True, gate=None, yard=seeing("cat", fails=True))
    with Daemon(tmp_path) as daemon:
        failing = daemon.wait_for("health", component="model of yard", state="degraded")
        assert "no cat today" in failing["why"]
        assert not [e for e in daemon.events if e.get("component") == "model" and e.get("state") != "ok"]


def test_check_tries_each_model(tmp_path: Path) -> None:
    configure(tmp_path, gate=seeing("car"), yard=seeing("cat", fails=True))
    lines = framesift(tmp_path, "check", COLUMNS="400").stdout.splitlines()
    assert any(line.startswith("ok") and " model of gate " in line for line in lines), lines
    assert any(line.startswith("ok") and " model of yard " in line for line in lines), lines
    assert any(line.startswith("FAILED") and " prediction " in line and "no cat today" in line for line in lines), lines


def test_a_model_that_can_not_be_loaded_is_named_with_its_streams(tmp_path: Path) -> None:
    configure(tmp_path, gate=None, yard={**seeing("cat"), "factory": "mine:away"})
    done = framesift(tmp_path, "run")
    assert done.returncode == 2
    assert "model of yard: " in done.stderr

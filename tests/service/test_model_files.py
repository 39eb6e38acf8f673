"""A new model file is taken in at a reload, without a restart; one that can't be used leaves the old model at work."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rigs.daemon import Daemon, collected, framesift, write_configuration
from rigs.footage import numbered_clip
from rigs.networks import cells, constant


def network(
    path: Path, *, confidence: float, classes: tuple[str, ...] = ("car", "bus"), kind: str = "detector"
) -> None:
    """Writes a network beside the path and puts it there at once: whatever it is shown, it sees one car."""
    names = {"names": str(dict(enumerate(classes)))}
    if kind == "classifier":
        constant(path.with_suffix(".new"), np.array([[confidence, 1 - confidence]], np.float32), metadata=names)
    else:
        output = np.zeros((1, 4 + len(classes), cells(64, 64)), np.float32)
        output[0, :4, 3] = (32, 32, 8, 8)
        output[0, 4, 3] = confidence
        constant(path.with_suffix(".new"), output, metadata=names)
    path.with_suffix(".new").replace(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A clip that plays like a camera, again and again, before a network that sees a car with a confidence of 0.5."""
    numbered_clip(tmp_path / "clip.mp4", frames=20)
    network(tmp_path / "net.onnx", confidence=0.5)
    with socket.create_server(("127.0.0.1", 0)) as free:
        bind = f"127.0.0.1:{free.getsockname()[1]}"
    whole = {
        "streams": [{"name": "gate", "source": "clip.mp4", "loop": True, "pace": "realtime"}],
        "model": {"type": "onnx", "path": "net.onnx"},
        "status": {"bind": bind},
    }
    write_configuration(tmp_path, whole)
    return tmp_path


def reload(daemon: Daemon, answer: str) -> dict[str, Any]:
    before = len(daemon.events)
    daemon.process.send_signal(signal.SIGHUP)
    return daemon.wait_for(answer, after=before)


def confidences(folder: Path) -> set[float]:
    found = (box["confidence"] for row in collected(folder) for box in row["prediction"]["predictions"])
    return {round(float(confidence), 3) for confidence in found}


def unwell(folder: Path) -> dict[str, str]:
    shown = json.loads(framesift(folder, "status", "--json").stdout)["health"]
    return {component["name"]: component["why"] for component in shown if component["condition"] != "ok"}


def test_a_new_file_is_taken_in_and_a_wrong_one_is_not(folder: Path) -> None:
    with Daemon(folder) as daemon:
        daemon.wait_for("ready")
        assert daemon.until(lambda: confidences(folder) == {0.5}, 30.0)

        network(folder / "net.onnx", confidence=0.8, classes=("car", "bus", "tram"))
        told = reload(daemon, "model_replaced")
        assert told["model"] == "model"
        assert "2 classes" in told["was"]
        assert "3 classes" in told["now"]
        assert daemon.until(lambda: 0.8 in confidences(folder), 30.0)

        (folder / "net.onnx").write_bytes(b"no network")
        why = reload(daemon, "model_not_replaced")["why"]
        assert "net.onnx" in why
        assert why in unwell(folder)["file of the model"]

        network(folder / "net.onnx", confidence=0.9, kind="classifier")
        assert "restart" in reload(daemon, "model_not_replaced")["why"]

        network(folder / "net.onnx", confidence=0.7)
        reload(daemon, "model_replaced")
        assert daemon.until(lambda: 0.7 in confidences(folder), 30.0)
        assert "file of the model" not in unwell(folder)
        assert daemon.stop() == 0
    assert confidences(folder) == {0.5, 0.8, 0.7}


def test_what_privacy_covers_must_be_known_to_the_new_model(folder: Path) -> None:
    path = folder / "framesift.yaml"
    path.write_text(json.dumps({**json.loads(path.read_text()), "privacy": {"classes": ["bus"]}}))
    with Daemon(folder) as daemon:
        daemon.wait_for("ready")
        network(folder / "net.onnx", confidence=0.8, classes=("car",))
        assert "bus" in reload(daemon, "model_not_replaced")["why"]
        assert daemon.stop() == 0

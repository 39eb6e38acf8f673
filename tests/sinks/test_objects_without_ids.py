"""Objects, keypoints and labels without a number: nowhere on their way do they get the number -1."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from canaries import KEY
from deliveries import HEIGHT, WIDTH, delivery
from framesift.datasets.drafts import DatasetFormat
from framesift.http_client.client import HttpClient
from framesift.prediction.prediction import Detections, Prediction
from framesift.prediction.wire_format import parse_prediction
from framesift.roboflow import RoboflowClient
from framesift.sampling.recorder import Recorder
from framesift.sinks import Delivered, Registered, RoboflowSink, RoboflowSinkSettings
from rigs.exports import collect_predictions, export
from rigs.platform import Platform
from sampling_data import frame

_SIZE = {"image": {"width": WIDTH, "height": HEIGHT}}
_BOX = {"x": 50.0, "y": 50.0, "width": 20.0, "height": 10.0, "confidence": 0.5, "class": "car"}
_TIP = {"x": 50.0, "y": 50.0, "confidence": 0.5, "class": "tip"}
_IDS = ("class_id", "category_id", "tracker_id")

SAID: dict[str, dict[str, Any]] = {
    "objects": {"predictions": [_BOX, {**_BOX, "class_id": -1, "tracker_id": -1}, {**_BOX, "class_id": 7}]},
    "keypoints": {"predictions": [{**_BOX, "keypoints": [_TIP, {**_TIP, "class_id": -1}, {**_TIP, "class_id": 0}]}]},
    "label": {"predictions": [{"class": "car", "class_id": -1, "confidence": 0.5}], "top": "car", "confidence": 0.5},
    "labels": {"predictions": {"car": {"confidence": 0.5, "class_id": -1}}, "predicted_classes": ["car"]},
}


@pytest.fixture(params=SAID)
def prediction(request: pytest.FixtureRequest) -> Prediction:
    return parse_prediction(SAID[request.param] | _SIZE)


def ids_in(content: object) -> Iterator[object]:
    """Every number of a class, a category or a track in a JSON value."""
    if isinstance(content, dict):
        yield from (content[name] for name in _IDS if name in content)
    parts = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    for part in parts:
        yield from ids_in(part)


def assert_no_negative_ids(content: object) -> None:
    assert [id for id in ids_in(content) if isinstance(id, int) and id < 0] == []


def test_the_collected_folder_and_datasets_of_it_have_numbers_of_their_own(
    tmp_path: Path, prediction: Prediction
) -> None:
    folder = collect_predictions(tmp_path / "collected", prediction)
    (line,) = (folder / "metadata.jsonl").read_text().splitlines()
    assert_no_negative_ids(json.loads(line))
    if not isinstance(prediction, Detections):
        return
    assert yaml.safe_load((folder / "data.yaml").read_text())["names"] == {0: "car"}
    (labels,) = (folder / "labels").iterdir()
    assert {row.split()[0] for row in labels.read_text().splitlines()} == {"0"}
    export(folder, tmp_path / "coco", DatasetFormat.COCO)
    for file in (tmp_path / "coco").rglob("*.json"):
        assert_no_negative_ids(json.loads(file.read_text()))
    (annotations,) = (
        json.loads(file.read_text()) for file in (tmp_path / "coco").rglob("*.json") if "train" in str(file)
    )
    assert {one["category_id"] for one in annotations["annotations"]} == {
        one["id"] for one in annotations["categories"]
    }
    export(folder, tmp_path / "yolo", DatasetFormat.YOLO)
    written = [file.read_text() for file in (tmp_path / "yolo").rglob("*.txt")]
    assert {row.split()[0] for text in written for row in text.splitlines() if re.match(r"-?\d+ ", row)} == {"0"}
    export(folder, tmp_path / "cvat", DatasetFormat.CVAT)
    (tree,) = (ET.parse(file) for file in (tmp_path / "cvat").rglob("*.xml"))
    assert {one.get("label") for one in tree.iter() if one.tag in ("box", "points", "polygon")} == {"car"}


def test_an_upload_names_the_class_and_leaves_its_number_to_the_project(prediction: Prediction) -> None:
    with Platform() as platform, closing(HttpClient()) as http:
        platform.add_project("gate", "object-detection" if isinstance(prediction, Detections) else "classification")
        settings = RoboflowSinkSettings(type="roboflow", project="gate")
        sink = RoboflowSink(settings, RoboflowClient(http, api_key=KEY, api_url=platform.url))
        what = delivery(1, prediction)
        registered = sink.deliver(what, now_s=0.0, within_s=10.0)
        assert isinstance(registered, Registered)
        again = replace(what, image_id=registered.image_id, attempt_number=2)
        assert sink.deliver(again, now_s=0.0, within_s=10.0) == Delivered()
        (annotation,) = platform.annotations_of(registered.image_id)
    if not isinstance(prediction, Detections):
        assert annotation.text == "car"
        return
    assert_no_negative_ids(annotation.json())
    assert [one.get("class_id") for one in annotation.json()["predictions"]] in ([None, None, 7], [None])


def test_a_recording_has_none(tmp_path: Path, prediction: Prediction) -> None:
    failures: list[OSError] = []
    with closing(Recorder(tmp_path / "p.jsonl", failures.append)) as recorder:
        recorder.record(frame(np.zeros((HEIGHT, WIDTH, 3), np.uint8)), prediction)
    line = json.loads((tmp_path / "p.jsonl").read_text())
    assert_no_negative_ids(line)
    assert parse_prediction(line) == prediction

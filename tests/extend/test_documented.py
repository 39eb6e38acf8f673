"""The examples of docs/extending.md do what the page says, and framesift.extend has what it names."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import framesift.extend
from deliveries import delivery
from framesift.cli.main import app
from framesift.policy.policy import load
from framesift.sinks import Delivered, PythonSinkSettings, open_sink
from framesift.strategies import AcceptedClasses, Match
from rigs.daemon import POLICY
from sampling_data import FixedRandom, frame, objects

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")


def block(after: str, number: int) -> str:
    """The n-th indented block after a title."""
    text = PAGE[PAGE.index(after) :]
    return textwrap.dedent(re.findall(r"\n\n((?: {4}.*\n|\n(?= {4}))+)", text)[number])


@pytest.fixture(autouse=True)
def no_trace(tmp_path: Path) -> Iterator[None]:
    """The modules of the examples are forgotten afterwards."""
    yield
    for name in ("rules", "lines"):
        sys.modules.pop(name, None)
    sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path)]


def test_the_strategy_of_the_page_collects_dark_frames(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text(block("### A strategy", 0))
    (tmp_path / "policy.yaml").write_text(
        "enabled: true\npersist_predictions: true\n"
        "batching_strategy: {batches_name_prefix: al, recreation_interval: never}\n"
        f"sampling_strategies: [{block('### A strategy', 1)}]\n"
    )
    (options,) = load(tmp_path / "policy.yaml").sampling_strategies
    assert options.needs_pixels
    strategy = options.create(FixedRandom(0.0), AcceptedClasses())
    assert strategy.evaluate(frame(), objects()) == Match("night", 1.0)
    assert strategy.evaluate(frame(np.full((24, 32, 3), 200, np.uint8)), objects()) is None


def test_the_prediction_of_the_page_can_be_tried(tmp_path: Path) -> None:
    number = {"name": "one", "type": "detections_number_based", "probability": 1, "more_than": 0}
    (tmp_path / "policy.json").write_text(json.dumps({**POLICY, "sampling_strategies": [number]}))
    (tmp_path / "p.jsonl").write_text(block("### Try it", 0))
    tried = CliRunner().invoke(
        app, ["policy", "try", str(tmp_path / "policy.json"), str(tmp_path / "p.jsonl"), "--json"]
    )
    (answer,) = [json.loads(line) for line in tried.stdout.splitlines()]
    assert answer == {"matched": ["one"], "charged": "one", "reason": None, "score": None}


def test_the_sink_of_the_page_writes_to_its_folder(tmp_path: Path) -> None:
    (tmp_path / "lines.py").write_text(block("### A sink", 0))
    data = yaml.safe_load(block("### A sink", 1))["sink"]
    settings = PythonSinkSettings.model_validate(
        {**data, "path": tmp_path, "options": {"folder": str(tmp_path / "frames")}, "limits": ()}
    )
    sink = open_sink(settings, class_names=None)
    assert sink.check() is None
    assert sink.deliver(delivery(1), now_s=0.0, within_s=45.0) == Delivered()
    assert len(list((tmp_path / "frames").glob("*.jpg"))) == 1


def test_the_interface_is_complete_and_closed() -> None:
    for name in framesift.extend.__all__:
        assert getattr(framesift.extend, name) is not None
    assert set(re.findall(r"\b(?:Delivered|Duplicate|Registered|Rejected|RetryLater|FailureScope)\b", PAGE)) <= set(
        framesift.extend.__all__
    )
    assert f"`FRAMESIFT_EXTEND = {framesift.extend.EXTEND_VERSION}`" in PAGE


def test_what_the_interface_promises_is_not_changed_unnoticed() -> None:
    """A name that is taken out, or a field that is renamed, breaks code of others: then EXTEND_VERSION must grow."""
    fields = {
        name: tuple(getattr(framesift.extend, name).__dataclass_fields__)
        for name in framesift.extend.__all__
        if hasattr(getattr(framesift.extend, name), "__dataclass_fields__")
    }
    assert framesift.extend.EXTEND_VERSION == 1
    assert fields == PROMISED


_OF_ALL = ("width", "height", "model_id", "inference_id", "time_s", "dropped", "embedding")
PROMISED = {
    "ClassScore": ("class_name", "class_id", "confidence"),
    "Classification": (*_OF_ALL, "top", "confidence", "scores", "parent_id"),
    "Delivered": (),
    "Delivery": (
        *("id", "device", "stream", "frame", "captured_at_s", "strategy", "score", "tags", "batch", "annotate"),
        *("width", "height", "prediction", "jpeg", "project", "attempt_number", "image_id", "prediction_json", "facts"),
    ),
    "Detection": (
        *("x", "y", "width", "height", "confidence", "class_name", "class_id", "points", "rle", "keypoints"),
        *("detection_id", "class_confidence", "tracker_id", "parent_id"),
    ),
    "Detections": (*_OF_ALL, "task", "objects"),
    "Duplicate": (),
    "Frame": ("stream", "number", "picture", "captured", "epoch", "media_s", "sent_s"),
    "Keypoint": ("x", "y", "confidence", "class_name", "class_id"),
    "ModelFacts": ("task", "class_names", "stub", "class_names_advice", "gives_embeddings"),
    "MultiLabel": (*_OF_ALL, "scores", "predicted"),
    "Point": ("x", "y"),
    "Registered": ("image_id",),
    "Rejected": ("reason",),
    "RetryLater": ("retry_at_s", "reason", "scope", "may_have_arrived"),
    "Stub": (*_OF_ALL, "task"),
}

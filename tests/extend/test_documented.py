"""The examples of docs/extending.md do what the page says, and framesift.extend has what it names."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import framesift.extend
from deliveries import delivery
from framesift.cli.main import app
from framesift.config.errors import ConfigError
from framesift.frame import Frame
from framesift.policy.policy import load
from framesift.prediction.prediction import Detection, Detections, Task
from framesift.sinks import Delivered, PythonSinkSettings, open_sink
from framesift.strategies import AcceptedClasses, Match, ModelFacts, StrategyOptions
from rigs.daemon import POLICY
from sampling_data import FixedRandom, frame, label, objects

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")


def block(after: str, number: int) -> str:
    """The n-th indented block after a title."""
    text = PAGE[PAGE.index(after) :]
    return textwrap.dedent(re.findall(r"\n\n((?: {4}.*\n|\n(?= {4}))+)", text)[number])


@pytest.fixture(autouse=True)
def no_trace(tmp_path: Path) -> Iterator[None]:
    """The modules of the examples are forgotten afterwards."""
    yield
    for name in ("rules", "lines", "brightness", "object_size"):
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


def example(folder: Path, file: str, number: int, **changed: Any) -> StrategyOptions:
    """The strategy of an example: its file, and its entry in the policy, with some options changed."""
    (folder / file).write_text(block("### Two examples", number))
    entry = json.loads(block("### Two examples", number + 1))
    entry["options"] |= changed
    (folder / "policy.json").write_text(json.dumps({**POLICY, "sampling_strategies": [entry]}))
    (options,) = load(folder / "policy.json").sampling_strategies
    return options


def grey(shade: float) -> Frame:
    return frame(np.full((48, 64, 3), round(255 * shade), np.uint8))


def test_the_example_of_brightness_wants_dark_and_glaring_frames(tmp_path: Path) -> None:
    options = example(tmp_path, "brightness.py", 0)
    assert options.needs_pixels
    strategy = options.create(FixedRandom(0.0), AcceptedClasses())
    found = [strategy.evaluate(grey(shade), objects()) for shade in (0.0, 0.1, 0.3, 0.8, 1.0)]
    assert [None if match is None else (match.strategy, round(match.score or 0.0, 2)) for match in found] == [
        ("dusk", 0.2),
        ("dusk", 0.1),
        None,
        None,
        ("dusk", 0.15),
    ]


def test_the_example_of_object_size_wants_frames_by_the_number_of_unusual_objects(tmp_path: Path) -> None:
    options = example(tmp_path, "object_size.py", 2)
    strategy = options.create(FixedRandom(0.0), AcceptedClasses())

    def seen(*found: tuple[str, float, float]) -> Match | None:
        """found: class, confidence, and share of the picture."""
        boxes = tuple(Detection(50.0, 50.0, 100 * share, 100.0, sure, name, 0) for name, sure, share in found)
        return strategy.evaluate(frame(), Detections(task=Task.OBJECT_DETECTION, objects=boxes, width=100, height=100))

    small, usual = 0.001, 0.01
    assert seen(("person", 0.5, small), ("person", 0.9, small), ("person", 0.9, usual)) == Match("far-away", 2.0)
    assert seen(("person", 0.2, small), ("car", 0.9, small), ("person", 0.9, usual)) is None
    assert strategy.evaluate(frame(), label("person", 0.9)) is None
    larger = example(tmp_path, "object_size.py", 2, smaller_than=0, larger_than=0.5, class_names=None)
    strategy = larger.create(FixedRandom(0.0), AcceptedClasses())
    assert seen(("car", 0.9, 0.6), ("car", 0.9, 0.5)) == Match("far-away", 1.0)


def test_the_examples_say_what_is_wrong_with_their_options_and_with_the_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"below 0.9 and above 0.85: must be 0 <= below < above <= 1"):
        example(tmp_path, "brightness.py", 0, below=0.9)
    with pytest.raises(ConfigError, match=r"smaller_than 2, larger_than 1.0: must be shares"):
        example(tmp_path, "object_size.py", 2, smaller_than=2)
    detector = ModelFacts(Task.OBJECT_DETECTION, ("car",), stub=False)
    assert list(example(tmp_path, "object_size.py", 2).problems(detector)) == ["the model has no class 'person'"]
    assert list(example(tmp_path, "object_size.py", 2, smaller_than=0, class_names=["car"]).problems(detector)) == [
        "can never match: neither smaller_than nor larger_than is set"
    ]
    classifier = ModelFacts(Task.CLASSIFICATION, ("person",), stub=False)
    assert len(list(example(tmp_path, "object_size.py", 2).problems(classifier))) == 1


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


_OF_ALL = ("width", "height", "model_id", "inference_id", "time_s", "dropped", "embedding", "extras", "dropped_extras")
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
        *("detection_id", "class_confidence", "tracker_id", "parent_id", "extras"),
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

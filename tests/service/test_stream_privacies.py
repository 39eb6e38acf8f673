"""The privacy of the streams of a run: what is refused at the start, its detector, and what health says."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clocks import ManualClock
from framesift.cli.check_privacy import detector_finding, privacy_findings
from framesift.config.errors import ConfigError
from framesift.frame import Frame
from framesift.http_client import Exchanges
from framesift.pictures.outgoing import Unmasked
from framesift.prediction.prediction import Stub, Task
from framesift.service.run_context import RunContext
from framesift.service.stream_models import StreamModels, UsedModel
from framesift.service.stream_privacies import MAX_UNMASKED_STREAMS, StreamPrivacies
from framesift.settings import ListenerEntry, StreamEntry, load
from framesift.telemetry import Telemetry
from rigs.daemon import write_configuration
from sampling_data import frame, objects

MODELS = str(Path(__file__).parents[1] / "rigs" / "faulty")


@dataclass(frozen=True)
class _Style:
    format: str = "json"
    level: str = "debug"


def finding(*class_names: str, **options: Any) -> dict[str, Any]:
    options = {"class_names": class_names, **options}
    return {"type": "python", "factory": "named_classes:Finds", "path": MODELS, "options": options}


class Run:
    """Settings, with the models that they name and the privacy of their streams."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        streams = [{"name": "gate", "source": "rtsp://127.0.0.1/x"}, {"name": "folder", "source": "pictures/*.jpg"}]
        write_configuration(folder, {"streams": streams, "model": finding("car", "person"), **settings})
        self.settings = load(folder / "framesift.yaml", {})
        self.clock = ManualClock()
        self.out = io.StringIO()
        self.telemetry = Telemetry(self.clock, _Style(), out=self.out)
        self.context = RunContext(self.settings, self.clock, self.telemetry, Exchanges(), lambda _: None)
        self.models = StreamModels(self.context)
        self.used = [UsedModel(use, self.models.of(use.streams[0])[0]) for use in self.settings.model_uses]
        self.detectors = [
            UsedModel(use, found[0])
            for use in self.settings.detector_uses
            for owner in self.settings.streams
            if owner.name == use.streams[0]
            and (privacy := self.settings.privacy_of(owner)) is not None
            and (found := self.models.detector_of(privacy)) is not None
        ]

    @property
    def health(self) -> dict[str, tuple[str, str]]:
        return {one.name: (one.condition.value, one.why) for one in self.telemetry.health.components()}

    @property
    def checked(self) -> list[tuple[str, bool | None, str]]:
        return [
            (one.subject, one.ok, one.message) for one in privacy_findings(self.settings, self.used, self.detectors)
        ]

    def close(self) -> None:
        self.models.close()
        self.telemetry.close()


@pytest.fixture
def runs() -> Iterator[list[Run]]:
    begun: list[Run] = []
    yield begun
    for run in begun:
        run.close()


def begin(runs: list[Run], folder: Path, **settings: Any) -> Run:
    runs.append(Run(folder, **settings))
    return runs[-1]


def test_a_class_that_no_model_of_a_stream_has_is_refused_with_the_nearest(tmp_path: Path, runs: list[Run]) -> None:
    run = begin(runs, tmp_path, privacy={"classes": ["person", "persn", "tree"]})
    with pytest.raises(ConfigError) as refused:
        StreamPrivacies(run.context, run.models)
    assert refused.value.problems[:2] == (
        'privacy of stream gate: classes: "persn" is no class of the model; did you mean person?',
        'privacy of stream gate: classes: "tree" is no class of the model; known are car, person',
    )
    assert ("privacy of gate", False, 'classes: "persn" is no class of the model; did you mean person?') in run.checked


@pytest.mark.parametrize(
    ("privacy", "model", "why"),
    [
        ({"classes": ["person"]}, {"type": "stub"}, "the model is a stub, which finds no objects: nothing is kept"),
        ({"require": "detector"}, finding("person"), "a detector is required, and there is none: nothing is kept"),
        ({"classes": ["person"]}, finding("person"), None),
    ],
)
def test_the_start_of_a_run_says_where_nothing_can_be_kept(
    tmp_path: Path, runs: list[Run], privacy: dict[str, Any], model: dict[str, Any], why: str | None
) -> None:
    run = begin(runs, tmp_path, privacy=privacy, model=model)
    StreamPrivacies(run.context, run.models)
    run.telemetry.close()
    said = [json.loads(line) for line in run.out.getvalue().splitlines()]
    assert {(line["event"], line["stream"], line["why"]) for line in said} == (
        set() if why is None else {("nothing_can_be_masked", name, why) for name in ("gate", "folder")}
    )


def test_a_class_of_the_detector_need_be_none_of_the_model(tmp_path: Path, runs: list[Run]) -> None:
    privacy = {"classes": ["person", "face"], "detector": finding("face")}
    run = begin(runs, tmp_path, privacy=privacy)
    StreamPrivacies(run.context, run.models)
    covered = "covered: person, face (blur), found by the detector and the model"
    assert run.checked == [("privacy of gate", True, covered), ("privacy of folder", True, covered)]
    (detector,) = run.detectors
    assert detector_finding(detector, frame()).message == "gate: 1 object in the first frame"
    wrong = begin(runs, tmp_path, privacy={**privacy, "classes": ["facade"]})
    with pytest.raises(ConfigError, match=r"is no class of the model or the detector; did you mean face\?"):
        StreamPrivacies(wrong.context, wrong.models)


def test_a_detector_is_loaded_once_and_has_a_health_of_its_own(tmp_path: Path, runs: list[Run]) -> None:
    marker = tmp_path / "there"
    run = begin(runs, tmp_path, privacy={"classes": ["face"], "detector": finding("face", file=str(marker))})
    assert len(run.models) == 2
    assert run.models.description is not None
    assert "; privacy detector: " in run.models.description
    privacies = StreamPrivacies(run.context, run.models)
    made = [privacies.create(owner.name, owner) for owner in run.settings.streams]
    for number in range(3):
        with pytest.raises(Unmasked, match="the detector failed"):
            made[0].begin(frame(number=number), objects())  # type: ignore[union-attr]
    assert run.health["privacy detector"][0] == "degraded"
    assert run.health["privacy of gate"][0] == "degraded"
    assert detector_finding(run.detectors[0], frame()).ok is False
    marker.write_text("")
    mask = made[0].begin(frame(number=3), objects()).mask()  # type: ignore[union-attr]
    assert not mask.is_empty
    assert run.health["privacy detector"][0] == "ok"
    assert "privacy of gate" not in run.health


def test_the_log_and_the_health_say_why_frames_are_unmasked_until_one_is_masked(
    tmp_path: Path, runs: list[Run]
) -> None:
    run = begin(runs, tmp_path, privacy={"classes": ["person"]})
    gate = run.settings.streams[0]
    privacy = StreamPrivacies(run.context, run.models).create("gate", gate)
    assert privacy is not None
    for number in range(3):
        with pytest.raises(Unmasked):
            privacy.begin(frame(number=number), Stub(task=Task.OBJECT_DETECTION, width=32, height=24)).mask()
    condition, why = run.health["privacy of gate"]
    assert condition == "degraded"
    assert why.startswith("no frame could be masked since: the prediction (Stub) has no boxes")
    privacy.begin(frame(number=3), objects()).mask()
    assert "privacy of gate" not in run.health
    with pytest.raises(Unmasked):
        privacy.begin(frame(number=4), Stub(task=Task.OBJECT_DETECTION, width=32, height=24)).mask()
    privacy.end_stream()
    assert "privacy of gate" not in run.health
    run.telemetry.close()
    events = [line for line in map(json.loads, run.out.getvalue().splitlines()) if line["event"] == "frame_unmasked"]
    assert [(line["stream"], line.get("repeated")) for line in events] == [("gate", None), ("gate", 3)]


def test_the_health_lists_a_limited_number_of_streams(tmp_path: Path, runs: list[Run]) -> None:
    run = begin(runs, tmp_path, privacy={"classes": ["person"]}, listeners=[{"listen": "127.0.0.1:0"}])
    privacies = StreamPrivacies(run.context, run.models)
    for number in range(MAX_UNMASKED_STREAMS + 3):
        privacy = privacies.create(f"client-{number}", run.settings.listeners[0])
        assert privacy is not None
        with pytest.raises(Unmasked):
            privacy.begin(frame(), Stub(task=Task.OBJECT_DETECTION, width=32, height=24)).mask()
    assert sum(name.startswith("privacy of ") for name in run.health) == MAX_UNMASKED_STREAMS


def test_only_the_frames_of_a_video_tell_of_each_other(tmp_path: Path, runs: list[Run]) -> None:
    run = begin(runs, tmp_path, privacy={"classes": ["person"]}, listeners=[{"listen": "127.0.0.1:0"}])
    privacies = StreamPrivacies(run.context, run.models)
    gate, folder = run.settings.streams
    for owner, follows in ((gate, True), (folder, False), (run.settings.listeners[0], False)):
        assert isinstance(owner, StreamEntry | ListenerEntry)
        privacy = privacies.create("x", owner)
        assert privacy is not None
        privacy.observe(still(0), objects(("person", 0.5)))
        privacy.observe(still(1), objects())
        assert privacy.begin(still(1), objects()).mask().is_empty is not follows


def still(number: int) -> Frame:
    return frame(np.zeros((24, 32, 3), np.uint8), number=number)


def test_without_privacy_there_is_none(tmp_path: Path, runs: list[Run]) -> None:
    run = begin(runs, tmp_path)
    assert StreamPrivacies(run.context, run.models).create("gate", run.settings.streams[0]) is None
    assert run.checked == []


@pytest.mark.parametrize(
    ("settings", "findings"),
    [
        (
            {"privacy": {"require": "detector", "classes": ["person"]}},
            [(False, "a detector is required, and there is none: nothing is kept")],
        ),
        (
            {"privacy": {"classes": ["person"]}, "model": {"type": "stub"}},
            [(False, "the model is a stub, which finds no objects: nothing is kept")],
        ),
        (
            {"privacy": {"polygons": [[[0, 0], [1, 0], [0, 1]]]}, "model": {"type": "stub"}},
            [(True, "covered: 1 polygon, black")],
        ),
        (
            {"streams": [{"name": "gate", "source": "a.mp4", "privacy": False}, {"name": "yard", "source": "a.mp4"}]}
            | {"privacy": {"classes": ["person"], "style": "black"}},
            [
                (None, "nothing is covered on its pictures"),
                (True, "covered: person (black), found by the model"),
            ],
        ),
        (
            {"streams": [], "model": None, "privacy": {"classes": ["anything"]}}
            | {"listeners": [{"listen": "127.0.0.1:0", "upstream": "http://127.0.0.1:9002"}]},
            [
                (True, "covered: anything (blur), found by the client's prediction"),
                (None, "the inference server behind it, and the program that asks it, sees the pictures unmasked"),
            ],
        ),
    ],
)
def test_check_says_what_is_covered_by_what(
    tmp_path: Path, runs: list[Run], settings: dict[str, Any], findings: list[tuple[bool | None, str]]
) -> None:
    streams = {} if "streams" in settings else {"streams": [{"name": "gate", "source": "a.mp4"}]}
    run = begin(runs, tmp_path, **streams, **settings)
    assert [(ok, message) for _, ok, message in run.checked] == findings


def test_check_says_that_an_inference_server_sees_the_pictures(tmp_path: Path, runs: list[Run]) -> None:
    server = {
        "type": "inference_server",
        "url": "http://127.0.0.1:1",
        "model_id": "faces/1",
        "task": "object-detection",
    }
    privacy = {"classes": ["face"], "detector": server}
    run = begin(runs, tmp_path, privacy=privacy, model={**server, "model_id": "cars/1"})
    assert run.checked[-2:] == [
        ("privacy", None, "the inference server of the model sees the pictures unmasked"),
        ("privacy", None, "the inference server of the privacy detector sees the pictures unmasked"),
    ]

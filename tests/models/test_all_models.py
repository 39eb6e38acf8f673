"""All models: what the settings allow, and the two models that use no pixels (stub, recorded)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from framesift.frame import Frame
from framesift.models import MODELS, REMOTE_MODELS, Model, ModelFailed, ModelLoadError, ModelSettings, load
from framesift.prediction.prediction import Classification, ClassScore, Detection, Detections, Prediction, Stub, Task
from framesift.sampling.recorder import Recorder
from rigs.networks import blank, frame

OPTIONS: TypeAdapter[ModelSettings] = TypeAdapter(ModelSettings)


def model(**fields: object) -> Model:
    return load(OPTIONS.validate_json(json.dumps(fields)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "Unable to extract tag using discriminator 'type'"),
        ({"type": "oracle"}, "'stub', 'recorded', 'python', 'onnx'"),
        ({"type": "stub", "task": "guessing"}, "'object-detection', 'instance-segmentation'"),
        ({"type": "stub", "model_id": "no spaces"}, "match pattern"),
        ({"type": "stub", "path": "a"}, "Extra inputs"),
        ({"type": "recorded"}, "Field required"),
        ({"type": "recorded", "path": 5}, "path"),
        ({"type": "python", "factory": "module.factory"}, "match pattern"),
        ({"type": "python", "factory": "a:b", "options": []}, "should be an object"),
        ({"type": "onnx"}, "Field required"),
        ({"type": "onnx", "path": "a", "family": "yolov4"}, "'auto', 'yolov8', 'yolov5', 'end2end', 'yolox'"),
        ({"type": "onnx", "path": "a", "confidence": 25}, "less than or equal to 1"),
        ({"type": "onnx", "path": "a", "iou": "0.5"}, "valid number"),
        ({"type": "onnx", "path": "a", "resize": "fit"}, "'letterbox', 'stretch' or 'crop'"),
        ({"type": "onnx", "path": "a", "colour": "RGB"}, "'rgb' or 'bgr'"),
        ({"type": "onnx", "path": "a", "scale": 0}, "greater than 0"),
        ({"type": "onnx", "path": "a", "mean": [0.5]}, "Field required"),
        ({"type": "onnx", "path": "a", "std": [1.0, 0.0, 1.0]}, "greater than 0"),
        ({"type": "onnx", "path": "a", "input_size": [640]}, "Field required"),
        ({"type": "onnx", "path": "a", "input_size": [0, 640]}, "greater than or equal to 8"),
        ({"type": "onnx", "path": "a", "class_names": []}, "at least 1 item"),
        ({"type": "onnx", "path": "a", "class_names": "cat"}, "valid array"),
        ({"type": "onnx", "path": "a", "class_names": ["cat", ""]}, "at least 1 character"),
        ({"type": "onnx", "path": "a", "class_names": ["a"], "class_names_file": "b"}, "not both"),
        ({"type": "onnx", "path": "a", "providers": []}, "at least 1 item"),
        ({"type": "onnx", "path": "a", "threads": 0}, "greater than or equal to 1"),
        ({"type": "onnx", "path": "a", "family": "yolox", "multi_label": True}, "for classifiers"),
        ({"type": "onnx", "path": "a", "family": "yolov8", "activation": "sigmoid"}, "for classifiers"),
        ({"type": "onnx", "path": "a", "family": "yolov8", "resize": "crop"}, "would remove"),
    ],
)
def test_what_is_not_allowed_is_refused_with_a_reason(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        OPTIONS.validate_json(json.dumps(fields))
    assert message in str(refusal.value)


def test_the_null_model_says_nothing_of_the_right_task_and_size() -> None:
    stub = model(type="stub", task="classification")
    answer = stub.predict(frame(blank(48, 64)))
    assert answer == Stub(task=Task.CLASSIFICATION, width=64, height=48, model_id="stub/0", time_s=0.0)
    assert (stub.task, stub.class_names, stub.model_id) == (Task.CLASSIFICATION, None, "stub/0")
    stub.close()
    with pytest.raises(ModelFailed, match="closed"):
        stub.predict(frame(blank(48, 64)))


# Recorded

BOX = {"x": 10, "y": 20, "width": 4, "height": 6, "confidence": 0.5, "class": "cat", "class_id": 3}


def lines(path: Path, *objects: object) -> Path:
    path.write_text("".join((o if isinstance(o, str) else json.dumps(o)) + "\n" for o in objects), encoding="utf-8")
    return path


def line(number: object, *boxes: object, **fields: object) -> dict[str, object]:
    return {"frame": number, "image": {"width": 64, "height": 48}, "predictions": list(boxes), **fields}


def classes(model: Model, number: int, stream: str = "gate") -> list[str]:
    answer = model.predict(frame(blank(48, 64), number, stream))
    assert isinstance(answer, Detections)
    return [d.class_name for d in answer.objects]


def test_a_recorded_prediction_is_found_by_its_frames_number(tmp_path: Path) -> None:
    path = lines(tmp_path / "p.jsonl", line(7, BOX, BOX), "", line(3), line(10**9, BOX))
    recorded = model(type="recorded", path=str(path))
    assert [len(classes(recorded, n)) for n in (3, 7, 10**9)] == [0, 2, 1]
    assert (recorded.task, recorded.class_names, recorded.model_id) == (Task.OBJECT_DETECTION, None, "recorded/p")
    with pytest.raises(ModelFailed, match="no recorded prediction for frame 4 of gate"):
        recorded.predict(frame(blank(48, 64), 4))


def test_a_stream_has_its_own_lines_before_those_of_all_streams(tmp_path: Path) -> None:
    dog = {**BOX, "class": "dog"}
    path = lines(tmp_path / "p.jsonl", line(1, BOX), line(2, BOX), line(1, dog, stream="yard"))
    recorded = model(type="recorded", path=str(path))
    assert [classes(recorded, 1, "yard"), classes(recorded, 2, "yard"), classes(recorded, 1, "gate")] == [
        ["dog"],
        ["cat"],
        ["cat"],
    ]


def test_a_recorded_prediction_is_scaled_to_the_frame(tmp_path: Path) -> None:
    recorded = model(type="recorded", path=str(lines(tmp_path / "p.jsonl", line(0, BOX))))
    answer = recorded.predict(frame(blank(96, 640)))
    assert isinstance(answer, Detections)
    (found,) = answer.objects
    assert (answer.width, answer.height, answer.model_id) == (640, 96, "recorded/p")
    assert (found.x, found.y, found.width, found.height) == (100, 40, 40, 12)


def test_a_line_without_a_size_speaks_of_the_frames_pixels(tmp_path: Path) -> None:
    path = lines(tmp_path / "p.jsonl", {"frame": 0, "predictions": [BOX]})
    answer = model(type="recorded", path=str(path)).predict(frame(blank(480, 640)))
    assert (answer.width, answer.height) == (640, 480)


@pytest.mark.parametrize(
    ("given", "task"),
    [
        ([line(0), line(1, {**BOX, "points": [{"x": 1, "y": 2}]})], Task.INSTANCE_SEGMENTATION),
        ([line(0), line(1, task_type="keypoint-detection")], Task.KEYPOINT_DETECTION),
        ([line(0)], None),
        ([line(0, BOX), line(1, top="cat", confidence=0.5)], None),
    ],
)
def test_the_task_is_the_one_of_all_lines_that_have_one(
    tmp_path: Path, given: list[dict[str, object]], task: Task | None
) -> None:
    recorded = model(type="recorded", path=str(lines(tmp_path / "p.jsonl", *given)))
    assert recorded.task is task
    # A line with no objects takes the task that the others tell.
    assert recorded.predict(frame(blank(48, 64))).task is (task or Task.OBJECT_DETECTION)
    assert model(type="recorded", path=str(tmp_path / "p.jsonl"), task="keypoint-detection").task is (
        Task.KEYPOINT_DETECTION
    )


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", "p.jsonl:2: Expecting"),
        ("[1]", "p.jsonl:2: a prediction must be a JSON object, not list"),
        (line(0) | {"predictions": 5}, 'p.jsonl:2: "predictions" is missing'),
        (line(None), 'p.jsonl:2: "frame": None is not a frame\'s number'),
        (line(-1), '"frame": -1'),
        (line(True), '"frame": True'),
        (line(1.5), '"frame": 1.5'),
        (line(2**70), '"frame": 1180591620717411303424'),
        (line(1, stream=5), '"stream": 5 is not a stream'),
        (line(0), "p.jsonl:2: frame 0 is on line 1 already"),
        ("[" * 100_000, "p.jsonl:2: "),
        ('{"frame": 1, "torn', "p.jsonl:2: "),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_line_is_named_when_the_file_is_opened(tmp_path: Path, bad: object, message: str) -> None:
    path = lines(tmp_path / "p.jsonl", line(0, BOX), bad)
    with pytest.raises(ModelLoadError) as refusal:
        model(type="recorded", path=str(path))
    assert message in str(refusal.value)


def test_bytes_that_are_no_text_are_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(json.dumps(line(0)).encode() + b"\n\xff\xfe\xff\n")
    with pytest.raises(ModelLoadError, match=r"p\.jsonl:2"):
        model(type="recorded", path=str(path))


@pytest.mark.parametrize(("name", "message"), [("none.jsonl", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        model(type="recorded", path=str(tmp_path / name))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="holds no predictions"):
        model(type="recorded", path=str(lines(tmp_path / "p.jsonl", "")))


def test_a_file_that_changed_since_it_was_opened_fails_the_frame_alone(tmp_path: Path) -> None:
    path = lines(tmp_path / "p.jsonl", line(0, BOX), line(1, BOX))
    recorded = model(type="recorded", path=str(path))
    with path.open("r+b") as file:
        file.write(b"garbage")
    with pytest.raises(ModelFailed, match="frame 0 of gate"):
        recorded.predict(frame(blank(48, 64), 0))
    assert classes(recorded, 1) == ["cat"]
    recorded.close()
    with pytest.raises(ModelFailed, match="closed"):
        recorded.predict(frame(blank(48, 64), 1))


def test_what_is_recorded_is_replayed_as_it_was(tmp_path: Path) -> None:
    cat = Detection(x=1.5, y=2.0, width=3.0, height=4.0, confidence=0.75, class_name="cat", class_id=0)
    predictions: list[Prediction] = [
        Detections(task=Task.INSTANCE_SEGMENTATION, objects=(), width=64, height=48, model_id="m/1", time_s=0.5),
        Detections(task=Task.INSTANCE_SEGMENTATION, objects=(cat,), width=64, height=48, model_id="m/1"),
        Detections(
            task=Task.OBJECT_DETECTION,
            objects=(replace(cat, extras=(("colour", "red"), ("plate", None))), cat),
            width=64,
            height=48,
            model_id="m/1",
            extras=(("weather", "rain"), ("lux", 12.5)),
        ),
        Classification(top="a", confidence=0.9, scores=(ClassScore("a", 0, 0.9),), width=64, height=48, model_id="m"),
        Stub(task=Task.KEYPOINT_DETECTION, width=64, height=48, model_id="stub/0"),
    ]
    path = tmp_path / "p.jsonl"
    path.write_text("from an earlier run\n")
    shown: list[Frame] = [frame(blank(48, 64), number, f"s{number}") for number in range(len(predictions))]
    failures: list[OSError] = []
    recorder = Recorder(path, on_error=failures.append)
    for each, prediction in zip(shown, predictions, strict=True):
        recorder.record(each, prediction)
        # Line by line: what `record` has taken is in the file already.
        assert len(path.read_bytes().splitlines()) == each.number + 1
    recorder.close()
    recorded = model(type="recorded", path=str(path))
    assert [recorded.predict(each) for each in shown] == predictions


def test_every_type_of_model_in_the_settings_is_in_one_table() -> None:
    union, _discriminator = get_args(ModelSettings)
    types = {get_args(settings.model_fields["type"].annotation)[0] for settings in get_args(union)}
    missing = types - set(MODELS) - set(REMOTE_MODELS)
    assert not missing, f"models/__init__.py: add {missing} to the table MODELS"
    assert not set(MODELS) & set(REMOTE_MODELS)
    assert set(MODELS) | set(REMOTE_MODELS) == types, "models/__init__.py: the union ModelSettings lacks a type"


@pytest.mark.parametrize("name", sorted({*MODELS, *REMOTE_MODELS}))
def test_every_type_of_model_is_documented(name: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    assert f"| `{name}` |" in text, f"docs/models.md: the table of types lacks a line for `{name}`"


def test_a_recording_that_git_lfs_did_not_fetch_is_named(tmp_path: Path) -> None:
    pointer = tmp_path / "day.jsonl"
    pointer.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345678\n")
    with pytest.raises(ModelLoadError, match=r"model\.path: .*day\.jsonl is a pointer of Git LFS.*run `git lfs pull`"):
        model(type="recorded", path=str(pointer))

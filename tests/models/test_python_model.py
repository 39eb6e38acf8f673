"""Anybody's own model: what it is called with, what it may answer, and that nothing it does ends more than a frame."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from framesift import prediction as prediction_api
from framesift.models import Model, ModelFailed, ModelLoadError, ModelSettings, load
from framesift.prediction.prediction import Detections, Task
from rigs.networks import blank, frame

OPTIONS: TypeAdapter[ModelSettings] = TypeAdapter(ModelSettings)

SOURCE = '''
import math
import numpy as np
from framesift.prediction import Detection, Detections, Task, detections_from_arrays

BOX = {"x": 10, "y": 20, "width": 4, "height": 6, "confidence": 0.5, "class": "cat", "class_id": 3}
IMAGE = {"width": 32, "height": 24}

def answering(answer):
    return lambda pixels: answer

def seen(confidence=0.5, **fields):
    cat = Detection(x=1.0, y=2.0, width=3.0, height=4.0, confidence=confidence, class_name="cat", class_id=0,
                    extras=(("colour", "red"), ("size", math.inf)))
    known = dict(task=Task.INSTANCE_SEGMENTATION, objects=(cat,), width=64, height=48, model_id="own/1")
    known["dropped"] = 2
    return Detections(**{**known, **fields})

def noun(**fields):
    return lambda pixels: seen(**fields)

def not_a_number():
    return lambda pixels: seen(confidence=math.nan)

def foreign_objects():
    return lambda pixels: seen(objects=(1, 2))

class Whole:
    task = "object-detection"
    class_names = {1: "dog", 0: "cat"}
    model_id = "street/3"

    def __init__(self, least=0.0):
        self.least = least
        self.closed = False

    def predict(self, pixels):
        height, width = pixels.shape[:2]
        brightest = np.argwhere(pixels.max(axis=2) > 250)
        (top, left), (bottom, right) = brightest.min(axis=0), brightest.max(axis=0) + 1
        boxes = np.array([[left, top, right, bottom]])
        return detections_from_arrays(
            boxes, np.array([self.least]), np.array([1.0]), ("cat", "dog"), width=width, height=height
        )

    def close(self):
        raise RuntimeError("closing failed")

class Drawing:
    def predict(self, pixels):
        pixels[:] = 0
        return {"predictions": []}

def failing():
    raise ValueError("no weights")

def leaving():
    raise SystemExit(3)

def raising(error):
    def predict(pixels):
        raise {"SystemExit": SystemExit, "OSError": OSError, "KeyError": KeyError}[error]("torn")
    return predict

def said(**attributes):
    return type("Said", (), {"predict": lambda self, pixels: {"predictions": []}, **attributes})()

class Counting:
    """Sees whether two threads are ever inside at once."""
    def __init__(self):
        import threading
        self.free, self.overlapped = threading.Lock(), False
    def predict(self, pixels):
        if not self.free.acquire(blocking=False):
            self.overlapped = True
            raise RuntimeError("two at once")
        try:
            np.sort(np.random.default_rng(0).random(20000))
            return {"predictions": [BOX]}
        finally:
            self.free.release()

a_number = 5
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # Each test has a module of its own name: what Python has imported once, it keeps.
    (tmp_path / f"own_{tmp_path.name}.py").write_text(SOURCE, encoding="utf-8")
    return tmp_path


def model(folder: Path, name: str, **options: object) -> Model:
    return configured(folder, name, options=options)


def configured(folder: Path, name: str, **fields: object) -> Model:
    usual = {"type": "python", "factory": f"own_{folder.name}:{name}", "path": str(folder)}
    return load(OPTIONS.validate_json(json.dumps(usual | fields)))


BOX = {"x": 10, "y": 20, "width": 4, "height": 6, "confidence": 0.5, "class": "cat", "class_id": 3}


def test_a_model_is_built_with_its_options_and_asked_for_each_picture(folder: Path) -> None:
    own = model(folder, "Whole", least=0.25)
    assert (own.task, own.class_names, own.model_id) == (Task.OBJECT_DETECTION, ("cat", "dog"), "street/3")
    pixels = blank(48, 64)
    pixels[10:20, 30:50, 2] = 255
    answer = own.predict(frame(pixels))
    assert isinstance(answer, Detections)
    (found,) = answer.objects
    assert (found.x, found.y, found.width, found.height, found.class_name) == (40, 15, 20, 10, "dog")
    assert found.confidence == 0.25
    assert answer.model_id == "street/3"
    assert answer.time_s is not None
    assert 0 < answer.time_s < 60


def test_a_name_in_the_configuration_is_the_models_name(folder: Path) -> None:
    assert configured(folder, "Whole", model_id="mine/4").model_id == "mine/4"
    assert model(folder, "said").model_id == f"own_{folder.name}:said"


def test_a_wire_object_is_an_answer_in_the_pictures_pixels(folder: Path) -> None:
    answer = model(folder, "answering", answer={"predictions": [BOX, None]}).predict(frame(blank(48, 64)))
    assert isinstance(answer, Detections)
    assert (answer.width, answer.height, answer.dropped) == (64, 48, 1)
    assert answer.objects[0].class_name == "cat"


def test_what_it_says_under_keys_of_its_own_goes_with_the_prediction_and_its_objects(folder: Path) -> None:
    wire = {"predictions": [{**BOX, "colour": "red", "crop": [1, 2]}], "weather": "rain"}
    answer = model(folder, "answering", answer=wire).predict(frame(blank(48, 64)))
    assert isinstance(answer, Detections)
    assert (answer.objects[0].extras, answer.extras) == ((("colour", "red"),), (("weather", "rain"),))
    assert (answer.dropped, answer.dropped_extras) == (0, 1)


def test_an_answer_about_another_size_is_scaled_to_the_frame(folder: Path) -> None:
    wire = {"image": {"width": 32, "height": 12}, "predictions": [BOX]}
    answer = model(folder, "answering", answer=wire).predict(frame(blank(48, 64)))
    assert isinstance(answer, Detections)
    assert (answer.objects[0].x, answer.objects[0].y) == (20, 80)


def test_a_prediction_keeps_its_own_fields(folder: Path) -> None:
    answer = model(folder, "noun").predict(frame(blank(48, 64)))
    assert isinstance(answer, Detections)
    assert (answer.model_id, answer.dropped, answer.task) == ("own/1", 2, Task.INSTANCE_SEGMENTATION)
    assert replace(answer.objects[0], confidence=0.0).x == 1.0
    assert (answer.objects[0].extras, answer.dropped_extras) == ((("colour", "red"),), 1)


def test_a_prediction_is_checked_for_numbers_that_are_not_finite(folder: Path) -> None:
    answer = model(folder, "not_a_number").predict(frame(blank(48, 64)))
    assert isinstance(answer, Detections)
    assert (answer.objects, answer.dropped) == ((), 3)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("raising", {"error": "OSError"}, "OSError: torn"),
        ("raising", {"error": "KeyError"}, "KeyError: 'torn'"),
        ("raising", {"error": "SystemExit"}, "SystemExit: torn"),
        ("answering", {"answer": None}, "answered with a NoneType"),
        ("answering", {"answer": [1]}, "answered with a list"),
        ("answering", {"answer": {}}, '"predictions" is missing'),
        ("noun", {"width": 0}, "image.width: 0"),
        ("foreign_objects", {}, "AttributeError"),
        ("Drawing", {}, "read-only"),
    ],
)
def test_any_error_costs_the_frame_and_gives_the_reason(
    folder: Path, name: str, options: dict[str, object], said: str
) -> None:
    pixels = blank(48, 64)
    with pytest.raises(ModelFailed) as failure:
        model(folder, name, **options).predict(frame(pixels))
    assert said in str(failure.value)
    assert np.array_equal(pixels, blank(48, 64))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("failing", {}, "failed: ValueError: no weights"),
        ("leaving", {}, "failed: SystemExit: 3"),
        ("Whole", {"leest": 0.5}, "unexpected keyword argument 'leest'"),
        ("nobody", {}, "has no callable 'nobody'"),
        ("Whole.nothing", {}, "has no callable 'Whole.nothing'"),
        ("a_number", {}, "has no callable 'a_number'"),
        ("dict", {}, "has no callable"),
        ("said", {"predict": 5}, "returned a Said, not a callable"),
        ("said", {"task": "guessing"}, "says task 'guessing'; allowed are object-detection"),
        ("said", {"class_names": "cat"}, "says class_names 'cat'; that is not a list"),
        ("said", {"class_names": ["cat", 5]}, "not a list of texts"),
    ],
)
def test_a_factory_that_gives_no_model_is_refused_with_a_reason(
    folder: Path, name: str, options: dict[str, object], said: str
) -> None:
    with pytest.raises(ModelLoadError, match=r"^model\.factory: ") as refusal:
        model(folder, name, **options)
    assert said in str(refusal.value)


def test_a_module_that_cannot_be_imported_is_named_with_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"can't import own_.* \(looked in .* first\): ModuleNotFoundError"):
        model(tmp_path, "Whole")
    (tmp_path / f"own_{tmp_path.name}.py").write_text("import no_such_module_anywhere\n")
    with pytest.raises(ModelLoadError, match="no_such_module_anywhere"):
        model(tmp_path, "Whole")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"path: .*gone is not a folder"):
        model(tmp_path / "gone", "Whole")


def test_a_model_is_called_by_one_thread_at_a_time(folder: Path) -> None:
    own = model(folder, "Counting")
    counts: list[int] = []

    def ask() -> None:
        for _ in range(20):
            answer = own.predict(frame(blank(48, 64)))
            assert isinstance(answer, Detections)
            counts.append(len(answer.objects))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert counts == [1] * 80


def test_a_closed_model_fails_and_errors_of_its_close_are_ignored(folder: Path) -> None:
    own = model(folder, "Whole")
    own.close()
    with pytest.raises(ModelFailed, match="closed"):
        own.predict(frame(blank(48, 64)))
    own.close()


def test_the_former_name_of_detections_from_arrays_still_works() -> None:
    assert prediction_api.detections is prediction_api.detections_from_arrays


def test_what_a_model_raises_when_it_is_read_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / f"own_{tmp_path.name}.py").write_text(
        "class Bad:\n def predict(self, pixels): pass\n @property\n def task(self): raise OSError('disk')\n"
        "class Repr:\n def __call__(self, pixels): pass\n class task:\n"
        "  def __repr__(self): raise OSError('x')\n task = task()\n"
        "class Names:\n def __call__(self, pixels): pass\n class_names = {1: 'car', 'two': 'bus'}\n"
    )
    for name, reason in (
        ("Bad", "reading its task failed: OSError: disk"),
        ("Repr", "says task (OSError: x); allowed are"),
        ("Names", "reading its class_names failed: TypeError: "),
    ):
        data = {"type": "python", "factory": f"own_{tmp_path.name}:{name}", "path": str(tmp_path)}
        with pytest.raises(ModelLoadError, match=re.escape(reason)):
            load(OPTIONS.validate_json(json.dumps(data)))

"""A python model that answers in the classes of the supervision library. They are stood in for by classes of the same
shape: the library is recognised, not imported."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from framesift.models import Model, ModelFailed, ModelSettings, load
from framesift.prediction import wire_format as wire
from framesift.prediction.prediction import Detections, Task
from rigs.networks import blank, frame
from rigs.polygons import covered

OPTIONS: TypeAdapter[ModelSettings] = TypeAdapter(ModelSettings)
WIDTH, HEIGHT = 64, 48

SOURCE = '''
import numpy as np

class Found:
    def __init__(self, xyxy, mask=None, confidence=None, class_id=None, tracker_id=None, data=None):
        self.xyxy, self.mask, self.confidence, self.class_id = xyxy, mask, confidence, class_id
        self.tracker_id, self.data, self.metadata = tracker_id, data or {}, {}

class Compact:
    """Masks that unfold one at a time."""
    def __init__(self, masks):
        self.masks, self.shape = masks, masks.shape
    def __getitem__(self, index):
        return self.masks[index]

class Joints:
    def __init__(self, xy, class_id=None, keypoint_confidence=None, detection_confidence=None, visible=None, data=None):
        self.xy, self.class_id, self.keypoint_confidence = xy, class_id, keypoint_confidence
        self.detection_confidence, self.visible, self.data = detection_confidence, visible, data or {}

class OldJoints:
    def __init__(self, xy, class_id=None, confidence=None, data=None):
        self.xy, self.class_id, self.confidence, self.data = xy, class_id, confidence, data or {}

class Model:
    def __init__(self, answer, names=None, keypoint_names=None):
        self.answer = answer
        if names:
            self.class_names = names
        if keypoint_names:
            self.keypoint_names = keypoint_names
    def predict(self, pixels):
        return self.answer

BOXES = [[10, 20, 30, 40], [-4, 2, 8, 12]]

def masks():
    both = np.zeros((2, 48, 64), bool)
    both[0, 20:40, 10:30] = True
    both[0, 2:6, 2:6] = True
    both[1, 3:5, 1:4] = True
    return both

def arrays(values):
    return {k: np.array(v) if isinstance(v, list) else v for k, v in values.items()}

def found(names=None, mask=None, data=None, **fields):
    known = {"xyxy": BOXES, "confidence": [0.5, 0.25], "class_id": [1, 0]} | fields
    data = {k: np.array(v) for k, v in (data or {}).items()}
    kinds = {"dense": masks, "compact": lambda: Compact(masks()), "none": lambda: masks() & False}
    mask = kinds[mask]() if isinstance(mask, str) else np.zeros(mask, bool) if mask else None
    return Model(Found(**arrays(known), mask=mask, data=data), names)

def empty(mask=False):
    none = np.empty
    return Model(Found(none((0, 4)), none((0, 48, 64), bool) if mask else None, none(0), none(0, int)))

def many(count):
    places = np.tile(np.array([1.0, 1.0, 5.0, 5.0]), (count, 1))
    return Model(Found(places, None, np.arange(count) / count, np.zeros(count, int)))

XY = [[[10, 20], [30, 40], [0, 0]], [[1, 2], [3, 8], [5, 6]]]

def joints(old=False, names=None, keypoint_names=None, data=None, **fields):
    data = {k: np.array(v) for k, v in (data or {}).items()}
    return Model((OldJoints if old else Joints)(**arrays({"xy": XY} | fields), data=data), names, keypoint_names)

class Reusing:
    """Answers every time in the same arrays."""
    def __init__(self, points=False):
        self.answer = Joints(np.ones((1, 2, 2))) if points else Found(
            np.array([[1.0, 1.0, 5.0, 5.0]]), np.zeros((1, 48, 64), bool), np.array([0.5]), np.array([0]))
    def predict(self, pixels):
        if hasattr(self.answer, "xy"):
            self.answer.xy += 10
        else:
            self.answer.xyxy += 10
            self.answer.confidence *= 0.5
            self.answer.class_id += 1
            self.answer.mask[:] = False
            self.answer.mask[0, :, : int(self.answer.xyxy[0, 0])] = True
        return self.answer
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # Each test has a module of its own name: what Python has imported once, it keeps.
    (tmp_path / f"sv_{tmp_path.name}.py").write_text(SOURCE, encoding="utf-8")
    return tmp_path


def model(folder: Path, name: str, **options: object) -> Model:
    settings = {"type": "python", "factory": f"sv_{folder.name}:{name}", "path": str(folder), "options": options}
    return load(OPTIONS.validate_json(json.dumps(settings)))


def asked(folder: Path, name: str, **options: object) -> Detections:
    answer = model(folder, name, **options).predict(frame(blank(HEIGHT, WIDTH)))
    assert isinstance(answer, Detections)
    again = wire.parse_prediction(wire.to_wire(answer), task=answer.task)
    assert isinstance(again, Detections)
    assert again.objects == answer.objects
    return answer


def test_boxes_have_their_confidences_classes_and_trackers(folder: Path) -> None:
    answer = asked(folder, "found", names=["cat", "dog"], tracker_id=[7, -1])
    told = [(d.x, d.y, d.width, d.height, d.confidence, d.class_name, d.class_id, d.tracker_id) for d in answer.objects]
    assert told == [(20, 30, 20, 20, 0.5, "dog", 1, 7), (2, 7, 12, 10, 0.25, "cat", 0, None)]
    assert (answer.task, answer.width, answer.height, answer.dropped) == (Task.OBJECT_DETECTION, WIDTH, HEIGHT, 0)
    assert answer.model_id == f"sv_{folder.name}:found"
    assert answer.time_s is not None
    assert "supervision" not in sys.modules


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"data": {"class_name": ["hund", "katze"]}, "names": ["cat", "dog"]}, [("hund", 1), ("katze", 0)]),
        ({}, [("class_1", 1), ("class_0", 0)]),
        ({"class_id": None}, [("object", -1), ("object", -1)]),
        ({"class_id": None, "data": {"class_name": ["a", "b"]}}, [("a", -1), ("b", -1)]),
        ({"names": ["cat"]}, [("cat", 0)]),
        ({"data": {"class_name": ["", "b"]}}, [("b", 0)]),
    ],
)
def test_a_class_name_comes_from_the_answer_or_else_from_the_model(
    folder: Path, options: dict[str, object], expected: list[tuple[str, int]]
) -> None:
    answer = asked(folder, "found", **options)
    assert [(d.class_name, d.class_id) for d in answer.objects] == expected
    assert answer.dropped == 2 - len(expected)


def test_a_missing_confidence_counts_as_certain(folder: Path) -> None:
    assert [d.confidence for d in asked(folder, "found", confidence=None).objects] == [1.0, 1.0]


@pytest.mark.parametrize("mask", ["dense", "compact"])
def test_a_mask_is_kept_whole_whatever_its_pieces(folder: Path, mask: str) -> None:
    answer = asked(folder, "found", mask=mask)
    pieces, alone = (covered([(p.x, p.y) for p in d.points or ()], HEIGHT, WIDTH) for d in answer.objects)
    expected = np.zeros((2, HEIGHT, WIDTH), bool)
    expected[0, 20:40, 10:30] = expected[0, 2:6, 2:6] = expected[1, 3:5, 1:4] = True
    assert (pieces == expected[0]).all()
    assert (alone == expected[1]).all()
    assert answer.task is Task.INSTANCE_SEGMENTATION


def test_an_object_without_a_mask_where_there_are_masks_is_dropped_and_counted(folder: Path) -> None:
    answer = asked(folder, "found", mask="none")
    assert (answer.objects, answer.dropped, answer.task) == ((), 2, Task.INSTANCE_SEGMENTATION)


def test_numbers_that_are_none_are_dropped_and_counted(folder: Path) -> None:
    source = (folder / f"sv_{folder.name}.py").read_text()
    (folder / f"sv_{folder.name}.py").write_text(source + "nan, inf = float('nan'), float('inf')\nBOXES[0][2] = nan\n")
    answer = asked(folder, "found")
    assert ([d.confidence for d in answer.objects], answer.dropped) == ([0.25], 1)


@pytest.mark.parametrize("mask", [True, False])
def test_nothing_found_is_an_answer(folder: Path, mask: bool) -> None:
    answer = asked(folder, "empty", mask=mask)
    assert (answer.objects, answer.dropped) == ((), 0)
    assert answer.task is (Task.INSTANCE_SEGMENTATION if mask else Task.OBJECT_DETECTION)


def test_of_too_many_objects_the_best_are_kept(folder: Path) -> None:
    answer = asked(folder, "many", count=3000)
    assert (len(answer.objects), answer.dropped) == (1000, 2000)
    assert min(d.confidence for d in answer.objects) == 2000 / 3000


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("found", {"xyxy": [[1, 2, 3], [1, 2, 3]]}, "xyxy: shape (2, 3), not (n, 4)"),
        ("found", {"confidence": [0.5]}, "confidence: shape (1,), not (2)"),
        ("found", {"class_id": [0, 1, 2]}, "class_id: shape (3,), not (2)"),
        ("found", {"tracker_id": [0]}, "tracker_id: shape (1,), not (2)"),
        ("found", {"mask": [2, 64, 48]}, "mask: shape (2, 64, 48), not (2, 48, 64)"),
        ("found", {"data": {"class_name": ["a"]}}, 'data["class_name"]: 1 names for 2 objects'),
        ("joints", {"xy": [[1, 2], [3, 4]]}, "xy: shape (2, 2), not (n, n, 2)"),
        ("joints", {"keypoint_confidence": [[1, 1], [1, 1]]}, "keypoint_confidence: shape (2, 2), not (2, 3)"),
        ("joints", {"data": {"xyxy": [[1, 2, 3, 4]]}}, 'data["xyxy"]: shape (1, 4), not (2, 4)'),
    ],
)
def test_arrays_that_do_not_belong_together_cost_the_frame(
    folder: Path, name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ModelFailed) as failure:
        model(folder, name, **options).predict(frame(blank(HEIGHT, WIDTH)))
    assert message in str(failure.value)


def test_an_answer_is_not_changed_by_the_next_one_in_the_same_arrays(folder: Path) -> None:
    for points in (False, True):
        own = model(folder, "Reusing", points=points)
        one = own.predict(frame(blank(HEIGHT, WIDTH)))
        before = repr(one)
        other = own.predict(frame(blank(HEIGHT, WIDTH)))
        assert repr(one) == before
        assert isinstance(one, Detections)
        assert isinstance(other, Detections)
        assert one.objects[0].x != other.objects[0].x


# Key points


@pytest.mark.parametrize("old", [True, False])
def test_key_points_are_objects_with_a_box_around_what_was_seen(folder: Path, old: bool) -> None:
    confidence = "confidence" if old else "keypoint_confidence"
    fields = {confidence: [[0.5, 1.0, 0.1], [0.25, 0.25, 0.25]], "class_id": [0, 1], "names": ["man", "dog"]}
    answer = asked(folder, "joints", old=old, keypoint_names=["head", "tail"], **fields)
    first, second = answer.objects
    assert (first.x, first.y, first.width, first.height, first.class_name) == (20, 30, 20, 20, "man")
    assert (first.confidence, second.confidence, second.class_name) == (0.75, 0.25, "dog")
    places = [(k.x, k.y, k.confidence, k.class_name, k.class_id) for k in first.keypoints or ()]
    assert places == [(10, 20, 0.5, "head", 0), (30, 40, 1.0, "tail", 1)]
    assert [k.class_name for k in second.keypoints or ()] == ["head", "tail", "keypoint_2"]
    assert answer.task is Task.KEYPOINT_DETECTION


def test_key_points_may_bring_their_boxes_and_how_sure_their_objects_are(folder: Path) -> None:
    visible = [[True, False, True], [True, True, True]]
    boxes = [[0, 10, 40, 44], [0, 0, 6, 9]]
    answer = asked(folder, "joints", detection_confidence=[0.9, 0.8], visible=visible, data={"xyxy": boxes})
    first = answer.objects[0]
    assert (first.x, first.y, first.width, first.height, first.confidence) == (20, 27, 40, 34, 0.9)
    assert (first.class_name, first.class_id) == ("object", -1)
    assert [(k.class_id, k.confidence) for k in first.keypoints or ()] == [(0, 1.0)]


def test_an_object_without_a_visible_point_is_dropped_and_counted(folder: Path) -> None:
    answer = asked(folder, "joints", visible=[[False] * 3, [True] * 3])
    assert (len(answer.objects), answer.dropped) == (1, 1)

"""Dynamic batching: each picture gets the same result as alone."""

from __future__ import annotations

import json
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from framesift.frame import Pixels
from framesift.models import Model, ModelFailed, ModelLoadError, ModelSettings, load
from framesift.models.onnx.dynamic_batching import DynamicBatcher
from framesift.prediction.prediction import Classification, Prediction
from rigs.networks import averaging, blank, constant, counting, frame, spotting
from rigs.networks_heads import reporting

OPTIONS: TypeAdapter[ModelSettings] = TypeAdapter(ModelSettings)
NAMED = {"names": "{0: 'red', 1: 'blue'}"}
POSE = NAMED | {"task": "pose", "kpt_shape": "[2, 3]"}
RED, BLUE = (0, 0, 255), (255, 0, 0)
STREAMS = 6


def model(path: Path, **fields: object) -> Model:
    return load(OPTIONS.validate_json(json.dumps({"type": "onnx", "path": str(path), "threads": 1, **fields})))


class Run:
    """Doubles each number of a tensor, and notes how many pictures it was given; its first run waits for `go`."""

    def __init__(self, bad: float = np.nan) -> None:
        self.sizes: list[int] = []
        self.begun, self.go = threading.Event(), threading.Event()
        self._bad = bad

    def __call__(self, tensor: NDArray[Any]) -> list[Any]:
        self.sizes.append(len(tensor))
        if len(self.sizes) == 1:
            self.begun.set()
            assert self.go.wait(10.0)
        if self._bad in tensor:
            raise ValueError(f"{self._bad:g} among {len(tensor)}")
        return [2 * tensor, tensor[:, 0].sum(axis=1)]


def picture(value: float) -> NDArray[Any]:
    return np.full((1, 2, 2), value)


def behind(run: Run, batcher: DynamicBatcher, values: range) -> list[Future[list[Any]]]:
    """Asks for the first of `values`, and, while that runs, for the others, one after the other."""
    with ThreadPoolExecutor(len(values)) as pool:
        asked = [pool.submit(batcher, picture(values[0]))]
        assert run.begun.wait(10.0)
        for number, value in enumerate(values[1:], 1):
            asked.append(pool.submit(batcher, picture(value)))
            until_waiting(batcher, number)
        run.go.set()
    return asked


def until_waiting(batcher: DynamicBatcher, number: int) -> None:
    pause = threading.Event()
    assert any(batcher.waiting_count == number or pause.wait(0.001) for _ in range(10_000))


def test_who_comes_alone_is_run_at_once_and_alone() -> None:
    run = Run()
    run.go.set()
    batcher = DynamicBatcher(run, 4)
    for value in range(3):
        doubled, total = batcher(picture(value))
        assert doubled.tolist() == [[2 * value, 2 * value]] * 2
        assert total == 2 * value
    assert run.sizes == [1, 1, 1]


def test_who_waits_for_a_run_is_run_with_the_others_that_wait_as_many_as_there_may_be() -> None:
    run = Run()
    asked = behind(run, DynamicBatcher(run, 4), range(7))
    assert run.sizes == [1, 4, 2]
    assert [answer.result()[0].tolist() for answer in asked] == [[[2 * value, 2 * value]] * 2 for value in range(7)]


def test_a_picture_that_fails_fails_alone() -> None:
    run = Run(bad=3)
    asked = behind(run, DynamicBatcher(run, 4), range(5))
    assert run.sizes == [1, 4, 1, 1, 1, 1]
    for value, answer in enumerate(asked):
        if value == 3:
            with pytest.raises(ValueError, match="3 among 1"):
                answer.result()
        else:
            assert answer.result()[1] == 2 * value


# With networks


def all_at_once(spot: Model, pictures: list[Pixels], rounds: int) -> list[list[Prediction]]:
    """The results of each stream, which has one picture, in each round."""
    start = threading.Barrier(len(pictures))

    def ask(pixels: Pixels) -> list[Prediction]:
        start.wait(10.0)
        return [spot.predict(frame(pixels)) for _ in range(rounds)]

    with ThreadPoolExecutor(len(pictures)) as pool:
        return list(pool.map(ask, pictures))


def share_of_the_run(prediction: Prediction) -> int:
    """How many pictures were run at once, as the counting network reports."""
    assert isinstance(prediction, Classification)
    return round(1 / next(score.confidence for score in prediction.scores if score.class_id == 0))


def test_streams_that_ask_at_once_are_run_at_once_and_one_that_asks_alone_is_run_alone(tmp_path: Path) -> None:
    counted = model(counting(tmp_path / "counting.onnx"), batch_size=4)
    assert counted.description.startswith("counting.onnx: classifier, 32 x 32, up to 4 at once, classes without names")
    assert [share_of_the_run(counted.predict(frame(blank(32, 32)))) for _ in range(3)] == [1, 1, 1]
    results = all_at_once(counted, [blank(32, 32)] * STREAMS, rounds=5)
    sizes = Counter(share_of_the_run(prediction) for stream in results for prediction in stream)
    assert sizes.total() == 5 * STREAMS
    assert 1 < max(sizes) <= 4
    assert all(pictures % size == 0 for size, pictures in sizes.items())


def test_unless_it_is_configured_every_picture_is_run_alone(tmp_path: Path) -> None:
    results = all_at_once(model(counting(tmp_path / "counting.onnx")), [blank(32, 32)] * STREAMS, rounds=3)
    assert {share_of_the_run(prediction) for stream in results for prediction in stream} == {1}


BOXES = ["yolov8", "yolov5", "yolox", "end2end"]
ROTATED = ["yolov8-obb", "end2end-obb"]
MORE = [
    "yolov8-seg",
    "end2end-seg",
    "yolov8-pose",
    "end2end-pose",
    *ROTATED,
    "rfdetr",
    "rfdetr with masks",
    "ssd",
    "rtdetr logits",
    "detr",
]


@pytest.mark.parametrize("head", [*BOXES, *MORE, "classifier"])
def test_each_stream_gets_the_prediction_for_its_own_picture(tmp_path: Path, head: str) -> None:
    path, fields = tmp_path / "network.onnx", {}
    if head == "classifier":
        averaging(path, batch="n")
        fields = {"resize": "stretch", "activation": "none"}
    elif head in BOXES:
        spotting(path, head, bgr=head == "yolox", peak=255.0 if head == "yolox" else 1.0, batch="n", metadata=NAMED)
    else:
        peak = {"ssd": 255.0}.get(head, 4.5 if head.startswith(("rfdetr", "detr")) else 1.0)
        metadata = POSE if "pose" in head else NAMED | ({"task": "obb"} if head in ROTATED else {})
        reporting(path, head, peak=peak, batch="n", metadata=metadata)
    pictures = [blank(192, 320) for _ in range(STREAMS)]
    for stream, pixels in enumerate(pictures):
        pixels[40 : 60 + 4 * stream, 40 * stream : 40 * stream + 24] = RED if stream % 2 else BLUE
    alone = model(path, **fields)
    wanted = [comparable(alone.predict(frame(pixels))) for pixels in pictures]
    assert len(set(map(str, wanted))) == STREAMS
    answers = all_at_once(model(path, batch_size=4, **fields), pictures, rounds=8)
    assert [[comparable(answer) for answer in stream] for stream in answers] == [[one] * 8 for one in wanted]


def comparable(prediction: Prediction) -> Any:
    return prediction.scores if isinstance(prediction, Classification) else getattr(prediction, "objects", None)


# Refusals


def test_a_network_for_one_picture_is_given_no_more(tmp_path: Path) -> None:
    path = spotting(tmp_path / "spot.onnx", "yolov8", metadata=NAMED)
    with pytest.raises(ModelLoadError, match=r"model\.batch_size: 4, but .*spot\.onnx takes one picture at a time"):
        model(path, batch_size=4)


def test_a_network_that_answers_once_for_several_pictures_is_refused_with_the_shapes(tmp_path: Path) -> None:
    path = constant(tmp_path / "n.onnx", np.eye(1, 7, dtype=np.float32), batch="n")
    assert model(path).description.startswith("n.onnx: classifier")
    with pytest.raises(ModelLoadError, match=r"output0 is \(1, 7\), which is not 3 times \(1, 7\)"):
        model(path, batch_size=3)


def test_a_network_that_fails_on_several_pictures_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    path = averaging(tmp_path / "n.onnx", batch="n", flat=True)
    assert model(path, activation="none").description.startswith("n.onnx: classifier")
    with pytest.raises(ModelLoadError, match="fails on 3 pictures of 32 x 32 at once"):
        model(path, batch_size=3, activation="none")


@pytest.mark.parametrize("size", [0, 65, "many"])
def test_a_batch_is_of_1_to_64_pictures(size: object) -> None:
    with pytest.raises(ValidationError, match="batch_size"):
        OPTIONS.validate_json(json.dumps({"type": "onnx", "path": "n.onnx", "batch_size": size}))


def test_a_closed_model_has_no_prediction(tmp_path: Path) -> None:
    counted = model(counting(tmp_path / "counting.onnx"), batch_size=4)
    counted.close()
    with pytest.raises(ModelFailed, match="closed"):
        counted.predict(frame(blank(32, 32)))

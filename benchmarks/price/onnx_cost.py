"""(h): the onnx model on a camera's picture, beside its network alone on a tensor that is ready.

The network has the input and the output of a common detector (640x640; 8400 candidates of 80 classes) and as much
arithmetic as a small one. What it answers is made up: boxes that stand in the file, to which it adds nothing of the
picture.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from framesift.models.onnx import onnx_session
from framesift.models.onnx.onnx_model import OnnxModel
from framesift.models.onnx.onnx_settings import Family, OnnxSettings
from framesift.prediction.prediction import Detections
from price.figures import Benchmark, Figure
from price.measuring import cost_of_call, in_turn
from rigs import networks

SIDE, CLASSES = 640, 80
_CHANNELS = (3, 32, 64, 128, 128, 256, 256, 256)  # 7.2 GFLOP a picture; the smallest YOLOv8 has 8.7
_CALLS = 4


def _answer(objects: int) -> NDArray[np.float32]:
    """The output of a detector that has found so many objects, each in five candidates that overlap."""
    rng = np.random.default_rng(3)
    answer = rng.uniform(0, 0.05, (1, 4 + CLASSES, networks.cells(SIDE, SIDE))).astype(np.float32)
    answer[0, :4] = 20
    for number in range(objects):
        for candidate in range(5 * number, 5 * number + 5):
            answer[0, :4, candidate] = (35 + 58 * (number % 10), 180 + 68 * (number // 10), 40, 40)
            answer[0, 4 + number % CLASSES, candidate] = 0.5 + 0.05 * (candidate % 5)
    return answer


def write_network(path: Path, objects: int) -> Path:
    """A network that finds so many objects in every picture, after convolutions over the whole picture."""
    rng = np.random.default_rng(4)
    nodes, constants, last = [], [numpy_helper.from_array(_answer(objects), "answer")], "images"
    constants.append(numpy_helper.from_array(np.zeros(1, np.float32), "never"))
    for number, (before, after) in enumerate(pairwise(_CHANNELS)):
        weights = (rng.standard_normal((after, before, 3, 3)) / np.sqrt(9 * before)).astype(np.float32)
        constants.append(numpy_helper.from_array(weights, f"weights{number}"))
        stride = 2 if number < 4 else 1
        nodes.append(
            helper.make_node(
                "Conv", [last, f"weights{number}"], [f"conv{number}"], pads=[1, 1, 1, 1], strides=[stride, stride]
            )
        )
        nodes.append(helper.make_node("Relu", [f"conv{number}"], [f"relu{number}"]))
        last = f"relu{number}"
    nodes.append(helper.make_node("ReduceMean", [last], ["mean"], axes=[1, 2, 3], keepdims=0))
    nodes.append(helper.make_node("Mul", ["mean", "never"], ["nothing"]))
    nodes.append(helper.make_node("Add", ["answer", "nothing"], ["output0"]))
    picture = helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    output = helper.make_tensor_value_info("output0", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "detector", [picture], [output], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


def _model(runs: int) -> Iterator[Figure]:
    rng = np.random.default_rng(6)
    tensor = rng.random((1, 3, SIDE, SIDE), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        for objects in (0, 50):
            path = write_network(Path(folder) / f"{objects}.onnx", objects)
            settings = OnnxSettings(type="onnx", path=path, confidence=0.25, family=Family.YOLOV8)
            session, model = onnx_session.start_session(settings), OnnxModel(settings)
            for height in (720, 1080):
                frame = networks.frame(rng.integers(0, 256, (height, height * 16 // 9, 3), np.uint8))
                found = model.predict(frame)
                assert isinstance(found, Detections)
                assert len(found.objects) == objects
                costs = in_turn(
                    3 * runs,
                    session=partial(cost_of_call, partial(session.run, ["output0"], {"images": tensor}), _CALLS),
                    model=partial(cost_of_call, partial(model.predict, frame), _CALLS),
                    prepared=partial(cost_of_call, partial(model._prepare, frame.pixels), _CALLS),
                )
                for kind in ("wall", "processor"):
                    ms = {n: 1000 * (c.wall_s if kind == "wall" else c.processor_s) for n, c in costs.items()}
                    beside = f"{ms['model']:.1f} / {ms['session']:.1f} ms, preparing {ms['prepared']:.2f}"
                    yield Figure(
                        f"{height}p, {objects} objects: {kind}", ms["model"] / ms["session"], "x", 1.10, beside
                    )


BENCHMARKS = (Benchmark("h", "the onnx model beside its session", _model),)

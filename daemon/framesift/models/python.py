"""Anybody's model, without a change to this package: `factory: "module:factory"`.

The factory is called once with `options` as keyword arguments. What it returns is called with each picture (or its
method `predict` is): a BGR uint8 array of shape (height, width, 3) that can't be written to, because it is the picture
that may be collected; who draws on it copies it. It answers with a `framesift.prediction.Prediction`, with an object in
the wire format of Roboflow's inference server, or with the `Detections` or `KeyPoints` of the supervision library, in
pixels of that picture. It may carry `task` (a Task's text), `class_names` (a list, or class id to name),
`keypoint_names` (a list), `model_id` and `close()`. It is called by one thread at a time.

An Ultralytics model, in a file `street.py` beside the configuration (`path: .`, `factory: "street:Detector"`,
`options: {weights: yolo11n.pt}`):

    from framesift.prediction import detections
    from ultralytics import YOLO

    class Detector:
        def __init__(self, weights):
            self.yolo = YOLO(weights)
            self.task, self.class_names = "object-detection", tuple(self.yolo.names.values())
        def predict(self, pixels):
            found = self.yolo(pixels, conf=0.1, verbose=False)[0].boxes.cpu().numpy()
            height, width = pixels.shape[:2]
            return detections(found.xyxy, found.conf, found.cls, self.class_names, width=width, height=height)
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from framesift.config.schema import StrictModel, Tag
from framesift.frame import Frame
from framesift.models import supervision
from framesift.models.model import ModelFailed, ModelLoadError, ModelNotes
from framesift.prediction import wire_format as wire
from framesift.prediction.prediction import (
    Classification,
    Detections,
    MultiLabel,
    Prediction,
    Stub,
    Task,
    scale_prediction,
)


class PythonSettings(StrictModel):
    """factory: importable module and a callable in it. options: its keyword arguments. path: a folder that modules are
    imported from. model_id: what predictions call it (default: what the model says of itself, or the factory).
    """

    type: Literal["python"]
    factory: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$", max_length=256)]
    options: dict[str, JsonValue] = Field(default_factory=dict)
    path: Path | None = None
    model_id: Tag | None = None


class PythonModel:
    notes = ModelNotes()

    def __init__(self, options: PythonSettings) -> None:
        """Raises ModelLoadError: no such module or factory, a factory that fails, or what it returns is no model."""
        self._lock = threading.Lock()
        factory = _factory(options)
        try:
            self._model: Any = factory(**options.options)
        except (Exception, SystemExit) as error:
            raise ModelLoadError(f"model.factory: {options.factory} failed: {_told(error)}") from error
        predict = getattr(self._model, "predict", self._model)
        if not callable(predict):
            kind = type(self._model).__name__
            raise ModelLoadError(
                f"model.factory: {options.factory} returned a {kind}, not a callable or with predict()"
            )
        self._predict: Callable[[Any], object] = predict
        self.task = _task(self._model, options.factory)
        self.class_names = _names(self._model, "class_names", options.factory)
        self._keypoint_names = _names(self._model, "keypoint_names", options.factory)
        said = getattr(self._model, "model_id", None)
        self.model_id = options.model_id or (wire.clean_class_name(said) if isinstance(said, str) else options.factory)
        self.description = f"{options.factory}, a {type(self._model).__name__}"

    def predict(self, frame: Frame) -> Prediction:
        pixels = frame.pixels.view()
        pixels.flags.writeable = False
        try:
            with self._lock:
                started = time.perf_counter()
                answer = self._predict(pixels)
                took_s = time.perf_counter() - started
            prediction = self._read(answer, frame)
        except (Exception, SystemExit) as error:
            raise ModelFailed(_told(error)) from error
        time_s = took_s if prediction.time_s is None else prediction.time_s
        named = replace(prediction, model_id=prediction.model_id or self.model_id, time_s=time_s)
        return scale_prediction(named, frame.width, frame.height)

    def close(self) -> None:
        with self._lock:
            self._predict = _closed
            close = getattr(self._model, "close", None)
            self._model = None
        if callable(close):
            with contextlib.suppress(Exception):  # it is given up either way, and nobody waits for an answer
                close()

    def _read(self, answer: object, frame: Frame) -> Prediction:
        """An answer is read through the wire format whatever it is: nobody has looked at its numbers and names yet."""
        if isinstance(answer, Detections | Classification | MultiLabel | Stub):
            read = wire.parse_prediction(
                wire.to_wire(answer), width=answer.width, height=answer.height, task=answer.task
            )
            return replace(read, model_id=answer.model_id, dropped_count=answer.dropped_count + read.dropped_count)
        if isinstance(answer, Mapping):
            return wire.parse_prediction(answer, width=frame.width, height=frame.height, task=self.task)
        if supervision.is_detections(answer):
            return supervision.parse_detections(answer, self.class_names, frame.width, frame.height)
        if supervision.is_keypoints(answer):
            return supervision.parse_keypoints(
                answer, self.class_names, self._keypoint_names, frame.width, frame.height
            )
        raise ValueError(
            f"the model answered with a {type(answer).__name__}, not a Prediction, a wire object, or supervision's "
            "Detections or KeyPoints"
        )


def _factory(options: PythonSettings) -> Callable[..., object]:
    module_name, _, name = options.factory.partition(":")
    if options.path is not None:
        if not options.path.is_dir():
            raise ModelLoadError(f"model.path: {options.path} is not a folder")
        if str(options.path) not in sys.path:
            sys.path.insert(0, str(options.path))
            importlib.invalidate_caches()
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        where = f" (looked in {options.path} first)" if options.path is not None else ""
        raise ModelLoadError(f"model.factory: can't import {module_name}{where}: {_told(error)}") from error
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise ModelLoadError(f"model.factory: {module_name} has no callable {name!r}")
    factory: Callable[..., object] = found
    return factory


def _task(model: object, factory: str) -> Task | None:
    said = getattr(model, "task", None)
    if said is None:
        return None
    try:
        return Task(said)
    except ValueError:
        allowed = ", ".join(str(task) for task in Task)
        raise ModelLoadError(f"model.factory: {factory} says task {said!r}; allowed are {allowed}") from None


def _names(model: object, attribute: str, factory: str) -> tuple[str, ...] | None:
    said = getattr(model, attribute, None)
    if said is None:
        return None
    if isinstance(said, Mapping):
        said = [said[key] for key in sorted(said)]
    if not isinstance(said, list | tuple) or not all(isinstance(name, str) for name in said):
        raise ModelLoadError(f"model.factory: {factory} says {attribute} {said!r:.80}; that is no list of texts")
    return tuple(wire.clean_class_name(name) for name in said)


def _closed(_pixels: object) -> object:
    raise ValueError("the model is closed")


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"

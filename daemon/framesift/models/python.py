"""A model of your own, without a change to framesift: `factory: "module:function"`.

The factory is called once, with `options` as keyword arguments. What it returns is called with each picture (or its
method `predict` is). A picture is a read-only BGR uint8 array of shape (height, width, 3): it may be collected later,
so copy it before you draw on it. The answer is a `framesift.prediction.Prediction`, a dictionary in the wire format of
Roboflow's inference server, or the `Detections` or `KeyPoints` of the supervision library, in pixels of that picture.
It may also be a pair: one of these, and the picture's embedding (an array of at most 4096 numbers, or None).
The returned object may have `task` (a Task's text), `class_names` (a list, or class id to name), `keypoint_names` (a
list), `model_id` and `close()`. It is called by one thread at a time.

An Ultralytics model, in a file `street.py` beside the settings file (`path: .`, `factory: "street:Detector"`, `options:
{weights: yolo11n.pt}`):

    from framesift.prediction import detections_from_arrays
    from ultralytics import YOLO

    class Detector:
        def __init__(self, weights):
            self.yolo = YOLO(weights)
            self.task, self.class_names = "object-detection", tuple(self.yolo.names.values())
        def predict(self, pixels):
            boxes = self.yolo(pixels, conf=0.1, verbose=False)[0].boxes.cpu().numpy()
            height, width = pixels.shape[:2]
            return detections_from_arrays(
                boxes.xyxy, boxes.conf, boxes.cls, self.class_names, width=width, height=height
            )
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from framesift.config.factory import (
    FactoryError,
    FactoryName,
    FactoryOptions,
    FactoryPath,
    call_factory,
    failure_text,
    load_factory,
    one_line,
    read_attribute,
)
from framesift.config.schema import StrictModel, Tag
from framesift.frame import Frame
from framesift.models import supervision
from framesift.models.model import ModelFailed, ModelLoadError, ModelNotes
from framesift.prediction import wire_format
from framesift.prediction.embedding import make_embedding
from framesift.prediction.prediction import (
    BasePrediction,
    Classification,
    Detections,
    MultiLabel,
    Prediction,
    Stub,
    Task,
    scale_prediction,
    with_origin,
)


class PythonSettings(StrictModel):
    """A model of your own, in Python."""

    type: Annotated[Literal["python"], Field(description="A Python function or object of your own.")]
    factory: FactoryName
    options: FactoryOptions = Field(default_factory=dict)
    path: FactoryPath = None
    model_id: Annotated[
        Tag | None,
        Field(description="Its name in predictions; null: its own `model_id`, or the factory.", examples=["street/2"]),
    ] = None


class PythonModel:
    """Calls the object that the factory returned, one thread at a time."""

    notes = ModelNotes()
    gives_embeddings: bool | None = None

    def __init__(self, settings: PythonSettings) -> None:
        """Creates the model. Raises ModelLoadError if the factory does not exist, fails, or returns no model."""
        self._lock = threading.Lock()
        try:
            factory = load_factory(settings.factory, settings.path, versioned=False)
            self._model: Any = call_factory(settings.factory, factory, settings.options)
            self._read_attributes(settings)
        except FactoryError as error:
            raise ModelLoadError(f"model.factory: {error}") from error

    def _read_attributes(self, settings: PythonSettings) -> None:
        """Reads what the model says of itself. Raises FactoryError, and ModelLoadError where it makes no sense."""
        factory = settings.factory
        predict = read_attribute(self._model, "predict", factory)
        if predict is None:
            predict = self._model
        if not callable(predict):
            kind = type(self._model).__name__
            raise ModelLoadError(f"model.factory: {factory} returned a {kind}, not a callable or with predict()")
        self._predict: Callable[[Any], object] = predict
        self.task = _task(self._model, factory)
        self.class_names = _names(self._model, "class_names", factory)
        self._keypoint_names = _names(self._model, "keypoint_names", factory)
        stated = read_attribute(self._model, "model_id", factory)
        self.model_id = settings.model_id or (
            wire_format.clean_class_name(stated) if isinstance(stated, str) else factory
        )
        self.description = f"{factory}, a {type(self._model).__name__}"

    def predict(self, frame: Frame) -> Prediction:
        """Calls the model. Raises ModelFailed, whatever the model raises."""
        pixels = frame.pixels.view()
        pixels.flags.writeable = False
        try:
            with self._lock:
                started_s = time.perf_counter()
                answer = self._predict(pixels)
                took_s = time.perf_counter() - started_s
            prediction = self._read(answer, frame)
        except (Exception, SystemExit) as error:
            raise ModelFailed(failure_text(error)) from error
        time_s = took_s if prediction.time_s is None else prediction.time_s
        named = with_origin(prediction, model_id=prediction.model_id or self.model_id, time_s=time_s)
        return scale_prediction(named, frame.width, frame.height)

    def close(self) -> None:
        """Calls the model's `close()`, if it has one, and ignores its errors."""
        with self._lock:
            self._predict = _closed
            close = getattr(self._model, "close", None)
            self._model = None
        if callable(close):
            with contextlib.suppress(Exception):  # the model is given up in any case
                close()

    def _read(self, answer: object, frame: Frame) -> Prediction:
        """Converts an answer, which may have an embedding beside it."""
        embedding = None
        if isinstance(answer, tuple) and len(answer) == 2:
            answer, embedding = answer
        elif isinstance(answer, BasePrediction):
            embedding = answer.embedding
        prediction = self._read_prediction(answer, frame)
        if embedding is None:
            return prediction
        made = make_embedding(np.asarray(embedding))
        return with_origin(prediction, embedding=made, dropped=prediction.dropped + (made is None))

    def _read_prediction(self, answer: object, frame: Frame) -> Prediction:
        """Converts a prediction. Every kind goes through the wire format, which checks all numbers and names."""
        if isinstance(answer, Detections | Classification | MultiLabel | Stub):
            parsed = wire_format.parse_prediction(
                wire_format.to_wire(answer), width=answer.width, height=answer.height, task=answer.task
            )
            return with_origin(
                parsed,
                model_id=answer.model_id,
                dropped=answer.dropped + parsed.dropped,
                dropped_extras=answer.dropped_extras + parsed.dropped_extras,
            )
        if isinstance(answer, Mapping):
            return wire_format.parse_prediction(answer, width=frame.width, height=frame.height, task=self.task)
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


def _task(model: object, factory: str) -> Task | None:
    stated = read_attribute(model, "task", factory)
    if stated is None:
        return None
    try:
        return Task(stated)
    except Exception:  # noqa: BLE001 - code of others may raise anything
        allowed = ", ".join(str(task) for task in Task)
        raise ModelLoadError(f"model.factory: {factory} says task {_shown(stated)}; allowed are {allowed}") from None


def _names(model: object, attribute: str, factory: str) -> tuple[str, ...] | None:
    stated = read_attribute(model, attribute, factory)
    if stated is None:
        return None
    names = stated
    if isinstance(stated, Mapping):
        try:
            names = [stated[key] for key in sorted(stated)]
        except Exception as error:
            raise FactoryError(f"{factory}: reading its {attribute} failed: {failure_text(error)}") from error
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ModelLoadError(f"model.factory: {factory} says {attribute} {_shown(stated)}; that is not a list of texts")
    return tuple(wire_format.clean_class_name(name) for name in names)


def _shown(value: object) -> str:
    """The beginning of a value's repr, for a message."""
    try:
        return one_line(repr(value))[:80]
    except Exception as error:  # noqa: BLE001 - code of others may raise anything
        return f"({failure_text(error)})"


def _closed(_pixels: object) -> object:
    raise ValueError("the model is closed")

"""Networks in ONNX files, run by onnxruntime: detectors of five families of heads, and classifiers.

Everything that can be wrong with a file is said when it is loaded: the network is run once on a grey picture, and its
outputs' shapes must fit the family that was named, or exactly one family.
"""

from __future__ import annotations

import ast
import os
import re
import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framesift.frame import Frame, Pixels
from framesift.models import heads, labels
from framesift.models.families import Fitted, Output, fitted
from framesift.models.model import ModelFailed, ModelUnusable
from framesift.models.onnx_options import Family, OnnxOptions, Resize
from framesift.models.picture import GREY, Preparation, Prepared
from framesift.prediction import (
    MOST_OBJECTS,
    Classification,
    ClassScore,
    Detections,
    MultiLabel,
    Prediction,
    Task,
    detections,
)

_ULTRALYTICS_TASKS = {"detect": None, "classify": Family.CLASSIFIER}
_OTHER_TASKS = ("segment", "pose", "obb", "semantic")
_TYPES = {"tensor(float)": False, "tensor(float16)": True}
# End-to-end heads don't say how many classes they have.
_CLASSES_OF_UNNAMED = 1000


class OnnxModel:
    def __init__(self, options: OnnxOptions) -> None:
        """Raises ModelUnusable: no such file, no network, providers, shapes, or names that don't fit."""
        self._options = options
        self.model_id = options.model_id or re.sub(r"[^a-zA-Z0-9_:/.@-]", "-", options.path.stem)[:64]
        self._session: Any = _session(options)
        said: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        family = _family_asked(options, said)
        self._input = self._session.get_inputs()[0].name
        half, height, width = self._checked_input(said)
        names = _names(options, said)
        self._prepare = _preparation(options, family, height, width, half)
        outputs, values = self._dry_run()
        known = None if names is None else len(names)
        fit = fitted(family, outputs, height, width, known, options.multi_label)
        if family is Family.AUTO:
            self._prepare = _preparation(options, fit.family, height, width, half)
        if fit.family is not Family.CLASSIFIER and (options.multi_label or options.activation is not None):
            raise ModelUnusable(f"model.multi_label, model.activation: this is no classifier, but {fit.family}")
        self._output = outputs[0].name
        self._fit = fit
        self._activation = options.activation or _activation_needed(fit, values, options.multi_label)
        _check_confidences(fit, values, outputs)
        self._reader = _reader(fit, height, width)
        self._class_names = names or labels.made_up(fit.classes or _CLASSES_OF_UNNAMED)
        self.class_names = names
        self.task: Task | None = Task.CLASSIFICATION if fit.family is Family.CLASSIFIER else Task.OBJECT_DETECTION
        classes = f"{len(names)} classes" if names else "classes without names"
        provider = self._session.get_providers()[0]
        self.description = f"{options.path.name}: {fit.family}, {width} x {height}, {classes}, {provider}"

    def predict(self, frame: Frame) -> Prediction:
        session = self._session
        if session is None:
            raise ModelFailed("the model is closed")
        if frame.height < 1 or frame.width < 1:
            raise ModelFailed(f"a picture of {frame.width} x {frame.height} pixels")
        try:
            started = time.perf_counter()
            prepared = self._prepare(frame.pixels)
            values = session.run([self._output], {self._input: prepared.tensor})[0][0]
            with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is not finite, dropped and counted
                prediction = self._detected(values, prepared, frame) or self._classified(values, frame)
        except Exception as error:  # onnxruntime and its providers raise what they like: the frame has no prediction
            raise ModelFailed(f"{type(error).__name__}: {error}") from error
        return replace(prediction, model_id=self.model_id, time_s=time.perf_counter() - started)

    def close(self) -> None:
        self._session = None

    def _detected(self, values: NDArray[np.floating], prepared: Prepared, frame: Frame) -> Detections | None:
        if self._reader is None:
            return None
        found = self._reader(values, self._options.confidence)
        if self._fit.family is not Family.END2END:
            found = heads.suppressed(found, self._options.iou)
        boxes = prepared.to_picture(found.boxes)
        names, width, height = self._class_names, frame.width, frame.height
        good = detections(boxes, found.confidences, found.class_ids, names, width=width, height=height)
        return replace(good, dropped=good.dropped + found.dropped)

    def _classified(self, values: NDArray[np.floating], frame: Frame) -> Classification | MultiLabel:
        confidences: NDArray[np.float64] = values.astype(np.float64).reshape(-1)
        if self._activation == "softmax":
            confidences = heads.softmax(confidences)
        elif self._activation == "sigmoid":
            confidences = heads.sigmoid(confidences)
        good = np.flatnonzero(np.isfinite(confidences) & (confidences >= 0))
        if not good.size:
            raise ValueError("no class has a confidence that is a number")
        order = good[np.argsort(-confidences[good], kind="stable")][:MOST_OBJECTS]
        scores = tuple(ClassScore(self._class_names[i], int(i), float(confidences[i])) for i in order)
        dropped = confidences.size - len(scores)
        if self._options.multi_label:
            predicted = tuple(s.class_name for s in scores if s.confidence >= self._options.threshold)
            return MultiLabel(
                scores=scores, predicted=predicted, width=frame.width, height=frame.height, dropped=dropped
            )
        best = scores[0]
        return Classification(
            top=best.class_name if best.confidence >= self._options.confidence else "",
            confidence=best.confidence,
            scores=scores,
            width=frame.width,
            height=frame.height,
            dropped=dropped,
        )

    def _checked_input(self, said: dict[str, str]) -> tuple[bool, int, int]:
        """Whether the input is in half precision; its height and width in pixels."""
        path, inputs = self._options.path, self._session.get_inputs()
        shown = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
        shape = inputs[0].shape
        # A side that is left open has a name, or nothing, in the place of its number.
        one_picture = len(shape) == 4 and all(
            side == count or not isinstance(side, int) for side, count in zip(shape, (1, 3), strict=False)
        )
        if len(inputs) != 1 or inputs[0].type not in _TYPES or not one_picture:
            raise ModelUnusable(f"model.path: {path} wants {shown}; one picture is given, tensor(float) [1, 3, h, w]")
        sides = [side if isinstance(side, int) and side > 0 else None for side in shape[2:]]
        wanted = self._options.input_size
        if wanted is not None:
            for side, given in zip(sides, wanted, strict=True):
                if side not in (None, given):
                    raise ModelUnusable(f"model.input_size: {list(wanted)}, but {path} wants {shown}")
            return _TYPES[inputs[0].type], *wanted
        usual = _usual_size(said)
        height, width = (side or (usual[axis] if usual else None) for axis, side in enumerate(sides))
        if height is None or width is None:
            raise ModelUnusable(f"model.input_size: {path} leaves its size open ({shown}): give [height, width]")
        return _TYPES[inputs[0].type], height, width

    def _dry_run(self) -> tuple[list[Output], NDArray[np.floating]]:
        """The outputs for a grey picture, and the values of the first."""
        path = self._options.path
        grey: Pixels = np.full((self._prepare.height, self._prepare.width, 3), GREY, np.uint8)
        names = [output.name for output in self._session.get_outputs()]
        try:
            values = self._session.run(names, {self._input: self._prepare(grey).tensor})
        except Exception as error:  # onnxruntime and its providers raise what they like
            size = f"{self._prepare.height} x {self._prepare.width}"
            raise ModelUnusable(f"model.path: {path} fails on a picture of {size}: {error}") from error
        if not isinstance(values[0], np.ndarray) or values[0].dtype.kind != "f":
            raise ModelUnusable(f"model.path: {path}: its output {names[0]} is no array of floating-point numbers")
        shapes = [Output(name, tuple(np.shape(value))) for name, value in zip(names, values, strict=True)]
        return shapes, values[0]


def _session(options: OnnxOptions) -> Any:
    if not options.path.is_file():
        raise ModelUnusable(f"model.path: {options.path}: no such file")
    # Since 1.29 it reports to its makers unless it is told not to, before it is loaded. Nobody's camera does that.
    os.putenv("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelUnusable(f"model.type: onnx needs onnxruntime ({error}): pip install 'framesift[onnx]'") from error
    known, available = onnxruntime.get_all_providers(), onnxruntime.get_available_providers()
    for provider in options.providers:
        if provider not in known:
            raise ModelUnusable(f"model.providers: {provider!r} is not one of {', '.join(known)}")
    chosen = [provider for provider in options.providers if provider in available]
    if not chosen:
        raise ModelUnusable(
            f"model.providers: none of {', '.join(options.providers)} is in this onnxruntime, which has "
            f"{', '.join(available)}"
        )
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = options.threads or 0
    # Threads that spin for the next picture would burn a core between the frames of a slow stream.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    failure: Exception | None = None
    for first in range(len(chosen)):
        try:
            # Its own fallback prints to stdout, where the log is.
            session = onnxruntime.InferenceSession(
                str(options.path), settings, providers=chosen[first:], enable_fallback=0
            )
        except Exception as error:  # noqa: BLE001 - onnxruntime and its providers raise what they like
            failure = error
            continue
        # A provider that lacks its libraries or its device is passed over in silence, down to the CPU.
        if session.get_providers()[0] in chosen:
            return session
    if failure is None:
        raise ModelUnusable(f"model.providers: {', '.join(chosen)} can't be started on this machine")
    raise ModelUnusable(f"model.path: {options.path} can't be loaded: {failure}") from failure


def _family_asked(options: OnnxOptions, said: dict[str, str]) -> Family:
    task = said.get("task")
    if task in _OTHER_TASKS:
        raise ModelUnusable(
            f"model.path: {options.path} is for task {task!r}; detect and classify can be read. "
            "Others can be wrapped by a model of type python"
        )
    implied = _ULTRALYTICS_TASKS.get(task or "")
    if implied is not None and options.family not in (Family.AUTO, implied):
        raise ModelUnusable(f"model.family: {options.family}, but {options.path} says its task is {task!r}")
    return implied or options.family


def _names(options: OnnxOptions, said: dict[str, str]) -> tuple[str, ...] | None:
    if options.class_names is not None:
        return options.class_names
    if options.class_names_file is not None:
        return labels.from_file(options.class_names_file)
    return labels.from_metadata(said["names"], options.path) if "names" in said else None


def _usual_size(said: dict[str, str]) -> tuple[int, int] | None:
    """Height and width that the metadata give, where they give any."""
    try:
        size = ast.literal_eval(said.get("imgsz", ""))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    height, width = size if isinstance(size, list | tuple) and len(size) == 2 else (size, size)
    fine = all(isinstance(side, int) and 8 <= side <= 8192 for side in (height, width))
    return (height, width) if fine else None


def _preparation(options: OnnxOptions, family: Family, height: int, width: int, half: bool) -> Preparation:
    plain = family is Family.YOLOX  # trained on what OpenCV reads, unscaled, with the bars to the right and below
    usual = Resize.CROP if family is Family.CLASSIFIER else Resize.LETTERBOX
    return Preparation(
        height=height,
        width=width,
        resize=options.resize or usual,
        centred=not plain,
        rgb=options.colour == "rgb" if options.colour else not plain,
        scale=options.scale or (1.0 if plain else 1 / 255),
        mean=options.mean or (0.0, 0.0, 0.0),
        std=options.std or (1.0, 1.0, 1.0),
        half=half,
    )


def _reader(fit: Fitted, height: int, width: int) -> heads.Reader | None:
    if fit.family is Family.YOLOX:
        return heads.yolox(height, width, fit.strides)
    return {Family.YOLOV8: heads.yolov8, Family.YOLOV5: heads.yolov5, Family.END2END: heads.end2end}.get(fit.family)


def _activation_needed(fit: Fitted, values: NDArray[np.floating], multi_label: bool) -> str:
    if fit.family is not Family.CLASSIFIER:
        return "none"
    if values.min() >= 0 and values.max() <= 1.001 and (multi_label or abs(float(values.sum()) - 1) < 0.01):
        return "none"
    return "sigmoid" if multi_label else "softmax"


def _check_confidences(fit: Fitted, values: NDArray[np.floating], outputs: list[Output]) -> None:
    """Confidences of a detector lie between 0 and 1, or the output has been taken for what it is not."""
    if fit.family is Family.CLASSIFIER:
        return
    rows = values[0].T if fit.family is Family.YOLOV8 else values[0]
    said = rows[:, 4:5] if fit.family is Family.END2END else rows[:, 4:]
    said = said[np.isfinite(said)]
    if said.size and not (said.min() >= -0.01 and said.max() <= 1.01):
        raise ModelUnusable(
            f"model.family: {fit.family} does not fit: its confidences would run from {said.min():.3g} to "
            f"{said.max():.3g}, not from 0 to 1. The outputs are "
            + ", ".join(f"{output.name} {output.shape}" for output in outputs)
        )

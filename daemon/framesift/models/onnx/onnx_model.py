"""Networks in ONNX files, run by onnxruntime: detectors of ten families of heads, and classifiers.

Everything that can be wrong with a file is said when it is loaded: the network is run once on a grey picture, and its
outputs' shapes must fit the family that was named, or exactly one family.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framesift.frame import Frame, Pixels
from framesift.models.model import ModelFailed, ModelLoadError, ModelNotes
from framesift.models.onnx import coco, families, labels, metadata, onnx_session
from framesift.models.onnx import graph_input as onnx_input
from framesift.models.onnx import graph_operations as graph
from framesift.models.onnx.classifier import Classifier
from framesift.models.onnx.detector import Detector
from framesift.models.onnx.dynamic_batching import DynamicBatcher
from framesift.models.onnx.families import FamilyMatch, GraphFacts, GraphOutput
from framesift.models.onnx.metadata import Metadata
from framesift.models.onnx.onnx_settings import KEYPOINT_FAMILIES, Family, OnnxSettings
from framesift.models.onnx.preprocessing import GREY
from framesift.prediction.prediction import Prediction, Task

_SEGMENTING = frozenset({Family.YOLOV8_SEG, Family.END2END_SEG})
_FAMILIES_OF_TASK = {
    "detect": frozenset(Family) - _SEGMENTING - KEYPOINT_FAMILIES - {Family.CLASSIFIER},
    "segment": _SEGMENTING,
    "pose": KEYPOINT_FAMILIES,
    "classify": frozenset({Family.CLASSIFIER}),
}
_OTHER_TASKS = ("obb", "semantic", "depth")
_OTHER_HEADS = ("RTDETRDecoder",)  # looks like an end-to-end head, but its boxes are shares of the picture
# End-to-end heads don't say how many classes they have.
_CLASSES_OF_UNNAMED = 1000
_NAME_THEM = "set model.class_names_file (a file of one name a line), or model.class_names (a list, or coco)"


class OnnxModel:
    def __init__(self, options: OnnxSettings) -> None:
        """Raises ModelLoadError: no such file, no network, providers, shapes, or names that don't fit."""
        self._options = options
        self.model_id = options.model_id or re.sub(r"[^a-zA-Z0-9_:/.@-]", "-", options.path.stem)[:64]
        self._session: Any = onnx_session.start_session(options)
        said = metadata.read(self._session.get_modelmeta().custom_metadata_map)
        among = _families(options, said)
        self._input = onnx_input.read_input(options, self._session.get_inputs(), said)
        # Until the family is known: the shapes of what comes out don't depend on the range of what goes in.
        self._prepare = onnx_input.preprocessing_for(options, options.family, self._input)
        outputs, values = self._dry_run(1)
        names = _names(options, said, outputs)
        seen = GraphFacts(
            self._input.height,
            self._input.width,
            class_count=None if names is None else len(names),
            single_class_allowed=options.multi_label,
            keypoints=_keypoints(options, said),
        )
        asked = next(iter(among)) if among is not None and len(among) == 1 else options.family
        fit = families.match_family(asked, outputs, seen, among)
        if options.first_class_id is not None:
            fit = replace(fit, first_class_id=options.first_class_id)
        if options.class_names == "coco" and fit.family is Family.SSD:  # which count what TensorFlow counts
            names = tuple(coco.NAMES_BY_CATEGORY_ID.values())
        self._prepare = onnx_input.preprocessing_for(options, fit.family, self._input)
        self._outputs = [outputs[place].name for place in fit.output_indices]
        if options.batch_size > 1:
            self._refuse_batches([outputs[place] for place in fit.output_indices])
            self._answers: Callable[[NDArray[Any]], list[Any]] = DynamicBatcher(self._run, options.batch_size)
        else:  # threads that ask at once are served at once
            self._answers = lambda tensor: [value[0] for value in self._run(tensor)]
        read = [_numbers(options, fit, outputs[place], values[place]) for place in fit.output_indices]
        class_names = names or labels.placeholders(fit.class_count or _CLASSES_OF_UNNAMED)
        self._head: Classifier | Detector
        if fit.family is Family.CLASSIFIER:
            operation = graph.output_operation(options.path, self._outputs[0])
            self._head = Classifier(options, class_names, operation, self._sayings(fit.output_indices[0]))
        else:
            _refuse_options_of_others(options, fit)
            keypoint_names = (options.keypoint_names,) if options.keypoint_names else said.keypoint_names
            self._head = Detector(fit, seen, class_names, keypoint_names, options.confidence, options.iou)
            _check_confidences(options, fit, self._head, outputs, read)
        self.task: Task | None = self._head.task
        self.class_names = names
        self.notes = ModelNotes(
            preprocessing=self._prepare.describe(),
            guessed=onnx_input.guessed_preprocessing(options, fit.family, self._input, said),
            class_names_advice="" if names else _NAME_THEM,
        )
        classes = f"{len(names)} classes" if names else "classes without names"
        provider = self._session.get_providers()[0]
        size = f"{self._input.width} x {self._input.height}"
        at_once = f", up to {options.batch_size} at once" if options.batch_size > 1 else ""
        self.description = f"{options.path.name}: {fit.family}, {size}{at_once}, {classes}, {provider}"

    def predict(self, frame: Frame) -> Prediction:
        if self._session is None:
            raise ModelFailed("the model is closed")
        if frame.height < 1 or frame.width < 1:
            raise ModelFailed(f"a picture of {frame.width} x {frame.height} pixels")
        try:
            started = time.perf_counter()
            prepared = self._prepare(frame.pixels)
            values = self._answers(prepared.tensor)
            with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is not finite, dropped and counted
                prediction: Prediction = self._head.read(values, prepared, frame.width, frame.height)
        except Exception as error:  # onnxruntime and its providers raise what they like: the frame has no prediction
            raise ModelFailed(f"{type(error).__name__}: {error}") from error
        return replace(prediction, model_id=self.model_id, time_s=time.perf_counter() - started)

    def close(self) -> None:
        self._session = None

    def _run(self, tensor: NDArray[Any]) -> list[Any]:
        session = self._session
        if session is None:
            raise ValueError("the model is closed")
        outputs: list[Any] = session.run(self._outputs, {self._input.name: tensor})
        return outputs

    def _sayings(self, place: int) -> NDArray[np.floating]:
        """What a classifier's output at `place` says of grey, black and white, and of noise, (pictures, classes)."""
        size = (self._prepare.height, self._prepare.width, 3)
        noise = np.random.default_rng(0).integers(0, 256, size, np.uint8)
        pictures = [np.full(size, GREY, np.uint8), np.zeros(size, np.uint8), np.full(size, 255, np.uint8), noise]
        return np.stack([self._dry_run(1, pixels)[1][place].reshape(-1) for pixels in pictures])

    def _dry_run(self, pictures: int, pixels: Pixels | None = None) -> tuple[list[GraphOutput], list[Any]]:
        """The outputs for so many pictures, grey ones unless others are given, and their values."""
        path = self._options.path
        if pixels is None:
            pixels = np.full((self._prepare.height, self._prepare.width, 3), GREY, np.uint8)
        names = [output.name for output in self._session.get_outputs()]
        try:
            tensor = np.repeat(self._prepare(pixels).tensor, pictures, axis=0)
            values = self._session.run(names, {self._input.name: tensor})
        except Exception as error:  # onnxruntime and its providers raise what they like
            size = f"{self._prepare.height} x {self._prepare.width}"
            what = f"a picture of {size}" if pictures == 1 else f"{pictures} pictures of {size} at once"
            raise ModelLoadError(f"model.path: {path} fails on {what}: {error}") from error
        shapes = [
            GraphOutput(name, value.shape if isinstance(value, np.ndarray) else ())
            for name, value in zip(names, values, strict=True)
        ]
        return shapes, values

    def _refuse_batches(self, alone: list[GraphOutput]) -> None:
        """Raises ModelLoadError where the outputs of several pictures are not as many as those of one, `alone`."""
        most, path = self._options.batch_size, self._options.path
        if self._input.single_picture:
            raise ModelLoadError(
                f"model.batch_size: {most}, but {path} takes one picture at a time; it can be exported with a batch "
                "that is left open"
            )
        found = {output.name: output.shape for output in self._dry_run(most)[0]}
        for output in alone:
            if found[output.name] != (most, *output.shape[1:]):
                raise ModelLoadError(
                    f"model.batch_size: {path} is given {most} pictures, and its output {output.name} is "
                    f"{found[output.name]}, which is not {most} times {output.shape}"
                )


def _families(options: OnnxSettings, said: Metadata) -> frozenset[Family] | None:
    """Those that the task in the metadata leaves, None where there is none. Raises ModelLoadError: none is left."""
    if said.task in _OTHER_TASKS:
        raise ModelLoadError(
            f"model.path: {options.path} is for task {said.task!r}; detect, segment, pose and classify can be read. "
            "Others can be wrapped by a model of type python"
        )
    if said.head in _OTHER_HEADS:
        raise ModelLoadError(
            f"model.path: {options.path} says that its head is {said.head}, which can't be read. It can be wrapped by "
            "a model of type python"
        )
    among = _FAMILIES_OF_TASK.get(said.task or "")
    if among is not None and options.family not in (Family.AUTO, *among):
        raise ModelLoadError(f"model.family: {options.family}, but {options.path} says its task is {said.task!r}")
    return among


def _names(options: OnnxSettings, said: Metadata, outputs: list[GraphOutput]) -> tuple[str, ...] | None:
    if options.class_names == "coco":
        by_id = any(
            len(output.shape) == 3 and output.shape[2] == 1 + len(coco.NAMES_BY_CATEGORY_ID) for output in outputs
        )
        return ("class_0", *coco.NAMES_BY_CATEGORY_ID.values()) if by_id else coco.NAMES
    if options.class_names is not None:
        return options.class_names
    if options.class_names_file is not None:
        return labels.from_file(options.class_names_file)
    return None if said.names is None else labels.from_metadata(said.names, options.path)


def _keypoints(options: OnnxSettings, said: Metadata) -> tuple[int, int] | None:
    """How many keypoints an object has, and how many numbers each. Raises ModelLoadError for a contradiction."""
    if options.keypoint_names is None:
        return said.keypoint_shape
    count = len(options.keypoint_names)
    if said.keypoint_shape is not None and count != said.keypoint_shape[0]:
        raise ModelLoadError(
            f"model.keypoint_names: {count} names, but {options.path} says that an object has {said.keypoint_shape[0]} "
            "keypoints"
        )
    return said.keypoint_shape or (count, 3)


def _numbers(options: OnnxSettings, fit: FamilyMatch, output: GraphOutput, value: Any) -> NDArray[Any]:
    """An output without the batch's dimension. Raises ModelLoadError where it holds no numbers."""
    # An ssd model's classes and their count may be whole numbers.
    kinds = "fiu" if fit.family is Family.SSD else "f"
    if not isinstance(value, np.ndarray) or value.dtype.kind not in kinds:
        raise ModelLoadError(
            f"model.path: {options.path}: its output {output.name} is no array of floating-point numbers"
        )
    first: NDArray[Any] = value[0]
    return first


def _refuse_options_of_others(options: OnnxSettings, fit: FamilyMatch) -> None:
    if options.multi_label or options.activation is not None:
        raise ModelLoadError(f"model.multi_label, model.activation: this is no classifier, but {fit.family}")
    if options.keypoint_names is not None and fit.keypoints is None:
        raise ModelLoadError(f"model.keypoint_names: this is {fit.family}, which has no keypoints")
    if options.first_class_id is not None and fit.family is not Family.SSD:
        raise ModelLoadError(f"model.first_class_id: this is {fit.family}, not ssd")


def _check_confidences(
    options: OnnxSettings, fit: FamilyMatch, head: Detector, outputs: list[GraphOutput], read: list[NDArray[Any]]
) -> None:
    """Confidences of a detector lie between 0 and 1, or the output has been taken for what it is not."""
    try:
        confidences = head.confidences(read)
    except ValueError as error:
        raise ModelLoadError(
            f"model.path: {options.path}: its outputs can't be read as {fit.family}: {error}"
        ) from error
    if confidences.size and not (confidences.min() >= -0.01 and confidences.max() <= 1.01):
        raise ModelLoadError(
            f"model.family: {fit.family} does not fit: its confidences would run from {confidences.min():.3g} to "
            f"{confidences.max():.3g}, not from 0 to 1. The outputs are "
            + ", ".join(f"{output.name} {output.shape}" for output in outputs)
        )

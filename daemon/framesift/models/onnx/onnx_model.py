"""Networks in ONNX files, run by onnxruntime: classifiers, and detectors of many output families.

Errors in a file are reported when it is loaded: the network runs once on a grey picture, and the shapes of its outputs
must fit the family in the settings, or exactly one family.
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
from framesift.models.onnx import coco, families, graph_input, graph_operations, labels, metadata, onnx_session
from framesift.models.onnx.classifier import Classifier
from framesift.models.onnx.detector import Detector
from framesift.models.onnx.dynamic_batching import DynamicBatcher
from framesift.models.onnx.embedding_output import check_embedding
from framesift.models.onnx.family_match import FamilyMatch, GraphFacts, GraphOutput
from framesift.models.onnx.metadata import Metadata
from framesift.models.onnx.onnx_settings import (
    COUNTING_FAMILIES,
    KEYPOINT_FAMILIES,
    ROTATED_FAMILIES,
    Family,
    OnnxSettings,
)
from framesift.models.onnx.preprocessing import GREY
from framesift.prediction.embedding import Embedding, make_embedding
from framesift.prediction.prediction import Prediction, Task, with_origin

_MASK_FAMILIES = frozenset({Family.YOLOV8_SEG, Family.END2END_SEG})
_FAMILIES_OF_TASK = {
    "detect": frozenset(Family) - _MASK_FAMILIES - KEYPOINT_FAMILIES - ROTATED_FAMILIES - {Family.CLASSIFIER},
    "segment": _MASK_FAMILIES,
    "pose": KEYPOINT_FAMILIES,
    "obb": ROTATED_FAMILIES,
    "classify": frozenset({Family.CLASSIFIER}),
}
_UNSUPPORTED_TASKS = ("semantic", "depth")
# It looks like an end-to-end head, but its boxes are fractions of the picture.
_FAMILIES_OF_HEAD = {"RTDETRDecoder": frozenset({Family.RTDETR})}
# End-to-end heads do not tell how many classes they have.
_PLACEHOLDER_CLASSES = 1000
_CLASS_NAMES_ADVICE = "set model.class_names_file (a file of one name a line), or model.class_names (a list, or coco)"


class OnnxModel:
    """A network in an ONNX file. Thread-safe."""

    def __init__(self, settings: OnnxSettings) -> None:
        """Loads and checks the network.

        Raises ModelLoadError: no such file, not a network, no provider, or shapes or names that do not fit.
        """
        self._settings = settings
        self.model_id = settings.model_id or re.sub(r"[^a-zA-Z0-9_:/.@-]", "-", settings.path.stem)[:64]
        self._session: Any = onnx_session.start_session(settings)
        file_metadata = metadata.read(self._session.get_modelmeta().custom_metadata_map)
        allowed_families = _families(settings, file_metadata)
        self._input = graph_input.read_input(settings, self._session.get_inputs(), file_metadata)
        # Until the family is known; the shapes of the outputs do not depend on the range of the input.
        self._prepare = graph_input.preprocessing_for(settings, settings.family, self._input)
        outputs, values = self._test_run(1)
        embedding = check_embedding(settings, outputs, values)
        if len(outputs) > 1:  # it tells nothing of the family
            kept = [index for index, output in enumerate(outputs) if output is not embedding]
            outputs, values = [outputs[index] for index in kept], [values[index] for index in kept]
        names = _class_names(settings, file_metadata, outputs)
        facts = GraphFacts(
            self._input.height,
            self._input.width,
            class_count=None if names is None else len(names),
            single_class_allowed=settings.multi_label,
            keypoints=_keypoints(settings, file_metadata),
            rotated=file_metadata.task == "obb",
            names_from=_names_from(settings),
        )
        family = (
            next(iter(allowed_families))
            if allowed_families is not None and len(allowed_families) == 1
            else settings.family
        )
        match = families.match_family(family, outputs, facts, allowed_families)
        if settings.first_class_id is not None:
            match = replace(match, first_class_id=settings.first_class_id)
        if settings.class_names == "coco" and match.family in COUNTING_FAMILIES:  # by category
            names = tuple(coco.NAMES_BY_CATEGORY_ID.values())
        self._prepare = graph_input.preprocessing_for(settings, match.family, self._input, match.smooths)
        run = [outputs[index] for index in match.output_indices]
        self._head_outputs = len(run)
        if embedding is not None and embedding not in run:
            run.append(embedding)
        self._outputs = [output.name for output in run]
        self.gives_embeddings: bool | None = embedding is not None
        if settings.batch_size > 1:
            self._check_batches(run, match)
            self._run_batched: Callable[[NDArray[Any]], list[Any]] = DynamicBatcher(self._run, settings.batch_size)
        else:  # several threads may run the network at the same time
            whole = 0 if match.per_picture else self._head_outputs  # these have no side that counts pictures
            self._run_batched = lambda tensor: [
                value if index < whole else value[0] for index, value in enumerate(self._run(tensor))
            ]
        first_outputs = [
            _first_of_batch(settings, match, outputs[index], values[index]) for index in match.output_indices
        ]
        class_names = names or labels.placeholders(match.class_count or _PLACEHOLDER_CLASSES)
        self._head: Classifier | Detector
        if match.family is Family.CLASSIFIER:
            operation = graph_operations.output_operation(settings.path, self._outputs[0])
            self._head = Classifier(settings, class_names, operation, self._test_outputs(self._outputs[0]))
        else:
            _check_family_settings(settings, match)
            keypoint_names = (settings.keypoint_names,) if settings.keypoint_names else file_metadata.keypoint_names
            self._head = Detector(match, facts, class_names, keypoint_names, settings.confidence, settings.iou)
            _check_confidences(settings, match, self._head, outputs, first_outputs)
        self.task: Task | None = self._head.task
        self.class_names = names
        self.notes = ModelNotes(
            preprocessing=self._prepare.describe(),
            guessed=graph_input.guessed_preprocessing(settings, match.family, self._input, file_metadata),
            class_names_advice="" if names else _CLASS_NAMES_ADVICE,
        )
        classes = f"{len(names)} classes" if names else "classes without names"
        provider = self._session.get_providers()[0]
        size = f"{self._input.width} x {self._input.height}"
        fixed = self._input.fixed_batch or 1
        padded = f", always {fixed} at once" if fixed > 1 else ""
        at_once = f", up to {settings.batch_size} at once" if settings.batch_size > 1 else ""
        vector = f", embeddings {settings.embedding}" if settings.embedding else ""
        self.description = (
            f"{settings.path.name}: {match.family}, {size}{padded}{at_once}, {classes}{vector}, {provider}"
        )

    def predict(self, frame: Frame) -> Prediction:
        """Runs the network on the frame. Raises ModelFailed."""
        if self._session is None:
            raise ModelFailed("the model is closed")
        if frame.height < 1 or frame.width < 1:
            raise ModelFailed(f"a picture of {frame.width} x {frame.height} pixels")
        try:
            started_s = time.perf_counter()
            prepared = self._prepare(frame.pixels)
            values = self._run_batched(prepared.tensor)
            with np.errstate(over="ignore", invalid="ignore"):  # results that are not finite are dropped and counted
                prediction: Prediction = self._head.read(
                    values[: self._head_outputs], prepared, frame.width, frame.height
                )
            embedding = self._embedding(values)
        except Exception as error:  # onnxruntime and its providers may raise anything
            raise ModelFailed(f"{type(error).__name__}: {error}") from error
        return with_origin(
            prediction,
            model_id=self.model_id,
            time_s=time.perf_counter() - started_s,
            embedding=embedding,
            dropped=prediction.dropped + (embedding is None and bool(self.gives_embeddings)),
        )

    def close(self) -> None:
        """Releases the network."""
        self._session = None

    def _embedding(self, values: list[Any]) -> Embedding | None:
        """The embedding among the outputs for one picture; None where it has none."""
        name = self._settings.embedding
        return None if name is None else make_embedding(values[self._outputs.index(name)])

    def _run(self, tensor: NDArray[Any]) -> list[Any]:
        session = self._session
        if session is None:
            raise ValueError("the model is closed")
        return self._run_padded(session, self._outputs, tensor)

    def _run_padded(self, session: Any, names: list[str], tensor: NDArray[Any]) -> list[Any]:
        """The outputs for these pictures; black ones fill up a network that takes a fixed number."""
        pictures, fixed = len(tensor), self._input.fixed_batch
        if fixed is not None and pictures < fixed:
            tensor = np.concatenate((tensor, np.zeros((fixed - pictures, *tensor.shape[1:]), tensor.dtype)))
        others = {name: np.repeat(value, len(tensor), axis=0) for name, value in self._input.others.items()}
        given = tensor if self._input.has_batch else tensor[0]
        values = session.run(names, {self._input.name: given, **others})
        if len(tensor) == pictures:
            return list(values)
        return [v[:pictures] if isinstance(v, np.ndarray) and v.shape[:1] == (fixed,) else v for v in values]

    def _test_outputs(self, name: str) -> NDArray[np.floating]:
        """A classifier's output of this name for a grey, a black, a white and a noise picture: (pictures, classes)."""
        size = (self._prepare.height, self._prepare.width, 3)
        noise = np.random.default_rng(0).integers(0, 256, size, np.uint8)
        pictures = [np.full(size, GREY, np.uint8), np.zeros(size, np.uint8), np.full(size, 255, np.uint8), noise]
        index = [output.name for output in self._session.get_outputs()].index(name)
        return np.stack([self._test_run(1, pixels)[1][index].reshape(-1) for pixels in pictures])

    def _test_run(self, pictures: int, pixels: Pixels | None = None) -> tuple[list[GraphOutput], list[Any]]:
        """The outputs for this number of pictures (grey, unless `pixels` are given), and their values."""
        path = self._settings.path
        if pixels is None:
            pixels = np.full((self._prepare.height, self._prepare.width, 3), GREY, np.uint8)
        names = [output.name for output in self._session.get_outputs()]
        try:
            tensor = np.repeat(self._prepare(pixels).tensor, pictures, axis=0)
            values = self._run_padded(self._session, names, tensor)
        except Exception as error:  # onnxruntime and its providers may raise anything
            size = f"{self._prepare.height} x {self._prepare.width}"
            what = f"a picture of {size}" if pictures == 1 else f"{pictures} pictures of {size} at once"
            raise ModelLoadError(f"model.path: {path} fails on {what}: {error}") from error
        shapes = [
            GraphOutput(
                output.name,
                value.shape if isinstance(value, np.ndarray) else (),
                self._per_picture(output),
                isinstance(value, np.ndarray) and value.dtype.kind in "iu",
            )
            for output, value in zip(self._session.get_outputs(), values, strict=True)
        ]
        return shapes, values

    def _per_picture(self, output: Any) -> bool:
        """Whether its first side counts pictures: not if it is open, while the number of pictures is fixed."""
        return not output.shape or self._input.fixed_batch is None or isinstance(output.shape[0], int)

    def _check_batches(self, single: list[GraphOutput], match: FamilyMatch) -> None:
        """Raises ModelLoadError if the outputs of several pictures are not as many as those of one (`single`)."""
        batch_size, path = self._settings.batch_size, self._settings.path
        fixed = self._input.fixed_batch
        if not match.per_picture:
            raise ModelLoadError(f"model.batch_size: {batch_size}, but {match.family} is run with one picture; set 1")
        if fixed is not None and batch_size > fixed:
            takes = "one picture" if fixed == 1 else f"{fixed} pictures"
            raise ModelLoadError(
                f"model.batch_size: {batch_size}, but {path} takes {takes} at a time; export it with an open batch size"
                + ("" if fixed == 1 else f", or set {fixed} or less")
            )
        shapes = {output.name: output.shape for output in self._test_run(batch_size)[0]}
        for output in single:
            if shapes[output.name] != (batch_size, *output.shape[1:]):
                raise ModelLoadError(
                    f"model.batch_size: {path} is given {batch_size} pictures, and its output {output.name} is "
                    f"{shapes[output.name]}, which is not {batch_size} times {output.shape}"
                )


def _families(settings: OnnxSettings, file_metadata: Metadata) -> frozenset[Family] | None:
    """The families that fit the task in the metadata; None without a task. Raises ModelLoadError if none is left."""
    if file_metadata.task in _UNSUPPORTED_TASKS:
        raise ModelLoadError(
            f"model.path: {settings.path} is for task {file_metadata.task!r}; detect, segment, pose, obb and classify "
            "can be read. Others can be wrapped by a model of type python"
        )
    of_task = _FAMILIES_OF_TASK.get(file_metadata.task or "")
    allowed_families = _FAMILIES_OF_HEAD.get(file_metadata.head or "", of_task)
    if allowed_families is not None and settings.family not in (Family.AUTO, *allowed_families):
        raise ModelLoadError(
            f"model.family: {settings.family}, but {settings.path} says its task is {file_metadata.task!r}"
            + (f" and its head {file_metadata.head}" if file_metadata.head in _FAMILIES_OF_HEAD else "")
        )
    return allowed_families


def _class_names(settings: OnnxSettings, file_metadata: Metadata, outputs: list[GraphOutput]) -> tuple[str, ...] | None:
    if settings.class_names == "coco":
        by_id = any(
            len(output.shape) == 3 and output.shape[2] - len(coco.NAMES_BY_CATEGORY_ID) in (1, 2) for output in outputs
        )
        return ("class_0", *coco.NAMES_BY_CATEGORY_ID.values()) if by_id else coco.NAMES
    if settings.class_names is not None:
        return settings.class_names
    if settings.class_names_file is not None:
        return labels.from_file(settings.class_names_file)
    return None if file_metadata.names is None else labels.from_metadata(file_metadata.names, settings.path)


def _names_from(settings: OnnxSettings) -> str:
    """Where the class names stand, for messages."""
    if settings.class_names is not None:
        return "model.class_names" + (": coco" if settings.class_names == "coco" else "")
    if settings.class_names_file is not None:
        return f"model.class_names_file: {settings.class_names_file}"
    return f"model.path: {settings.path}: its metadata's names (model.class_names goes before them)"


def _keypoints(settings: OnnxSettings, file_metadata: Metadata) -> tuple[int, int] | None:
    """How many keypoints an object has, and numbers per keypoint. Raises ModelLoadError for a contradiction."""
    if settings.keypoint_names is None:
        return file_metadata.keypoint_shape
    count = len(settings.keypoint_names)
    if file_metadata.keypoint_shape is not None and count != file_metadata.keypoint_shape[0]:
        raise ModelLoadError(
            f"model.keypoint_names: {count} names, but {settings.path} says that an object has "
            f"{file_metadata.keypoint_shape[0]} keypoints"
        )
    return file_metadata.keypoint_shape or (count, 3)


def _first_of_batch(settings: OnnxSettings, match: FamilyMatch, output: GraphOutput, value: Any) -> NDArray[Any]:
    """An output without the batch axis. Raises ModelLoadError if it holds no numbers."""
    # Classes, and the count of an ssd model, may be whole numbers.
    kinds = "fiu" if match.family in (*COUNTING_FAMILIES, Family.RTDETR) else "f"
    if not isinstance(value, np.ndarray) or value.dtype.kind not in kinds:
        raise ModelLoadError(
            f"model.path: {settings.path}: its output {output.name} is not an array of floating-point numbers"
        )
    first: NDArray[Any] = value[0] if match.per_picture else value
    return first


def _check_family_settings(settings: OnnxSettings, match: FamilyMatch) -> None:
    if settings.multi_label or settings.activation is not None:
        raise ModelLoadError(f"model.multi_label, model.activation: this is not a classifier, but {match.family}")
    if settings.keypoint_names is not None and match.keypoints is None:
        raise ModelLoadError(f"model.keypoint_names: this is {match.family}, which has no keypoints")
    if settings.first_class_id is not None and match.family not in COUNTING_FAMILIES:
        raise ModelLoadError(
            f"model.first_class_id: this is {match.family}, not {' or '.join(map(str, COUNTING_FAMILIES))}"
        )


def _check_confidences(
    settings: OnnxSettings,
    match: FamilyMatch,
    head: Detector,
    outputs: list[GraphOutput],
    first_outputs: list[NDArray[Any]],
) -> None:
    """Raises ModelLoadError if the confidences are not between 0 and 1: then the outputs mean something else."""
    try:
        confidences = head.confidences(first_outputs)
    except ValueError as error:
        raise ModelLoadError(
            f"model.path: {settings.path}: its outputs can't be read as {match.family}: {error}"
        ) from error
    if confidences.size and not (confidences.min() >= -0.01 and confidences.max() <= 1.01):
        raise ModelLoadError(
            f"model.family: {match.family} does not fit: its confidences would run from {confidences.min():.3g} to "
            f"{confidences.max():.3g}, not from 0 to 1. The outputs are "
            + ", ".join(f"{output.name} {output.shape}" for output in outputs)
        )

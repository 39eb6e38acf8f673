"""Classifier: reads a classifier's output: a confidence per class, and the label or labels that follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framesift.models.model import ModelLoadError
from framesift.models.onnx import graph_operations, heads
from framesift.models.onnx.onnx_settings import OnnxSettings
from framesift.models.onnx.preprocessing import PreparedPicture
from framesift.prediction.prediction import MAX_CONFIDENCE, MAX_OBJECTS, Classification, ClassScore, MultiLabel, Task

_SUM_TOLERANCE = 0.05


class Classifier:
    """Reads the output of one classifier. Thread-safe."""

    task = Task.CLASSIFICATION

    def __init__(
        self, settings: OnnxSettings, class_names: tuple[str, ...], operation: str | None, values: NDArray[np.floating]
    ) -> None:
        """operation: of the graph, which computes the output. values: of some test pictures, shape (pictures, classes).

        Together they decide, once for all pictures, whether the output holds confidences already. Raises ModelLoadError
        if it does, but they are not the confidences of one label.
        """
        self._settings = settings
        self._class_names = class_names
        self._activation = settings.activation or _activation_needed(settings, operation, values)

    def read(
        self, outputs: Sequence[NDArray[Any]], _prepared: PreparedPicture, width: int, height: int
    ) -> Classification | MultiLabel:
        """Converts the output for one frame. width, height: of the frame in pixels.

        Raises ValueError if no class has a finite confidence, or one is larger than 1.
        """
        confidences: NDArray[np.float64] = outputs[0].astype(np.float64).reshape(-1)
        if self._activation == "softmax":
            confidences = heads.softmax(confidences)
        elif self._activation == "sigmoid":
            confidences = heads.sigmoid(confidences)
        valid = np.flatnonzero(np.isfinite(confidences) & (confidences >= 0))
        if not valid.size:
            raise ValueError("no class has a finite confidence")
        if confidences[valid].max() > MAX_CONFIDENCE:
            largest = f"{confidences[valid].max():.3g}"
            raise ValueError(f"{largest} is not a confidence: set model.activation to softmax or sigmoid")
        confidences = np.minimum(confidences, 1.0)
        order = valid[np.argsort(-confidences[valid], kind="stable")][:MAX_OBJECTS]
        scores = tuple(ClassScore(self._class_names[i], int(i), float(confidences[i])) for i in order)
        dropped = confidences.size - len(scores)
        if self._settings.multi_label:
            predicted = tuple(s.class_name for s in scores if s.confidence >= self._settings.threshold)
            return MultiLabel(scores=scores, predicted=predicted, width=width, height=height, dropped=dropped)
        best = scores[0]
        return Classification(
            top=best.class_name if best.confidence >= self._settings.confidence else "",
            confidence=best.confidence,
            scores=scores,
            width=width,
            height=height,
            dropped=dropped,
        )


def _activation_needed(settings: OnnxSettings, operation: str | None, values: NDArray[np.floating]) -> str:
    needed = "sigmoid" if settings.multi_label else "softmax"
    are_confidences = bool(values.min() >= 0 and values.max() <= MAX_CONFIDENCE)
    if operation in graph_operations.LINEAR or not (
        are_confidences or operation in (graph_operations.SOFTMAX, graph_operations.SIGMOID)
    ):
        return needed
    sums = values.astype(np.float64).sum(axis=1)
    farthest = float(sums[np.abs(sums - 1).argmax()])
    # The sum of a softmax is 1, except for rounding.
    if not settings.multi_label and operation != graph_operations.SOFTMAX and abs(farthest - 1) > _SUM_TOLERANCE:
        raise ModelLoadError(
            f"model.multi_label: the numbers of {settings.path} are confidences (from 0 to 1), but those of a test "
            f"picture add up to {farthest:.3g}: where a picture may have several labels, set multi_label: true; "
            "where it has one, set activation: none to take them as they are, softmax if they are logits"
        )
    return "none"

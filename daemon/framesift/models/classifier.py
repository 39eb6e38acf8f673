"""What a classifier's output says of a frame: a confidence per class, and the label or labels that follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framesift.models import heads
from framesift.models.onnx_options import OnnxOptions
from framesift.models.picture import Prepared
from framesift.prediction import MOST_OBJECTS, Classification, ClassScore, MultiLabel, Task


class Classifier:
    task = Task.CLASSIFICATION

    def __init__(self, options: OnnxOptions, class_names: tuple[str, ...], values: NDArray[Any]) -> None:
        """values: what it said of some picture; they tell whether they are confidences already."""
        self._options = options
        self._class_names = class_names
        self._activation = options.activation or _activation_needed(values, options.multi_label)

    def read(
        self, outputs: Sequence[NDArray[Any]], _prepared: Prepared, width: int, height: int
    ) -> Classification | MultiLabel:
        """width, height: of the frame, in pixels. Raises ValueError: no class has a confidence that is a number."""
        confidences: NDArray[np.float64] = outputs[0].astype(np.float64).reshape(-1)
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
            return MultiLabel(scores=scores, predicted=predicted, width=width, height=height, dropped=dropped)
        best = scores[0]
        return Classification(
            top=best.class_name if best.confidence >= self._options.confidence else "",
            confidence=best.confidence,
            scores=scores,
            width=width,
            height=height,
            dropped=dropped,
        )


def _activation_needed(values: NDArray[Any], multi_label: bool) -> str:
    if values.min() >= 0 and values.max() <= 1.001 and (multi_label or abs(float(values.sum()) - 1) < 0.01):
        return "none"
    return "sigmoid" if multi_label else "softmax"

"""What a classifier's output says of a frame: a confidence per class, and the label or labels that follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framesift.models.model import ModelLoadError
from framesift.models.onnx import graph_operations as graph
from framesift.models.onnx import heads
from framesift.models.onnx.onnx_settings import OnnxSettings
from framesift.models.onnx.preprocessing import PreparedPicture
from framesift.prediction.prediction import MAX_OBJECTS, Classification, ClassScore, MultiLabel, Task

# Beyond 1 by what half precision rounds.
_MOST = 1.001
_SUM_WITHIN = 0.05


class Classifier:
    task = Task.CLASSIFICATION

    def __init__(
        self, options: OnnxSettings, class_names: tuple[str, ...], operation: str | None, values: NDArray[np.floating]
    ) -> None:
        """operation: of the graph, that its output comes from. values: what it said of a few pictures, shape (pictures,
        classes). Together they tell, once for all pictures, whether what it says are confidences already. Raises
        ModelLoadError: they are, but not those of one label.
        """
        self._options = options
        self._class_names = class_names
        self._activation = options.activation or _activation_needed(options, operation, values)

    def read(
        self, outputs: Sequence[NDArray[Any]], _prepared: PreparedPicture, width: int, height: int
    ) -> Classification | MultiLabel:
        """width, height: of the frame, in pixels. Raises ValueError: no class has a confidence that is a number, or
        one has more than is possible.
        """
        confidences: NDArray[np.float64] = outputs[0].astype(np.float64).reshape(-1)
        if self._activation == "softmax":
            confidences = heads.softmax(confidences)
        elif self._activation == "sigmoid":
            confidences = heads.sigmoid(confidences)
        good = np.flatnonzero(np.isfinite(confidences) & (confidences >= 0))
        if not good.size:
            raise ValueError("no class has a confidence that is a number")
        if self._options.activation is None and confidences[good].max() > _MOST:
            raise ValueError(f"{confidences[good].max():.3g} is no confidence: set model.activation")
        order = good[np.argsort(-confidences[good], kind="stable")][:MAX_OBJECTS]
        scores = tuple(ClassScore(self._class_names[i], int(i), float(confidences[i])) for i in order)
        dropped = confidences.size - len(scores)
        if self._options.multi_label:
            predicted = tuple(s.class_name for s in scores if s.confidence >= self._options.threshold)
            return MultiLabel(scores=scores, predicted=predicted, width=width, height=height, dropped_count=dropped)
        best = scores[0]
        return Classification(
            top_class=best.class_name if best.confidence >= self._options.confidence else "",
            confidence=best.confidence,
            scores=scores,
            width=width,
            height=height,
            dropped_count=dropped,
        )


def _activation_needed(options: OnnxSettings, operation: str | None, values: NDArray[np.floating]) -> str:
    needed = "sigmoid" if options.multi_label else "softmax"
    within = bool(values.min() >= 0 and values.max() <= _MOST)
    if operation in graph.LINEAR or not (within or operation in (graph.SOFTMAX, graph.SIGMOID)):
        return needed
    sums = values.astype(np.float64).sum(axis=1)
    farthest = float(sums[np.abs(sums - 1).argmax()])
    # The sum of a softmax is 1, but for what a network of small numbers rounds off.
    if not options.multi_label and operation != graph.SOFTMAX and abs(farthest - 1) > _SUM_WITHIN:
        raise ModelLoadError(
            f"model.multi_label: the numbers of {options.path} are confidences (from 0 to 1), but those of a test "
            f"picture add up to {farthest:.3g}: where a picture may have several labels, set multi_label: true; "
            "where it has one, set activation: none to take them as they are, softmax if they are logits"
        )
    return "none"

"""The baseline's pictures in a collected folder: which there are, what the model said of each, what it stands for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framesift.estimation.errors import EstimationError
from framesift.policy.baseline import NAME
from framesift.prediction.prediction import Classification, MultiLabel, Prediction, Stub
from framesift.prediction.wire_format import parse_prediction
from framesift.sinks.own_lines import parse_own_line

_MARK = f'"strategy": "{NAME}"'.encode()  # so that the lines of other strategies need not be parsed


@dataclass(frozen=True, slots=True)
class SampledFrame:
    """A picture of the baseline.

    id: of the datapoint. weight: how many frames it is one of, itself included.
    """

    id: str
    stream: str
    captured_at_s: float
    weight: int
    prediction: Prediction


@dataclass(frozen=True, slots=True)
class Sample:
    """The pictures of the baseline, device by device in the order of their capture.

    predicted: what the model said; those without a prediction, or with one that can't be read, are not among them.
    without_prediction: how many of those there were. without_weight: lines of a strategy of this name that has no
    weights, and is another one.
    """

    predicted: tuple[SampledFrame, ...]
    without_prediction: int
    without_weight: int

    @property
    def predicted_share(self) -> float:
        """Which share of the pictures has a prediction."""
        return len(self.predicted) / max(len(self.predicted) + self.without_prediction, 1)


def read_sample(folder: Path, *, since_s: float, until_s: float) -> Sample:
    """Reads the baseline's lines of a folder sink's folder. A line that is being written at this moment is left out.

    since_s, until_s: Unix times of capture; `until_s` itself is not included. Raises EstimationError where there is
    nothing to estimate from, and OSError.
    """
    path = folder / "metadata.jsonl"
    if not path.is_file():
        raise EstimationError(f"{folder}: no metadata.jsonl in it: the path of a folder sink is expected")
    found: list[tuple[str, SampledFrame]] = []
    lines = without_weight = without_prediction = outside = 0
    with path.open("rb") as file:
        for line in file:
            lines += 1
            own = parse_own_line(line) if _MARK in line else None
            fields = None if own is None else _fields(line)
            if own is None or fields is None:
                continue
            weight = fields.get("weight")
            if type(weight) is not int or weight < 1:
                without_weight += 1
            elif not since_s <= own.captured_at_s < until_s:
                outside += 1
            elif (prediction := _prediction(fields)) is None:
                without_prediction += 1
            else:
                frame = SampledFrame(own.id, own.stream, own.captured_at_s, weight, prediction)
                found.append((str(fields.get("device")), frame))
    if not found:
        raise EstimationError(f"{path}: {_why_none(lines, without_weight, without_prediction, outside)}")
    found.sort(key=lambda of_device: (of_device[0], of_device[1].captured_at_s))
    predicted = tuple(frame for _, frame in found)
    _refuse_mixed_tasks(path, predicted)
    return Sample(predicted, without_prediction, without_weight)


def _fields(line: bytes) -> dict[str, Any] | None:
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) and fields.get("strategy") == NAME else None


def _prediction(fields: dict[str, Any]) -> Prediction | None:
    """What the model said; None where that wasn't kept, can't be read, or is from before there was a model."""
    try:
        prediction = parse_prediction(fields.get("prediction"), width=fields.get("width"), height=fields.get("height"))
    except ValueError:
        return None
    return None if isinstance(prediction, Stub) else prediction


def _why_none(lines: int, without_weight: int, without_prediction: int, outside: int) -> str:
    if without_prediction:
        return (
            f"none of the {without_prediction} pictures of the baseline has a prediction: a model is needed, and"
            " persist_predictions: true in the policy"
        )
    if outside:
        return f"none of the {outside} pictures of the baseline was captured from --since on and before --until"
    if without_weight:
        return (
            f"{without_weight} lines are of a strategy named {NAME} that records no weight: rename that strategy;"
            ' the policy\'s own is "baseline": {"share": 0.1}'
        )
    return (
        f"none of its {lines} lines is of the baseline, whose pictures alone stand for all frames:"
        ' "baseline": {"share": 0.1} in the policy collects them'
    )


def _refuse_mixed_tasks(path: Path, predicted: tuple[SampledFrame, ...]) -> None:
    labels = sum(isinstance(frame.prediction, Classification | MultiLabel) for frame in predicted)
    if 0 < labels < len(predicted):
        raise EstimationError(
            f"{path}: {labels} pictures of the baseline have a classifier's labels, {len(predicted) - labels} a"
            " detector's objects: choose the time of one model with --since and --until"
        )

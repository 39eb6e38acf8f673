"""The baseline's pictures in a collected folder: which there are, what the model said of each, what it stands for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from framesift.estimation.errors import EstimationError
from framesift.policy.baseline import NAME
from framesift.prediction.prediction import Classification, MultiLabel, Prediction
from framesift.sinks.collected_folder import NoCollectedFolder, metadata_file, parse_collected_line

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
    try:
        path = metadata_file(folder)
    except NoCollectedFolder as error:
        raise EstimationError(str(error)) from None
    found: list[tuple[str, SampledFrame]] = []
    lines = without_weight = without_prediction = outside = 0
    with path.open("rb") as file:
        for line in file:
            lines += 1
            picture = parse_collected_line(line) if _MARK in line else None
            if picture is None or picture.strategy != NAME:
                continue
            if picture.weight is None:
                without_weight += 1
            elif not since_s <= picture.captured_at_s < until_s:
                outside += 1
            elif (prediction := picture.predicted) is None:
                without_prediction += 1
            else:
                frame = SampledFrame(picture.id, picture.stream, picture.captured_at_s, picture.weight, prediction)
                found.append((picture.device, frame))
    if not found:
        raise EstimationError(f"{path}: {_why_none(lines, without_weight, without_prediction, outside)}")
    found.sort(key=lambda of_device: (of_device[0], of_device[1].captured_at_s))
    predicted = tuple(frame for _, frame in found)
    _refuse_mixed_tasks(path, predicted)
    return Sample(predicted, without_prediction, without_weight)


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

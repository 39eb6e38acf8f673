"""What is estimated: how often each class was predicted, and how good the model's predictions are by the labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from framesift.estimation.errors import EstimationError
from framesift.estimation.intervals import FEWEST_PICTURES, FEWEST_WITH_OBJECTS, Estimate, Values, estimate_ratio
from framesift.estimation.labels import Labels
from framesift.estimation.matching import compare, count_predicted
from framesift.estimation.sample import Sample, SampledFrame
from framesift.prediction.prediction import Classification, Detections, MultiLabel

_MOST_NAMES = 20  # in a message


@dataclass(frozen=True, slots=True)
class Domain:
    """For what the estimates are made.

    stream: None for all streams together. class_names: None for all classes.
    """

    stream: str | None = None
    class_names: frozenset[str] | None = None

    def has(self, frame: SampledFrame) -> bool:
        """Whether the frame belongs to it."""
        return self.stream is None or frame.stream == self.stream

    def of_classes(self, counts: Counter[str]) -> Counter[str]:
        """The counts of its classes."""
        if self.class_names is None:
            return counts
        return Counter({name: count for name, count in counts.items() if name in self.class_names})

    def names_in(self, counts: Iterable[Counter[str]]) -> list[str]:
        """The classes in the counts and those that were asked for, in the order of the alphabet."""
        return sorted({name for of_frame in counts for name in of_frame} | (self.class_names or frozenset()))


@dataclass(frozen=True, slots=True)
class ClassFrequency:
    """How often a class was predicted.

    class_name: None for all classes together. frames: the share of frames with it. objects: how many in a frame, in the
    mean; None for a classifier.
    """

    class_name: str | None
    frames: Estimate
    objects: Estimate | None


@dataclass(frozen=True, slots=True)
class ClassQuality:
    """precision: which share of what was predicted is right. recall: which share of what is there was predicted.

    class_name: None for all classes together.
    """

    class_name: str | None
    precision: Estimate
    recall: Estimate


@dataclass(frozen=True, slots=True)
class FieldQuality:
    """How good the model's predictions are. accuracy: the share of frames that are right; None for a detector."""

    accuracy: Estimate | None
    classes: tuple[ClassQuality, ...]


class _Estimator:
    """Estimates ratios of numbers that are known for some pictures, of those that belong to the domain.

    answered: which share of the pictures these are.
    """

    def __init__(self, frames: Sequence[SampledFrame], domain: Domain, answered: float) -> None:
        self._belongs = np.array([domain.has(frame) for frame in frames], np.float64)
        self._weights = np.array([frame.weight for frame in frames], np.float64)
        self._answered = answered

    def of_frames(self, numbers: Iterable[float], *, is_share: bool) -> Estimate:
        """The mean of a number over all frames. is_share: whether it is 0 or 1."""
        return self._ratio(numbers, self._belongs, is_share, FEWEST_PICTURES)

    def of_objects(self, numbers: Iterable[float], all_numbers: Iterable[float]) -> Estimate:
        """Which share of all objects those are that are counted in `numbers`."""
        return self._ratio(numbers, np.array([*all_numbers], np.float64), True, FEWEST_WITH_OBJECTS)

    def _ratio(self, numbers: Iterable[float], below: Values, is_share: bool, fewest: int) -> Estimate:
        return estimate_ratio(
            np.array([*numbers], np.float64) * self._belongs,
            below * self._belongs,
            self._weights,
            is_share=is_share,
            fewest=fewest,
            answered=self._answered,
        )


def estimate_frequencies(sample: Sample, domain: Domain, *, confidence: float) -> tuple[ClassFrequency, ...]:
    """How often classes were predicted with at least this confidence: all together first, then each by its name."""
    frames = sample.predicted
    counts = [domain.of_classes(count_predicted(frame.prediction, confidence)) for frame in frames]
    estimator = _Estimator(frames, domain, sample.predicted_share)
    has_objects = isinstance(frames[0].prediction, Detections)
    found: list[ClassFrequency] = []
    for name in (None, *domain.names_in(counts)):
        numbers = _numbers(counts, name)
        share = estimator.of_frames((number > 0 for number in numbers), is_share=True)
        found.append(ClassFrequency(name, share, estimator.of_frames(numbers, is_share=False) if has_objects else None))
    return tuple(found)


def estimate_quality(sample: Sample, labels: Labels, domain: Domain, *, confidence: float, iou: float) -> FieldQuality:
    """How good the predictions of at least this confidence are, from the pictures that have labels.

    The intervals hold if these are a random part of all. Raises EstimationError where none of the domain's pictures has
    labels, or a detector's have no boxes.
    """
    frames = [frame for frame in sample.predicted if frame.id in labels.of_pictures]
    asked, labelled = (sum(map(domain.has, of)) for of in (sample.predicted, frames))
    if not labelled:
        raise EstimationError(f"none of the {asked} pictures of the baseline has labels; the id in its name says whose")
    if isinstance(frames[0].prediction, Detections):
        _refuse_labels_without_boxes(frames, labels)
    compared = [compare(f.prediction, labels.of_pictures[f.id], confidence=confidence, iou=iou) for f in frames]
    predicted, right, actual = (
        [domain.of_classes(counts) for counts in of]
        for of in zip(*((c.predicted, c.right, c.actual) for c in compared), strict=True)
    )
    estimator = _Estimator(frames, domain, labelled / asked * sample.predicted_share)
    classes = tuple(
        ClassQuality(
            name,
            precision=estimator.of_objects(_numbers(right, name), _numbers(predicted, name)),
            recall=estimator.of_objects(_numbers(right, name), _numbers(actual, name)),
        )
        for name in (None, *domain.names_in([*predicted, *actual]))
    )
    accuracy = None
    if not isinstance(frames[0].prediction, Detections):
        agree = (one == other for one, other in zip(predicted, actual, strict=True))
        accuracy = estimator.of_frames(agree, is_share=True)
    return FieldQuality(accuracy, classes)


def _refuse_labels_without_boxes(frames: Sequence[SampledFrame], labels: Labels) -> None:
    for frame in frames:
        for labelled in labels.of_pictures[frame.id]:
            if labelled.box is None:
                raise EstimationError(
                    f"the picture {frame.id} has the label {labelled.class_name} without a box, and a detector's"
                    " predictions can only be compared with boxes"
                )


def refuse_other_class_names(
    sample: Sample, labels: Labels, domain: Domain, model_names: Collection[str], *, confidence: float
) -> None:
    """Refuses labels whose classes are named otherwise than the model's, which would all count as wrong.

    model_names: all that are known beside those predicted. confidence: the lowest that is asked for. Raises
    EstimationError, with both sets.
    """
    predicted = {
        name for f in sample.predicted for name in domain.of_classes(count_predicted(f.prediction, confidence))
    }
    used = {o.class_name for objects in labels.of_pictures.values() for o in objects}
    if domain.class_names is not None:
        used &= domain.class_names
    of_model = predicted | {*model_names} | {name for f in sample.predicted for name in _scored(f)}
    of_labels = {*labels.class_names} | used
    unknown = (predicted - of_labels) | (used - of_model)
    if domain.class_names is not None:
        unknown = {*domain.class_names} - of_model - of_labels
    if unknown:
        raise EstimationError(
            f"class names differ: {_listed(unknown)}. The model has {_listed(of_model)}; the labels have"
            f" {_listed(of_labels)}. Rename them in the labels, or choose classes with --class"
        )


def _scored(frame: SampledFrame) -> list[str]:
    prediction = frame.prediction
    return [s.class_name for s in prediction.scores] if isinstance(prediction, Classification | MultiLabel) else []


def _listed(names: Collection[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return (", ".join(sorted(names)[:_MOST_NAMES]) or "none") + more


def _numbers(counts: Iterable[Counter[str]], name: str | None) -> list[int]:
    """The number of one class, or of all, in each picture."""
    return [of_frame.total() if name is None else of_frame[name] for of_frame in counts]

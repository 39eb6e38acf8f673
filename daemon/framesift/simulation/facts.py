"""What a frame shows, by its prediction: worked out once for all policies."""

from __future__ import annotations

from dataclasses import dataclass

from framesift.prediction.prediction import Classification, Detections, MultiLabel, Stub
from framesift.simulation.footage import SimulatedFrame
from framesift.strategies.near_duplicate import Signature

# Drafts of boxes that are less sure than this cost nobody the time of a box.
LABELLED_CONFIDENCE = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class FrameFacts:
    """What counts of a frame.

    number: the frame's, as its source counts. classes: that the model named in it. objects: of at least
    LABELLED_CONFIDENCE; of a label, how many. shows_something: the model found an object or a label; always true where
    there is no model. size: width and height in pixels.
    """

    at_s: float
    stream: str
    source: int
    line: int
    number: int
    classes: frozenset[str]
    objects: int
    shows_something: bool
    size: tuple[int, int]
    signature: Signature | None

    @property
    def boxes(self) -> int:
        """How many are to be labelled: one at least."""
        return max(1, self.objects)


def facts_of(frame: SimulatedFrame) -> FrameFacts:
    """What counts of a frame."""
    prediction = frame.recorded.prediction
    objects = None
    if isinstance(prediction, Detections):
        classes = frozenset(prediction.columns.class_name)
        objects = sum(confidence >= LABELLED_CONFIDENCE for confidence in prediction.columns.confidence)
    elif isinstance(prediction, Classification):
        classes = frozenset([prediction.top] if prediction.top else [])
    elif isinstance(prediction, MultiLabel):
        classes = frozenset(prediction.predicted)
    else:
        classes = frozenset()
    return FrameFacts(
        frame.at_s,
        frame.stream,
        frame.source,
        frame.line,
        frame.recorded.number,
        classes,
        len(classes) if objects is None else objects,
        bool(classes) or isinstance(prediction, Stub),
        (prediction.width, prediction.height),
        frame.recorded.signature,
    )

"""ObservedFrame: a frame as privacy remembers it: its place, its time, and where objects to be covered are in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import replace

from framesift.frame import Frame
from framesift.pictures.outgoing import Unmasked
from framesift.prediction.prediction import Detections, Prediction
from framesift.privacy.found_boxes import FoundBoxes, boxes_of, join_boxes

Detect = Callable[[Frame], Prediction]


class ObservedFrame:
    """A frame that was shown to the model. Thread-safe. time_s: on the axis that all frames of its stream share."""

    def __init__(
        self, frame: Frame, prediction: Prediction, classes: Collection[str], detect: Detect | None, *, keeps: bool
    ) -> None:
        """classes: those that are covered. detect: asks the detector, None where there is none.

        keeps: it is asked later, when the frame's pixels are no longer valid, so they are copied.
        """
        self.time_s = frame.time_s
        self.width, self.height = frame.width, frame.height
        self._number, self._epoch = frame.number, frame.epoch
        self._prediction = prediction
        self._classes = classes
        self._detect = detect
        self._frame: Frame | None = None
        if detect is not None:
            self._frame = replace(frame, picture=frame.pixels.copy()) if keeps else frame
        self._lock = threading.Lock()
        self._answer: FoundBoxes | Unmasked | None = None

    def is_of(self, frame: Frame) -> bool:
        """Whether it is this frame of its stream."""
        return (self._number, self._epoch) == (frame.number, frame.epoch)

    def is_comparable(self, other: ObservedFrame, within_s: float) -> bool:
        """Whether what is at a place in one may be there in the other: the same view, and no more time between them."""
        same_view = (self._epoch, self.width, self.height) == (other._epoch, other.width, other.height)
        return same_view and abs(self.time_s - other.time_s) <= within_s

    def boxes(self) -> FoundBoxes:
        """Where objects are that must be covered. The first call asks the detector. Raises Unmasked."""
        with self._lock:
            if self._answer is None:
                try:
                    self._answer = self._find()
                except Unmasked as error:
                    self._answer = error
                self._frame = None  # its pixels are no longer needed
            if isinstance(self._answer, Unmasked):
                raise Unmasked(str(self._answer))
            return self._answer

    def _find(self) -> FoundBoxes:
        said = self._prediction
        if self._detect is None or self._frame is None:
            return boxes_of(said, self._classes, self.width, self.height)
        try:
            detected = self._detect(self._frame)
        except Exception as error:  # whatever it is, nobody knows what the picture shows
            raise Unmasked(f"the detector failed: {str(error) or type(error).__name__}") from error
        found = boxes_of(detected, self._classes, self.width, self.height)
        if isinstance(said, Detections):  # the model's own boxes too, as it has some
            found = join_boxes((found, boxes_of(said, self._classes, self.width, self.height)))
        return found

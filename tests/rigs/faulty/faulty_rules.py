"""Strategies from outside that make mistakes."""

from __future__ import annotations

from framesift.extend import Detections, Frame, Prediction

FRAMESIFT_EXTEND = 1


class FailsOnObjects:
    """Fails where something was detected, and wants everything else."""

    def evaluate(self, frame: Frame, prediction: Prediction) -> bool:  # noqa: ARG002
        """True, or an exception."""
        if isinstance(prediction, Detections) and prediction.objects:
            raise LookupError("no such object")
        return True


class ReadsSilently:
    """Reads the pixels, and does not say so."""

    def evaluate(self, frame: Frame, prediction: Prediction) -> bool:  # noqa: ARG002
        """Whether the picture is not black."""
        return bool(frame.pixels.any())

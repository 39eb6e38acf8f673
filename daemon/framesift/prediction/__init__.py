"""What a model said of a frame, how it is written as JSON, and the masks in it."""

from __future__ import annotations

from framesift.prediction.prediction import (
    Answer,
    Classification,
    ClassScore,
    Detection,
    Detections,
    Keypoint,
    MultiLabel,
    Point,
    Prediction,
    Stub,
    Task,
    detections,
    predicted_classes,
    scaled,
)

__all__ = [
    "Answer",
    "ClassScore",
    "Classification",
    "Detection",
    "Detections",
    "Keypoint",
    "MultiLabel",
    "Point",
    "Prediction",
    "Stub",
    "Task",
    "detections",
    "predicted_classes",
    "scaled",
]

"""Predictions: the answer of a model for one frame, its JSON form, and the masks in it."""

from __future__ import annotations

from framesift.prediction.prediction import (
    BasePrediction,
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
    count_classes,
    detections_from_arrays,
    scale_prediction,
)

# The former name, documented for models of type python. It is accepted for one more version.
detections = detections_from_arrays

__all__ = [
    "BasePrediction",
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
    "count_classes",
    "detections",
    "detections_from_arrays",
    "scale_prediction",
]

"""Collected folders with known predictions, and datasets that are exported from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deliveries import HEIGHT, WIDTH, deliver, delivery, detected, detection, folder_sink
from framesift.datasets.drafts import DatasetFormat
from framesift.datasets.export import ExportOptions, ExportReport, export_dataset
from framesift.datasets.picture_choice import PictureChoice
from framesift.datasets.splits import Grouping, SplitShares
from framesift.prediction import masks
from framesift.prediction.prediction import (
    Classification,
    ClassScore,
    Detection,
    Keypoint,
    MultiLabel,
    Point,
    Prediction,
    Task,
)
from framesift.sinks import Delivered, Delivery

RING = np.zeros((HEIGHT, WIDTH), np.uint8)  # a mask with a hole
RING[20:80, 20:80] = 1
RING[40:60, 40:60] = 0
CORNERS = ((120.0, 20.0), (180.0, 20.0), (180.0, 80.0))
KEYPOINTS = ("nose", "left hand", "right hand")


def ring(confidence: float = 0.5) -> Detection:
    return _sure(detection("ring", x=50, y=50, w=60, h=60, rle=masks.encode_mask(RING)), confidence)


def plate(confidence: float = 0.5) -> Detection:
    return _sure(detection("plate", x=150, y=50, w=60, h=60, points=tuple(Point(*c) for c in CORNERS)), confidence)


def person(confidence: float = 0.5) -> Detection:
    """A person whose left hand isn't seen."""
    points = {0: (40.0, 30.0), 2: (60.0, 70.0)}
    keypoints = tuple(Keypoint(x, y, 0.9, KEYPOINTS[n], n) for n, (x, y) in points.items())
    return _sure(detection("person", x=50, y=50, w=40, h=60, keypoints=keypoints), confidence)


def car(confidence: float = 0.5, x: float = 100.0) -> Detection:
    return _sure(detection("car", x=x, y=50, w=20, h=10), confidence)


def objects(*found: Detection) -> Prediction:
    task = Task.KEYPOINT_DETECTION if any(d.keypoints for d in found) else Task.OBJECT_DETECTION
    return detected(*found, task=task)


def label(top: str, confidence: float = 0.5) -> Prediction:
    scores = (ClassScore(top, 0, confidence),)
    return Classification(width=WIDTH, height=HEIGHT, top=top, confidence=confidence, scores=scores)


def labels(**confidences: float) -> Prediction:
    scores = tuple(ClassScore(name, n, confidence) for n, (name, confidence) in enumerate(confidences.items()))
    return MultiLabel(width=WIDTH, height=HEIGHT, predicted=tuple(confidences), scores=scores)


def collect(path: Path, *deliveries: Delivery, class_names: tuple[str, ...] | None = None) -> Path:
    """A folder sink's folder with these."""
    sink = folder_sink(path, class_names)
    for one in deliveries:
        assert deliver(sink, one) == Delivered()
    sink.close()
    return path


def collect_predictions(path: Path, *predictions: Prediction, class_names: tuple[str, ...] | None = None) -> Path:
    """The same with a picture for each prediction."""
    return collect(path, *(delivery(n, one) for n, one in enumerate(predictions)), class_names=class_names)


def export(
    folder: Path,
    out: Path,
    format: DatasetFormat,
    *,
    split: str = "100/0",
    confidence: float = 0.3,
    grouping: Grouping | None = None,
    **more: Any,
) -> ExportReport:
    shares = SplitShares.parse(split)
    choice = more.pop("choice", PictureChoice())
    return export_dataset(
        folder, out, ExportOptions(format, confidence, shares, grouping or Grouping(), choice, **more)
    )


def _sure(d: Detection, confidence: float) -> Detection:
    return replace(d, confidence=confidence)

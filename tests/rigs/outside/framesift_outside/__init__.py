"""Strategies and a sink for framesift, as somebody outside would write them: only `framesift.extend` is imported."""

from __future__ import annotations

import json
import threading
from itertools import combinations
from pathlib import Path

from framesift.extend import Delivered, Delivery, DeliveryResult, Detection, Detections, Frame, Prediction, RetryLater

FRAMESIFT_EXTEND = 1


class Dark:
    """Collects dark frames: the score is how dark the frame is, 0 to 1."""

    needs_pixels = True

    def __init__(self, below: float = 0.2) -> None:
        """below: the mean brightness, 0 (black) to 1 (white), under which a frame is collected."""
        self._below = below

    def evaluate(self, frame: Frame, prediction: Prediction) -> float | None:  # noqa: ARG002
        """The score of a dark frame, None for another one."""
        brightness = float(frame.pixels.mean()) / 255
        return 1 - brightness if brightness < self._below else None


class OverlappingObjects:
    """Collects frames in which two objects of a class overlap."""

    tasks = ("object-detection", "instance-segmentation", "keypoint-detection")

    def __init__(self, minimum_iou: float) -> None:
        """minimum_iou: the intersection over union of two boxes from which a frame is collected, 0 to 1."""
        self._minimum_iou = minimum_iou

    def evaluate(self, frame: Frame, prediction: Prediction) -> bool:  # noqa: ARG002
        """Whether any two boxes of a class overlap enough."""
        return isinstance(prediction, Detections) and any(
            one.class_name == other.class_name and _iou(one, other) >= self._minimum_iou
            for one, other in combinations(prediction.objects, 2)
        )


class JsonLinesSink:
    """Writes each picture to a folder, and a line for it to `datapoints.jsonl`."""

    def __init__(self, path: str) -> None:
        """path: the folder."""
        self._folder = Path(path)
        self._lock = threading.Lock()

    def deliver(self, delivery: Delivery, *, now_s: float, within_s: float) -> DeliveryResult:  # noqa: ARG002
        """Writes the picture and the line, unless the picture is there already."""
        picture = self._folder / f"{delivery.id}.jpg"
        try:
            with self._lock:
                self._folder.mkdir(parents=True, exist_ok=True)
                if not picture.exists():
                    with (self._folder / "datapoints.jsonl").open("a", encoding="utf-8") as lines:
                        lines.write(json.dumps({"id": delivery.id, "strategy": delivery.strategy}) + "\n")
                    picture.write_bytes(delivery.jpeg)
        except OSError as error:
            return RetryLater(None, str(error))
        return Delivered()

    def check(self) -> str | None:
        """What is wrong with the folder, None if nothing is."""
        return f"{self._folder} is not a folder" if self._folder.is_file() else None


def _iou(one: Detection, other: Detection) -> float:
    """The intersection over union of two boxes."""
    width = min(one.x + one.width / 2, other.x + other.width / 2) - max(
        one.x - one.width / 2, other.x - other.width / 2
    )
    height = min(one.y + one.height / 2, other.y + other.height / 2) - max(
        one.y - one.height / 2, other.y - other.height / 2
    )
    shared = max(0.0, width) * max(0.0, height)
    return shared / (one.width * one.height + other.width * other.height - shared)

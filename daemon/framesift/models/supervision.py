"""Answers in the classes of the `supervision` library, recognised by their attributes: it is not imported, and need not
be installed where the daemon runs.

`Detections`: boxes, masks (dense or compact; kept as one polygon each), confidences, class ids,
tracker ids, `data["class_name"]`. `KeyPoints`: points, confidences, class ids, `data["class_name"]`, `data["xyxy"]`.
What comes out is made of numbers and texts alone: arrays that the model uses again are never kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framesift.prediction import wire_format as wire
from framesift.prediction.masks import mask_to_polygon
from framesift.prediction.prediction import MAX_OBJECTS, Detections, Task

# What is said of objects whose class nobody names.
_UNNAMED = "object"


def is_detections(answer: object) -> bool:
    return all(hasattr(answer, name) for name in ("xyxy", "confidence", "class_id", "mask", "data"))


def is_keypoints(answer: object) -> bool:
    return all(hasattr(answer, name) for name in ("xy", "class_id", "data")) and not hasattr(answer, "xyxy")


def parse_detections(answer: Any, class_names: tuple[str, ...] | None, width: int, height: int) -> Detections:
    """class_names: for ids without a name in `data`. width, height: of the picture. Raises ValueError: arrays of
    different lengths, or masks of another size.
    """
    boxes = _array(answer.xyxy, "xyxy", (None, 4))
    objects = _objects(answer, answer.confidence, len(boxes), class_names)
    tracker_ids = _column(answer, "tracker_id", len(boxes))
    masks = answer.mask
    if masks is not None and tuple(masks.shape) != (len(boxes), height, width):
        raise ValueError(f"mask: shape {tuple(masks.shape)}, not {(len(boxes), height, width)}")
    wanted = _best(objects)
    for index in wanted:
        _put_box(objects[index], boxes[index])
        if tracker_ids is not None and tracker_ids[index] >= 0:  # trackers call those -1 that they don't know yet
            objects[index]["tracker_id"] = int(tracker_ids[index])
        if masks is not None:
            corners = mask_to_polygon(np.asarray(masks[index]))
            # Without a mask it is no object of a segmentation: None is dropped and counted.
            objects[index]["points"] = [None] if corners is None else _points(corners)
    task = Task.OBJECT_DETECTION if masks is None else Task.INSTANCE_SEGMENTATION
    return _parsed(objects, wanted, task, width, height)


def parse_keypoints(
    answer: Any, class_names: tuple[str, ...] | None, keypoint_names: tuple[str, ...] | None, width: int, height: int
) -> Detections:
    """Points at (0, 0), and those that are not visible, are left out: nobody has seen them. The box of an object is
    `data["xyxy"]`, or runs around its points. Raises ValueError: arrays of different lengths.
    """
    points = _array(answer.xy, "xy", (None, None, 2))
    count = len(points)
    # Before 0.29 the confidences of the points had the shorter name.
    sure = answer.keypoint_confidence if hasattr(answer, "keypoint_confidence") else getattr(answer, "confidence", None)
    confidences = np.ones(points.shape[:2]) if sure is None else _array(sure, "keypoint_confidence", points.shape[:2])
    visible = getattr(answer, "visible", None)
    seen: NDArray[np.bool_] = np.asarray(points.any(axis=2), bool)
    if visible is not None:
        seen &= np.asarray(visible, bool)
    of_object = getattr(answer, "detection_confidence", None)
    if of_object is None and sure is not None:
        of_object = [float(confidences[i][seen[i]].mean()) if seen[i].any() else 0.0 for i in range(count)]
    objects = _objects(answer, of_object, count, class_names)
    boxes = answer.data.get("xyxy") if isinstance(answer.data, Mapping) else None
    boxes = None if boxes is None else _array(boxes, 'data["xyxy"]', (count, 4))
    wanted = _best(objects)
    for index in wanted:
        there = points[index][seen[index]]
        if boxes is not None:
            _put_box(objects[index], boxes[index])
        elif len(there):
            _put_box(objects[index], np.concatenate((there.min(axis=0), there.max(axis=0))))
        objects[index]["keypoints"] = [
            {
                "x": float(points[index, number, 0]),
                "y": float(points[index, number, 1]),
                "confidence": float(confidences[index, number]),
                "class_id": number,
                "class": _keypoint_name(keypoint_names, number),
            }
            for number in np.flatnonzero(seen[index]).tolist()
        ]
    return _parsed(objects, wanted, Task.KEYPOINT_DETECTION, width, height)


def _objects(answer: Any, confidence: Any, count: int, class_names: tuple[str, ...] | None) -> list[dict[str, Any]]:
    """Confidence and class of each, as the wire has them. Who says no confidence is sure."""
    confidences = np.ones(count) if confidence is None else _array(confidence, "confidence", (count,))
    class_ids = _column(answer, "class_id", count)
    said = answer.data.get("class_name") if isinstance(answer.data, Mapping) else None
    if said is not None and len(said) != count:
        raise ValueError(f'data["class_name"]: {len(said)} names for {count} objects')
    objects: list[dict[str, Any]] = []
    for index in range(count):
        class_id = -1 if class_ids is None else int(class_ids[index])
        name = None if said is None else said[index]
        if name is None:
            name = _class_name(class_names, class_id)
        # None is no name: the object is dropped and counted.
        objects.append(
            {
                "confidence": float(confidences[index]),
                "class_id": class_id,
                "class": None if name is None else str(name),
            }
        )
    return objects


def _class_name(class_names: tuple[str, ...] | None, class_id: int) -> str | None:
    if class_id < 0:
        return _UNNAMED
    if class_names is None:
        return f"class_{class_id}"
    return class_names[class_id] if class_id < len(class_names) else None


def _keypoint_name(names: tuple[str, ...] | None, number: int) -> str:
    return names[number] if names is not None and number < len(names) else f"keypoint_{number}"


def _best(objects: list[dict[str, Any]]) -> list[int]:
    """The most confident ones, so that a hundred thousand boxes or masks cost little."""
    confidences = np.array([item["confidence"] for item in objects], np.float64)
    order: list[int] = np.argsort(-confidences, kind="stable")[:MAX_OBJECTS].tolist()
    return sorted(order)


def _parsed(objects: list[dict[str, Any]], wanted: list[int], task: Task, width: int, height: int) -> Detections:
    read = wire.parse_prediction({"predictions": [objects[i] for i in wanted]}, width=width, height=height, task=task)
    if not isinstance(read, Detections):
        raise TypeError("a list of objects was read as no detections")
    return Detections(
        task=task,
        objects=read.objects,
        width=width,
        height=height,
        dropped_count=read.dropped_count + len(objects) - len(wanted),
    )


def _put_box(item: dict[str, Any], box: NDArray[np.float64]) -> None:
    x1, y1, x2, y2 = box.tolist()
    item |= {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2, "width": x2 - x1, "height": y2 - y1}


def _points(corners: NDArray[np.float64]) -> list[dict[str, float]]:
    return [{"x": x, "y": y} for x, y in corners.tolist()]


def _column(answer: Any, name: str, count: int) -> NDArray[np.int64] | None:
    value = getattr(answer, name, None)
    if value is None:
        return None
    numbers = _array(value, name, (count,))
    return np.rint(np.where(np.isfinite(numbers), numbers, -1.0)).astype(np.int64)


def _array(value: Any, name: str, shape: tuple[int | None, ...]) -> NDArray[np.float64]:
    array = np.asarray(value, np.float64)
    # Who found nothing may have forgotten the other axes.
    if array.size == 0 and shape[0] in (None, 0):
        return array.reshape(0, *(side or 0 for side in shape[1:]))
    fits = array.ndim == len(shape) and all(w in (None, s) for w, s in zip(shape, array.shape, strict=True))
    if not fits:
        wanted = ", ".join("n" if side is None else str(side) for side in shape)
        raise ValueError(f"{name}: shape {array.shape}, not ({wanted})")
    return array

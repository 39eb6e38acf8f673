"""Reads answers in the classes of the `supervision` library, which are recognised by their attributes.

The library is not imported and need not be installed. `Detections`: boxes, masks (dense or compact; each becomes one
polygon), confidences, class ids, tracker ids, `data["class_name"]`. `KeyPoints`: points, confidences, class ids,
`data["class_name"]`, `data["xyxy"]`. The results hold only numbers and texts: arrays that the model may use again are
never kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framesift.prediction import wire_format
from framesift.prediction.masks import mask_to_polygon
from framesift.prediction.prediction import MAX_OBJECTS, Detections, Task, with_origin

# The class name of objects that have no class.
_DEFAULT_CLASS_NAME = "object"


def is_detections(answer: object) -> bool:
    """Whether it looks like supervision's `Detections`."""
    return all(hasattr(answer, name) for name in ("xyxy", "confidence", "class_id", "mask", "data"))


def is_keypoints(answer: object) -> bool:
    """Whether it looks like supervision's `KeyPoints`."""
    return all(hasattr(answer, name) for name in ("xy", "class_id", "data")) and not hasattr(answer, "xyxy")


def parse_detections(answer: Any, class_names: tuple[str, ...] | None, width: int, height: int) -> Detections:
    """Converts supervision's `Detections`.

    class_names: for class ids without a name in `data`. width, height: of the picture. Raises ValueError if arrays
    differ in length or masks have another size.
    """
    boxes = _array(answer.xyxy, "xyxy", (None, 4))
    objects = _objects(answer, answer.confidence, len(boxes), class_names)
    tracker_ids = _column(answer, "tracker_id", len(boxes))
    masks = answer.mask
    if masks is not None and tuple(masks.shape) != (len(boxes), height, width):
        raise ValueError(f"mask: shape {tuple(masks.shape)}, not {(len(boxes), height, width)}")
    best = _best(objects)
    for index in best:
        _put_box(objects[index], boxes[index])
        if tracker_ids is not None and tracker_ids[index] >= 0:  # -1 means that the tracker does not know it yet
            objects[index]["tracker_id"] = int(tracker_ids[index])
        if masks is not None:
            corners = mask_to_polygon(np.asarray(masks[index]))
            # An object without a mask is invalid in a segmentation: None is dropped and counted.
            objects[index]["points"] = [None] if corners is None else _points(corners)
    task = Task.OBJECT_DETECTION if masks is None else Task.INSTANCE_SEGMENTATION
    return _parsed(objects, best, task, width, height)


def parse_keypoints(
    answer: Any, class_names: tuple[str, ...] | None, keypoint_names: tuple[str, ...] | None, width: int, height: int
) -> Detections:
    """Converts supervision's `KeyPoints`. Points at (0, 0) and invisible points are left out.

    The box of an object is `data["xyxy"]`, or the box around its points. Raises ValueError if arrays differ in length.
    """
    points = _array(answer.xy, "xy", (None, None, 2))
    count = len(points)
    # Before supervision 0.29 the confidences of the points had the shorter name.
    point_confidences = (
        answer.keypoint_confidence if hasattr(answer, "keypoint_confidence") else getattr(answer, "confidence", None)
    )
    confidences = (
        np.ones(points.shape[:2])
        if point_confidences is None
        else _array(point_confidences, "keypoint_confidence", points.shape[:2])
    )
    visible = getattr(answer, "visible", None)
    is_visible: NDArray[np.bool_] = np.asarray(points.any(axis=2), bool)
    if visible is not None:
        is_visible &= np.asarray(visible, bool)
    object_confidences = getattr(answer, "detection_confidence", None)
    if object_confidences is None and point_confidences is not None:
        object_confidences = [
            float(confidences[i][is_visible[i]].mean()) if is_visible[i].any() else 0.0 for i in range(count)
        ]
    objects = _objects(answer, object_confidences, count, class_names)
    boxes = answer.data.get("xyxy") if isinstance(answer.data, Mapping) else None
    boxes = None if boxes is None else _array(boxes, 'data["xyxy"]', (count, 4))
    best = _best(objects)
    for index in best:
        visible_points = points[index][is_visible[index]]
        if boxes is not None:
            _put_box(objects[index], boxes[index])
        elif len(visible_points):
            _put_box(objects[index], np.concatenate((visible_points.min(axis=0), visible_points.max(axis=0))))
        objects[index]["keypoints"] = [
            {
                "x": float(points[index, point_index, 0]),
                "y": float(points[index, point_index, 1]),
                "confidence": float(confidences[index, point_index]),
                "class_id": point_index,
                "class": _keypoint_name(keypoint_names, point_index),
            }
            for point_index in np.flatnonzero(is_visible[index]).tolist()
        ]
    return _parsed(objects, best, Task.KEYPOINT_DETECTION, width, height)


def _objects(answer: Any, confidence: Any, count: int, class_names: tuple[str, ...] | None) -> list[dict[str, Any]]:
    """Confidence and class of each object, in the wire format. Without confidences, each is 1."""
    confidences = np.ones(count) if confidence is None else _array(confidence, "confidence", (count,))
    class_ids = _column(answer, "class_id", count)
    given_names = answer.data.get("class_name") if isinstance(answer.data, Mapping) else None
    if given_names is not None and len(given_names) != count:
        raise ValueError(f'data["class_name"]: {len(given_names)} names for {count} objects')
    objects: list[dict[str, Any]] = []
    for index in range(count):
        class_id = -1 if class_ids is None else int(class_ids[index])
        name = None if given_names is None else given_names[index]
        if name is None:
            name = _class_name(class_names, class_id)
        # None is not a name: such an object is dropped and counted.
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
        return _DEFAULT_CLASS_NAME
    if class_names is None:
        return f"class_{class_id}"
    return class_names[class_id] if class_id < len(class_names) else None


def _keypoint_name(names: tuple[str, ...] | None, point_index: int) -> str:
    return names[point_index] if names is not None and point_index < len(names) else f"keypoint_{point_index}"


def _best(objects: list[dict[str, Any]]) -> list[int]:
    """The indices of the most confident objects, so that a hundred thousand boxes or masks cost little."""
    confidences = np.array([item["confidence"] for item in objects], np.float64)
    order: list[int] = np.argsort(-confidences, kind="stable")[:MAX_OBJECTS].tolist()
    return sorted(order)


def _parsed(objects: list[dict[str, Any]], best: list[int], task: Task, width: int, height: int) -> Detections:
    parsed = wire_format.parse_prediction(
        {"predictions": [objects[i] for i in best]}, width=width, height=height, task=task
    )
    if not isinstance(parsed, Detections):
        raise TypeError("a list of objects was not parsed as detections")
    return with_origin(parsed, dropped=parsed.dropped + len(objects) - len(best))


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
    # An array without objects may lack the other axes.
    if array.size == 0 and shape[0] in (None, 0):
        return array.reshape(0, *(side or 0 for side in shape[1:]))
    fits = array.ndim == len(shape) and all(w in (None, s) for w, s in zip(shape, array.shape, strict=True))
    if not fits:
        expected = ", ".join("n" if side is None else str(side) for side in shape)
        raise ValueError(f"{name}: shape {array.shape}, not ({expected})")
    return array

"""Predictions as JSON objects, in the wire format of Roboflow's inference server.

A prediction is parsed once, where it enters the program. `parse_prediction` is strict about the whole and tolerant
about the parts: an answer that is no prediction raises ValueError, but a malformed object among valid ones is dropped
and counted.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from numbers import Real
from typing import Any

from framesift.prediction import masks
from framesift.prediction.prediction import (
    MAX_CLASS_NAME_LENGTH,
    MAX_OBJECTS,
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
)

MAX_POINTS = 10_000
# Larger values are not coordinates, and scaling could turn them into infinity.
MAX_COORDINATE = 1e6


def parse_prediction(
    payload: object, *, width: int | None = None, height: int | None = None, task: Task | None = None
) -> Prediction:
    """Reads one prediction from a decoded JSON value.

    width, height: the picture's size in pixels, for answers without `image`. task: the model's task, if the caller
    knows it; otherwise the answer may name it (`task_type` or `task`), or it follows from the content. Raises
    ValueError with a text that says what is wrong and where.
    """
    if not isinstance(payload, Mapping):
        raise ValueError(f"a prediction must be a JSON object, not {type(payload).__name__}")
    task = task or _task(payload.get("task_type", payload.get("task")))
    image = payload.get("image")
    if isinstance(image, Mapping):
        width, height = _size(image, "width"), _size(image, "height")
    origin: dict[str, Any] = {
        "width": width or 0,
        "height": height or 0,
        "model_id": _text(payload.get("model_id")) or "",
        "inference_id": _text(payload.get("inference_id")),
        "time_s": _finite(payload.get("time")),
    }
    if payload.get("is_stub"):
        return Stub(task=task or Task.OBJECT_DETECTION, **origin)
    if not width or not height:
        raise ValueError('the prediction does not say the size of its picture: "image": {"width": ..., "height": ...}')
    items = payload.get("predictions")
    if "top" in payload:
        scores, dropped = _scores(items if isinstance(items, list) else [])
        confidence = _confidence(payload.get("confidence", 0.0))
        if confidence is None:
            raise ValueError(f"confidence: {payload.get('confidence')!r} is not a number from 0 on")
        top = clean_class_name(payload["top"]) if payload["top"] else ""
        parent = _text(payload.get("parent_id"))
        return Classification(
            top=top, confidence=confidence, scores=scores, parent_id=parent, dropped=dropped, **origin
        )
    if isinstance(items, Mapping):
        scores, dropped = _scores([{**v, "class": k} if isinstance(v, Mapping) else v for k, v in items.items()])
        named = payload.get("predicted_classes", [])
        if not isinstance(named, list):
            raise ValueError(f"predicted_classes: {type(named).__name__} is not a list")
        predicted = tuple(name for name in map(_text, named[:MAX_OBJECTS]) if name)
        dropped += len(named) - len(predicted)
        return MultiLabel(scores=scores, predicted=predicted, dropped=dropped, **origin)
    if not isinstance(items, list):
        raise ValueError('"predictions" is missing, or neither a list nor an object')
    parsed = [_detection(item, width, height) for item in _best(items)]
    objects = tuple(d for d in parsed if d is not None)
    return Detections(task=task or _task_of(objects), objects=objects, dropped=len(items) - len(objects), **origin)


def to_wire(prediction: Prediction) -> dict[str, Any]:
    """The prediction as a JSON object. Unknown values are left out."""
    wire: dict[str, Any] = {"inference_id": prediction.inference_id, "time": prediction.time_s}
    if isinstance(prediction, Stub):
        wire |= {"is_stub": True, "model_id": prediction.model_id, "task_type": str(prediction.task)}
        return _without_nulls(wire)
    wire["image"] = {"width": prediction.width, "height": prediction.height}
    if isinstance(prediction, Detections):
        wire["predictions"] = [_wire_detection(d) for d in prediction.objects]
    elif isinstance(prediction, Classification):
        wire["predictions"] = [
            {"class": s.class_name, "class_id": s.class_id, "confidence": s.confidence} for s in prediction.scores
        ]
        wire |= {"top": prediction.top, "confidence": prediction.confidence, "parent_id": prediction.parent_id}
    else:
        wire["predictions"] = {
            s.class_name: {"confidence": s.confidence, "class_id": s.class_id} for s in prediction.scores
        }
        wire["predicted_classes"] = list(prediction.predicted)
    return _without_nulls(wire)


def clean_class_name(value: object) -> str:
    """Makes a class name safe to log, store and show.

    It has no control characters, no lone surrogates and at most MAX_CLASS_NAME_LENGTH characters. Raises ValueError if
    nothing is left.
    """
    text = _text(value)
    if not text:
        raise ValueError(f"a class name must be printable text, not {value!r:.80}")
    return text


def _task(value: object) -> Task | None:
    if value is None:
        return None
    try:
        # The server uses one name for one label and for many labels; some clients send the long name.
        return Task.CLASSIFICATION if value == "multi-label-classification" else Task(value)
    except ValueError:
        allowed = ", ".join(str(t) for t in Task)
        raise ValueError(f"task: {value!r} is not one of {allowed}") from None


def _task_of(objects: tuple[Detection, ...]) -> Task:
    if any(d.points is not None or d.rle is not None for d in objects):
        return Task.INSTANCE_SEGMENTATION
    if any(d.keypoints is not None for d in objects):
        return Task.KEYPOINT_DETECTION
    return Task.OBJECT_DETECTION


def _size(image: Mapping[str, Any], side: str) -> int:
    value = _finite(image.get(side))
    if value is None or not 1 <= value <= 100_000:
        raise ValueError(f"image.{side}: {image.get(side)!r} is not a number of pixels")
    return int(value)


def _best(items: list[Any]) -> list[Any]:
    """The most confident items. Cut before parsing, so that a hundred thousand boxes cost one sort and no objects."""
    return items if len(items) <= MAX_OBJECTS else sorted(items, key=_rank, reverse=True)[:MAX_OBJECTS]


def _rank(item: object) -> float:
    confidence = _confidence(item.get("confidence")) if isinstance(item, Mapping) else None
    return -1.0 if confidence is None else confidence


def _finite(value: object) -> float | None:
    # Nearly all values are of these two types, and isinstance(value, Real) takes ten times as long.
    if type(value) not in (float, int) and (isinstance(value, bool) or not isinstance(value, Real)):  # NumPy's too
        return None
    try:
        number = float(value)  # type: ignore[arg-type]  # it is a number
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _confidence(value: object) -> float | None:
    number = _finite(value)
    return number if number is not None and number >= 0 else None


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    if len(value) <= MAX_CLASS_NAME_LENGTH and value.isprintable():
        return value
    text = value[: 4 * MAX_CLASS_NAME_LENGTH].encode("utf-8", "replace").decode("utf-8")
    return "".join(c for c in text if unicodedata.category(c)[0] != "C")[:MAX_CLASS_NAME_LENGTH]


def _class_id(value: object) -> int:
    number = _finite(value)
    return int(number) if number is not None and 0 <= number < 2**31 else -1


def _tracker_id(value: object) -> str | int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 2**63 else None
    return _text(value)


def _scores(items: list[Any]) -> tuple[tuple[ClassScore, ...], int]:
    scores: list[ClassScore] = []
    for item in _best(items):
        confidence = _confidence(item.get("confidence")) if isinstance(item, Mapping) else None
        name = _text(item.get("class")) if confidence is not None else None
        if confidence is not None and name:
            scores.append(ClassScore(name, _class_id(item.get("class_id")), confidence))
    return tuple(scores), len(items) - len(scores)


def _detection(item: Any, picture_width: int, picture_height: int) -> Detection | None:
    confidence = _confidence(item.get("confidence")) if isinstance(item, Mapping) else None
    if confidence is None:
        return None
    try:
        return Detection(
            x=_pixels(item["x"]),
            y=_pixels(item["y"]),
            width=_pixels(item["width"], least=0.0),
            height=_pixels(item["height"], least=0.0),
            confidence=confidence,
            class_name=clean_class_name(item["class"]),
            class_id=_class_id(item.get("class_id")),
            points=_points(item["points"]) if item.get("points") is not None else None,
            rle=_rle(item["rle"], picture_width, picture_height) if item.get("rle") is not None else None,
            keypoints=_keypoints(item["keypoints"]) if item.get("keypoints") is not None else None,
            detection_id=_text(item.get("detection_id")),
            class_confidence=_confidence(item.get("class_confidence")),
            tracker_id=_tracker_id(item.get("tracker_id")),
            parent_id=_text(item.get("parent_id")),
        )
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
    ):  # a part has an unexpected type: the object is malformed
        return None


def _points(value: list[Any]) -> tuple[Point, ...]:
    if len(value) > MAX_POINTS:
        raise ValueError("too many points")
    return tuple(Point(_pixels(p["x"]), _pixels(p["y"])) for p in value)


def _keypoints(value: list[Any]) -> tuple[Keypoint, ...]:
    if len(value) > MAX_POINTS:
        raise ValueError("too many keypoints")
    return tuple(
        Keypoint(
            _pixels(k["x"]),
            _pixels(k["y"]),
            _number(k.get("confidence", 1.0)),
            clean_class_name(k["class"]),
            _class_id(k.get("class_id")),
        )
        for k in value
    )


def _rle(value: Mapping[str, Any], picture_width: int, picture_height: int) -> masks.Rle:
    height, width = (int(_number(side)) for side in value["size"])
    if (height, width) != (picture_height, picture_width):
        raise ValueError("a mask must be as large as its picture")
    counts = value["counts"]
    return masks.parse_rle((height, width), counts if isinstance(counts, str) else [int(_number(c)) for c in counts])


def _number(value: object) -> float:
    number = _finite(value)
    if number is None:
        raise ValueError(f"{value!r} is not a number")
    return number


def _pixels(value: object, least: float = -MAX_COORDINATE) -> float:
    number = _number(value)
    if not least <= number <= MAX_COORDINATE:
        raise ValueError(f"{value!r} is not a number of pixels")
    return number


def _wire_detection(d: Detection) -> dict[str, Any]:
    wire: dict[str, Any] = {
        "x": d.x,
        "y": d.y,
        "width": d.width,
        "height": d.height,
        "confidence": d.confidence,
        "class": d.class_name,
        "class_id": d.class_id,
        "detection_id": d.detection_id,
        "class_confidence": d.class_confidence,
        "tracker_id": d.tracker_id,
        "parent_id": d.parent_id,
    }
    if d.points is not None:
        wire |= {"points": [{"x": p.x, "y": p.y} for p in d.points], "mask_format": "polygon"}
    if d.rle is not None:
        wire |= {"rle": {"size": [d.rle.height, d.rle.width], "counts": d.rle.counts}, "mask_format": "rle"}
    if d.keypoints is not None:
        wire["keypoints"] = [
            {"x": k.x, "y": k.y, "confidence": k.confidence, "class_id": k.class_id, "class": k.class_name}
            for k in d.keypoints
        ]
    return _without_nulls(wire)


def _without_nulls(wire: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in wire.items() if value is not None}

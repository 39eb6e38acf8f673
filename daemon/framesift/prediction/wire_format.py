"""Predictions as JSON objects, in the wire format of Roboflow's inference server.

A prediction is parsed once, where it enters the program. `parse_prediction` is strict about the whole and tolerant
about the parts: an answer that is no prediction raises ValueError, but a malformed object among valid ones is dropped
and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framesift.prediction.prediction import (
    MAX_OBJECTS,
    Classification,
    ClassScore,
    Detections,
    MultiLabel,
    ObjectColumns,
    Prediction,
    Stub,
    Task,
    scale_prediction,
)
from framesift.prediction.wire_objects import read_objects, write_objects
from framesift.prediction.wire_values import (
    MAX_COORDINATE,
    best_items,
    clean_class_name,
    read_class_id,
    read_confidence,
    read_extras,
    read_finite,
    read_text,
    without_nulls,
    written_class_id,
)

# What an answer has (`visualization` is a picture, which nobody needs), and what stands beside it in a recording. Every
# other key of a prediction is one of its extras.
_ANSWERED = (
    "image",
    "predictions",
    "time",
    "inference_id",
    "model_id",
    "is_stub",
    "task_type",
    "task",
    "visualization",
)
_OF_CLASSES = ("top", "confidence", "predicted_classes", "parent_id")
_BESIDE = (
    "stream",
    "frame",
    "epoch",
    "captured_at",
    "seed",
    "signature",
    "brightness",
    "media_s",
    "sent_at",
    "embedding",
)
_KNOWN = frozenset((*_ANSWERED, *_OF_CLASSES, *_BESIDE))
# Beside them in a few answers: those with reduced masks, and the model's name and build, in newer servers.
_RARE = frozenset(("original_image", "mask_metadata", "resolved_model"))
_NEVER_EXTRAS = _KNOWN | _RARE
# A network's own masks may be larger than a small picture. Each is decoded, so their size is bounded.
_MAX_GRID_PIXELS = 2**20
_LONGEST_SIDE = 100_000

__all__ = [
    "MAX_COORDINATE",
    "OtherPictureSize",
    "clean_class_name",
    "parse_prediction",
    "parse_prediction_of",
    "to_wire",
]


class OtherPictureSize(ValueError):
    """A prediction is for a picture of another size than the one that was shown. The text says of which."""


def parse_prediction_of(payload: object, width: int, height: int, task: Task | None = None) -> Prediction:
    """Reads the prediction for one picture of that size, in pixels of that picture, also where its masks are reduced.

    An inference server that may reduce masks answers in the pixels of a smaller `image`, and says the size of the
    picture as `original_image`. Raises OtherPictureSize, and ValueError as `parse_prediction` does.
    """
    prediction = parse_prediction(payload, width=width, height=height, task=task)
    grid = size = (prediction.width, prediction.height)
    if isinstance(payload, Mapping) and payload.get("original_image") is not None:
        size = _original_size(payload)
    if size != (width, height):
        raise OtherPictureSize(f"it is for a picture of {size[0]} x {size[1]} pixels")
    if grid != size and grid[0] * grid[1] > max(width * height, _MAX_GRID_PIXELS):
        raise ValueError(f"image: {grid[0]} x {grid[1]} pixels are no reduction of {width} x {height}")
    return scale_prediction(prediction, width, height)


def parse_prediction(
    payload: object, *, width: int | None = None, height: int | None = None, task: Task | None = None
) -> Prediction:
    """Reads one prediction from a decoded JSON value.

    width, height: the picture's size in pixels, for answers without `image`. task: the model's task, if the caller
    knows it; otherwise the answer may name it (`task_type` or `task`), or it follows from the content. The prediction
    is in the pixels of the answer's `image`. Raises ValueError with a text that says what is wrong and where.
    """
    if not isinstance(payload, Mapping):
        raise ValueError(f"a prediction must be a JSON object, not {type(payload).__name__}")
    task = task or _task(payload.get("task_type", payload.get("task")))
    image = payload.get("image")
    if isinstance(image, Mapping):
        width, height = _size(image)
    origin: dict[str, Any] = {
        "width": width or 0,
        "height": height or 0,
        "model_id": read_text(payload.get("model_id")) or "",
        "inference_id": read_text(payload.get("inference_id")),
        "time_s": read_finite(payload.get("time")),
    }
    if not _KNOWN.issuperset(payload):
        _check_reduction(payload, width or 0, height or 0)
        origin["extras"], origin["dropped_extras"] = read_extras(payload, _NEVER_EXTRAS)
    if payload.get("is_stub"):
        return Stub(task=task or Task.OBJECT_DETECTION, **origin)
    if not width or not height:
        raise ValueError('the prediction does not say the size of its picture: "image": {"width": ..., "height": ...}')
    items = payload.get("predictions")
    if "top" in payload:
        scores, dropped = _scores(items if isinstance(items, list) else [])
        confidence = read_confidence(payload.get("confidence", 0.0))
        if confidence is None:
            raise ValueError(f"confidence: {payload.get('confidence')!r} is not a number from 0 to 1")
        top = clean_class_name(payload["top"]) if payload["top"] else ""
        parent = read_text(payload.get("parent_id"))
        return Classification(
            top=top, confidence=confidence, scores=scores, parent_id=parent, dropped=dropped, **origin
        )
    if isinstance(items, Mapping):
        scores, dropped = _scores([{**v, "class": k} if isinstance(v, Mapping) else v for k, v in items.items()])
        named = payload.get("predicted_classes", [])
        if not isinstance(named, list):
            raise ValueError(f"predicted_classes: {type(named).__name__} is not a list")
        predicted = [name for name in map(read_text, named[:MAX_OBJECTS]) if name]
        dropped += len(named) - len(predicted)
        # A label that is named twice is one.
        return MultiLabel(scores=scores, predicted=tuple(dict.fromkeys(predicted)), dropped=dropped, **origin)
    if not isinstance(items, list):
        raise ValueError('"predictions" is missing, or neither a list nor an object')
    columns, dropped_extras = read_objects(best_items(items), width, height)
    if dropped_extras:
        origin["dropped_extras"] = dropped_extras + origin.get("dropped_extras", 0)
    dropped = len(items) - len(columns)
    return Detections.from_columns(columns, task=task or _task_of(columns), dropped=dropped, **origin)


def to_wire(prediction: Prediction) -> dict[str, Any]:
    """The prediction as a JSON object. Unknown values are left out."""
    wire: dict[str, Any] = {"inference_id": prediction.inference_id, "time": prediction.time_s}
    if isinstance(prediction, Stub):
        wire |= {"is_stub": True, "model_id": prediction.model_id, "task_type": str(prediction.task)}
        return _with_extras(wire, prediction)
    wire["image"] = {"width": prediction.width, "height": prediction.height}
    if isinstance(prediction, Detections):
        wire["predictions"] = write_objects(prediction.columns)
    elif isinstance(prediction, Classification):
        wire["predictions"] = [
            {"class": s.class_name, **written_class_id(s.class_id), "confidence": s.confidence}
            for s in prediction.scores
        ]
        wire |= {"top": prediction.top, "confidence": prediction.confidence, "parent_id": prediction.parent_id}
    else:
        wire["predictions"] = {
            s.class_name: {"confidence": s.confidence, **written_class_id(s.class_id)} for s in prediction.scores
        }
        wire["predicted_classes"] = list(prediction.predicted)
    return _with_extras(wire, prediction)


def _with_extras(wire: dict[str, Any], prediction: Prediction) -> dict[str, Any]:
    written = without_nulls(wire)
    if prediction.extras:
        written.update((key, value) for key, value in prediction.extras if key not in _NEVER_EXTRAS)
    return written


def _task(value: object) -> Task | None:
    if value is None:
        return None
    try:
        # The server uses one name for one label and for many labels; some clients send the long name.
        return Task.CLASSIFICATION if value == "multi-label-classification" else Task(value)
    except ValueError:
        allowed = ", ".join(str(t) for t in Task)
        raise ValueError(f"task: {value!r} is not one of {allowed}") from None


def _task_of(columns: ObjectColumns) -> Task:
    if not columns.optional.keys().isdisjoint(("points", "rle")):
        return Task.INSTANCE_SEGMENTATION
    return Task.KEYPOINT_DETECTION if "keypoints" in columns.optional else Task.OBJECT_DETECTION


def _size(image: Mapping[str, Any], name: str = "image") -> tuple[int, int]:
    """Width and height of the `image` in an answer, or of another one of that name."""
    width, height = image.get("width"), image.get("height")
    if type(width) is int and type(height) is int and 0 < width <= _LONGEST_SIDE and 0 < height <= _LONGEST_SIDE:
        return width, height  # nearly always
    return _side(width, f"{name}.width"), _side(height, f"{name}.height")


def _side(value: object, name: str) -> int:
    number = read_finite(value)
    if number is None or not 1 <= number <= _LONGEST_SIDE:
        raise ValueError(f"{name}: {value!r:.60} is not a number of pixels")
    return int(number)


def _original_size(payload: Mapping[str, Any]) -> tuple[int, int]:
    original = payload["original_image"]
    if not isinstance(original, Mapping):
        raise ValueError("original_image: it must be an object of width and height")
    return _size(original, "original_image")


def _check_reduction(payload: Mapping[str, Any], width: int, height: int) -> None:
    """Raises ValueError where an answer with reduced masks does not say clearly in which pixels it is.

    width, height: of its `image`.
    """
    metadata = payload.get("mask_metadata")
    if metadata is None:
        return
    if payload.get("original_image") is None:
        # Drafts of such answers had it so, some with outlines in the masks' pixels and some in the picture's.
        raise ValueError("mask_metadata without original_image: in which pixels its masks and outlines are is not said")
    if not isinstance(metadata, Mapping) or metadata.get("coordinate_system", "mask_grid") != "mask_grid":
        raise ValueError('mask_metadata: it must be an object, with coordinate_system "mask_grid"')
    for scale, of, original in zip(("scale_x", "scale_y"), (width, height), _original_size(payload), strict=True):
        factor = read_finite(metadata.get(scale))
        if factor is None or abs(factor * of - original) > 0.5:
            value = f"{metadata.get(scale)!r:.60}"
            raise ValueError(f"mask_metadata.{scale}: {value} does not lead from {of} pixels of image to {original}")


def _scores(items: list[Any]) -> tuple[tuple[ClassScore, ...], int]:
    scores: list[ClassScore] = []
    for item in best_items(items):
        confidence = read_confidence(item.get("confidence")) if isinstance(item, Mapping) else None
        name = read_text(item.get("class")) if confidence is not None else None
        if confidence is not None and name:
            scores.append(ClassScore(name, read_class_id(item.get("class_id")), confidence))
    return tuple(scores), len(items) - len(scores)

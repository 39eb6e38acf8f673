"""The objects of a detector as JSON objects: their fields are read, and written, for all objects at once.

Objects of which one is unusual (malformed, or of other types than JSON has for its fields) are read one by one instead,
and the malformed ones left out. That takes six times as long, and gives the same where both can be done.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from framesift.prediction import masks
from framesift.prediction.prediction import (
    MAX_CLASS_NAME_LENGTH,
    OPTIONAL_FIELDS,
    Detection,
    Keypoint,
    ObjectColumns,
    Point,
)
from framesift.prediction.wire_values import (
    MAX_CLASS_ID,
    MAX_COORDINATE,
    clean_class_name,
    read_class_id,
    read_confidence,
    read_extras,
    read_keypoint_number,
    read_number,
    read_pixels,
    read_text,
    read_tracker_id,
    without_nulls,
    written_class_id,
)

MAX_POINTS = 10_000

# The fields under their names in JSON: those that each object has, and what they may be at least and at most.
_BOX = ("x", "y", "width", "height", "confidence")
_LEAST = np.array([[-MAX_COORDINATE], [-MAX_COORDINATE], [0.0], [0.0], [0.0]])
_MOST = np.array([[MAX_COORDINATE]] * 4 + [[1.0]])
_REQUIRED = (*_BOX, "class", "class_id")
_OPTIONAL = tuple(name for name in OPTIONAL_FIELDS if name != "extras")
# Every other key of an object is one of its extras. The format of a mask follows from what the mask is.
_KNOWN = frozenset((*_REQUIRED, *_OPTIONAL, "mask_format"))
# Written as they are, in this order.
_PLAIN = ("detection_id", "class_confidence", "tracker_id", "parent_id")
_PRINTABLE_ASCII = re.compile("[ -~]*")
_NO_OBJECTS = ObjectColumns.of(())
_MALFORMED = (ValueError, TypeError, LookupError, AttributeError)  # what a part of an unexpected type raises


def read_objects(items: Sequence[Any], width: int, height: int) -> tuple[ObjectColumns, int]:
    """The objects that are not malformed, and how many of their extras were left out.

    width, height: of the picture, in pixels.
    """
    try:
        read = _read_columns(items, width, height)
    except (*_MALFORMED, OverflowError):  # a number that no float can hold
        read = None
    if read is not None:
        return read
    objects, dropped_extras = read_each(items, width, height)
    return ObjectColumns.of(objects), dropped_extras


def read_each(items: Sequence[Any], width: int, height: int) -> tuple[tuple[Detection, ...], int]:
    """The same, each by itself: what `read_objects` must give."""
    objects: list[Detection] = []
    dropped_extras = 0
    for item in items:
        if (found := _detection(item, width, height)) is not None:
            extras, dropped = read_extras(item, _KNOWN)
            dropped_extras += dropped
            objects.append(found if extras is None else replace(found, extras=extras))
    return tuple(objects), dropped_extras


def write_objects(columns: ObjectColumns) -> list[dict[str, Any]]:
    """The objects as JSON objects. Unknown values are left out."""
    found = columns.optional
    more: dict[str, Sequence[Any]] = {name: found[name] for name in _PLAIN if name in found}
    for name, write in _WRITERS.items():
        if name in found:
            more[name] = [None if value is None else write(value) for value in found[name]]
    for name, format in (("points", "polygon"), ("rle", "rle")):  # the mask goes before the polygon
        if name in found:
            before = more.get("mask_format", [None] * len(columns))
            more["mask_format"] = [o if v is None else format for o, v in zip(before, found[name], strict=True)]
    names = (*_REQUIRED, *more)
    boxes = (columns.x, columns.y, columns.width, columns.height)
    rows = zip(*boxes, columns.confidence, columns.class_name, columns.class_id, *more.values(), strict=True)
    written = [dict(zip(names, row, strict=True)) for row in rows]
    if min(columns.class_id, default=0) < 0:  # unknown
        for one in written:
            if one["class_id"] < 0:
                del one["class_id"]
    if any(None in values for values in more.values()):
        written = list(map(without_nulls, written))
    for one, extras in zip(written, found.get("extras", ()), strict=False):
        one.update((key, value) for key, value in extras or () if key not in _KNOWN)
    return written


def _read_columns(items: Sequence[Any], width: int, height: int) -> tuple[ObjectColumns, int] | None:
    """All at once, where every object is as usual; otherwise None, or one of _MALFORMED is raised."""
    count = len(items)
    if not count:
        return _NO_OBJECTS, 0
    if list(map(type, items)).count(dict) < count:
        return None
    given, has_extras = _by_key(items)
    boxes: Sequence[Sequence[float]] = [given[name] for name in _BOX]
    types = set(map(type, chain(*boxes)))
    is_float = types == {float}
    if not types <= {float, int}:  # bool is no number here
        return None
    numbers = np.array(boxes, np.float64)
    if not ((numbers >= _LEAST) & (numbers <= _MOST)).all():
        return None
    names = {name: clean_class_name(name) for name in set(given["class"])}
    is_clean = all(name == clean for name, clean in names.items())
    optional = {name: _read_optional(name, given[name], width, height) for name in _OPTIONAL if name in given}
    dropped_extras = 0
    if has_extras:
        extras, dropped = zip(*(read_extras(item, _KNOWN) for item in items), strict=True)
        optional["extras"], dropped_extras = extras, sum(dropped)
    x, y, widths, heights, confidence = boxes if is_float else numbers.tolist()
    columns = ObjectColumns(
        x,
        y,
        widths,
        heights,
        confidence,
        class_name=given["class"] if is_clean else [names[name] for name in given["class"]],
        class_id=_class_ids(given["class_id"]) if "class_id" in given else [-1] * count,
        optional={name: values for name, values in optional.items() if values.count(None) < count},
    )
    columns.keep_rows(numbers)
    return columns, dropped_extras


def _by_key(items: Sequence[dict[str, Any]]) -> tuple[Mapping[str, Sequence[Any]], bool]:
    """The objects' values by their key, None where an object lacks it; and whether some have keys that we don't know.

    What they have under those need not be among the values.
    """
    keys = tuple(items[0])
    if list(map(len, items)).count(len(keys)) == len(items):
        with contextlib.suppress(KeyError):  # mostly all have the same keys
            values = zip(*map(itemgetter(*keys), items), strict=True)
            return dict(zip(keys, values, strict=True)), not _KNOWN.issuperset(keys)
    found = set().union(*items)
    return {key: [item.get(key) for item in items] for key in found & _KNOWN}, not _KNOWN.issuperset(found)


def _class_ids(values: Sequence[Any]) -> Sequence[int]:
    if list(map(type, values)).count(int) == len(values) and min(values) >= 0 and max(values) <= MAX_CLASS_ID:
        return values
    return list(map(read_class_id, values))


def _read_optional(name: str, values: Sequence[Any], width: int, height: int) -> Sequence[Any]:
    if name in ("detection_id", "parent_id"):
        return _texts(values)
    read = partial(_read_rle, picture_width=width, picture_height=height) if name == "rle" else _READERS[name]
    return [None if value is None else read(value) for value in values]


def _texts(values: Sequence[Any]) -> Sequence[str | None]:
    try:
        text = "".join(values)
        is_printable = _PRINTABLE_ASCII.fullmatch(text) or text.isprintable()  # the first one is twice as fast
        is_clean = is_printable and max(map(len, values)) <= MAX_CLASS_NAME_LENGTH
    except TypeError:  # not all are texts
        is_clean = False
    return values if is_clean else list(map(read_text, values))


def _detection(item: Any, picture_width: int, picture_height: int) -> Detection | None:
    confidence = read_confidence(item.get("confidence")) if isinstance(item, Mapping) else None
    if confidence is None:
        return None
    try:
        return Detection(
            x=read_pixels(item["x"]),
            y=read_pixels(item["y"]),
            width=read_pixels(item["width"], least=0.0),
            height=read_pixels(item["height"], least=0.0),
            confidence=confidence,
            class_name=clean_class_name(item["class"]),
            class_id=read_class_id(item.get("class_id")),
            points=_read_points(item["points"]) if item.get("points") is not None else None,
            rle=_read_rle(item["rle"], picture_width, picture_height) if item.get("rle") is not None else None,
            keypoints=_read_keypoints(item["keypoints"]) if item.get("keypoints") is not None else None,
            detection_id=read_text(item.get("detection_id")),
            class_confidence=read_confidence(item.get("class_confidence")),
            tracker_id=read_tracker_id(item.get("tracker_id")),
            parent_id=read_text(item.get("parent_id")),
        )
    except _MALFORMED:
        return None


def _read_points(value: list[Any]) -> tuple[Point, ...]:
    if len(value) > MAX_POINTS:
        raise ValueError("too many points")
    return tuple(Point(read_pixels(p["x"]), read_pixels(p["y"])) for p in value)


def _read_keypoints(value: list[Any]) -> tuple[Keypoint, ...]:
    if len(value) > MAX_POINTS:
        raise ValueError("too many keypoints")
    return tuple(
        Keypoint(
            read_pixels(k["x"]),
            read_pixels(k["y"]),
            read_number(k.get("confidence", 1.0)),
            clean_class_name(k["class"]),
            read_keypoint_number(k.get("class_id")),
        )
        for k in value
    )


def _read_rle(value: Mapping[str, Any], picture_width: int, picture_height: int) -> masks.Rle:
    height, width = (int(read_number(side)) for side in value["size"])
    if (height, width) != (picture_height, picture_width):
        raise ValueError("a mask must be as large as its picture")
    counts = value["counts"]
    return masks.parse_rle(
        (height, width), counts if isinstance(counts, str) else [int(read_number(c)) for c in counts]
    )


def _write_rle(rle: masks.Rle) -> dict[str, Any]:
    return {"size": [rle.height, rle.width], "counts": rle.counts}


def _write_points(points: Sequence[Point]) -> list[dict[str, float]]:
    return [{"x": p.x, "y": p.y} for p in points]


def _write_keypoints(points: Sequence[Keypoint]) -> list[dict[str, Any]]:
    return [
        {"x": k.x, "y": k.y, "confidence": k.confidence, **written_class_id(k.class_id), "class": k.class_name}
        for k in points
    ]


_WRITERS: dict[str, Callable[[Any], object]] = {
    "points": _write_points,
    "rle": _write_rle,
    "keypoints": _write_keypoints,
}
_READERS: dict[str, Callable[[Any], object]] = {
    "points": _read_points,
    "keypoints": _read_keypoints,
    "class_confidence": read_confidence,
    "tracker_id": read_tracker_id,
}

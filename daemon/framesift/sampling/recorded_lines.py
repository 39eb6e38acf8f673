"""What a line of recorded predictions says beside the prediction: each part is checked, and named where it is wrong."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, TypeAdapter, ValidationError

# What lies between has a date in the calendars of all time zones.
_EARLIEST_S, _LATEST_S = 0.0, 253_370_764_800.0  # 1970-01-01 and 9999-01-01
_LONGEST_SIDE = 100_000  # in pixels, as of any picture
NO_SIZE = 1, 1  # of a picture that nobody says
_TIME = TypeAdapter(AwareDatetime)


def whole_number(payload: Mapping[str, Any], key: str) -> int:
    """A whole number of a recorded prediction; 0 where there is none. Raises ValueError."""
    value = payload.get(key, 0)
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"{key}: {format_short(value)} is not allowed; it must be a whole number of at least 0")
    return value


def media_s(payload: Mapping[str, Any]) -> float | None:
    """The position in a file of a recorded prediction, in seconds; None where it is of none.

    Raises ValueError.
    """
    value = payload.get("media_s")
    if value is not None and (type(value) not in (int, float) or not math.isfinite(value)):
        raise ValueError(f"media_s: {format_short(value)} is not allowed; it must be a number of seconds")
    return value


def prediction_in(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The prediction in a line: the line itself, or what it has as `prediction`. Raises ValueError."""
    if "prediction" not in payload:
        return payload
    inner = payload["prediction"]
    if not isinstance(inner, Mapping):
        raise ValueError(f"prediction: {format_short(inner)} is not allowed; it must be an object in the wire format")
    return {**{key: payload[key] for key in ("task_type", "task") if key in payload}, **inner}


def mask_size(payload: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height for a prediction that does not say its picture's: those of its first mask, or 1 x 1 pixels."""
    items = payload.get("predictions")
    for item in items if isinstance(items, list) else ():
        rle = item.get("rle") if isinstance(item, Mapping) else None
        size = rle.get("size") if isinstance(rle, Mapping) else None
        if (
            isinstance(size, list)
            and len(size) == 2
            and all(type(side) is int and 0 < side <= _LONGEST_SIDE for side in size)
        ):
            return size[1], size[0]
    return NO_SIZE


def parse_time_s(value: object) -> float:
    """Unix time of `captured_at`. Raises ValueError."""
    found: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        found = float(value) if abs(value) <= _LATEST_S else math.inf
    elif isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d[T ]", value, re.IGNORECASE):
        try:
            found = _seconds(_TIME.validate_python(value))
        except ValidationError:
            found = None
    if found is None or not _EARLIEST_S <= found < _LATEST_S:
        raise ValueError(
            f"captured_at: {format_short(value)} is not allowed; it must be Unix seconds from {_EARLIEST_S:.0f} on, "
            f"or ISO 8601 with a zone, such as 2026-09-10T12:00:00Z"
        )
    return found


def _seconds(instant: datetime) -> float:
    try:
        return instant.timestamp()
    except (OverflowError, ValueError):  # the first or the last hours of the calendar
        return math.inf


def format_short(value: object) -> str:
    """A value as JSON, for a message."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

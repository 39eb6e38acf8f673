"""Single values of a prediction's JSON: numbers, names and ids, as far as they make sense.

A function that returns None has met a value that means nothing; it raises nothing.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from numbers import Real
from typing import Any

from framesift.prediction.prediction import MAX_CLASS_NAME_LENGTH, MAX_OBJECTS

# Larger values are not coordinates, and scaling could turn them into infinity.
MAX_COORDINATE = 1e6
# Larger numbers are not those of classes.
MAX_CLASS_ID = 2**31 - 1


def clean_class_name(value: object) -> str:
    """Makes a class name safe to log, store and show.

    It has no control characters, no lone surrogates and at most MAX_CLASS_NAME_LENGTH characters. Raises ValueError if
    nothing is left.
    """
    text = read_text(value)
    if not text:
        raise ValueError(f"a class name must be printable text, not {value!r:.80}")
    return text


def best_items(items: list[Any]) -> list[Any]:
    """The most confident items. Cut before parsing, so that a hundred thousand boxes cost one sort and no objects."""
    return items if len(items) <= MAX_OBJECTS else sorted(items, key=_rank, reverse=True)[:MAX_OBJECTS]


def _rank(item: object) -> float:
    confidence = read_confidence(item.get("confidence")) if isinstance(item, Mapping) else None
    return -1.0 if confidence is None else confidence


def read_finite(value: object) -> float | None:
    """A number that is finite, as a float."""
    # Nearly all values are of these two types, and isinstance(value, Real) takes ten times as long.
    if type(value) not in (float, int) and (isinstance(value, bool) or not isinstance(value, Real)):  # NumPy's too
        return None
    try:
        number = float(value)  # type: ignore[arg-type]  # it is a number
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def read_confidence(value: object) -> float | None:
    """A finite number from 0 on."""
    number = read_finite(value)
    return number if number is not None and number >= 0 else None


def read_text(value: object) -> str | None:
    """A text without what can't be shown, and not too long."""
    if not isinstance(value, str):
        return None
    if len(value) <= MAX_CLASS_NAME_LENGTH and value.isprintable():
        return value
    text = value[: 4 * MAX_CLASS_NAME_LENGTH].encode("utf-8", "replace").decode("utf-8")
    return "".join(c for c in text if unicodedata.category(c)[0] != "C")[:MAX_CLASS_NAME_LENGTH]


def read_class_id(value: object) -> int:
    """A class's number; -1 for what is none."""
    number = read_finite(value)
    return int(number) if number is not None and 0 <= number < MAX_CLASS_ID + 1 else -1


def written_class_id(class_id: int) -> dict[str, int]:
    """A class's number under its key; nothing for one that is unknown (-1)."""
    return {} if class_id < 0 else {"class_id": class_id}


def read_tracker_id(value: object) -> str | int | None:
    """A text, or a number that a database can hold."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 2**63 else None
    return read_text(value)


def read_number(value: object) -> float:
    """A finite number. Raises ValueError for anything else."""
    number = read_finite(value)
    if number is None:
        raise ValueError(f"{value!r} is not a number")
    return number


def read_pixels(value: object, least: float = -MAX_COORDINATE) -> float:
    """A coordinate, at least `least`. Raises ValueError for anything else."""
    number = read_number(value)
    if not least <= number <= MAX_COORDINATE:
        raise ValueError(f"{value!r} is not a number of pixels")
    return number


def without_nulls(wire: dict[str, Any]) -> dict[str, Any]:
    """The object without the keys that have no value."""
    return {key: value for key, value in wire.items() if value is not None}

"""Single values of a prediction's JSON: numbers, names and ids, as far as they make sense.

A function that returns None has met a value that means nothing; it raises nothing.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Collection, Mapping
from numbers import Real
from typing import Any, TypeGuard

import numpy as np

from framesift.prediction.prediction import MAX_CLASS_NAME_LENGTH, MAX_CONFIDENCE, MAX_OBJECTS, Extras, ExtraValue

# Larger values are not coordinates, and scaling could turn them into infinity.
MAX_COORDINATE = 1e6
# Larger numbers are not those of classes.
MAX_CLASS_ID = 2**31 - 1
# Of one object. Datasets have a column or more for each number up to the highest: a large one would fill the memory.
MAX_KEYPOINTS = 1000
# Of one object. A text has at most MAX_CLASS_NAME_LENGTH characters, as all names have.
MAX_EXTRAS = 16
MAX_EXTRA_KEY_LENGTH = 64
_SURROGATES = re.compile("[\ud800-\udfff]")  # no text has one alone; not every reader of JSON takes it


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
    """A number from 0 to 1. What is above 1 by rounding is 1; percentages are none, since no threshold fits them."""
    number = read_finite(value)
    return min(number, 1.0) if number is not None and 0 <= number <= MAX_CONFIDENCE else None


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


def read_keypoint_number(value: object) -> int:
    """A keypoint's number; -1 for what is none, and for one that no object has so many keypoints for."""
    number = read_class_id(value)
    return number if number < MAX_KEYPOINTS else -1


def written_class_id(class_id: int) -> dict[str, int]:
    """A class's number under its key; nothing for one that is unknown (-1)."""
    return {} if class_id < 0 else {"class_id": class_id}


def read_tracker_id(value: object) -> str | int | None:
    """A text, or a number that a database can hold. -1 is none: so trackers call what they don't follow yet."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 2**63 and value != -1 else None
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


def read_extras(item: Mapping[Any, Any], known: Collection[str]) -> tuple[Extras | None, int]:
    """What the object has under other keys than the known ones; and how many of those were left out.

    Left out is what is no finite number, text, true, false or null, what is too long, and what comes after the first
    MAX_EXTRAS.
    """
    unknown = [(key, _plain(value)) for key, value in item.items() if key not in known]
    kept = tuple([(str(key), value) for key, value in unknown if _is_extra_key(key) and _is_extra(value)][:MAX_EXTRAS])
    return kept or None, len(unknown) - len(kept)


def _plain(value: object) -> object:
    """The same as JSON has it: NumPy's numbers and texts of a type of their own are ordinary ones."""
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, str) else value


def _is_extra_key(key: object) -> bool:
    return isinstance(key, str) and 0 < len(key) <= MAX_EXTRA_KEY_LENGTH and key.isprintable()


def _is_extra(value: object) -> TypeGuard[ExtraValue]:
    if value is None or type(value) is bool:
        return True
    if type(value) is str:
        return len(value) <= MAX_CLASS_NAME_LENGTH and not _SURROGATES.search(value)
    if type(value) is int:
        return abs(value) < 2**63
    return type(value) is float and math.isfinite(value)


def without_nulls(wire: dict[str, Any]) -> dict[str, Any]:
    """The object without the keys that have no value."""
    return {key: value for key, value in wire.items() if value is not None}

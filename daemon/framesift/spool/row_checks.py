"""What a row of `datapoint` and `delivery` may contain: how a damaged one is recognized."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from framesift.limits.row_checksums import row_checksum
from framesift.spool import checksums

_LONGEST_SIDE = 65535  # of a JPEG, in pixels
LAST_DAY_S = 253402214400.0  # 9999-12-31


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


def is_text_list(value: object) -> bool:
    """Whether the value is a JSON list of strings."""
    try:
        found = json.loads(value) if isinstance(value, str) else None
    except ValueError:
        return False
    return isinstance(found, list) and all(isinstance(text, str) for text in found)


def is_json_object(value: object) -> bool:
    """Whether the value is a JSON object."""
    try:
        return isinstance(value, str) and isinstance(json.loads(value), dict)
    except ValueError:
        return False


def _is_any(value: object) -> bool:
    return value is not None


def is_count(value: object) -> bool:
    """Whether the value is a number of things."""
    return isinstance(value, int) and value >= 0


def _is_side(value: object) -> bool:
    return isinstance(value, int) and 1 <= value <= _LONGEST_SIDE


# The columns that a worker reads, in the order of ClaimedDatapoint's fields, and a check of each value.
CHECKS: dict[str, Callable[[object], bool]] = {
    "id": _is_text,
    "device": _is_text,
    "stream": _is_text,
    "frame": is_count,
    "captured_at_s": lambda value: isinstance(value, float) and abs(value) <= LAST_DAY_S,
    "strategy": _is_text,
    "score": lambda value: value is None or (isinstance(value, float) and math.isfinite(value)),
    "tags": is_text_list,
    "project": _is_text_or_none,
    "batch": _is_text,
    "annotate": lambda value: value in (0, 1),
    "width": _is_side,
    "height": _is_side,
    "size_bytes": is_count,
    "prediction": _is_text,
    "extra": is_json_object,
    "attempts": is_count,
    "tried": is_count,
    "refusals": is_count,
    "image_id": _is_text_or_none,
}
# Those of them that are in `delivery`.
OF_DELIVERY = ("attempts", "tried", "refusals", "image_id")


def damaged_column(values: Mapping[str, object]) -> str | None:
    """The first of these columns whose value is never written; None if all are valid."""
    return next((name for name, value in values.items() if name in CHECKS and not CHECKS[name](value)), None)


def damage_of_facts(values: Mapping[str, object]) -> str | None:
    """What is wrong with a row of `datapoint`; None if it is what was written."""
    column = damaged_column(values)
    if column is not None:
        return f"its {column} is damaged"
    checked = (values[name] for name in checksums.CHECKED_COLUMNS["datapoint"])
    return None if values["checksum"] == row_checksum("datapoint", *checked) else "its facts are not what was written"


def without_damage(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a damaged row of `datapoint`: a damaged column becomes empty, so that the row is not delivered."""
    return {name: value if CHECKS.get(name, _is_any)(value) else b"" for name, value in values.items()}


def state_is_whole(row: Sequence[object]) -> bool:
    """Whether a row of `delivery`, with all its columns in their order, is what was written."""
    return row[-1] == row_checksum("delivery", *row[:-1])

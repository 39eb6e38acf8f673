"""StrictModel, the base of every block of the settings and the policy, and the types that blocks share."""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

TAG_PATTERN = r"^[a-zA-Z0-9_:/.\[\]<>{}@-]{1,64}$"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
SLUG_PATTERN = r"^[A-Za-z0-9_-]{1,128}$"
MODEL_ID_PATTERN = r"^[A-Za-z0-9_-]{1,128}/[A-Za-z0-9_-]{1,128}$"
FACTORY_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$"
DURATION_PATTERN = r"^\s*[0-9]+(\.[0-9]+)?\s*[smhd]?\s*$"
SIZE_PATTERN = r"^\s*[0-9]+(\.[0-9]+)?\s*(([KkMmGgTt][Ii]?)?[Bb])?\s*$"
ADDRESS_PATTERN = r"^(https://|http://([^/]*@)?(localhost|127\.|\[))"
TEXT_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]{1,128}$"
HOURS_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


class StrictModel(BaseModel):
    """A frozen block in which an unknown key, a wrong type or a value out of range is an error.

    Validate it from JSON (lists for tuples, texts for enums), not from Python objects.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def parse_size(value: Any) -> Any:
    """Turns a text such as "512MiB" into bytes; other values are returned as they are. Raises ValueError."""
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value)
        if found is None or found.group(2).upper() not in _UNITS:
            raise ValueError(
                f"{value[:60]!r} is not a size: use a number of bytes, or a number with KiB, MiB, GiB, TiB, kB, MB, GB "
                "or TB"
            )
        return int(float(found.group(1)) * _UNITS[found.group(2).upper()])
    return value


MOST_BYTES = 1 << 50


def size_schema(least_bytes: int) -> WithJsonSchema:
    """The JSON Schema of a size in bytes. Pydantic's own schema would not allow texts such as "2GiB"."""
    return WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": least_bytes, "maximum": MOST_BYTES},
                {"type": "string", "pattern": SIZE_PATTERN},
            ]
        }
    )


def duration_schema(most_s: float) -> WithJsonSchema:
    """The JSON Schema of a duration in seconds, or null, as `size_schema`."""
    return WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": most_s},
                {"type": "string", "pattern": DURATION_PATTERN},
                {"type": "null"},
            ]
        }
    )


def parse_duration(value: Any) -> Any:
    """Turns a text such as "24h" into seconds; other values are returned as they are. Raises ValueError."""
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", value)
        if found is None:
            raise ValueError(
                f"{value[:60]!r} is not a duration: use a number of seconds, or a number with s, m, h or d"
            )
        return float(found.group(1)) * _SECONDS[found.group(2)]
    return value


Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Tag = Annotated[str, Field(pattern=TAG_PATTERN)]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Slug = Annotated[str, Field(pattern=SLUG_PATTERN)]
Text = Annotated[str, Field(pattern=TEXT_PATTERN)]
Corner = tuple[Fraction, Fraction]


def _check_extent(corners: tuple[Corner, ...]) -> tuple[Corner, ...]:
    for axis, name in enumerate("xy"):
        if len({corner[axis] for corner in corners}) == 1:
            raise ValueError(f"a polygon whose corners all have the same {name} has no area")
    return corners


# Its corners [x, y], as parts of the picture's width and height.
Polygon = Annotated[tuple[Corner, ...], Field(min_length=3, max_length=256), AfterValidator(_check_extent)]


class WindowLimit(StrictModel):
    """A limit: at most `value` images in each calendar minute, hour or day. 0 allows none."""

    type: Annotated[Literal["minutely", "hourly", "daily"], Field(description="The calendar window that is counted.")]
    value: Annotated[
        int, Field(ge=0, le=1_000_000_000, description="The most images in each such window.", examples=[100])
    ]


def _check_one_of_each(limits: tuple[WindowLimit, ...]) -> tuple[WindowLimit, ...]:
    for kind, count in Counter(limit.type for limit in limits).items():
        if count > 1:
            raise ValueError(f"there are {count} {kind} limits; one of each type is allowed")
    return limits


WindowLimits = Annotated[tuple[WindowLimit, ...], AfterValidator(_check_one_of_each)]

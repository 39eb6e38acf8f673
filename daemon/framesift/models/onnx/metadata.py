"""The metadata in a network's file, as Ultralytics writes them: Python literals as texts, by name.

Converters of Paddle's networks write the class names as lines. What is missing or can't be understood is None: other
exporters use the same names for other things.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SIDES = range(8, 8193)
_MAX_KEYPOINTS = 1000
_NO_NAMES = ("", "None", "null", "{}", "[]")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the metadata say.

    task, head: in Ultralytics' words. names: the text of the class names. size: height and width in pixels. stride: in
    pixels; the sides of the input are multiples of it. keypoint_shape: keypoints per object, and numbers per keypoint
    (2: x, y; 3: and a confidence). keypoint_names: by class id, or one list for all classes.
    """

    task: str | None = None
    head: str | None = None
    names: str | None = None
    size: tuple[int, int] | None = None
    stride: int | None = None
    keypoint_shape: tuple[int, int] | None = None
    keypoint_names: tuple[tuple[str, ...], ...] = ()


def read(custom_metadata: Mapping[str, str]) -> Metadata:
    """Reads the metadata. custom_metadata: texts by name, as onnxruntime returns them."""
    stride = _literal(custom_metadata.get("stride"))
    return Metadata(
        task=custom_metadata.get("task"),
        head=custom_metadata.get("head"),
        names=_names(custom_metadata),
        size=_size(_literal(custom_metadata.get("imgsz"))),
        stride=stride if _is_whole_number(stride, range(1, 1025)) else None,
        keypoint_shape=_keypoint_shape(_literal(custom_metadata.get("kpt_shape"))),
        keypoint_names=_keypoint_names(_literal(custom_metadata.get("kpt_names"))),
    )


def _literal(text: str | None) -> Any:
    try:
        return ast.literal_eval(text or "")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _names(custom_metadata: Mapping[str, str]) -> str | None:
    """The text of the class names. Some exporters write the text None where they know none."""
    names = custom_metadata.get("names", _lines(custom_metadata.get("character")))
    return None if names is None or names.strip() in _NO_NAMES else names


def _lines(text: str | None) -> str | None:
    """The lines of the text, written as a Python list."""
    return None if text is None else repr(text.splitlines())


def _is_whole_number(value: object, allowed: range) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in allowed


def _size(value: Any) -> tuple[int, int] | None:
    height, width = value if isinstance(value, list | tuple) and len(value) == 2 else (value, value)
    return (height, width) if _is_whole_number(height, _SIDES) and _is_whole_number(width, _SIDES) else None


def _keypoint_shape(value: Any) -> tuple[int, int] | None:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    count, numbers = value
    return (
        (count, numbers)
        if _is_whole_number(count, range(1, _MAX_KEYPOINTS + 1)) and _is_whole_number(numbers, range(2, 4))
        else None
    )


def _keypoint_names(value: Any) -> tuple[tuple[str, ...], ...]:
    lists = [value.get(number) for number in range(len(value))] if isinstance(value, Mapping) else [value]
    name_lists = [tuple(names) for names in lists if isinstance(names, list | tuple)]
    are_texts = all(
        isinstance(name, str) and name.isprintable() and 0 < len(name) <= 128
        for names_of_class in name_lists
        for name in names_of_class
    )
    return tuple(name_lists) if len(name_lists) == len(lists) and are_texts else ()

"""What a network's file says of itself, as Ultralytics writes it: texts of Python literals, by name. Those who bring
Paddle's networks write the class names as lines.

What is missing or can't be understood is None: other exporters use the same names for other things.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SIDES = range(8, 8193)
_MOST_KEYPOINTS = 1000


@dataclass(frozen=True, slots=True)
class Metadata:
    """task, head: in Ultralytics' words. names: the text of the class names. size: height and width in pixels.
    stride: in pixels; the input's sides are multiples of it. keypoint_shape: how many keypoints an object has, and how
    many numbers each (2: x, y; 3: and a confidence). keypoint_names: by class id, or one list for all classes.
    """

    task: str | None = None
    head: str | None = None
    names: str | None = None
    size: tuple[int, int] | None = None
    stride: int | None = None
    keypoint_shape: tuple[int, int] | None = None
    keypoint_names: tuple[tuple[str, ...], ...] = ()


def read(said: Mapping[str, str]) -> Metadata:
    stride = _literal(said.get("stride"))
    return Metadata(
        task=said.get("task"),
        head=said.get("head"),
        names=said.get("names", _lines(said.get("character"))),
        size=_size(_literal(said.get("imgsz"))),
        stride=stride if _whole(stride, range(1, 1025)) else None,
        keypoint_shape=_keypoint_shape(_literal(said.get("kpt_shape"))),
        keypoint_names=_keypoint_names(_literal(said.get("kpt_names"))),
    )


def _literal(text: str | None) -> Any:
    try:
        return ast.literal_eval(text or "")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _lines(text: str | None) -> str | None:
    """Its lines, as the text of a list."""
    return None if text is None else repr(text.splitlines())


def _whole(value: object, among: range) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in among


def _size(value: Any) -> tuple[int, int] | None:
    height, width = value if isinstance(value, list | tuple) and len(value) == 2 else (value, value)
    return (height, width) if _whole(height, _SIDES) and _whole(width, _SIDES) else None


def _keypoint_shape(value: Any) -> tuple[int, int] | None:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    count, numbers = value
    return (count, numbers) if _whole(count, range(1, _MOST_KEYPOINTS + 1)) and _whole(numbers, range(2, 4)) else None


def _keypoint_names(value: Any) -> tuple[tuple[str, ...], ...]:
    lists = [value.get(number) for number in range(len(value))] if isinstance(value, Mapping) else [value]
    named = [tuple(names) for names in lists if isinstance(names, list | tuple)]
    texts = all(isinstance(name, str) and name.isprintable() and 0 < len(name) <= 128 for one in named for name in one)
    return tuple(named) if len(named) == len(lists) and texts else ()

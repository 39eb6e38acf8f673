"""Some of many: `make test` tries some values of a long list, and a fifth of the examples that hypothesis draws.
`make exhaustive`, which CI runs too, tries the other values, and all examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pytest
from hypothesis import settings

_Value = TypeVar("_Value")


def some_of(values: Iterable[_Value], is_one: Callable[[_Value], bool]) -> list[Any]:
    """The values for `parametrize` or a fixture. is_one: whether `make test` tries the value."""
    return [value if is_one(value) else pytest.param(value, marks=pytest.mark.exhaustive) for value in values]


def examples(number: int) -> settings:
    """For a test with `given`, in the place of hypothesis's own 100 examples: so many, where all are tried."""
    return settings(max_examples=number * settings().max_examples // 100)

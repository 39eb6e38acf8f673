"""Some of many: `make test` tries some values of a long list, `make exhaustive`, which CI runs too, the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pytest

_Value = TypeVar("_Value")


def some_of(values: Iterable[_Value], is_one: Callable[[_Value], bool]) -> list[Any]:
    """The values for `parametrize` or a fixture. is_one: whether `make test` tries the value."""
    return [value if is_one(value) else pytest.param(value, marks=pytest.mark.exhaustive) for value in values]

"""Figures: what a benchmark found, beside the bound that it should keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One result. unit: "x" for a ratio. bound: what it should be at most; None where there is none.

    beside: the figures that it was made of, in words.
    """

    name: str
    value: float
    unit: str
    bound: float | None = None
    beside: str = ""

    def line(self) -> str:
        """The figure as one line of a table."""
        bound = "" if self.bound is None else f"at most {self.bound:g} {self.unit}"
        verdict = "" if self.bound is None else ("kept" if self.value <= self.bound else "OVER")
        return f"  {self.name:<58} {self.value:>9.3f} {self.unit:<4} {bound:<18} {verdict:<5} {self.beside}".rstrip()


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A part of the price, with a letter by which the command line names it.

    measure: yields figures. Its argument is how many times each side is measured; figures are made of the medians.
    """

    letter: str
    title: str
    measure: Callable[[int], Iterator[Figure]]

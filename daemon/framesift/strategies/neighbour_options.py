"""before_s, after_s, neighbours_every_s: options of every strategy that collect the frames beside a collected one too.

A frame that the strategy has collected and its neighbours are a sequence (see sampling/neighbours.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from framesift.strategies.pacing_options import PacingOptions

DEFAULT_EVERY_S = 1.0
# Neighbours before a frame: copies of so many pictures, and one more, are kept in the memory of each stream.
MOST_BEFORE = 8
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class NeighbourOptions:
    """Which frames go with a collected one.

    before_s, after_s: how far they may be from it, in seconds; 0 for none. every_s: seconds between two of a sequence,
    at least.
    """

    before_s: float
    after_s: float
    every_s: float

    @property
    def most_before(self) -> int:
        """How many neighbours there may be before a frame."""
        return math.floor(self.before_s / self.every_s + _ROUNDING)


def neighbours_problem(before_s: float | None, after_s: float | None, every_s: float) -> str | None:
    """Why these options of a strategy don't go together; None if they do."""
    if before_s is None and after_s is None:
        return None if every_s == DEFAULT_EVERY_S else "neighbours_every_s has no effect without before_s or after_s"
    for key, value in (("before_s", before_s), ("after_s", after_s)):
        if value is not None and value < every_s:
            return f"{key}: {value:g} leaves no neighbour: it is less than neighbours_every_s, which is {every_s:g}"
    most = NeighbourOptions(before_s or 0.0, 0.0, every_s).most_before
    if most > MOST_BEFORE:
        return (
            f"before_s: {before_s:g} with neighbours_every_s: {every_s:g} keeps {most} pictures of each stream in"
            f" memory; at most {MOST_BEFORE} are allowed, so neighbours_every_s must be at least {_least(before_s):g}"
        )
    return None


def kept_problem(options: Iterable[NeighbourOptions | None]) -> str | None:
    """Why the strategies of a policy, of which these are the options, keep too many pictures together; None if not."""
    kept = {(one.before_s, one.every_s): one.most_before for one in options if one is not None}
    most = sum(kept.values())
    if most <= MOST_BEFORE:
        return None
    return (
        f"before_s of all strategies together keeps {most} pictures of each stream in memory; at most {MOST_BEFORE} are"
        f" allowed; strategies with the same before_s and neighbours_every_s share theirs"
    )


def held_problem(options: NeighbourOptions | None, pacing: PacingOptions | None) -> str | None:
    """Why a strategy with this pacing can't have neighbours, in words that follow its name; None if it can."""
    if options is None or pacing is None or pacing.mode != "hold_queue":
        return None
    return (
        "before_s and after_s can't be used with pacing: hold_queue: when a held frame is accepted at its turn, the"
        " frames beside it are gone"
    )


def _least(before_s: float | None) -> float:
    return math.ceil(100.0 * (before_s or 0.0) / MOST_BEFORE) / 100.0

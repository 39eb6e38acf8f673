"""DryRunResult: what a dry run has decided on one prediction."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from framesift.frame import RefusalReason


class DryRunResult(NamedTuple):
    """The decision on one prediction.

    matched: the strategies that want the frame, in the policy's order; after them those that want it because of later
    ones. strategy: the one that is charged; None where
    none is, for the reason `refusal`. captured_at_s: Unix time. dropped_parts: how many malformed parts of the
    prediction were left out. failures: a sentence for each strategy that could not evaluate it. score: that the charged
    strategy gives; None where it gives none. excluded: by strategy, why its hours, days, zones or inhibit don't let it
    take what it wants. number: which prediction it is of, counted from 0. replaced: earlier predictions that are wanted
    after all, now that they have seen this one, or that were held until now: their new results. held: the strategy that
    holds it until a turn is due; None where none does. sequence_offset_s: of a neighbour, how many seconds later than
    the chosen frame it is. weight: how many predictions it stands for if the baseline has drawn it, whatever the
    strategies do with it; None if it has not.
    """

    matched: tuple[str, ...]
    strategy: str | None
    refusal: RefusalReason | None
    captured_at_s: float
    dropped_parts: int
    failures: tuple[str, ...] = ()
    score: float | None = None
    excluded: Mapping[str, str] = MappingProxyType({})
    number: int = 0
    sequence_offset_s: float | None = None
    replaced: tuple[DryRunResult, ...] = ()
    held: str | None = None
    weight: int | None = None

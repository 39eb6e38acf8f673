"""Baseline: a share of the budget for frames that are chosen at random, so that what is collected tells of all frames.

The budget of a day is the sum of what the strategies may collect: their daily limits, or 24 times the hourly ones of
those that have none. The baseline gets its share of each, and the strategies keep the rest: the sum stays the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from framesift.config.schema import StrictModel, Tag, WindowLimit

NAME = "baseline"
_MOST_PER_DAY = 1_000_000_000  # of WindowLimit


class BaselineOptions(StrictModel):
    """A share of the budget for frames that are chosen at random."""

    share: Annotated[float, Field(gt=0.0, lt=1.0, description="Its share of the strategies' daily budget.")]
    tags: Annotated[tuple[Tag, ...], Field(description="Put on what it collects.")] = ()


def reserved_limits(limits: tuple[WindowLimit, ...], share: float) -> tuple[tuple[WindowLimit, ...], int]:
    """What a strategy with these limits keeps of them, and how many of its images a day are the baseline's.

    A strategy without daily and hourly limits has no budget: it keeps all, and gives nothing.
    """
    by_type = {limit.type: limit.value for limit in limits}
    if not by_type.keys() & {"daily", "hourly"}:
        return limits, 0
    budget = by_type.get("daily", min(24 * by_type.get("hourly", 0), _MOST_PER_DAY))
    reserved = int(share * budget + 0.5)
    others = tuple(limit for limit in limits if limit.type != "daily")
    return (*others, WindowLimit(type="daily", value=budget - reserved)), reserved


def baseline_problem(share: float, limits: Sequence[tuple[WindowLimit, ...]], names: Sequence[str]) -> str | None:
    """Why a policy can't have such a baseline; None if it can. limits, names: of its strategies."""
    if NAME in names:
        return f"baseline: a strategy is named {NAME!r}, which is the baseline's own name; rename it"
    if sum(reserved_limits(of, share)[1] for of in limits):
        return None
    if not any(limit.type != "minutely" for of in limits for limit in of):
        return "baseline: it is a share of the strategies' hourly and daily limits, and none of them has one"
    return f"baseline.share: {share:g} of the strategies' limits is less than one image a day"

"""Restrictions: where and when a strategy takes frames: its zones, hours, days and inhibit. Options of every strategy.

With zones, the strategy sees the prediction with the objects in them alone. Everything else is asked after it has
matched: it evaluates every frame, so that its draws, and what it remembers, depend neither on the time nor on what
inhibits it.
"""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from framesift.frame import Frame
from framesift.prediction.prediction import DETECTION_TASKS, Prediction
from framesift.strategies.hours import Schedule
from framesift.strategies.strategy import CommonStrategyOptions, ModelFacts, unknown_class_problems
from framesift.strategies.zones import PlacedObjects, zones_of


class Restrictions:
    """The restrictions of one strategy on one stream. For one thread at a time."""

    def __init__(self, options: CommonStrategyOptions, zone: ZoneInfo) -> None:
        """zone: the policy's time zone."""
        self._zones = None if options.zones is None else zones_of(options.zones, options.zone_anchor)
        self._anchor = options.zone_anchor
        self._inhibit = options.inhibit or ()
        timed = [key for key in ("hours", "days") if getattr(options, key) is not None]
        self._schedule = Schedule(options.hours, options.days, zone) if timed else None
        self._outside = f"outside its {' and '.join(timed)}"

    def seen(self, objects: PlacedObjects) -> Prediction:
        """The prediction as the strategy sees it."""
        found = None if self._zones is None else objects.within(self._zones)
        return objects.prediction if found is None else found

    def exclusion(self, frame: Frame, objects: PlacedObjects) -> str | None:
        """Why the strategy may not take a frame that it wants, in a few words; None: it may."""
        if self._zones is not None and objects.within(self._zones) is None:
            return "the prediction has no boxes for its zones"
        if self._schedule is not None:
            if not frame.captured.clock_is_set:
                return "the clock is not set"
            if not self._schedule.is_open(frame.captured.wall_s):
                return self._outside
        for number, condition in enumerate(self._inhibit):
            if condition.holds(objects, self._anchor):
                return f"inhibited by inhibit[{number}]"
        return None


def restrictions_of(options: CommonStrategyOptions, zone: ZoneInfo) -> Restrictions | None:
    """The restrictions of a strategy; None where it has none."""
    has_some = any(getattr(options, key) is not None for key in ("zones", "inhibit", "hours", "days"))
    return Restrictions(options, zone) if has_some else None


def restriction_problems(options: CommonStrategyOptions, model: ModelFacts) -> Iterator[str]:
    """Yields what the restrictions of a strategy can't do with this model."""
    if options.zones is not None and (has_no := _without_boxes(model)):
        yield f"can never match: it has zones, which need boxes of objects, and {has_no}"
    for number, condition in enumerate(options.inhibit or ()):
        if model.stub:
            yield f"inhibit[{number}] can never hold: the stub model predicts nothing"
        elif condition.zones is not None and (has_no := _without_boxes(model)):
            yield f"inhibit[{number}] can never hold: it has zones, which need boxes of objects, and {has_no}"
        for problem in unknown_class_problems(model, condition.classes):
            yield f"inhibit[{number}]: {problem}"


def _without_boxes(model: ModelFacts) -> str:
    """Why the model finds no boxes; "" where it may."""
    if model.stub:
        return "the stub model predicts nothing"
    if model.task is not None and model.task not in DETECTION_TASKS:
        return f"the model's task is {model.task}"
    return ""

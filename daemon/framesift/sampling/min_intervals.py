"""MinIntervals: when a strategy may collect again, where it has `min_interval_s`."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from framesift.clock.moment import Moment

_MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class IntervalRule:
    """The interval of a strategy. scope: the account, and the stream where it holds for each stream by itself."""

    scope: str
    interval_s: float


class MinIntervals:
    """The times of the last frames of each strategy. Thread-safe.

    A frame that may be collected reserves the intervals of all strategies that want it; once it is known which one of
    them has collected it, if any, the others are free again. After a restart every strategy may collect at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: OrderedDict[str, Moment] = OrderedDict()
        self._reserved: dict[str, tuple[Moment, Collection[str]]] = {}  # by the datapoint's id

    def reserve(self, id: str, rules: Collection[IntervalRule], captured: Moment) -> list[bool]:
        """Whether each of the rules lets this frame be collected. Those that do are reserved, until `settle`."""
        with self._lock:
            open_ = [self._is_open(rule, captured) for rule in rules]
            scopes = {rule.scope for rule, is_open in zip(rules, open_, strict=True) if is_open}
            if scopes:
                self._reserved[id] = captured, scopes
        return open_

    def settle(self, id: str, scope: str | None) -> None:
        """What a frame has reserved is free again, but for the rule of this scope, which has collected it."""
        with self._lock:
            reserved = self._reserved.pop(id, None)
            if reserved is None or scope not in reserved[1] or scope is None:
                return
            self._last[scope] = reserved[0]
            self._last.move_to_end(scope)
            if len(self._last) > _MAX_REMEMBERED:
                self._last.popitem(last=False)

    def _is_open(self, rule: IntervalRule, captured: Moment) -> bool:
        last = self._last.get(rule.scope)
        others = [moment for moment, scopes in self._reserved.values() if rule.scope in scopes]
        return all(
            max(other.age_s(captured), captured.age_s(other)) >= rule.interval_s
            for other in (others if last is None else [last, *others])
        )

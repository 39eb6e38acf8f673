"""Health: named components, each of them ok, degraded or failed, and since when. One line when one of them changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from framesift.clock.clock import Clock


class Condition(str, Enum):
    OK = "ok"
    DEGRADED = "degraded"  # goes on, with less than it should have; recovers by itself, or when a human helps
    FAILED = "failed"  # does none of its work

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    """One part of the daemon. why: in one line for a human; empty when ok. since_s: Unix time of the last change."""

    name: str
    condition: Condition
    why: str
    since_s: float


class HealthRegistry:
    """changed: told of each component whose condition changes; not of one that begins as ok, nor of a new reason."""

    def __init__(self, clock: Clock, changed: Callable[[ComponentHealth], None]) -> None:
        self._clock = clock
        self._changed = changed
        self._lock = threading.Lock()
        self._components: dict[str, ComponentHealth] = {}

    def set(self, name: str, condition: Condition, why: str = "", *, quietly: bool = False) -> None:
        """quietly: without a line of its own, where the change is told already by the event that caused it."""
        with self._lock:
            known = self._components.get(name)
            if known is not None and known.condition is condition:
                self._components[name] = replace(known, why=why)
                return
            component = ComponentHealth(name, condition, why, self._clock.now().wall_s)
            self._components[name] = component
            if not quietly and (known is not None or condition is not Condition.OK):
                self._changed(component)  # within the lock, so that lines come in the order of the changes

    def set_ok(self, name: str, *, quietly: bool = False) -> None:
        self.set(name, Condition.OK, quietly=quietly)

    def remove(self, name: str) -> None:
        """The component is gone: a stream that ended, a strategy that was taken out."""
        with self._lock:
            self._components.pop(name, None)

    def components(self) -> tuple[ComponentHealth, ...]:
        """In the order in which they were first heard of."""
        with self._lock:
            return tuple(self._components.values())

    def worst(self) -> Condition:
        """The condition of the daemon: that of its worst component, ok if there are none."""
        order = list(Condition)
        return max((c.condition for c in self.components()), key=order.index, default=Condition.OK)

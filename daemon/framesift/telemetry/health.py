"""Health: for each named component whether it is ok, degraded or failed, and since when. A change is one log line."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from framesift.clock.clock import Clock


class Condition(str, Enum):
    """How well a component works, the best first."""

    OK = "ok"
    DEGRADED = "degraded"  # works with less than it should have; recovers by itself, or when a human helps
    FAILED = "failed"  # does none of its work

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    """The health of one component.

    why: one line for a human; empty when ok. since_s: Unix time of the last change of the condition.
    """

    name: str
    condition: Condition
    why: str
    since_s: float


class HealthRegistry:
    """The health of all components; thread-safe."""

    def __init__(self, clock: Clock, changed: Callable[[ComponentHealth], None]) -> None:
        """changed: called when a condition changes; not for a component that begins as ok, nor for a new reason."""
        self._clock = clock
        self._changed = changed
        self._lock = threading.Lock()
        self._components: dict[str, ComponentHealth] = {}

    def set(self, name: str, condition: Condition, why: str = "", *, quietly: bool = False) -> None:
        """Set a component's condition. quietly: without a log line, if the event that caused it is logged already."""
        with self._lock:
            known = self._components.get(name)
            if known is not None and known.condition is condition:
                self._components[name] = replace(known, why=why)
                return
            component = ComponentHealth(name, condition, why, self._clock.now().wall_s)
            self._components[name] = component
            if not quietly and (known is not None or condition is not Condition.OK):
                self._changed(component)  # under the lock, so that lines come in the order of the changes

    def set_ok(self, name: str, *, quietly: bool = False) -> None:
        """Set a component's condition to ok."""
        self.set(name, Condition.OK, quietly=quietly)

    def remove(self, name: str) -> None:
        """Remove a component that no longer exists: a stream that ended, a strategy that was removed."""
        with self._lock:
            self._components.pop(name, None)

    def components(self) -> tuple[ComponentHealth, ...]:
        """Return all components, in the order of their first `set`."""
        with self._lock:
            return tuple(self._components.values())

    def worst(self) -> Condition:
        """Return the condition of the worst component, ok if there are none."""
        order = list(Condition)
        return max((c.condition for c in self.components()), key=order.index, default=Condition.OK)

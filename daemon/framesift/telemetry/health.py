"""Health: for each named component whether it is ok, degraded or failed, since when, and why.

A change of the condition is one log line, and so is another reason for the same condition; numbers in a reason don't
make it another one. A component that comes and goes must not fill the log, nor look well in between:

    reasons      one that was logged within REPEAT_REASON_S is logged again only if it has held for REASON_HOLDS_S
    recoveries   the first two within an hour are believed at once. From the third on, the component stays degraded
                 until it has worked for HOLD_FIRST_S, twice as long each time, at most HOLD_MAX_S
    suspicions   what is often over in a moment (`after_s`) counts only if it has held for so long

Changes that were not logged are counted: the next line says how many they were, and one comes within SAY_AGAIN_S.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from framesift.clock.clock import Clock

RECOVERIES_WITHIN_S = 3600.0
BELIEVED_RECOVERIES = 2
HOLD_FIRST_S = 30.0
HOLD_MAX_S = 300.0
REPEAT_REASON_S = 600.0
REASON_HOLDS_S = 60.0
SAY_AGAIN_S = 3600.0
_MAX_REASONS = 8  # that are logged at once; names from outside make any number of reasons
_MAX_UNLISTED = 256  # components that are not listed, whose recoveries are remembered


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


@dataclass(frozen=True, slots=True)
class StateEvent:
    """A change of state that has an event of its own in the log, and is damped as the health that it causes.

    name: of the event. fields: of its line; "why" gives way to the reason of the health, if there is one.
    """

    name: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class HealthLine:
    """What is to be logged of a component.

    event: the event that says it; None where it is a line about the health itself. unlogged: the number of changes
    since the last line.
    """

    component: ComponentHealth
    event: StateEvent | None = None
    unlogged: int = 0


_Reason = tuple[Condition, str]  # the text without its numbers


@dataclass(slots=True)
class _Component:
    """A component, and what was logged of it. Times are monotonic, but for `since_s`.

    recoveries: when it has recovered within the last hour. ok_at_s: when it counts as ok if it works until then, None
    if it does not work. forget: it is listed no more once it is ok. said: the reasons that were logged since it was ok
    last. last_said: the latest of them. reason_since_s: since when the present reason holds. event: the present state,
    as long as no line has said it. unlogged: changes since the last line, which was logged at `logged_s`.
    """

    name: str
    condition: Condition
    why: str
    since_s: float
    is_listed: bool = True
    recoveries: deque[float] = field(default_factory=deque)
    ok_at_s: float | None = None
    forget: bool = False
    said: dict[_Reason, float] = field(default_factory=dict)
    last_said: _Reason | None = None
    reason_since_s: float = 0.0
    event: StateEvent | None = None
    unlogged: int = 0
    logged_s: float = 0.0

    @property
    def reason(self) -> _Reason:
        return self.condition, re.sub(r"\d+(?:\.\d+)?", "#", self.why)

    def shown(self) -> ComponentHealth:
        return ComponentHealth(self.name, self.condition, self.why, self.since_s)


@dataclass(frozen=True, slots=True)
class _Suspicion:
    """What a component that is ok will be if this still holds at `due_s` (monotonic)."""

    condition: Condition
    why: str
    due_s: float


class HealthRegistry:
    """The health of all components; thread-safe."""

    def __init__(self, clock: Clock, changed: Callable[[HealthLine], None]) -> None:
        """changed: called with what is to be logged: a new condition or reason. Not for a component that begins as ok.

        It is called with a lock held, so that the calls come in the order of the changes.
        """
        self._clock = clock
        self._changed = changed
        self._lock = threading.Lock()
        self._components: dict[str, _Component] = {}
        self._suspected: dict[str, _Suspicion] = {}

    def set(
        self,
        name: str,
        condition: Condition,
        why: str = "",
        *,
        quietly: bool = False,
        after_s: float = 0.0,
        event: StateEvent | None = None,
    ) -> None:
        """Set a component's condition and the reason for it.

        event: the change of state that is the cause, to be logged in place of a line about the health.
        quietly: without a log line, as the event that caused it is logged already; then a recovery is believed at once.
        after_s: a component that is ok stays so, unless this has held for so many seconds.
        """
        with self._lock:
            now_s = self._clock.monotonic()
            component = self._component(name)
            component.is_listed = True
            known = self._suspected.pop(name, None)
            if condition is not Condition.OK and component.condition is Condition.OK and after_s > 0:
                self._suspected[name] = _Suspicion(condition, why, now_s + after_s if known is None else known.due_s)
                return
            component.event = event or component.event
            if condition is not Condition.OK:
                if component.ok_at_s is not None and component.reason != component.last_said:
                    component.unlogged += 1  # the recovery, which was not believed
                component.ok_at_s, component.forget = None, False
                is_new = self._show(component, condition, why, now_s)
                if quietly:
                    component.last_said = component.reason
                else:
                    self._say_new_reason(component, now_s, is_new=is_new)
            elif component.condition is not Condition.OK and component.ok_at_s is None:
                hold_s = _hold_s(component.recoveries, now_s)
                component.ok_at_s = now_s if quietly else now_s + hold_s
                if component.ok_at_s <= now_s:
                    self._recover(component, now_s, quietly=quietly)
                else:
                    self._watch(component, hold_s, now_s)
            elif component.condition is Condition.OK and event is not None:
                self._log(component, now_s)

    def set_ok(self, name: str, *, quietly: bool = False, forget: bool = False) -> None:
        """Set a component's condition to ok. forget: when it counts as ok, it is listed no more."""
        self.set(name, Condition.OK, quietly=quietly)
        with self._lock:
            component = self._components.get(name)
            if forget and component is not None:
                component.forget = True
                self._forget_if_ok(component)

    def remove(self, name: str) -> None:
        """Remove a component that no longer exists: a stream that ended, a strategy that was removed."""
        with self._lock:
            self._suspected.pop(name, None)
            component = self._components.get(name)
            if component is not None:
                self._unlist(component)

    def tick(self) -> None:
        """Log the reasons and recoveries that have held for long enough. To be called about once a second."""
        with self._lock:
            now_s = self._clock.monotonic()
            self._recover_due(now_s)
            for name, suspicion in tuple(self._suspected.items()):
                if suspicion.due_s <= now_s:
                    del self._suspected[name]
                    component = self._component(name)
                    self._show(component, suspicion.condition, suspicion.why, now_s)
                    self._say_new_reason(component, now_s, is_new=True)
            for component in self._components.values():
                if component.is_listed and component.condition is not Condition.OK:
                    self._say_due(component, now_s)

    def components(self) -> tuple[ComponentHealth, ...]:
        """Return all components, in the order of their first `set`."""
        with self._lock:
            self._recover_due(self._clock.monotonic())
            return tuple(component.shown() for component in self._components.values() if component.is_listed)

    def worst(self) -> Condition:
        """Return the condition of the worst component, ok if there are none."""
        order = list(Condition)
        return max((c.condition for c in self.components()), key=order.index, default=Condition.OK)

    # -- under the lock

    def _component(self, name: str) -> _Component:
        known = self._components.get(name)
        if known is None:
            known = self._components[name] = _Component(name, Condition.OK, "", self._clock.now().wall_s)
        return known

    def _show(self, component: _Component, condition: Condition, why: str, now_s: float) -> bool:
        """Show this from now on; return whether it is another condition or reason."""
        before = component.reason
        if condition is not component.condition:
            component.since_s = self._clock.now().wall_s
        component.condition, component.why = condition, why
        if component.reason != before:
            component.reason_since_s = now_s
        return component.reason != before

    def _watch(self, component: _Component, hold_s: float, now_s: float) -> None:
        """It works again, as it did before: it stays degraded until it has worked for some time."""
        had_failed = component.condition is Condition.FAILED
        why = (
            f"it works again, but has failed {len(component.recoveries)} times within an hour: well when it has worked"
            f" for {hold_s:.0f} s; it failed last with: {component.why}"
        )
        self._show(component, Condition.DEGRADED, why, now_s)
        if had_failed:
            self._say_new_reason(component, now_s, is_new=False)

    def _recover_due(self, now_s: float) -> None:
        for component in tuple(self._components.values()):
            if component.ok_at_s is not None and component.ok_at_s <= now_s:
                self._recover(component, now_s, quietly=False)

    def _recover(self, component: _Component, now_s: float, *, quietly: bool) -> None:
        component.ok_at_s = None
        self._show(component, Condition.OK, "", now_s)
        component.said.clear()
        component.last_said = None
        if not quietly:
            self._log(component, now_s)
        self._forget_if_ok(component)

    def _forget_if_ok(self, component: _Component) -> None:
        if component.forget and component.condition is Condition.OK:
            self._unlist(component)

    def _unlist(self, component: _Component) -> None:
        component.is_listed = component.forget = False
        component.condition, component.why, component.ok_at_s, component.last_said = Condition.OK, "", None, None
        component.said.clear()
        component.event, component.unlogged = None, 0
        unlisted = [known.name for known in self._components.values() if not known.is_listed]
        for name in unlisted[:-_MAX_UNLISTED]:
            del self._components[name]

    def _say_new_reason(self, component: _Component, now_s: float, *, is_new: bool) -> None:
        """Log the present reason, unless it was logged within the last minutes, or too many others were.

        is_new: it is a change, to be counted where it is not logged.
        """
        for said in [key for key, at_s in component.said.items() if now_s - at_s >= REPEAT_REASON_S]:
            del component.said[said]
        reason = component.reason
        if reason not in (component.last_said, *component.said) and len(component.said) < _MAX_REASONS:
            self._say(component, now_s)
        elif is_new:
            component.unlogged += 1

    def _say_due(self, component: _Component, now_s: float) -> None:
        """Log the present reason if it has held for long enough, or if changes were not logged for too long."""
        fails = component.ok_at_s is None
        holds = fails and now_s - component.reason_since_s >= REASON_HOLDS_S and component.reason != component.last_said
        if holds or (component.unlogged and now_s - component.logged_s >= SAY_AGAIN_S):
            component.unlogged -= fails and component.unlogged > 0  # the present one is logged now
            self._say(component, now_s)

    def _say(self, component: _Component, now_s: float) -> None:
        component.last_said = component.reason
        component.said[component.reason] = now_s
        self._log(component, now_s)

    def _log(self, component: _Component, now_s: float) -> None:
        line = HealthLine(component.shown(), component.event, component.unlogged)
        component.event, component.unlogged, component.logged_s = None, 0, now_s
        self._changed(line)


def _hold_s(recoveries: deque[float], now_s: float) -> float:
    """Count a recovery, and return for how long the component must work until it is believed."""
    recoveries.append(now_s)
    while now_s - recoveries[0] > RECOVERIES_WITHIN_S:
        recoveries.popleft()
    doubt = min(len(recoveries) - BELIEVED_RECOVERIES, 16)
    return 0.0 if doubt <= 0 else min(HOLD_MAX_S, HOLD_FIRST_S * 2.0 ** (doubt - 1))

"""Components: whatever lives as long as the service starts, stops and is monitored in the same way.

A `ComponentList` starts components one after the other, and stops them in the reverse order with one deadline for all.
It is also the only place where failures of a running component arrive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from framesift.clock.clock import Clock, MonitoredThread
from framesift.telemetry import Telemetry

# How much longer than it was allowed a `stop` may take before the next component is stopped.
_GRACE_S = 0.5


class Component(Protocol):
    """Something that lives as long as the service. Its methods are called by the main thread, except `idle_s`."""

    @property
    def name(self) -> str:
        """Unique within the service."""

    @property
    def threads(self) -> Sequence[MonitoredThread]:
        """Its threads that the watchdog depends on; empty for a component without threads. Asked after `start`."""

    def start(self) -> None:
        """Start, and return when it works. Raises what keeps it from working; `stop` then ends what has begun."""

    def stop(self, within_s: float) -> bool:
        """End, and return whether everything ended in time. Called once, also after a `start` that raised."""

    def idle_s(self) -> float:
        """Return the seconds since the component's slowest thread last moved; 0 without threads. From any thread."""


def idle_s(threads: Iterable[MonitoredThread]) -> float:
    """Return the longest idle time of some threads; 0 if there are none."""
    return max((thread.idle_s() for thread in threads), default=0.0)


class Resource:
    """A component made of an object that has no lifecycle methods of this form: a file, a connection, a model."""

    def __init__(
        self,
        name: str,
        *,
        start: Callable[[], object] = lambda: None,
        stop: Callable[[float], object] = lambda _within_s: None,
        threads: Sequence[MonitoredThread] = (),
    ) -> None:
        """start, stop: what to call. `stop` gets the seconds it may take; it returns False if it needs longer."""
        self.name = name
        self.threads = tuple(threads)
        self._start = start
        self._stop = stop

    def start(self) -> None:
        """See Component."""
        self._start()

    def stop(self, within_s: float) -> bool:
        """See Component."""
        return self._stop(within_s) is not False

    def idle_s(self) -> float:
        """See Component."""
        return idle_s(self.threads)


_Started = TypeVar("_Started", bound=Component)


@dataclass(slots=True, eq=False)
class _Entry:
    component: Component
    reserve_s: float
    has_started: bool = False


class ComponentList:
    """The components of one run, in the order of their start.

    One whose start raised is stopped like the others, since it may have started half of its threads; it is not listed.
    `start` and `stop` belong to the main thread; `fail`, `failure` and `idle_s` may be used by any.
    """

    def __init__(
        self, clock: Clock, telemetry: Telemetry, *, stop_within_s: float, on_failure: Callable[[], None]
    ) -> None:
        """stop_within_s: for all components together. on_failure: called by the failing thread, at each failure."""
        self._clock = clock
        self._telemetry = telemetry
        self._stop_within_s = stop_within_s
        self._on_failure = on_failure
        self._entries: list[_Entry] = []
        self.failure: BaseException | None = None  # the first one

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the components that were started, in that order."""
        return tuple(component.name for component in self._running())

    @property
    def threads(self) -> tuple[MonitoredThread, ...]:
        """All threads that the watchdog depends on."""
        return tuple(thread for component in self._running() for thread in component.threads)

    def start(self, component: _Started, *, reserve_s: float = 0.0) -> _Started:
        """Add a component to the list, start it, and return it.

        reserve_s: how much of the time for stopping it must leave to the components that stop after it.
        Raises what the component's `start` raises; then it is not listed, and `stop` stops it too.
        """
        entry = _Entry(component, reserve_s)
        self._entries.append(entry)
        component.start()
        entry.has_started = True
        return component

    def fail(self, error: BaseException) -> None:
        """Report that a running component failed, so that the service ends. The first failure is kept."""
        if self.failure is None:
            self.failure = error
        self._on_failure()

    def idle_s(self) -> dict[str, float]:
        """Return how long each component has not moved: name -> seconds."""
        return {component.name: component.idle_s() for component in self._running()}

    def stop(self) -> None:
        """Stop all components, the last one first. Never raises, and never takes much longer than allowed.

        A component that hangs is left alone when its time is over, and the next one is stopped. An error of a
        component's `stop` counts as a failure of the service.
        """
        deadline_s = self._clock.monotonic() + self._stop_within_s
        while self._entries:
            entry = self._entries.pop()
            component = entry.component
            within_s = max(0.0, deadline_s - self._clock.monotonic() - entry.reserve_s)
            if not self._stop_one(component, within_s):
                self._telemetry.warning("component_not_stopped", component=component.name, within_s=round(within_s, 1))

    def _running(self) -> tuple[Component, ...]:
        return tuple(entry.component for entry in tuple(self._entries) if entry.has_started)

    def _stop_one(self, component: Component, within_s: float) -> bool:
        """In a thread of its own, since a `stop` that hangs must not keep the others from stopping."""
        has_ended = False
        returned = threading.Event()

        def stop() -> None:
            nonlocal has_ended
            try:
                has_ended = component.stop(within_s)
            except BaseException as error:  # noqa: BLE001  # whatever it is: the other components must be stopped too
                self.fail(error)
                has_ended = True
            finally:
                returned.set()

        thread = threading.Thread(target=stop, name=f"stop {component.name}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads: then without the protection
            stop()
        self._clock.wait(returned, within_s + _GRACE_S)
        return has_ended

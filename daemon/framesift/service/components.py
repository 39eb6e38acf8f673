"""Components: whatever lives as long as the service starts, stops and is monitored in the same way.

A `ComponentList` starts components one after the other, and stops them in the reverse order: those that have the same
deadline at the same time, the others one by one. All deadlines count from the beginning of the stop, so they add up to
the last one, however many components hang. It is also the only place where failures of a running component arrive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from framesift.clock.clock import Clock, MonitoredThread
from framesift.telemetry import Telemetry

# How much longer than it was allowed a `stop` may take before the next component is stopped.
_GRACE_S = 0.2
# What a component gets when its deadline is over already, because others hung: enough to end if nothing keeps it.
_LEAST_S = 0.2


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
    stop_by_s: float | None
    has_started: bool = False
    returned: threading.Event = field(default_factory=threading.Event)
    has_ended: bool = False


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
        self.has_left_behind = False  # whether something still ran when its time to stop was over

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the components that were started, in that order."""
        return tuple(component.name for component in self._running())

    @property
    def threads(self) -> tuple[MonitoredThread, ...]:
        """All threads that the watchdog depends on."""
        return tuple(thread for component in self._running() for thread in component.threads)

    def start(self, component: _Started, *, stop_by_s: float | None = None) -> _Started:
        """Add a component to the list, start it, and return it.

        stop_by_s: when it must have ended, in seconds after the beginning of the stop; neighbours in the list that have
        the same deadline are stopped at the same time. None: alone, and by the end of the whole stop.
        Raises what the component's `start` raises; then it is not listed, and `stop` stops it too.
        """
        entry = _Entry(component, stop_by_s)
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
        """Stop all components, the last ones first. Never raises, and never takes much longer than allowed.

        A component that hangs is left alone when its time is over, and the next one is stopped. An error of a
        component's `stop` counts as a failure of the service.
        """
        began_s = self._clock.monotonic()
        while self._entries:
            together = [self._entries.pop()]
            stop_by_s = together[0].stop_by_s
            while stop_by_s is not None and self._entries and self._entries[-1].stop_by_s == stop_by_s:
                together.append(self._entries.pop())
            deadline_s = began_s + (self._stop_within_s if stop_by_s is None else stop_by_s)
            within_s = max(_LEAST_S, deadline_s - self._clock.monotonic())
            deadline_s = self._clock.monotonic() + within_s + _GRACE_S
            for entry in together:
                self._begin_stop(entry, within_s)
            for entry in together:
                self._clock.wait(entry.returned, max(0.0, deadline_s - self._clock.monotonic()))
                if not entry.has_ended:
                    self.has_left_behind = True
                    self._telemetry.warning(
                        "component_not_stopped", component=entry.component.name, within_s=round(within_s, 1)
                    )

    def _running(self) -> tuple[Component, ...]:
        return tuple(entry.component for entry in tuple(self._entries) if entry.has_started)

    def _begin_stop(self, entry: _Entry, within_s: float) -> None:
        """In a thread of its own, since a `stop` that hangs must not keep the others from stopping."""

        def stop() -> None:
            try:
                entry.has_ended = entry.component.stop(within_s)
            except BaseException as error:  # noqa: BLE001  # whatever it is: the other components must be stopped too
                self.fail(error)
                entry.has_ended = True
            finally:
                entry.returned.set()

        thread = threading.Thread(target=stop, name=f"stop {entry.component.name}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads: then without the protection
            stop()

"""StrategyHealth: which strategies can't evaluate the frames of one stream, for the log and the health."""

from __future__ import annotations

import threading

from framesift.policy.policy import Policy
from framesift.strategies import StrategyFailed
from framesift.telemetry import Condition, Telemetry

# How many failing strategies the health lists, over all streams: clients of the listeners choose the streams' names.
MAX_FAILING_STRATEGIES = 50
_COMPONENT_PREFIX = "strategy "


class StrategyHealth:
    """One for each stream. Thread-safe."""

    def __init__(self, stream: str, telemetry: Telemetry) -> None:
        self._stream = stream
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._policy: Policy | None = None
        self._failing: set[str] = set()  # the names of strategies that the health lists

    def follow(self, policy: Policy) -> None:
        """Another policy holds. What failed leaves the health, unless the new one has a strategy of this name."""
        kept = {strategy.name for strategy in policy.sampling_strategies} if policy.enabled else set()
        with self._lock:
            self._policy = policy
            self._forget(self._failing - kept)

    def report(self, failures: tuple[StrategyFailed, ...], policy: Policy) -> None:
        """Logs each failure, and lists in the health the strategies that fail. policy: that decided on the frame."""
        for failure in failures:
            self._telemetry.warning(
                "strategy_failed", stream=self._stream, strategy=failure.strategy, why=failure.reason
            )
        if not failures and not self._failing:
            return
        with self._lock:
            if self._policy is not policy:  # replaced meanwhile: `follow` has changed the health already
                return
            recovered = self._failing - {failure.strategy for failure in failures}
            for strategy in recovered:
                self._telemetry.health.set_ok(self._component(strategy), forget=True)  # with its line in the log
            self._failing = self._failing - recovered
            for failure in failures:
                if failure.strategy in self._failing or self._health_has_room():
                    self._telemetry.health.set(self._component(failure.strategy), Condition.DEGRADED, failure.reason)
                    self._failing.add(failure.strategy)

    def forget_all(self) -> None:
        """The stream has ended: its strategies leave the health."""
        with self._lock:
            self._forget(self._failing)

    def _health_has_room(self) -> bool:
        names = (component.name for component in self._telemetry.health.components())
        return sum(name.startswith(_COMPONENT_PREFIX) for name in names) < MAX_FAILING_STRATEGIES

    def _forget(self, strategies: set[str]) -> None:
        """Takes strategies out of the health. Belongs under the lock."""
        for strategy in strategies:
            self._telemetry.health.remove(self._component(strategy))
        self._failing = self._failing - strategies

    def _component(self, strategy: str) -> str:
        """The name of a strategy in the health of this stream."""
        return f"{_COMPONENT_PREFIX}{strategy} of {self._stream}"

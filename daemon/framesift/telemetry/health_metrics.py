"""The metric framesift_health: the condition of each component, as /status and the log say it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from framesift.telemetry.health import ComponentHealth, Condition

_DESCRIPTION = "1 for the present condition of the component, 0 for the other two."


class HealthCollector(Collector):
    """The metric of the components' health, read from `source` whenever metrics are read."""

    def __init__(self, label: Callable[[str], str]) -> None:
        """label: turns a component's name into the value of a label; it bounds their number."""
        self.source: Callable[[], tuple[ComponentHealth, ...]] = tuple
        self._label = label

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering must not call the source."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield one family with three samples for each component."""
        order = list(Condition)
        worst: dict[str, Condition] = {}  # names that are cut, or that are too many, share a label
        for component in self.source():
            name = self._label(component.name)
            worst[name] = max(worst.get(name, Condition.OK), component.condition, key=order.index)
        family = GaugeMetricFamily("framesift_health", _DESCRIPTION, labels=["component", "condition"])
        for name, present in worst.items():
            for condition in order:
                family.add_metric([name, condition.value], float(condition is present))
        yield family

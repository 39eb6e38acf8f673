"""How many frames pacing holds, in telemetry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class HeldCollector(Collector):
    """The number of held frames of each strategy that holds some, read from `source` whenever metrics are read."""

    def __init__(self) -> None:
        self.source: Callable[[], Mapping[str, int]] = dict

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering must not call the source."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield the metric; none where no strategy holds frames."""
        counts = self.source()
        if counts:
            description = "Frames that wait for a turn of their strategy."
            gauge = GaugeMetricFamily("framesift_held_frames", description, labels=["strategy"])
            for strategy, count in counts.items():
                gauge.add_metric([strategy], count)
            yield gauge

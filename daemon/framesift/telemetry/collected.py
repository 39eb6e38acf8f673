"""What a sink with bounds keeps on this machine, in telemetry: how much, how old, and how much was removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class CollectedNumbers:
    """What is kept, and its bounds.

    size_bytes: None while it is being measured. oldest_s: Unix time of the oldest capture, None without any.
    max_bytes, max_age_s: None for no bound. removed: pictures removed since the start, by bound ("age", "size").
    """

    pictures: int
    size_bytes: int | None
    oldest_s: float | None
    max_bytes: int | None
    max_age_s: float | None
    removed: Mapping[str, int]


class CollectedCollector(Collector):
    """The metrics of a sink with bounds, read from `source` whenever metrics are read; none without such a sink."""

    def __init__(self) -> None:
        self.source: Callable[[], CollectedNumbers | None] = lambda: None

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering must not call the source."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        numbers = self.source()
        if numbers is None:
            return
        gauges = (
            ("pictures", "Pictures that are kept in the collected folder.", numbers.pictures),
            ("bytes", "Size of the pictures that are kept, with labels and lines.", numbers.size_bytes),
            ("max_bytes", "The most bytes that are kept.", numbers.max_bytes),
            ("max_age_seconds", "The highest age of what is kept.", numbers.max_age_s),
            ("oldest_timestamp_seconds", "Unix time of the oldest capture that is kept.", numbers.oldest_s),
        )
        for name, description, value in gauges:
            if value is not None:
                gauge = GaugeMetricFamily(f"framesift_collected_{name}", description)
                gauge.add_metric([], value)
                yield gauge
        description = "Pictures removed from the collected folder."
        removed = CounterMetricFamily("framesift_collected_removed", description, labels=["bound"])
        for bound, count in numbers.removed.items():
            removed.add_metric([bound], count)
        yield removed

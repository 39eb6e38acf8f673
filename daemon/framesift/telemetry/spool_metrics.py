"""The metrics of the spool. They are not kept: they are read from the spool when somebody reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

SPOOL_STATES = ("ready", "sending", "registered", "buried")


@dataclass(frozen=True, slots=True)
class SpoolNumbers:
    """How many datapoints the spool holds, by state, and what became of the others.

    size_bytes: of the live pages, without what the file keeps for reuse. outcomes: datapoints that left the spool since
    it was created, by outcome. log_bytes: of the write-ahead log. max_bytes: the bound of both together, 0 if unknown.
    oldest_at_s: the Unix time at which the oldest datapoint that is still to be delivered was accepted, None without.
    """

    ready: int
    sending: int
    registered: int
    buried: int
    size_bytes: int
    outcomes: Mapping[str, int]
    log_bytes: int = 0
    max_bytes: int = 0
    oldest_at_s: float | None = None


class SpoolCollector(Collector):
    """The metrics of the spool, read from `source` whenever metrics are read."""

    def __init__(self) -> None:
        self.source: Callable[[], SpoolNumbers] | None = None

    def read(self) -> SpoolNumbers | None:
        """Return the spool's present numbers; None if it can't be read."""
        if self.source is None:
            return None
        try:
            return self.source()
        except Exception:  # noqa: BLE001  # a broken spool has its own health; all other numbers are still true
            return None

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering must not read the spool."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics; none if the spool can't be read."""
        queue = self.read()
        if queue is None:
            return
        held = GaugeMetricFamily("framesift_spool_datapoints", "Datapoints in the spool.", labels=["state"])
        for state in SPOOL_STATES:
            held.add_metric([state], getattr(queue, state))
        yield held
        yield _gauge("framesift_spool_bytes", "Size of the spool's contents.", queue.size_bytes)
        yield _gauge("framesift_spool_log_bytes", "Size of the spool's write-ahead log.", queue.log_bytes)
        if queue.max_bytes:
            yield _gauge("framesift_spool_max_bytes", "Bound of contents and log together.", queue.max_bytes)
        if queue.oldest_at_s is not None:
            description = "When the oldest datapoint that is still to be delivered was accepted (Unix time)."
            yield _gauge("framesift_spool_oldest_timestamp_seconds", description, queue.oldest_at_s)
        outcomes = CounterMetricFamily("framesift_datapoints_left", "Datapoints that left the spool.", labels=["exit"])
        for name, count in queue.outcomes.items():
            outcomes.add_metric([name], count)
        yield outcomes


def _gauge(name: str, description: str, value: float) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, description)
    family.add_metric([], value)
    return family

"""Which streams are paused by an operator, in telemetry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class PausedStream:
    """A stream that takes no frames. since_s, until_s: Unix times; until_s: None until it is resumed. by: who asked."""

    stream: str
    since_s: float
    until_s: float | None
    by: str


class PauseCollector(Collector):
    """Whether each stream is paused, read from `source` whenever metrics are read."""

    def __init__(self, label: Callable[[str], str]) -> None:
        """label: turns a stream into the value of a label; it bounds their number."""
        self.source: Callable[[], Mapping[str, PausedStream | None]] = dict
        self._label = label

    def read(self) -> tuple[PausedStream, ...]:
        """Return the streams that are paused."""
        return tuple(pause for pause in self.source().values() if pause is not None)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering must not call the source."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield the metric."""
        description = "1 while an operator has paused the stream: it takes no frames."
        gauge = GaugeMetricFamily("framesift_paused", description, labels=["stream"])
        paused: dict[str, bool] = {}
        for stream, pause in self.source().items():
            label = self._label(stream)
            paused[label] = paused.get(label, False) or pause is not None
        for label, is_paused in paused.items():
            gauge.add_metric([label], float(is_paused))
        yield gauge

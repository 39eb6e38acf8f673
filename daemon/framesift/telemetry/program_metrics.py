"""The metrics of the program itself: what was built, whether it is alive, and whether its log is read."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from framesift.telemetry.lines import LEVELS


class ProgramCollector(Collector):
    """Attributes are set by any thread, and read whenever metrics are read.

    build: names and values of framesift_build_info's labels. heartbeat_at_s: the Unix time of the main loop's last
    turn, None before its first. idle_source: returns for how many seconds each component has not moved. alive_source:
    returns whether the daemon is alive; None while nobody says so.
    """

    def __init__(self, lines_dropped: Callable[[], Mapping[str, int]], label: Callable[[str], str]) -> None:
        """lines_dropped: returns the number of dropped log lines by level. label: bounds the names of components."""
        self.build: Mapping[str, str] = {"python": platform.python_version()}
        self.heartbeat_at_s: float | None = None
        self.idle_source: Callable[[], Mapping[str, float]] = dict
        self.alive_source: Callable[[], bool] | None = None
        self._lines_dropped = lines_dropped
        self._label = label

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering must not call the sources."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        build = GaugeMetricFamily("framesift_build_info", "1; the labels say what runs here.", labels=[*self.build])
        build.add_metric([*self.build.values()], 1.0)
        yield build
        is_alive = self._is_alive()
        if is_alive is not None:
            alive = GaugeMetricFamily(
                "framesift_alive", "1 while every thread makes progress, as /healthz; 0 otherwise."
            )
            alive.add_metric([], float(is_alive))
            yield alive
        if self.heartbeat_at_s is not None:
            beat = GaugeMetricFamily(
                "framesift_heartbeat_timestamp_seconds", "When the main loop last turned (Unix time); once a second."
            )
            beat.add_metric([], self.heartbeat_at_s)
            yield beat
        idle = GaugeMetricFamily(
            "framesift_component_idle_seconds", "How long the component has not moved.", labels=["component"]
        )
        for component, idle_s in self.idle_source().items():
            idle.add_metric([self._label(component)], idle_s)
        yield idle
        lines = CounterMetricFamily(
            "framesift_log_lines_dropped", "Log lines that nobody read in time.", labels=["level"]
        )
        dropped = self._lines_dropped()
        for level in LEVELS:
            lines.add_metric([level], dropped.get(level, 0))
        yield lines

    def _is_alive(self) -> bool | None:
        try:
            return None if self.alive_source is None else self.alive_source()
        except Exception:  # noqa: BLE001  # /healthz says so; all other numbers are still true
            return None

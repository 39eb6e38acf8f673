"""Quota in telemetry: who grants it, how much is used and left, and how many datapoints wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

QUOTA_GRANTERS = ("local", "shared", "restoring", "away")


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """One limit of a strategy, in the window that is open now.

    project: the one that shares the limit, "" if none is named. used: by all devices that share it. left: at least 0.
    """

    project: str
    strategy: str
    window: str
    limit: int
    used: int
    left: int


@dataclass(frozen=True, slots=True)
class QuotaReport:
    """Who grants quota, and how much is used.

    granted_by: "local" (this device counts for itself), "shared" (the shared limits grant it), "restoring" (the shared
    limits were reset and grant nothing yet), "away" (the shared limits can't be reached). why: for the last two.
    pending: datapoints that wait for quota. checked_at_s: Unix time at which `used` was true, None if it is unknown.
    """

    granted_by: str
    why: str
    pending: int
    checked_at_s: float | None
    used: tuple[QuotaUse, ...]


class QuotaCollector(Collector):
    """The metrics of the quota, read from `source` whenever metrics are read."""

    def __init__(self, label: Callable[[str], str]) -> None:
        """label: turns a project or a strategy into the value of a label; it bounds their number."""
        self.source: Callable[[], QuotaReport | None] = lambda: None
        self._label = label

    def read(self) -> QuotaReport | None:
        """Return the present report; None if it can't be had."""
        try:
            return self.source()
        except Exception:  # noqa: BLE001  # a broken spool has its own health; all other numbers are still true
            return None

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering must not call the source."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of the quota. Their names say "credits": metric names are stable."""
        report = self.read()
        if report is None:
            return
        granter = GaugeMetricFamily(
            "framesift_credits_granted_by", "Who grants quota now: 1 for one of them.", labels=["by"]
        )
        for name in QUOTA_GRANTERS:
            granter.add_metric([name], float(name == report.granted_by))
        yield granter
        waiting = GaugeMetricFamily("framesift_credits_waiting", "Datapoints in the spool that wait for quota.")
        waiting.add_metric([], report.pending)
        yield waiting
        labels = ["project", "strategy", "window"]
        used = GaugeMetricFamily("framesift_credits_used", "Quota used in the open window.", labels=labels)
        left = GaugeMetricFamily("framesift_credits_left", "Quota left in the open window.", labels=labels)
        for use in {(u.project, u.strategy, u.window): u for u in report.used}.values():
            values = [self._label(use.project), self._label(use.strategy), use.window]
            used.add_metric(values, use.used)
            left.add_metric(values, use.left)
        yield used
        yield left

"""Credits as telemetry tells them: who grants them, how many are used and left, how many datapoints wait for one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

QUOTA_GRANTERS = ("local", "shared", "restoring", "away")


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """One limit of a strategy, in the window that is open. project: who shares it, "" where none is named. used: by all
    who share it; left: at least 0.
    """

    project: str
    strategy: str
    window: str
    limit: int
    used: int
    left: int


@dataclass(frozen=True, slots=True)
class QuotaReport:
    """granted_by: local (this device counts for itself), shared (a ledger grants them), restoring (it does not yet: its
    memory is new), away (nobody can be asked). why: of the last two. waiting: datapoints without a credit. asked_at_s:
    Unix time at which `used` was true, None where it was never known.
    """

    granted_by: str
    why: str
    waiting: int
    asked_at_s: float | None
    used: tuple[QuotaUse, ...]


class QuotaCollector(Collector):
    """Asked for at the moment of reading. names: of the labels' values, which are bounded."""

    def __init__(self, names: Callable[[str], str]) -> None:
        self.source: Callable[[], QuotaReport | None] = lambda: None
        self._names = names

    def read(self) -> QuotaReport | None:
        try:
            return self.source()
        except Exception:  # noqa: BLE001  # a broken spool is told by its health; all the other numbers are still true
            return None

    def describe(self) -> Iterable[Metric]:
        return []  # registering must not ask anybody

    def collect(self) -> Iterable[Metric]:
        told = self.read()
        if told is None:
            return
        granter = GaugeMetricFamily("framesift_credits_granted_by", "Who grants credits: 1 for one.", labels=["by"])
        for name in QUOTA_GRANTERS:
            granter.add_metric([name], float(name == told.granted_by))
        yield granter
        waiting = GaugeMetricFamily("framesift_credits_waiting", "Datapoints that wait for a credit.")
        waiting.add_metric([], told.waiting)
        yield waiting
        labels = ["project", "strategy", "window"]
        used = GaugeMetricFamily("framesift_credits_used", "Credits used in the open window.", labels=labels)
        left = GaugeMetricFamily("framesift_credits_left", "Credits left in the open window.", labels=labels)
        for use in {(u.project, u.strategy, u.window): u for u in told.used}.values():
            values = [self._names(use.project), self._names(use.strategy), use.window]
            used.add_metric(values, use.used)
            left.add_metric(values, use.left)
        yield used
        yield left

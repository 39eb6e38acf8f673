"""Policies in telemetry: which are in use, since when, and what of them was left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """One policy.

    name: short, and different for each; "" is the common one. source: where it comes from. streams: those that use it.
    hash: which policy it is, None while there is none yet. fetched_at_s: Unix time of the source's last answer, None
    for a file. from_disk: it was cached before the start. strategies: their names. left_out, notes: sentences for the
    operator. problem: why the last answer could not be used, or None.
    """

    name: str
    source: str
    streams: tuple[str, ...]
    enabled: bool
    hash: str | None
    fetched_at_s: float | None
    from_disk: bool
    strategies: tuple[str, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    problem: str | None


class PolicyCollector(Collector):
    """The metrics of policies, read from `source` whenever metrics are read."""

    def __init__(self, label: Callable[[str], str]) -> None:
        """label: turns a policy's name into the value of a label; it bounds their number."""
        self.source: Callable[[], tuple[PolicyReport, ...]] = tuple
        self._label = label

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering must not call the source."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of all policies."""
        left_out: dict[str, int] = {}
        fetched_at_s: dict[str, float] = {}
        for policy in self.source():
            name = self._label(policy.name or "common")
            left_out[name] = left_out.get(name, 0) + len(policy.left_out)
            if policy.fetched_at_s is not None:
                fetched_at_s[name] = min(policy.fetched_at_s, fetched_at_s.get(name, policy.fetched_at_s))
        parts = GaugeMetricFamily(
            "framesift_policy_parts_left_out", "Parts of the policy that are not understood.", labels=["policy"]
        )
        for name, count in left_out.items():
            parts.add_metric([name], count)
        yield parts
        fetched = GaugeMetricFamily(
            "framesift_policy_fetched_timestamp_seconds",
            "When the source of the policy last confirmed it.",
            labels=["policy"],
        )
        for name, at_s in fetched_at_s.items():
            fetched.add_metric([name], at_s)
        yield fetched


def without_secrets(policy: PolicyReport, redact: Callable[[str], str]) -> PolicyReport:
    """Return the report with all secrets removed: what others wrote may contain one by mistake."""
    return replace(
        policy,
        source=redact(policy.source),
        strategies=tuple(map(redact, policy.strategies)),
        left_out=tuple(map(redact, policy.left_out)),
        notes=tuple(map(redact, policy.notes)),
        problem=None if policy.problem is None else redact(policy.problem),
    )

"""Policies as telemetry tells them: which hold, since when, and what of them was left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """One policy. name: short, and different for each; "" is the common one. source: where it comes from.

    streams: those that follow it. hash: which policy it is, None while there is none yet. fetched_at_s: Unix time of
    the last answer that said so, None for a file. from_disk: it was kept from before the start. strategies: their
    names. left_out, notes, trouble (why the last answer was no good, or None): sentences for the operator.
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
    trouble: str | None


class PolicyCollector(Collector):
    """Asked for at the moment of reading. names: of the label's values, which are bounded."""

    def __init__(self, names: Callable[[str], str]) -> None:
        self.source: Callable[[], tuple[PolicyReport, ...]] = tuple
        self._names = names

    def describe(self) -> Iterable[Metric]:
        return []  # registering must not ask anybody

    def collect(self) -> Iterable[Metric]:
        left_out: dict[str, int] = {}
        fetched_at_s: dict[str, float] = {}
        for policy in self.source():
            name = self._names(policy.name or "common")
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
            "When the source of the policy last said that it holds.",
            labels=["policy"],
        )
        for name, at_s in fetched_at_s.items():
            fetched.add_metric([name], at_s)
        yield fetched


def without_secrets(policy: PolicyReport, redacted: Callable[[str], str]) -> PolicyReport:
    """What others wrote may hold a secret by mistake."""
    return replace(
        policy,
        source=redacted(policy.source),
        strategies=tuple(map(redacted, policy.strategies)),
        left_out=tuple(map(redacted, policy.left_out)),
        notes=tuple(map(redacted, policy.notes)),
        trouble=None if policy.trouble is None else redacted(policy.trouble),
    )

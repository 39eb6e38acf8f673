"""Counters: every number that the daemon keeps of itself, as Prometheus metrics and as one noun (Snapshot).

Metrics are named framesift_..., with base units. A label's values are bounded: whoever could invent names (a policy
that is reloaded again and again) ends up under "other" instead of in endless memory. Numbers of the spool are not kept
here but asked for when they are read: rows are the truth.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from framesift.telemetry.health import ComponentHealth
from framesift.telemetry.policies import PolicyCollector, PolicyReport
from framesift.telemetry.quota import QuotaCollector, QuotaReport

# The library's own constant names a later version, which older servers refuse; what is written is valid in both.
METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_MOST_NAMES = 256
_LONGEST_NAME = 64
_OTHER = "other"
_MODEL_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_DELIVERY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 45.0)


@dataclass(frozen=True, slots=True)
class SpoolNumbers:
    """What the spool holds and what became of the rest. exits: datapoints that left, by exit, since the spool began.

    size_bytes: of the live pages, without what the file keeps for reuse.
    """

    ready: int
    sending: int
    registered: int
    buried: int
    size_bytes: int
    exits: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Timing:
    """How often something was done, and how long it took altogether."""

    count: int = 0
    total_s: float = 0.0

    @property
    def mean_s(self) -> float:
        return self.total_s / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True)
class StreamCounts:
    """The frames of one stream since the start. up: whether it gives pictures, None while nobody said so."""

    stream: str
    up: bool | None = None
    frames_read: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    matched: Mapping[str, int] = field(default_factory=dict)
    accepted: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StatusReport:
    """All numbers at one moment. Mappings are from a reason, a strategy or an exit to how often; streams are summed.

    taken_at_s: Unix time. uptime_s: since the start. exits: datapoints that left the spool, since the spool began.
    malformed: parts of predictions that were dropped. queue: None where the spool could not be asked. doors: what
    became of what came in at doors, from an outcome to how often. credits: None where nobody could be asked.
    log_lines_dropped: lines that nobody read in time, by level.
    """

    frames_read: int
    frames_accepted: int
    skipped: Mapping[str, int]
    refused: Mapping[str, int]
    matched: Mapping[str, int]
    accepted: Mapping[str, int]
    exits: Mapping[str, int]
    attempts: Mapping[str, int]
    malformed: int
    model: Timing
    delivery: Timing
    queue: SpoolNumbers | None
    streams: tuple[StreamCounts, ...]
    taken_at_s: float = 0.0
    uptime_s: float = 0.0
    health: tuple[ComponentHealth, ...] = ()
    policies: tuple[PolicyReport, ...] = ()
    doors: Mapping[str, int] = field(default_factory=dict)
    credits: QuotaReport | None = None
    log_lines_dropped: Mapping[str, int] = field(default_factory=dict)


class _Names:
    """The values of one label: the first so many, each cut to a sane length; all others are one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        known = self._known.get(name)
        if known is not None:
            return known
        with self._lock:
            if len(self._known) >= _MOST_NAMES:
                return _OTHER
            clean = "".join(c if c.isprintable() else "?" for c in name[:_LONGEST_NAME])
            return self._known.setdefault(name, clean)


class Counters:
    """The metrics, in a registry of their own. lines_dropped: asked for the log lines that were dropped, by level."""

    def __init__(self, lines_dropped: Callable[[], Mapping[str, int]]) -> None:
        # A second series for each, which tells when it was first counted: nobody asked.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types for it
        self.registry = CollectorRegistry(auto_describe=True)
        self.stream, self.strategy, self.outcome = _Names(), _Names(), _Names()
        self.read = self._counter("frames_read", "Frames that streams handed over.", "stream")
        self.skipped = self._counter("frames_skipped", "Pictures never shown to the model.", "stream", "why")
        self.refused = self._counter("frames_refused", "Frames that were not accepted.", "stream", "reason")
        self.matched = self._counter("frames_matched", "Frames that a strategy wanted.", "stream", "strategy")
        self.accepted = self._counter("frames_accepted", "Frames put into the spool.", "stream", "strategy")
        self.dropped = self._counter("prediction_parts_dropped", "Malformed parts of predictions.", "stream")
        self.attempts = self._counter("delivery_attempts", "Deliveries tried.", "outcome")
        self.doors = self._counter("door_requests", "What became of what came in at doors.", "stream", "outcome")
        self.up = Gauge("framesift_stream_up", "Whether the stream gives pictures.", ["stream"], registry=self.registry)
        self.model = self._histogram("model_seconds", "How long the model took.", _MODEL_BUCKETS_S)
        self.delivery = self._histogram("delivery_seconds", "How long a delivery took.", _DELIVERY_BUCKETS_S)
        self._queue = _QueueCollector()
        self.registry.register(self._queue)
        self._policies = PolicyCollector(_Names())
        self.registry.register(self._policies)
        self._credits = QuotaCollector(_Names())
        self.registry.register(self._credits)
        self._lines_dropped = lines_dropped
        self.registry.register(_LinesCollector(lines_dropped))
        ProcessCollector(registry=self.registry)

    def _counter(self, name: str, told: str, *labels: str) -> Counter:
        return Counter(f"framesift_{name}", told, labels, registry=self.registry)

    def _histogram(self, name: str, told: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"framesift_{name}", told, registry=self.registry, buckets=buckets)

    def set_spool_source(self, look: Callable[[], SpoolNumbers]) -> None:
        self._queue.look = look

    def set_policy_source(self, look: Callable[[], tuple[PolicyReport, ...]]) -> None:
        self._policies.source = look

    def set_quota_source(self, look: Callable[[], QuotaReport]) -> None:
        self._credits.source = look

    def metrics_text(self) -> bytes:
        return generate_latest(self.registry)

    def report(self) -> StatusReport:
        read = _by_label(self.read, "stream")
        skipped = _by_labels(self.skipped)
        refused = _by_labels(self.refused)
        matched = _by_labels(self.matched)
        accepted = _by_labels(self.accepted)
        up = _by_label(self.up, "stream")
        queue = self._queue.read()
        names = dict.fromkeys([*up, *read, *(s for counts in (skipped, refused, accepted) for s in counts)])
        streams = tuple(
            StreamCounts(
                name,
                bool(up[name]) if name in up else None,
                read.get(name, 0),
                skipped.get(name, {}),
                refused.get(name, {}),
                matched.get(name, {}),
                accepted.get(name, {}),
            )
            for name in names
        )
        return StatusReport(
            frames_read=sum(read.values()),
            frames_accepted=sum(_summed(accepted).values()),
            skipped=_summed(skipped),
            refused=_summed(refused),
            matched=_summed(matched),
            accepted=_summed(accepted),
            exits={} if queue is None else dict(queue.exits),
            attempts=_by_label(self.attempts, "outcome"),
            malformed=sum(_by_label(self.dropped, "stream").values()),
            model=_timing(self.model),
            delivery=_timing(self.delivery),
            queue=queue,
            streams=streams,
            policies=self._policies.source(),
            doors=_summed(_by_labels(self.doors)),
            credits=self._credits.read(),
            log_lines_dropped=self._lines_dropped(),
        )


class _QueueCollector(Collector):
    """The spool's numbers, asked for at the moment of reading."""

    def __init__(self) -> None:
        self.look: Callable[[], SpoolNumbers] | None = None

    def read(self) -> SpoolNumbers | None:
        if self.look is None:
            return None
        try:
            return self.look()
        except Exception:  # noqa: BLE001  # a broken spool is told by its health; all the other numbers are still true
            return None

    def describe(self) -> Iterable[Metric]:
        return []  # registering must not ask the spool

    def collect(self) -> Iterable[Metric]:
        queue = self.read()
        if queue is None:
            return
        held = GaugeMetricFamily("framesift_spool_datapoints", "Datapoints in the spool.", labels=["state"])
        for state in ("ready", "sending", "registered", "buried"):
            held.add_metric([state], getattr(queue, state))
        yield held
        size = GaugeMetricFamily("framesift_spool_bytes", "Size of what the spool holds.")
        size.add_metric([], queue.size_bytes)
        yield size
        exits = CounterMetricFamily("framesift_datapoints_left", "Datapoints that left the spool.", labels=["exit"])
        for name, count in queue.exits.items():
            exits.add_metric([name], count)
        yield exits


class _LinesCollector(Collector):
    """Log lines that were dropped."""

    def __init__(self, dropped: Callable[[], Mapping[str, int]]) -> None:
        self._dropped = dropped

    def collect(self) -> Iterable[Metric]:
        told = "Log lines that nobody read in time."
        lines = CounterMetricFamily("framesift_log_lines_dropped", told, labels=["level"])
        for level, count in self._dropped().items():
            lines.add_metric([level], count)
        yield lines


def _samples(metric: Counter | Gauge | Histogram) -> Iterable[tuple[Mapping[str, str], str, float]]:
    for family in metric.collect():
        for sample in family.samples:
            yield sample.labels, sample.name, sample.value


def _by_label(metric: Counter | Gauge, label: str) -> dict[str, int]:
    return {labels[label]: int(value) for labels, _name, value in _samples(metric)}


def _by_labels(metric: Counter) -> dict[str, dict[str, int]]:
    """Stream -> the other label's value -> how often."""
    found: dict[str, dict[str, int]] = {}
    for labels, _name, value in _samples(metric):
        (other,) = (value for label, value in labels.items() if label != "stream")
        found.setdefault(labels["stream"], {})[other] = int(value)
    return found


def _summed(by_stream: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for counts in by_stream.values():
        for name, count in counts.items():
            total[name] = total.get(name, 0) + count
    return total


def _timing(metric: Histogram) -> Timing:
    count = total_s = 0.0
    for _labels, name, value in _samples(metric):
        if name.endswith("_count"):
            count = value
        elif name.endswith("_sum"):
            total_s = value
    return Timing(int(count), total_s)

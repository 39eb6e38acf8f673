"""Counters: every number that the daemon keeps about itself, as Prometheus metrics and as one `StatusReport`.

Metrics are named framesift_..., with base units; their names and labels are stable. The number of a label's values is
bounded: where names come from outside (a policy that is reloaded again and again), the later ones are counted as
"other". Numbers of the spool are not kept here: they are read from the spool when somebody reads them.
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

from framesift.telemetry.collected import CollectedCollector, CollectedNumbers
from framesift.telemetry.health import ComponentHealth
from framesift.telemetry.health_metrics import HealthCollector
from framesift.telemetry.held import HeldCollector
from framesift.telemetry.pauses import PauseCollector, PausedStream
from framesift.telemetry.policies import PolicyCollector, PolicyReport
from framesift.telemetry.program_metrics import ProgramCollector
from framesift.telemetry.quota import QuotaCollector, QuotaReport
from framesift.telemetry.spool_metrics import SpoolCollector, SpoolNumbers
from framesift.telemetry.stream_absences import StreamAbsence, StreamAbsences
from framesift.telemetry.stream_losses import StreamLoss, StreamLosses

# The library's own constant names a later version, which older servers refuse; what is written is valid in both.
METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_MAX_NAMES = 256
_MAX_NAME_LENGTH = 64
_OTHER = "other"
_MODEL_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_AGE_BUCKETS_S = (0.01, 0.02, 0.04, 0.06, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0)
_DELIVERY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 45.0)


@dataclass(frozen=True, slots=True)
class Timing:
    """How often something was done, and how many seconds it took in total."""

    count: int = 0
    total_s: float = 0.0

    @property
    def mean_s(self) -> float:
        """The mean duration, 0 if nothing was done."""
        return self.total_s / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True)
class StreamCounts:
    """The frames of one stream since the start.

    up: whether it delivers pictures, None while that is unknown. losses: how often it was lost while it ran. last_loss:
    the most recent one. readers_started: how many reader processes it has had.
    away: why it gives no pictures at present. snapshots: its frames that had quota, by what was kept: the snapshot, or
    why there was none; empty for streams without snapshots.
    """

    stream: str
    up: bool | None = None
    frames_read: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    matched: Mapping[str, int] = field(default_factory=dict)
    accepted: Mapping[str, int] = field(default_factory=dict)
    losses: int = 0
    last_loss: StreamLoss | None = None
    readers_started: int = 0
    away: StreamAbsence | None = None
    snapshots: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StatusReport:
    """All numbers at one moment. Mappings are from a reason, a strategy or an outcome to a count over all streams.

    taken_at_s: Unix time. uptime_s: since the start. outcomes: datapoints that left the spool since it was created.
    malformed: parts of predictions that were left out. queue: the spool, None if it can't be read. listeners: requests
    that listeners received, by outcome. quota: None if it can't be read. log_lines_dropped: lines that nobody read in
    time, by level. idle_s: for how many seconds each component has not moved; a delivery may take 45 s.
    collected: what a sink with bounds keeps, None for any other. held: frames that wait for a turn, by strategy.
    paused: the streams that take no frames because an operator said so.
    """

    frames_read: int
    frames_accepted: int
    skipped: Mapping[str, int]
    refused: Mapping[str, int]
    matched: Mapping[str, int]
    accepted: Mapping[str, int]
    outcomes: Mapping[str, int]
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
    listeners: Mapping[str, int] = field(default_factory=dict)
    quota: QuotaReport | None = None
    log_lines_dropped: Mapping[str, int] = field(default_factory=dict)
    idle_s: Mapping[str, float] = field(default_factory=dict)
    collected: CollectedNumbers | None = None
    held: Mapping[str, int] = field(default_factory=dict)
    paused: tuple[PausedStream, ...] = ()


class _Label:
    """The values of one label: the first 256, each cut to 64 characters; all others are counted as one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        known = self._known.get(name)
        if known is not None:
            return known
        with self._lock:
            if len(self._known) >= _MAX_NAMES:
                return _OTHER
            clean = "".join(c if c.isprintable() else "?" for c in name[:_MAX_NAME_LENGTH])
            return self._known.setdefault(name, clean)


class Counters:
    """The metrics, in a registry of their own. Thread-safe."""

    def __init__(self, lines_dropped: Callable[[], Mapping[str, int]]) -> None:
        """lines_dropped: returns the number of log lines that were dropped, by level."""
        # A second series for each, with the time of its first count: nobody needs it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types for it
        self.registry = CollectorRegistry(auto_describe=True)
        self.stream, self.strategy, self.outcome = _Label(), _Label(), _Label()
        self.read = self._counter("frames_read", "Frames that were read from streams.", "stream")
        self.skipped = self._counter("frames_skipped", "Pictures that were not shown to the model.", "stream", "why")
        self.refused = self._counter("frames_refused", "Frames that were not accepted.", "stream", "reason")
        self.matched = self._counter("frames_matched", "Frames that a strategy matched.", "stream", "strategy")
        self.accepted = self._counter("frames_accepted", "Frames accepted into the spool.", "stream", "strategy")
        self.dropped = self._counter(
            "prediction_parts_dropped", "Malformed parts of predictions that were left out.", "stream"
        )
        self.attempts = self._counter("delivery_attempts", "Delivery attempts.", "outcome")
        self.requests = self._counter("door_requests", "Requests that listeners received.", "stream", "outcome")
        self.up = Gauge(
            "framesift_stream_up", "Whether the stream delivers pictures.", ["stream"], registry=self.registry
        )
        self.losses = StreamLosses(self._counter("stream_losses", "How often a running stream was lost.", "stream"))
        self.absences = StreamAbsences(
            Gauge(
                "framesift_stream_away",
                "1 for the reason why the stream gives no pictures at present, 0 for earlier ones.",
                ["stream", "reason"],
                registry=self.registry,
            )
        )
        self.readers = self._counter("stream_readers_started", "Reader processes that were started.", "stream")
        self.sender_offset = Gauge(
            "framesift_stream_sender_offset_seconds",
            "How far a camera's clock is ahead of ours, less the way of the picture; only where the camera tells it.",
            ["stream"],
            registry=self.registry,
        )
        self.snapshots = self._counter(
            "snapshots", "Frames that had quota, by the snapshot that was kept or why not.", "stream", "result"
        )
        self.picture_age = self._histogram(
            "picture_age_seconds",
            "Age of a camera's picture when the model began with it, from the arrival of its data.",
            _AGE_BUCKETS_S,
            "stream",
        )
        self.model = self._histogram("model_seconds", "Duration of the model's predictions.", _MODEL_BUCKETS_S)
        self.delivery = self._histogram("delivery_seconds", "Duration of delivery attempts.", _DELIVERY_BUCKETS_S)
        self._spool = SpoolCollector()
        self.registry.register(self._spool)
        self._policies = PolicyCollector(_Label())
        self.registry.register(self._policies)
        self._quota = QuotaCollector(_Label())
        self.registry.register(self._quota)
        self._health = HealthCollector(_Label())
        self.registry.register(self._health)
        self._collected = CollectedCollector()
        self.registry.register(self._collected)
        self._held = HeldCollector()
        self.registry.register(self._held)
        self.pauses = PauseCollector(self.stream)
        self.registry.register(self.pauses)
        self._lines_dropped = lines_dropped
        self.program = ProgramCollector(lines_dropped, _Label())
        self.registry.register(self.program)
        ProcessCollector(registry=self.registry)

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(f"framesift_{name}", description, labels, registry=self.registry)

    def _histogram(self, name: str, description: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"framesift_{name}", description, labels, registry=self.registry, buckets=buckets)

    def set_spool_source(self, read: Callable[[], SpoolNumbers]) -> None:
        """See Telemetry."""
        self._spool.source = read

    def set_policy_source(self, read: Callable[[], tuple[PolicyReport, ...]]) -> None:
        """See Telemetry."""
        self._policies.source = read

    def set_quota_source(self, read: Callable[[], QuotaReport]) -> None:
        """See Telemetry."""
        self._quota.source = read

    def set_health_source(self, read: Callable[[], tuple[ComponentHealth, ...]]) -> None:
        """Set what returns the health of all components. It must not raise."""
        self._health.source = read

    def set_held_source(self, read: Callable[[], Mapping[str, int]]) -> None:
        """See Telemetry."""
        self._held.source = read

    def set_collected_source(self, read: Callable[[], CollectedNumbers | None]) -> None:
        """See Telemetry."""
        self._collected.source = read

    def metrics_text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def quota_report(self) -> QuotaReport | None:
        """See Telemetry."""
        return self._quota.read()

    def stream_counts(self) -> tuple[StreamCounts, ...]:
        """Return the numbers of each stream."""
        read = _by_label(self.read, "stream")
        skipped = _by_labels(self.skipped)
        refused = _by_labels(self.refused)
        matched = _by_labels(self.matched)
        accepted = _by_labels(self.accepted)
        snapshots = _by_labels(self.snapshots)
        up = _by_label(self.up, "stream")
        readers = _by_label(self.readers, "stream")
        names = dict.fromkeys([*up, *read, *(s for counts in (skipped, refused, matched, accepted) for s in counts)])
        return tuple(
            StreamCounts(
                name,
                bool(up[name]) if name in up else None,
                read.get(name, 0),
                skipped.get(name, {}),
                refused.get(name, {}),
                matched.get(name, {}),
                accepted.get(name, {}),
                *self.losses.of(name),
                readers.get(name, 0),
                self.absences.of(name),
                snapshots.get(name, {}),
            )
            for name in names
        )

    def report(self) -> StatusReport:
        """Return all numbers. Times and health are left at their defaults: see Telemetry.report."""
        streams = self.stream_counts()
        queue = self._spool.read()
        accepted = _summed(stream.accepted for stream in streams)
        return StatusReport(
            frames_read=sum(stream.frames_read for stream in streams),
            frames_accepted=sum(accepted.values()),
            skipped=_summed(stream.skipped for stream in streams),
            refused=_summed(stream.refused for stream in streams),
            matched=_summed(stream.matched for stream in streams),
            accepted=accepted,
            outcomes={} if queue is None else dict(queue.outcomes),
            attempts=_by_label(self.attempts, "outcome"),
            malformed=sum(_by_label(self.dropped, "stream").values()),
            model=_timing(self.model),
            delivery=_timing(self.delivery),
            queue=queue,
            streams=streams,
            policies=self._policies.source(),
            listeners=_summed(_by_labels(self.requests).values()),
            quota=self._quota.read(),
            log_lines_dropped=self._lines_dropped(),
            idle_s={name: round(idle_s, 1) for name, idle_s in self.program.idle_source().items()},
            collected=self._collected.source(),
            held=self._held.source(),
            paused=self.pauses.read(),
        )


def _samples(metric: Counter | Gauge | Histogram) -> Iterable[tuple[Mapping[str, str], str, float]]:
    for family in metric.collect():
        for sample in family.samples:
            yield sample.labels, sample.name, sample.value


def _by_label(metric: Counter | Gauge, label: str) -> dict[str, int]:
    return {labels[label]: int(value) for labels, _name, value in _samples(metric)}


def _by_labels(metric: Counter) -> dict[str, dict[str, int]]:
    """Return stream -> the other label's value -> count."""
    found: dict[str, dict[str, int]] = {}
    for labels, _name, value in _samples(metric):
        (other,) = (value for label, value in labels.items() if label != "stream")
        found.setdefault(labels["stream"], {})[other] = int(value)
    return found


def _summed(of_streams: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for counts in of_streams:
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

"""A Telemetry to which everything was reported once, so that each metric has a sample with each of its labels."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from prometheus_client.parser import text_string_to_metric_families

from clocks import ManualClock
from framesift.frame import RefusalReason, SkipReason
from framesift.limits import Window
from framesift.listeners.request_outcomes import RequestOutcome
from framesift.service.reports import DELIVERY_OUTCOMES
from framesift.spool import FinalOutcome
from framesift.streams.away_reasons import AwayReason
from framesift.streams.snapshots.ticket import SnapshotMissReason
from framesift.telemetry import (
    CollectedNumbers,
    Condition,
    PausedStream,
    PolicyReport,
    QuotaReport,
    QuotaUse,
    SpoolNumbers,
    StreamAbsence,
    Telemetry,
)
from framesift.telemetry.lines import LEVELS
from framesift.telemetry.quota import QUOTA_GRANTERS
from framesift.telemetry.spool_metrics import SPOOL_STATES

_SPOOL = SpoolNumbers(0, 0, 0, 0, 1, {"delivered": 1}, max_bytes=1, oldest_at_s=1.0)
_POLICY = PolicyReport("", "policy.json", ("gate",), True, "1f", 1.0, False, ("hard",), (), (), None)
_QUOTA = QuotaReport("local", "", 0, 1.0, (QuotaUse("", "hard", "daily", 9, 1, 8),))
_COLLECTED = CollectedNumbers(1, 2, 3.0, 4, 5.0, {"age": 1})

# Each method of Telemetry that sets or counts something -> arguments for it.
REPORTED: Mapping[str, tuple[object, ...]] = {
    "count_accepted": ("gate", "hard"),
    "count_matched": ("gate", "hard"),
    "count_read": ("gate",),
    "count_reader": ("gate",),
    "count_refused": ("gate", RefusalReason.LIMIT),
    "count_request": ("gate", "offered"),
    "count_skipped": ("gate", SkipReason.RATE, 1),
    "count_snapshot": ("gate", "snapshot"),
    "record_delivery": ("done", 0.1),
    "record_loss": ("gate", "no answer"),
    "record_picture_age": ("gate", 0.1),
    "record_prediction": ("gate", 0.1, 1),
    "set_alive_source": (lambda: True,),
    "set_build": (),
    "set_collected_source": (lambda: _COLLECTED,),
    "set_held_source": (lambda: {"hard": 1},),
    "set_idle_source": (lambda: {"spool": 0.0},),
    "set_log_level": ("error",),
    "set_paused_source": (lambda: {"gate": PausedStream("gate", 1.0, None, "alice")},),
    "set_policy_source": (lambda: (_POLICY,),),
    "set_quota_source": (lambda: _QUOTA,),
    "set_sender_offset": ("gate", 0.1),
    "set_spool_source": (lambda: _SPOOL,),
    "set_stream_away": ("gate", StreamAbsence("silent", "it does not answer", "is it on?")),
    "set_stream_up": ("gate", True),
}

# (metric, label) -> the values of the closed list from which the label has them.
CLOSED_LISTS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("framesift_health", "condition"): tuple(map(str, Condition)),
    ("framesift_log_lines_dropped_total", "level"): LEVELS,
    ("framesift_stream_away", "reason"): tuple(map(str, AwayReason)),
    ("framesift_frames_skipped_total", "why"): tuple(map(str, SkipReason)),
    ("framesift_door_requests_total", "outcome"): tuple(map(str, RequestOutcome)),
    ("framesift_frames_refused_total", "reason"): tuple(map(str, RefusalReason)),
    ("framesift_snapshots_total", "result"): ("snapshot", *map(str, SnapshotMissReason)),
    ("framesift_credits_used", "window"): tuple(map(str, Window)),
    ("framesift_credits_left", "window"): tuple(map(str, Window)),
    ("framesift_credits_granted_by", "by"): QUOTA_GRANTERS,
    ("framesift_spool_datapoints", "state"): SPOOL_STATES,
    ("framesift_datapoints_left_total", "exit"): tuple(map(str, FinalOutcome)),
    ("framesift_delivery_attempts_total", "outcome"): tuple(DELIVERY_OUTCOMES.values()),
    ("framesift_collected_removed_total", "bound"): ("age", "size"),
}


@dataclass(frozen=True)
class MetricShape:
    """A metric as the program shows it: its name (that of a counter with _total), its type and its labels, sorted."""

    name: str
    type: str
    labels: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join((self.name, self.type, *self.labels))


class _Style:
    format = "json"
    level = "error"


def metrics_text() -> str:
    """All metrics, as /metrics shows them."""
    telemetry = Telemetry(ManualClock(), _Style(), out=io.StringIO())
    for name, arguments in REPORTED.items():
        getattr(telemetry, name)(*arguments, **({"version": "1", "opencv": "4"} if name == "set_build" else {}))
    telemetry.health.set("spool", Condition.OK, "")
    telemetry.tick()
    return telemetry.metrics_text().decode()


@cache
def metric_shapes() -> dict[str, MetricShape]:
    """The metrics of the program, by their names."""
    shapes = {}
    for family in text_string_to_metric_families(metrics_text()):
        assert family.samples, f"{family.name} has no sample: tests/every_metric.py must report one"
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        shapes[name] = MetricShape(name, family.type, tuple(sorted(labels)))
    return shapes

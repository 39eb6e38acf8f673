"""Telemetry: what the daemon says of itself, in lines (events), in numbers (counters) and in one word (health).

    telemetry.warning("model_failed", stream="gate", why="...")    a line; repeats are folded, secrets are struck
    telemetry.refused("gate", Refusal.LIMIT)                       a number
    telemetry.health.set("spool", Condition.DEGRADED, "disk full") a state; a line when it changes

Nothing here raises for what it is told, waits for anybody, or keeps more than a bounded amount.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TextIO

from framesift.clock.clock import Clock
from framesift.config.redact import Redactor
from framesift.frame import RefusalReason, SkipReason
from framesift.telemetry.counters import (
    METRICS_CONTENT_TYPE,
    Counters,
    SpoolNumbers,
    StatusReport,
    StreamCounts,
    Timing,
)
from framesift.telemetry.events import EventLog, LogStyle
from framesift.telemetry.health import ComponentHealth, Condition, HealthRegistry
from framesift.telemetry.lines import LineFile, LineQueue, LogOutput
from framesift.telemetry.policies import PolicyReport, without_secrets
from framesift.telemetry.quota import QuotaReport, QuotaUse

__all__ = [
    "METRICS_CONTENT_TYPE",
    "ComponentHealth",
    "Condition",
    "HealthRegistry",
    "LineQueue",
    "LogStyle",
    "PolicyReport",
    "QuotaReport",
    "QuotaUse",
    "SpoolNumbers",
    "StatusReport",
    "StreamCounts",
    "Telemetry",
    "Timing",
]

_LINE_OF = {Condition.OK: "info", Condition.DEGRADED: "warning", Condition.FAILED: "error"}


class Telemetry:
    """One for the whole process, used by all its threads.

    log: what is printed, and how (see LogStyle). secrets: texts that no line may show. out: where lines go, a queue or
    a file whose writes don't wait (None: the standard output).
    """

    def __init__(
        self, clock: Clock, log: LogStyle, *, secrets: Iterable[str] = (), out: TextIO | LineQueue | None = None
    ) -> None:
        self._clock = clock
        self._redacted = Redactor(secrets)
        self._lines: LogOutput = out if isinstance(out, LineQueue) else LineFile(sys.stdout if out is None else out)
        self._lines_dropped: Mapping[str, int] = {}  # of these the log has told
        self._events = EventLog(clock, log, self._redacted, self._lines)
        self._counters = Counters(self._lines.dropped)
        self._started_s = clock.monotonic()
        self.health = HealthRegistry(clock, self._health_changed)

    def debug(self, name: str, /, **fields: object) -> None:
        """For those who look for a fault; not printed unless the level asks for it."""
        self._events.log("debug", name, fields)

    def info(self, name: str, /, **fields: object) -> None:
        """Something worth knowing. The same event again within a minute is counted, and told once."""
        self._events.log("info", name, fields)

    def state_changed(self, name: str, /, **fields: object) -> None:
        """A state changed: told each time, since the last line must be the present state, as long as lines last."""
        self._events.log("info", name, fields, fold=False)

    def warning(self, name: str, /, **fields: object) -> None:
        """Something that may need a human's eye; folded as `event` is."""
        self._events.log("warning", name, fields)

    def error(self, name: str, /, *, cause: BaseException | None = None, **fields: object) -> None:
        """Something that needs a human; folded as `event` is. cause: told with its traceback."""
        self._events.log("error", name, fields, cause=cause)

    def tick(self) -> None:
        """Tells what was folded and is due, and how the log itself fares. To be called about once a second."""
        self._events.log_due()
        if self._lines.is_stalled():
            self.health.set("log", Condition.DEGRADED, "nobody reads the log; its lines wait, and are dropped")
        else:
            self.health.set_ok("log")
            self._tell_dropped()

    def close(self) -> None:
        """Tells all that was folded. Later lines are still printed."""
        self._events.log_all()
        self._tell_dropped()

    def _tell_dropped(self) -> None:
        dropped = self._lines.dropped()
        since = {level: count - self._lines_dropped.get(level, 0) for level, count in dropped.items()}
        if any(since.values()):
            self._lines_dropped = dropped
            self.warning("log_lines_dropped", **{level: count for level, count in since.items() if count})

    def count_read(self, stream: str) -> None:
        """A frame was handed over by its stream."""
        self._counters.read.labels(self._counters.stream(stream)).inc()

    def count_skipped(self, stream: str, why: SkipReason, count: int) -> None:
        """Pictures of a stream that were never shown to the model."""
        self._counters.skipped.labels(self._counters.stream(stream), why.value).inc(count)

    def count_refused(self, stream: str, reason: RefusalReason) -> None:
        self._counters.refused.labels(self._counters.stream(stream), reason.value).inc()

    def count_matched(self, stream: str, strategy: str) -> None:
        self._counters.matched.labels(self._counters.stream(stream), self._counters.strategy(strategy)).inc()

    def count_accepted(self, stream: str, strategy: str) -> None:
        """A datapoint is in the spool; `strategy` was charged."""
        self._counters.accepted.labels(self._counters.stream(stream), self._counters.strategy(strategy)).inc()

    def record_prediction(self, stream: str, took_s: float, dropped: int = 0) -> None:
        """The model answered. dropped: malformed parts of its answer that were left out."""
        self._counters.model.observe(took_s)
        if dropped:
            self._counters.dropped.labels(self._counters.stream(stream)).inc(dropped)

    def record_delivery(self, outcome: str, took_s: float) -> None:
        """A delivery was tried. outcome: in a word (done, already_there, later, never, registered)."""
        self._counters.attempts.labels(self._counters.outcome(outcome)).inc()
        self._counters.delivery.observe(took_s)

    def count_request(self, stream: str, outcome: str) -> None:
        """Something came in at the door of that stream. outcome: in a word, of a closed list."""
        self._counters.doors.labels(self._counters.stream(stream), self._counters.outcome(outcome)).inc()

    def set_stream_up(self, stream: str, up: bool) -> None:
        """Whether a stream gives pictures."""
        self._counters.up.labels(self._counters.stream(stream)).set(1.0 if up else 0.0)

    def set_spool_source(self, look: Callable[[], SpoolNumbers]) -> None:
        """How to look into the spool, asked whenever numbers are read; where it raises, they are left out."""
        self._counters.set_spool_source(look)

    def set_policy_source(self, look: Callable[[], tuple[PolicyReport, ...]]) -> None:
        """How to learn which policies hold, asked whenever numbers are read; it must not fail."""
        self._counters.set_policy_source(look)

    def set_quota_source(self, look: Callable[[], QuotaReport]) -> None:
        """How to learn who grants credits, and how many are left; where it raises, that is left out."""
        self._counters.set_quota_source(look)

    def report(self) -> StatusReport:
        """All numbers, the policies, and the health of each component, at this moment; without secrets."""
        seen = self._counters.report()
        return replace(
            seen,
            taken_at_s=self._clock.now().wall_s,
            uptime_s=self._clock.monotonic() - self._started_s,
            health=tuple(replace(c, why=self._redacted(c.why)) for c in self.health.components()),
            policies=tuple(without_secrets(policy, self._redacted) for policy in seen.policies),
        )

    def metrics_text(self) -> bytes:
        """All numbers in Prometheus' text format, whose media type is EXPOSITION_TYPE."""
        return self._counters.metrics_text()

    def redact(self, text: str) -> str:
        """`text` without the secrets."""
        return self._redacted(text)

    def _health_changed(self, component: ComponentHealth) -> None:
        fields = {"component": component.name, "state": component.condition, "why": component.why}
        self._events.log(_LINE_OF[component.condition], "health", fields, fold=False)

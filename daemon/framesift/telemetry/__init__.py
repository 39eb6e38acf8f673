"""Telemetry: what the daemon reports about itself: log lines (events), numbers (counters) and health.

    telemetry.warning("model_failed", stream="gate", why="...")    a log line; repeats are folded, secrets are removed
    telemetry.count_refused("gate", RefusalReason.LIMIT)           a number
    telemetry.health.set("spool", Condition.DEGRADED, "disk full") a state; one line when it changes

Nothing here raises because of what it is given, waits for anything, or keeps more than a bounded amount of memory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TextIO

from framesift.clock.clock import Clock
from framesift.config.redact import Redactor
from framesift.coverage import CoverageCounts
from framesift.decisions.decision import DecisionObserver
from framesift.frame import RefusalReason, SkipReason
from framesift.telemetry.collected import CollectedNumbers
from framesift.telemetry.events import EventLog, LogStyle
from framesift.telemetry.health import ComponentHealth, Condition, HealthLine, HealthRegistry, StateEvent
from framesift.telemetry.lines import LineFile, LineQueue, LogOutput
from framesift.telemetry.metrics import (
    METRICS_CONTENT_TYPE,
    Counters,
    StatusReport,
    StreamCounts,
    Timing,
)
from framesift.telemetry.pauses import PausedStream
from framesift.telemetry.policies import PolicyReport, without_secrets
from framesift.telemetry.quota import QuotaReport, QuotaUse
from framesift.telemetry.spool_metrics import SpoolNumbers
from framesift.telemetry.stream_absences import StreamAbsence
from framesift.telemetry.stream_losses import StreamLoss

__all__ = [
    "METRICS_CONTENT_TYPE",
    "CollectedNumbers",
    "ComponentHealth",
    "Condition",
    "HealthRegistry",
    "LineQueue",
    "LogStyle",
    "PausedStream",
    "PolicyReport",
    "QuotaReport",
    "QuotaUse",
    "SpoolNumbers",
    "StateEvent",
    "StatusReport",
    "StreamAbsence",
    "StreamCounts",
    "StreamLoss",
    "Telemetry",
    "Timing",
]

_LEVEL_OF = {Condition.OK: "info", Condition.DEGRADED: "warning", Condition.FAILED: "error"}


class Telemetry:
    """One for the whole process; thread-safe."""

    def __init__(
        self, clock: Clock, log: LogStyle, *, secrets: Iterable[str] = (), out: TextIO | LineQueue | None = None
    ) -> None:
        """log: what is printed, and how. secrets: texts that no log line and no answer may show.

        out: where lines go: a queue, or a file whose writes don't wait; None for the standard output.
        """
        self._clock = clock
        self._redactor = Redactor(secrets)
        self._output: LogOutput = out if isinstance(out, LineQueue) else LineFile(sys.stdout if out is None else out)
        self._reported_dropped: Mapping[str, int] = {}  # log lines, by level
        self._events = EventLog(clock, log, self._redactor, self._output)
        self._counters = Counters(self._output.dropped)
        self._started_s = clock.monotonic()
        self.decisions: DecisionObserver | None = None  # set before the first frame
        self.coverage: CoverageCounts | None = None  # likewise
        self.not_ready = ""  # why the program as a whole is not ready: it starts, or it stops
        self.health = HealthRegistry(clock, self._log_health)
        self._counters.set_health_source(self.health.components)

    # -- log lines

    def debug(self, name: str, /, **fields: object) -> None:
        """Log a detail for whoever looks for a fault; printed only at level debug."""
        self._events.log("debug", name, fields)

    def info(self, name: str, /, **fields: object) -> None:
        """Log something worth knowing. The same event again within a minute is only counted."""
        self._events.log("info", name, fields)

    def state_changed(self, name: str, /, **fields: object) -> None:
        """Log a change of state. Never folded, since the last line must be the present state."""
        self._events.log("info", name, fields, fold=False)

    def refused(self, name: str, /, **fields: object) -> None:
        """Log that what an operator asked for was refused: an error that is never folded, as each gets its answer."""
        self._events.log("error", name, fields, fold=False)

    def set_log_level(self, level: str) -> None:
        """Print no lines below this level from now on."""
        self._events.set_level(level)

    def warning(self, name: str, /, **fields: object) -> None:
        """Log something that may need a human; folded as `info` is."""
        self._events.log("warning", name, fields)

    def error(self, name: str, /, *, cause: BaseException | None = None, **fields: object) -> None:
        """Log something that needs a human; folded as `info` is. cause: logged with its traceback."""
        self._events.log("error", name, fields, cause=cause)

    def tick(self) -> None:
        """Log what was held and is due, and set the health of the log itself. To be called about once a second.

        It also is the heartbeat in the metrics.
        """
        self._counters.program.heartbeat_at_s = self._clock.now().wall_s
        self._events.log_due()
        self.health.tick()
        if self._output.is_stalled():
            self.health.set("log", Condition.DEGRADED, "nobody reads the log; its lines wait, and are dropped")
        else:
            self.health.set_ok("log")
            self._log_dropped_lines()

    def close(self) -> None:
        """Log all folded events now. Later events are still logged."""
        self._events.log_all()
        self._log_dropped_lines()

    def _log_dropped_lines(self) -> None:
        dropped = self._output.dropped()
        since = {level: count - self._reported_dropped.get(level, 0) for level, count in dropped.items()}
        if any(since.values()):
            self._reported_dropped = dropped
            self.warning("log_lines_dropped", **{level: count for level, count in since.items() if count})

    # -- numbers

    def count_read(self, stream: str) -> None:
        """Count a frame that a stream has read."""
        self._counters.read.labels(self._counters.stream(stream)).inc()

    def count_skipped(self, stream: str, why: SkipReason, count: int) -> None:
        """Count pictures of a stream that were not shown to the model."""
        self._counters.skipped.labels(self._counters.stream(stream), why.value).inc(count)

    def count_refused(self, stream: str, reason: RefusalReason) -> None:
        """Count a frame that was not accepted."""
        self._counters.refused.labels(self._counters.stream(stream), reason.value).inc()
        if self.decisions is not None:
            self.decisions.count_refused(stream, reason)

    def count_matched(self, stream: str, strategy: str) -> None:
        """Count a frame that a strategy matched."""
        self._counters.matched.labels(self._counters.stream(stream), self._counters.strategy(strategy)).inc()
        if self.decisions is not None:
            self.decisions.count_matched(stream, strategy)

    def count_accepted(self, stream: str, strategy: str) -> None:
        """Count a datapoint that was accepted into the spool. strategy: the one whose quota was charged."""
        self._counters.accepted.labels(self._counters.stream(stream), self._counters.strategy(strategy)).inc()
        if self.decisions is not None:
            self.decisions.count_accepted(stream, strategy)

    def settle_decision(self, stream: str, id: str, outcome: str | RefusalReason) -> None:
        """Record what became of a frame that was held. outcome: the strategy that was charged, or why not."""
        if self.decisions is not None:
            self.decisions.settle(stream, id, outcome)
        if self.coverage is not None:
            self.coverage.settle(id, is_accepted=not isinstance(outcome, RefusalReason))

    def count_snapshot(self, stream: str, result: str) -> None:
        """Count an accepted frame of a stream with snapshots. result: snapshot, or the reason why there was none."""
        self._counters.snapshots.labels(self._counters.stream(stream), result).inc()

    def record_picture_age(self, stream: str, age_s: float) -> None:
        """Record how old a camera's picture was when the model began with it."""
        self._counters.picture_age.labels(self._counters.stream(stream)).observe(age_s)

    def set_sender_offset(self, stream: str, ahead_s: float) -> None:
        """Set how far the camera's clock is ahead of ours, by its latest picture."""
        self._counters.sender_offset.labels(self._counters.stream(stream)).set(ahead_s)

    def record_prediction(self, stream: str, took_s: float, dropped: int = 0) -> None:
        """Record a prediction of the model. dropped: parts and extras of its answer that were left out."""
        self._counters.model.observe(took_s)
        if dropped:
            self._counters.dropped.labels(self._counters.stream(stream)).inc(dropped)

    def record_delivery(self, outcome: str, took_s: float) -> None:
        """Record a delivery attempt. outcome: done, already_there, later, never or registered."""
        self._counters.attempts.labels(self._counters.outcome(outcome)).inc()
        self._counters.delivery.observe(took_s)

    def count_request(self, stream: str, outcome: str) -> None:
        """Count a request that a listener received for a stream. outcome: one word of a closed list."""
        self._counters.requests.labels(self._counters.stream(stream), self._counters.outcome(outcome)).inc()

    def record_loss(self, stream: str, why: str) -> None:
        """Record that a running stream was lost. why: one line for a human."""
        loss = StreamLoss(self._clock.now().wall_s, self.redact(why))
        self._counters.losses.record(self._counters.stream(stream), loss)

    def set_stream_up(self, stream: str, up: bool) -> None:
        """Set whether a stream delivers pictures."""
        self._counters.up.labels(self._counters.stream(stream)).set(1.0 if up else 0.0)

    def set_stream_away(self, stream: str, absence: StreamAbsence | None) -> None:
        """Set why a stream gives no pictures; None if it does, or has ended."""
        self._counters.absences.set(self._counters.stream(stream), absence)

    def count_reader(self, stream: str) -> None:
        """Count a reader process that was started for a stream."""
        self._counters.readers.labels(self._counters.stream(stream)).inc()

    def set_build(self, **versions: str) -> None:
        """Set the versions that framesift_build_info shows beside that of Python."""
        self._counters.program.build = {**self._counters.program.build, **versions}

    def set_spool_source(self, read: Callable[[], SpoolNumbers]) -> None:
        """Set what returns the spool's numbers. Called whenever numbers are read; if it raises, they are omitted."""
        self._counters.set_spool_source(read)

    def set_policy_source(self, read: Callable[[], tuple[PolicyReport, ...]]) -> None:
        """Set what returns the reports of all policies. Called whenever numbers are read; it must not raise."""
        self._counters.set_policy_source(read)

    def set_quota_source(self, read: Callable[[], QuotaReport]) -> None:
        """Set what returns the state of the quota. Called whenever numbers are read; if it raises, it is omitted."""
        self._counters.set_quota_source(read)

    def set_held_source(self, read: Callable[[], Mapping[str, int]]) -> None:
        """Set what returns how many frames each strategy holds. Called whenever numbers are read; it must not raise."""
        self._counters.set_held_source(read)

    def set_paused_source(self, read: Callable[[], Mapping[str, PausedStream | None]]) -> None:
        """Set what returns each stream with its pause, None for none. Called as above; it must not raise."""
        self._counters.pauses.source = read

    def set_collected_source(self, read: Callable[[], CollectedNumbers | None]) -> None:
        """Set what returns what a sink with bounds keeps. Called whenever numbers are read; it must not raise."""
        self._counters.set_collected_source(read)

    def set_idle_source(self, read: Callable[[], Mapping[str, float]]) -> None:
        """Set what returns for how long each component has not moved (name -> seconds). It must not wait or raise."""
        self._counters.program.idle_source = read

    def set_alive_source(self, read: Callable[[], bool]) -> None:
        """Set what returns whether the daemon is alive, without waiting. If it raises, the metric is omitted."""
        self._counters.program.alive_source = read

    # -- for readers

    def report(self) -> StatusReport:
        """Return all numbers, the policies, and the health of each component, at this moment; without secrets."""
        report = self._counters.report()
        return replace(
            report,
            taken_at_s=self._clock.now().wall_s,
            uptime_s=self._clock.monotonic() - self._started_s,
            health=tuple(replace(c, why=self.redact(c.why)) for c in self.health.components()),
            paused=tuple(replace(pause, by=self.redact(pause.by)) for pause in report.paused),
            policies=tuple(without_secrets(policy, self.redact) for policy in report.policies),
        )

    def quota_report(self) -> QuotaReport | None:
        """Return the state of the quota, at this moment; None if it can't be read. It may read the spool's disk."""
        return self._counters.quota_report()

    def stream_counts(self) -> tuple[StreamCounts, ...]:
        """Return the numbers of each stream, at this moment. Reads no disk."""
        return self._counters.stream_counts()

    def metrics_text(self) -> bytes:
        """Return all numbers in Prometheus' text format, whose media type is METRICS_CONTENT_TYPE."""
        return self._counters.metrics_text()

    def redact(self, text: str) -> str:
        """Return the text without secrets."""
        return self._redactor(text)

    def _log_health(self, line: HealthLine) -> None:
        component, unlogged = line.component, {"unlogged": line.unlogged} if line.unlogged else {}
        why = {"why": component.why} if component.why else {}
        if line.event is not None:
            self._events.log("info", line.event.name, {**line.event.fields, **why, **unlogged}, fold=False)
            return
        fields = {"component": component.name, "state": component.condition, "why": component.why, **unlogged}
        self._events.log(_LEVEL_OF[component.condition], "health", fields, fold=False)

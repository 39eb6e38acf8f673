"""RunSummary: the line "stopped", with the numbers of the whole run."""

from __future__ import annotations

from collections.abc import Mapping

from framesift.clock.clock import MonitoredThread
from framesift.telemetry import StatusReport, Telemetry


class RunSummary:
    """A component that reads the numbers when the spool has opened, and again before it closes."""

    name = "summary"
    threads: tuple[MonitoredThread, ...] = ()

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._outcomes_before: Mapping[str, int] = {}
        self._last: StatusReport | None = None

    def start(self) -> None:
        """Remember what had left the spool before this run."""
        self._outcomes_before = self._telemetry.report().outcomes

    def stop(self, within_s: float) -> bool:  # noqa: ARG002  # the signature of all components
        """Read the last numbers: everything that delivers has ended, and the spool is still open."""
        self._last = self._telemetry.report()
        return True

    def idle_s(self) -> float:
        """See Component."""
        return 0.0

    def log(self, stopped_within_s: float, exit_status: int) -> None:
        """Log the numbers of the run; nothing if the run ended before the spool was open.

        stopped_within_s: how long the stop took, from the signal until every component had ended.
        exit_status: of the process.
        """
        report = self._last
        if report is None:
            return
        left = {name: count - self._outcomes_before.get(name, 0) for name, count in report.outcomes.items()}
        queue = report.queue
        self._telemetry.state_changed(
            "stopped",
            frames=report.frames_read,
            refused=dict(report.refused),
            accepted=report.frames_accepted,
            delivered=left.pop("delivered", 0),
            other_outcomes={name: count for name, count in left.items() if count},
            waiting=0 if queue is None else queue.ready + queue.registered + queue.sending,
            stopped_within_s=round(stopped_within_s, 2),
            exit_status=exit_status,
        )

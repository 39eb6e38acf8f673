"""The decision record of one run: where it lies, and what it is told of quota and of the log."""

from __future__ import annotations

import contextlib

from framesift.clock.clock import Clock
from framesift.decisions import (
    DecisionRecord,
    QuotaByStrategy,
    RecordFiles,
    ThumbnailedLines,
    ThumbnailFiles,
    delete_thumbnails,
)
from framesift.settings import Settings
from framesift.telemetry import Condition, Telemetry

_COMPONENT = "decision record"


def create_decision_record(settings: Settings, telemetry: Telemetry, clock: Clock) -> DecisionRecord:
    """Return the record, to which telemetry hands all decisions from now on."""
    folder, max_bytes = settings.decisions.folder(settings.spool.path), settings.decisions.max_bytes
    files: RecordFiles | None = None
    thumbnails: ThumbnailedLines | None = None
    if max_bytes is not None and settings.decisions.thumbnails:
        files = RecordFiles(folder, max_bytes - max_bytes // 2)
        thumbnails = ThumbnailedLines(ThumbnailFiles(folder, max_bytes // 2))
    else:
        files = None if max_bytes is None else RecordFiles(folder, max_bytes)
        with contextlib.suppress(OSError):  # of another time; the next start tries it again
            delete_thumbnails(folder)

    def report_problem(why: str) -> None:
        if why:
            telemetry.health.set(_COMPONENT, Condition.DEGRADED, why)
        else:
            telemetry.health.set_ok(_COMPONENT)

    record = DecisionRecord(files, clock, thumbnails, quota=lambda: _quota(telemetry), on_problem=report_problem)
    telemetry.decisions = record
    return record


def _quota(telemetry: Telemetry) -> QuotaByStrategy:
    report = telemetry.quota_report()
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for use in () if report is None else report.used:
        found.setdefault(use.strategy, {})[use.window] = use.used, use.limit
    return found

"""How full the labelling batches are, as the platform says: asked now and then, for the policies that limit a batch.

A batch holds its images that are in no job, and those of the jobs that were made of it. What others put there, or take
away, is known after the next look, within a minute; what this device sends meanwhile, the spool counts by itself. While
the platform doesn't answer, what it said last holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from framesift.clock.clock import Clock
from framesift.periodic import NextRun, PeriodicTask
from framesift.roboflow import LabelingBatch, LabelingJob, PlatformError, RoboflowClient
from framesift.spool import Spool, SpoolBroken, SpoolFull

REFRESH_INTERVAL_S = 60.0
REQUEST_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class WatchedBatch:
    """A batch whose fill matters. workspace: None for the key's own. key: what the spool counts the batch under."""

    workspace: str | None
    project: str
    batch: str
    spool_key: str


@dataclass(frozen=True, slots=True)
class LeftSpoolCounts:
    """How many datapoints of a batch were no longer on their way, before the platform was asked: of this device, and of
    the fleet that shares the batch, None where nobody knows.
    """

    own: int
    fleet: int | None = None


class BatchCounts(Protocol):
    """Who counts what lies in the batches. Both raise SpoolBroken and SpoolFull."""

    def left_spool_counts(self, project: str, batch: str) -> LeftSpoolCounts | None:
        """To be asked before the platform is asked; None where somebody else asks it. batch: its key."""

    def record_platform_size(self, project: str, batch: str, images: int, mark: LeftSpoolCounts) -> None:
        """The platform has so many images there."""


@dataclass(frozen=True, slots=True)
class DeviceBatchCounts:
    """This device's alone."""

    spool: Spool

    def left_spool_counts(self, project: str, batch: str) -> LeftSpoolCounts | None:  # noqa: ARG002  # the batch's key names it
        return LeftSpoolCounts(self.spool.batch_left_spool(batch))

    def record_platform_size(self, project: str, batch: str, images: int, mark: LeftSpoolCounts) -> None:  # noqa: ARG002
        self.spool.record_batch_size(batch, images, mark.own)


class BatchWatcher:
    """wanted: the batches that matter at this moment; none, and nobody is asked. report: told why the platform can't be
    asked, when that begins or changes, and None when it can again. failed: told of a bug, which ends the thread.

    The first of its rounds can be waited for, so that a batch which others have filled isn't filled further because
    nobody knows; they are woken when something else may be wanted.
    """

    def __init__(
        self,
        platform: RoboflowClient,
        counts: BatchCounts,
        clock: Clock,
        *,
        watched: Callable[[], Sequence[WatchedBatch]],
        on_problem: Callable[[str | None], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._platform = platform
        self._counts = counts
        self.task = PeriodicTask("batches", self._round, clock, on_failure=on_failure)
        self._clock = self.task.heartbeat
        self._wanted = watched
        self._report = on_problem
        self._own_workspace: str | None = None
        self._problem: str | None = None
        self._not_before_s = 0.0  # as the platform asked, of which nobody may make less

    def refresh_once(self) -> float:
        """Asks for all batches that matter; returns the seconds after which the next look may be taken."""
        projects: dict[tuple[str | None, str], list[WatchedBatch]] = {}
        for wanted in self._wanted():
            projects.setdefault((wanted.workspace, wanted.project), []).append(wanted)
        problem: str | None = None
        pause_s = REFRESH_INTERVAL_S
        for batches in projects.values():
            try:
                self._look_at(batches)
            except PlatformError as error:
                problem = problem or str(error)
                if error.retry_after_s is not None:
                    pause_s = max(pause_s, error.retry_after_s)
                    self._not_before_s = self._clock.monotonic() + error.retry_after_s
            except (SpoolBroken, SpoolFull):  # the spool says so itself
                continue
        if problem != self._problem:
            self._problem = problem
            self._report(problem)
        return pause_s

    def _look_at(self, wanted: Sequence[WatchedBatch]) -> None:
        """All of one project. Raises PlatformError, SpoolBroken, SpoolFull."""
        workspace, project = wanted[0].workspace or self._workspace(), wanted[0].project
        # Before the platform is asked: what arrives there meanwhile is counted twice rather than not at all.
        marked = [
            (w, mark) for w in wanted if (mark := self._counts.left_spool_counts(w.project, w.spool_key)) is not None
        ]
        if not marked:
            return
        self._clock.monotonic()
        there: dict[str, LabelingBatch] = {}
        for batch in self._platform.list_batches(workspace, project, within_s=REQUEST_TIMEOUT_S):
            there.setdefault(batch.name, batch)
        found = [there[w.batch] for w, _ in marked if w.batch in there]
        jobs: tuple[LabelingJob, ...] = ()
        if any(batch.jobs > 0 for batch in found):
            self._clock.monotonic()
            jobs = self._platform.list_jobs(workspace, project, within_s=REQUEST_TIMEOUT_S)
        for w, mark in marked:
            images = 0
            if w.batch in there:
                batch = there[w.batch]
                in_jobs = sum(job.images for job in jobs if job.is_made_from(batch))
                images = batch.images + (in_jobs if batch.jobs > 0 else 0)
            self._counts.record_platform_size(w.project, w.spool_key, images, mark)

    def _workspace(self) -> str:
        if self._own_workspace is None:
            self._clock.monotonic()
            self._own_workspace = self._platform.fetch_workspace(within_s=REQUEST_TIMEOUT_S)
        return self._own_workspace

    def _round(self) -> NextRun:
        pause_s = self.refresh_once()
        return NextRun(pause_s, min_s=self._not_before_s - self._clock.monotonic())

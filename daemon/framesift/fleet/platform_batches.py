"""BatchWatcher: asks the platform how full the labelling batches are, for policies that limit the size of a batch.

The size of a batch is the number of its images that are in no job, plus the images of the jobs that were created from
it. Changes that others make there are seen within a minute, by the next request. In the meantime the spool counts what
this device delivers. While the platform doesn't answer, its last answer stays valid.
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
    """A batch whose size is limited.

    workspace: None for the workspace of the API key. spool_key: the key under which the spool counts the batch.
    """

    workspace: str | None
    project: str
    batch: str
    spool_key: str


@dataclass(frozen=True, slots=True)
class LeftSpoolCounts:
    """How many charges of a batch had left the spool before the platform was asked, see limits/batch_size.py.

    own: those of this device. fleet: those of all devices that share the batch, None if that is unknown.
    """

    own: int
    fleet: int | None = None


class BatchSource(Protocol):
    """Names the batches whose size matters now."""

    def watched_batches(self) -> Sequence[WatchedBatch]:
        """The batches to ask for; none, and the platform is not asked. The watcher's thread calls it."""
        ...


class BatchCounts(Protocol):
    """Counts the datapoints of batches, for one device or for a fleet. Both methods raise SpoolBroken and SpoolFull."""

    def left_spool_counts(self, project: str, batch: str) -> LeftSpoolCounts | None:
        """Reads the counts. Call it before the platform is asked. batch: the spool's key.

        None: another device asks the platform for this batch.
        """
        ...

    def record_platform_size(self, project: str, batch: str, images: int, left_spool: LeftSpoolCounts) -> None:
        """Records how many images the platform has in the batch. left_spool: the counts from before the request."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceBatchCounts:
    """The batch counts of this device alone."""

    spool: Spool

    def left_spool_counts(self, project: str, batch: str) -> LeftSpoolCounts:  # noqa: ARG002  # the key is enough
        """See BatchCounts. Never None."""
        return LeftSpoolCounts(self.spool.batch_left_spool(batch))

    def record_platform_size(
        self,
        project: str,  # noqa: ARG002  # the key is enough
        batch: str,
        images: int,
        left_spool: LeftSpoolCounts,
    ) -> None:
        """See BatchCounts."""
        self.spool.record_batch_size(batch, images, left_spool.own)


class BatchWatcher:
    """Refreshes the sizes of all watched batches in its `task`, once a minute and when the task is woken.

    A start may wait for the first run of the task, so that a batch that others have filled is not filled further. Wake
    the task when other batches may be watched. on_problem: called with the reason when the platform cannot be asked,
    when the reason changes, and with None when it is over. on_failure: called with an unexpected error, which ends the
    thread.
    """

    def __init__(
        self,
        platform: RoboflowClient,
        counts: BatchCounts,
        source: BatchSource,
        clock: Clock,
        *,
        on_problem: Callable[[str | None], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.task = PeriodicTask("batches", self._run, clock, on_failure=on_failure)
        self._platform = platform
        self._counts = counts
        self._source = source
        self._clock = self.task.heartbeat
        self._on_problem = on_problem
        self._own_workspace: str | None = None
        self._problem: str | None = None
        self._not_before_s = 0.0  # monotonic time before which the platform has asked not to be called

    def refresh_once(self) -> float:
        """Asks the platform for all watched batches. Returns the seconds until the next run."""
        projects: dict[tuple[str | None, str], list[WatchedBatch]] = {}
        for watched in self._source.watched_batches():
            projects.setdefault((watched.workspace, watched.project), []).append(watched)
        problem: str | None = None
        pause_s = REFRESH_INTERVAL_S
        for batches in projects.values():
            try:
                self._refresh_project(batches)
            except PlatformError as error:
                problem = problem or str(error)
                pause_s = max(pause_s, error.repeat_after_s or 0.0)
                if error.retry_after_s is not None:
                    self._not_before_s = self._clock.monotonic() + error.retry_after_s
            except (SpoolBroken, SpoolFull):  # the spool's own health reports it
                continue
        if problem != self._problem:
            self._problem = problem
            self._on_problem(problem)
        return pause_s

    def _refresh_project(self, batches: Sequence[WatchedBatch]) -> None:
        """Refreshes all batches of one project. Raises PlatformError, SpoolBroken, SpoolFull."""
        workspace, project = batches[0].workspace or self._workspace(), batches[0].project
        # Before the platform is asked: a datapoint that arrives meanwhile is then counted twice rather than not at all.
        counted = [
            (watched, left_spool)
            for watched in batches
            if (left_spool := self._counts.left_spool_counts(watched.project, watched.spool_key)) is not None
        ]
        if not counted:
            return
        self._clock.monotonic()  # shows the watchdog that the thread moves
        on_platform: dict[str, LabelingBatch] = {}
        for batch in self._platform.list_batches(workspace, project, within_s=REQUEST_TIMEOUT_S):
            on_platform.setdefault(batch.name, batch)
        found = [on_platform[watched.batch] for watched, _ in counted if watched.batch in on_platform]
        jobs: tuple[LabelingJob, ...] = ()
        if any(batch.jobs > 0 for batch in found):
            self._clock.monotonic()
            jobs = self._platform.list_jobs(workspace, project, within_s=REQUEST_TIMEOUT_S)
        for watched, left_spool in counted:
            images = 0
            if watched.batch in on_platform:
                batch = on_platform[watched.batch]
                in_jobs = sum(job.images for job in jobs if job.is_made_from(batch))
                images = batch.images + (in_jobs if batch.jobs > 0 else 0)
            self._counts.record_platform_size(watched.project, watched.spool_key, images, left_spool)

    def _workspace(self) -> str:
        if self._own_workspace is None:
            self._clock.monotonic()
            self._own_workspace = self._platform.fetch_workspace(within_s=REQUEST_TIMEOUT_S)
        return self._own_workspace

    def _run(self) -> NextRun:
        pause_s = self.refresh_once()
        return NextRun(pause_s, min_s=self._not_before_s - self._clock.monotonic())

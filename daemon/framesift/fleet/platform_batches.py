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
from framesift.periodic import Rest, Rounds
from framesift.roboflow import Batch, Job, PlatformTrouble, Roboflow
from framesift.spool import Spool, SpoolBroken, SpoolFull

EVERY_S = 60.0
WITHIN_S = 15.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A batch whose fill matters. workspace: None for the key's own. key: what the spool counts the batch under."""

    workspace: str | None
    project: str
    batch: str
    key: str


@dataclass(frozen=True, slots=True)
class Mark:
    """How many datapoints of a batch were no longer on their way, before the platform was asked: of this device, and of
    the fleet that shares the batch, None where nobody knows."""

    own: int
    fleet: int | None = None


class Counts(Protocol):
    """Who counts what lies in the batches. Both raise SpoolBroken and SpoolFull."""

    def mark(self, project: str, batch: str) -> Mark | None:
        """To be asked before the platform is asked; None where somebody else asks it. batch: its key."""

    def seen(self, project: str, batch: str, images: int, mark: Mark) -> None:
        """The platform has so many images there."""


@dataclass(frozen=True, slots=True)
class OwnCounts:
    """This device's alone."""

    spool: Spool

    def mark(self, project: str, batch: str) -> Mark | None:  # noqa: ARG002  # the batch's key names it
        return Mark(self.spool.batch_mark(batch))

    def seen(self, project: str, batch: str, images: int, mark: Mark) -> None:  # noqa: ARG002
        self.spool.batch_seen(batch, images, mark.own)


class BatchWatcher:
    """wanted: the batches that matter at this moment; none, and nobody is asked. report: told why the platform can't be
    asked, when that begins or changes, and None when it can again. failed: told of a bug, which ends the thread.

    The first of its rounds can be waited for, so that a batch which others have filled isn't filled further because
    nobody knows; they are woken when something else may be wanted."""

    def __init__(
        self,
        platform: Roboflow,
        counts: Counts,
        clock: Clock,
        *,
        wanted: Callable[[], Sequence[Wanted]],
        report: Callable[[str | None], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._platform = platform
        self._counts = counts
        self.rounds = Rounds("batches", self._round, clock, failed=failed)
        self._clock = self.rounds.pulse
        self._wanted = wanted
        self._report = report
        self._own_workspace: str | None = None
        self._problem: str | None = None
        self._not_before_s = 0.0  # as the platform asked, of which nobody may make less

    def look_once(self) -> float:
        """Asks for all batches that matter; returns the seconds after which the next look may be taken."""
        projects: dict[tuple[str | None, str], list[Wanted]] = {}
        for wanted in self._wanted():
            projects.setdefault((wanted.workspace, wanted.project), []).append(wanted)
        problem: str | None = None
        pause_s = EVERY_S
        for batches in projects.values():
            try:
                self._look_at(batches)
            except PlatformTrouble as error:
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

    def _look_at(self, wanted: Sequence[Wanted]) -> None:
        """All of one project. Raises PlatformTrouble, SpoolBroken, SpoolFull."""
        workspace, project = wanted[0].workspace or self._workspace(), wanted[0].project
        # Before the platform is asked: what arrives there meanwhile is counted twice rather than not at all.
        marked = [(w, mark) for w in wanted if (mark := self._counts.mark(w.project, w.key)) is not None]
        if not marked:
            return
        self._clock.monotonic()
        there: dict[str, Batch] = {}
        for batch in self._platform.batches(workspace, project, within_s=WITHIN_S):
            there.setdefault(batch.name, batch)
        found = [there[w.batch] for w, _ in marked if w.batch in there]
        jobs: tuple[Job, ...] = ()
        if any(batch.jobs > 0 for batch in found):
            self._clock.monotonic()
            jobs = self._platform.jobs(workspace, project, within_s=WITHIN_S)
        for w, mark in marked:
            images = 0
            if w.batch in there:
                batch = there[w.batch]
                in_jobs = sum(job.images for job in jobs if job.is_of(batch))
                images = batch.images + (in_jobs if batch.jobs > 0 else 0)
            self._counts.seen(w.project, w.key, images, mark)

    def _workspace(self) -> str:
        if self._own_workspace is None:
            self._clock.monotonic()
            self._own_workspace = self._platform.workspace(within_s=WITHIN_S)
        return self._own_workspace

    def _round(self) -> Rest:
        pause_s = self.look_once()
        return Rest(pause_s, least_s=self._not_before_s - self._clock.monotonic())

"""ProjectTasks: what the platform's projects are for (detection, classification, ...), asked and remembered."""

from __future__ import annotations

from framesift.clock.clock import Clock
from framesift.prediction.prediction import Task
from framesift.roboflow import PlatformError, ProjectTypes, RoboflowClient, task_of_project_type

# After the platform did not answer, it is not asked again for so long.
RETRY_S = 30.0


class ProjectTasks:
    """Thread-safe."""

    def __init__(self, platform: RoboflowClient | None, clock: Clock, *, enabled: bool) -> None:
        """platform: None without an API key. enabled: False never asks the platform."""
        self._types = ProjectTypes(platform) if platform is not None and enabled else None
        self._clock = clock
        self._ask_from_s = 0.0

    def task_of(self, project: str, within_s: float) -> Task | None:
        """Return what a project is for; None if nobody says so within the time."""
        now_s = self._clock.monotonic()
        if self._types is None or now_s < self._ask_from_s:
            return None
        try:
            kind = self._types.get(project, now_s=now_s, within_s=within_s)
        except PlatformError as error:  # then no other caller has to wait for it soon
            self._ask_from_s = now_s + max(RETRY_S, error.retry_after_s or 0.0)
            return None
        return None if kind is None else task_of_project_type(kind)
